"""Language modeling: predict each token of a text from those before it.

    text → tokenizer → token ids on disk → windows or documents → GPT → loss, perplexity, bits per byte

If the text comes from a known distribution, like storyworld, the loss is shown with its floor: the information of
the held-out documents, -log p under the generator, divided by their number of tokens, including the end-of-text
of each. With `--rows documents` the loss is over exactly these tokens, each predicted from everything before it in its
document, so the two can be compared. In windows, the model sees less of the document, and its loss is higher.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llmasos.console import command
from llmasos.datasets import DocumentRows, Examples, TextSource, TokenData, Windows, build_tokens, open_text
from llmasos.datasets.mixture import MixedText, Mixture
from llmasos.datasets.source import SPLITS
from llmasos.errors import UserError
from llmasos.evaluation.perplexity import evaluate_documents, evaluate_text
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model, ModelConfig, flops_per_token
from llmasos.objectives import CausalLM
from llmasos.tasks.task import Report, Task, columns_of
from llmasos.tokenizers import TOKENIZERS, Tokenizer
from llmasos.training.recipe import Recipe

SAMPLE_TOKENS = 60  # of the sample after each validation
REPORT_TOKENS = 240  # of each sample of the finished model


class PlainTextTask(Task):
    """A task whose data is text without labels."""

    data: TextSource
    can_mix: ClassVar[bool] = False  # whether several texts may be mixed by weights

    @classmethod
    def open_data(cls, recipe: Recipe, eval_only: bool = False) -> TextSource:
        """Open the text. `eval_only` changes nothing, because the two splits together are the whole text."""
        columns = columns_of(recipe.data.columns) or {"text": "text"}
        if list(columns) != ["text"]:
            raise UserError(f"columns is {recipe.data.columns!r}, and this task reads text alone; write text=NAME.")
        data = open_text(recipe.data.source, columns["text"], recipe.data.val_data)
        if isinstance(data, MixedText) and not cls.can_mix:
            raise UserError(f"the task {recipe.task} takes no mixture of texts; give one text, or a folder.")
        return data

    @classmethod
    def texts(cls, data: TextSource) -> Iterable[str]:
        return data.documents("train")

    @property
    def fingerprint(self) -> str:
        return self.data.fingerprint()

    def fitting_length(self, length: int, n_tokens: int) -> int:
        """The length of training windows. A pretrained model's context is fixed, so a short text shortens the
        windows.
        """
        return length if self.recipe.model.init_from is None else max(1, min(length, n_tokens - 1))


class LanguageModeling(PlainTextTask):
    """Continue a text."""

    unit = "tokens"
    can_mix = True

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> CausalLM:
        return CausalLM()

    @classmethod
    def setup(
        cls,
        recipe: Recipe,
        data: Any = None,
        tokenizer: Tokenizer | None = None,
        config: ModelConfig | None = None,
        eval_only: bool = False,
    ) -> "LanguageModeling":
        task = super().setup(recipe, data, tokenizer, config, eval_only)
        is_new = tokenizer is None and recipe.model.init_from is None and task.tokenizer.kind in TOKENIZERS
        if is_new and task.by_document:
            task.tokenizer.begin_of_text = task.tokenizer.end_of_text  # from now on prompts begin like the rows
        return task

    @cached_property
    def tokens(self) -> TokenData:
        """The token ids of both splits, on disk."""
        return build_tokens(self.data, self.tokenizer)

    @cached_property
    def by_document(self) -> bool:
        """Whether each row begins where a document begins.

        Windows are used instead if most rows could not: the text has no documents, or they are longer than the context.
        """
        train = self.tokens.train
        fits = train.n_documents * self.config.context_length >= len(train.tokens)
        return self.recipe.data.rows == "documents" and fits and len(self.tokens.val.tokens) > 0

    def document_rows(self, tokens: np.ndarray) -> DocumentRows:
        """The rows of some tokens that begin where a document begins."""
        tokenizer = self.tokenizer
        begin = tokenizer.end_of_text if tokenizer.begin_of_text is None else tokenizer.begin_of_text
        return DocumentRows(tokens, tokenizer.end_of_text, begin, self.config.context_length)

    @cached_property
    def train(self) -> Windows | Examples | Mixture:
        if not isinstance(self.data, MixedText):
            return self.rows_of(self.tokens.train.tokens)
        bounds = np.cumsum(self.tokens.train.parts)[:-1]
        parts = [self.rows_of(tokens) for tokens in np.split(self.tokens.train.tokens, bounds)]
        return Mixture(parts, self.data.weights, self.recipe.training.batch_size)

    def rows_of(self, tokens: np.ndarray) -> Windows | Examples:
        """The training rows of a text."""
        if not self.by_document:
            return Windows(tokens, self.window_length)
        rows = self.document_rows(tokens)
        is_mixed = isinstance(self.data, MixedText)  # rows are batched by length only for a single text
        return Examples(rows, None if is_mixed else rows.lengths, self.recipe.training.batch_size)

    @property
    def window_length(self) -> int:
        """Tokens of a training window: the context, or less if a pretrained model is trained on a shorter text."""
        train = self.tokens.train
        return self.fitting_length(self.config.context_length, min(train.parts, default=len(train.tokens)))

    @cached_property
    def val(self) -> Sequence[np.ndarray]:
        if self.by_document:
            return self.document_rows(self.tokens.val.tokens).by_length()
        return Windows(self.tokens.val.tokens, self.config.context_length, split="val").validation_windows()

    @cached_property
    def floor(self) -> float | None:
        """The entropy of the validation text in nats per token, which no model can beat; None if it is not known."""
        information = self.data.information("val")
        return None if information is None else information / len(self.tokens.val.tokens)

    @property
    def prompt(self) -> str:
        """The prompt of samples: the start of a document, or of a line in a text without documents."""
        if self.recipe.output.prompt is not None:
            return self.recipe.output.prompt
        return "" if self.tokens.train.n_documents else "\n"

    @property
    def saved_recipe(self) -> Recipe:
        """The recipe with the prompt, so that samples of the finished run begin in the same way."""
        return self.recipe.replace(prompt=self.prompt)

    @property
    def batch_unit(self) -> str:
        return "documents" if self.by_document else f"× {self.window_length} tokens"

    @property
    def flops_per_token(self) -> float:
        train = self.tokens.train
        return flops_per_token(self.config, len(train.tokens) // train.n_documents if self.by_document else None)

    def summarize_data(self) -> list[str]:
        train, val = self.tokens.train, self.tokens.val
        lines = [
            f"tokens   {self.tokenizer.kind}, vocabulary of {self.tokenizer.vocab_size:,}: {len(train.tokens):,} to "
            f"train on, {len(val.tokens):,} held out, {val.n_bytes / len(val.tokens):.2f} bytes each"
        ]
        if isinstance(self.data, MixedText) and isinstance(self.train, Mixture):
            n_rows = self.recipe.training.max_steps * self.recipe.training.batch_size
            lines.append(f"mixture  {self.train.describe([part.name for part in self.data.parts], n_rows)}")
        if self.recipe.data.rows == "documents":
            lines.append(f"rows     {self.describe_rows()}")
        if self.window_length < self.config.context_length:
            lines.append(short_text_note(self.window_length, self.config.context_length))
        if self.floor is not None:
            lines.append(f"floor    {self.floor:.4f} nats per token: the entropy of the held-out text itself")
        return lines

    def describe_rows(self) -> str:
        """Describe the rows if `--rows documents` is set; if they are windows, say why."""
        train, val = self.tokens.train, self.tokens.val
        if not train.n_documents:
            return "windows anywhere in the text, because it has no documents"
        n_tokens = len(train.tokens) // train.n_documents
        documents = f"{train.n_documents:,} documents of {n_tokens:,} tokens on average"
        if self.by_document:
            return f"{documents}, each from its beginning; {val.n_documents:,} are held out"
        return f"windows anywhere in the text, because it has {documents}, more than the context"

    def metrics(self, val_loss: float) -> dict[str, float]:
        """Perplexity (e^loss), and bits per byte, which does not depend on the tokenizer."""
        n_targets = len(self.tokens.val.tokens) - (not self.by_document)  # a window does not predict the first token
        bits_per_byte = val_loss * n_targets / self.tokens.val.n_bytes / math.log(2.0)
        metrics = {"perplexity": math.exp(min(val_loss, 700.0)), "bits_per_byte": bits_per_byte}
        return metrics if self.floor is None else {**metrics, "floor": self.floor}

    def sample(self, model: Model) -> str:
        return self.prompt + self.continuations(model, SAMPLE_TOKENS)[0]

    def continuations(self, model: Model, max_new_tokens: int, n: int = 1) -> list[str]:
        """Texts that continue the prompt, sampled at a low temperature."""
        seed = self.recipe.training.seed
        options = SamplingOptions(max_new_tokens, temperature=0.7, top_p=0.95, seed=seed)
        return [g.text for g in generate(model, self.tokenizer, [self.prompt], options, n_samples=n)]

    def evaluate(self, model: Model, split: str = "val") -> Report:
        """Perplexity and bits per byte.

        Documents are predicted whole, each from its beginning; in other texts each token is predicted from at least
        half a context of text before it.
        """
        parts = [getattr(self.tokens, name) for name in text_splits(split)]
        ids = np.concatenate([part.tokens for part in parts])
        stride = max(1, self.config.context_length // 2)
        n_bytes = sum(part.n_bytes for part in parts)
        if self.by_document:
            rows = [row for part in parts for row in self.document_rows(part.tokens).by_length()]
            return Report(evaluate_documents(model, rows, n_bytes=n_bytes).metrics())
        return Report(evaluate_text(model, ids, stride, n_bytes=n_bytes).metrics())

    def report(self, model: Model) -> Report:
        """Three texts by the finished model; the loop has already measured its loss."""
        texts = [(self.prompt + text).strip() for text in self.continuations(model, REPORT_TOKENS, n=3)]
        return Report([], samples=["\n\n".join(["Three texts by the model:", *texts])])

    def describe_loss(self, val_loss: float) -> str:
        metrics = self.metrics(val_loss)
        floor = "" if self.floor is None else f", floor {self.floor:.4f}"
        return (
            f"val_loss {val_loss:.4f}{floor} (nats per token over the whole validation split; perplexity "
            f"{metrics['perplexity']:.2f}, {metrics['bits_per_byte']:.3f} bits per byte)"
        )

    def next_command(self, run: Path) -> str:
        return command("sample", run, "--interactive")


def short_text_note(length: int, context_length: int) -> str:
    """A note for the user on why training windows are shorter than the context."""
    return f"windows  of {length:,} tokens, because the text is shorter than the context of {context_length:,}"


def text_splits(split: str) -> tuple[str, ...]:
    """The splits of a `TextSource`; "all" is both. Raises UserError for one that it does not have."""
    if split == "all":
        return SPLITS
    if split not in SPLITS:
        raise UserError(f"text has the splits {' and '.join(SPLITS)}, not {split!r}.")
    return (split,)
