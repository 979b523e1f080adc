"""Continuing text: causal language modelling on any text.

    text → tokenizer → token ids on disk → windows → GPT → loss, perplexity, bits per byte

Where the text comes from a known distribution, as storyworld does, the loss stands beside its floor: what the text
itself leaves to chance.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from llmasos.datasets import TokenData, Windows, build_tokens, open_text
from llmasos.datasets.source import SPLITS
from llmasos.errors import UserError
from llmasos.evaluation import evaluate_text
from llmasos.generation import SamplingOptions, generate
from llmasos.models import ModelConfig, flops_per_token
from llmasos.objectives import CausalLM
from llmasos.tasks.task import Report, Task
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe


class RunningText(Task):
    """A task whose data is text without labels."""

    def __init__(self, recipe: Recipe, whole: bool = False):
        self.recipe = recipe
        self.source = open_text(recipe.data)
        self.name, self.description = self.source.name, self.source.description
        self.fingerprint = self.source.fingerprint()

    def texts(self) -> Iterable[str]:
        return self.source.documents("train")


class LanguageModeling(RunningText):
    """Continue a text."""

    families = ("gpt",)
    unit = "tokens"

    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        self.tokenizer = tokenizer
        self.config = config or self.model_config(self.recipe, tokenizer)
        self.objective = CausalLM()

    def prepare(self) -> None:
        self.data: TokenData = build_tokens(self.source, self.tokenizer)
        self.train = Windows(self.data.train.tokens, self.config.context_length)
        self.val = Windows(self.data.val.tokens, self.config.context_length, split="val").validation_windows()
        self.examples = f"× {self.config.context_length} tokens"
        self.flops_per_token = flops_per_token(self.config)
        information = self.source.information("val")
        self.floor = None if information is None else information / len(self.data.val.tokens)
        self.prompt = default_prompt(self.data) if self.recipe.prompt is None else self.recipe.prompt
        self.recipe = replace(self.recipe, prompt=self.prompt)  # samples of the finished run begin in the same way
        train, val = self.data.train, self.data.val
        self.lines = [
            f"tokens   {self.tokenizer.kind}, {self.tokenizer.vocab_size:,} kinds: {len(train.tokens):,} to train on, "
            f"{len(val.tokens):,} held out, {val.n_bytes / len(val.tokens):.2f} bytes each"
        ]
        if self.floor is not None:
            self.lines.append(
                f"floor    {self.floor:.4f} nats per token: what the held-out text itself leaves to chance"
            )

    def numbers(self, val_loss: float) -> dict[str, float]:
        """Perplexity (e^loss), and bits per byte, which does not depend on the tokenizer."""
        n_predictions = len(self.data.val.tokens) - 1
        bits_per_byte = val_loss * n_predictions / self.data.val.n_bytes / math.log(2.0)
        numbers = {"perplexity": math.exp(min(val_loss, 700.0)), "bits_per_byte": bits_per_byte}
        return numbers if self.floor is None else {**numbers, "floor": self.floor}

    def sample(self, model: nn.Module) -> str:
        return self.prompt + self.continuations(model, max_new_tokens=60)[0]

    def continuations(self, model: nn.Module, max_new_tokens: int, n: int = 1) -> list[str]:
        """Texts that follow the prompt, each with the tamer end of the model's imagination."""
        options = SamplingOptions(max_new_tokens, temperature=0.7, top_p=0.95, seed=self.recipe.seed)
        return [g.text for g in generate(model, self.tokenizer, [self.prompt], options, n_samples=n)]

    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        """Perplexity and bits per byte, each token predicted from at least half a context of text before it."""
        data = build_tokens(self.source, self.tokenizer)
        parts = [getattr(data, name) for name in text_splits(split)]
        tokens = np.concatenate([part.tokens for part in parts])
        stride = max(1, self.config.context_length // 2)
        n_bytes = sum(part.n_bytes for part in parts)
        return Report(evaluate_text(model, tokens, stride, n_bytes=n_bytes).metrics())

    def finish(self, model: nn.Module, say: Callable[[str], None]) -> Report:
        """Print three texts by the finished model; the loop has measured its loss already."""
        say("\nThree texts by the model:\n")
        for text in self.continuations(model, max_new_tokens=240, n=3):
            say((self.prompt + text).strip() + "\n")
        return Report([])

    def describe_loss(self, val_loss: float) -> str:
        numbers = self.numbers(val_loss)
        beside = "" if self.floor is None else f", floor {self.floor:.4f}"
        return (
            f"val_loss {val_loss:.4f}{beside} (nats per token over the whole validation split; perplexity "
            f"{numbers['perplexity']:.2f}, {numbers['bits_per_byte']:.3f} bits per byte)"
        )

    def next_command(self, run: Path) -> str:
        return f"python sample.py {run} --interactive"


def text_splits(split: str) -> tuple[str, ...]:
    """The splits of a `TextSource` that are meant. Raises UserError for one that it does not have."""
    if split == "all":
        return SPLITS
    if split not in SPLITS:
        raise UserError(f"text has the splits {' and '.join(SPLITS)}, not {split!r}.")
    return (split,)


def default_prompt(data: TokenData) -> str:
    """Where samples begin: at the start of a document; where the text has no documents, after a line's end."""
    return "" if data.train.n_documents else "\n"
