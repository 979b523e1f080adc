"""Masked diffusion: a BERT that writes texts, by filling in masks until none is left.

    documents → [CLS] document [SEP] → some or all of its tokens become [MASK] → BERT → a bound of -log p(document)

The bound is for a document whose number of tokens L is known. To compare it with the entropy of the text, or with a
GPT, which also decides where a text ends, -log p(L) is added to it: the lengths of the training documents, counted,
tell how probable each length is. A text without documents is cut into rows that fill the context.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from llmasos.console import command
from llmasos.datasets import DocumentRows, Examples, build_tokens
from llmasos.datasets.tokens import TokenData, TokenSplit
from llmasos.errors import UserError
from llmasos.evaluation.intervals import bootstrap, mean_of_column
from llmasos.evaluation.metric import Metric
from llmasos.evaluation.perplexity import check_finite
from llmasos.generation.unmasking import unmask_ids
from llmasos.models import Model, ModelConfig
from llmasos.objectives.masked import MASK
from llmasos.objectives.masked_diffusion import MaskedDiffusion, NoisedText
from llmasos.tasks.language_modeling import PlainTextTask, text_splits
from llmasos.tasks.task import Report, batches
from llmasos.tokenizers import EncodedInput, Tokenizer
from llmasos.training.recipe import Recipe

SHOWN_STEPS = 64  # of the texts that a run shows
STRATA = 8  # a held-out text is masked once in each eighth of 1 … L when it is evaluated


class MaskedDiffusionTask(PlainTextTask):
    """Write a text by filling in masks."""

    unit = "tokens"

    @classmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> MaskedDiffusion:
        return MaskedDiffusion(tokenizer)

    objective: MaskedDiffusion

    @cached_property
    def tokens(self) -> TokenData:
        """The token ids of both splits, on disk."""
        return build_tokens(self.data, self.tokenizer)

    @property
    def longest(self) -> int:
        """The tokens of a text that fit between [CLS] and [SEP]."""
        n = self.config.context_length - self.tokenizer.n_special_tokens(1)
        if n < 1:
            raise UserError(
                f"a context of {self.config.context_length} tokens has no room for a text; use a longer one."
            )
        return n

    def rows(self, split: TokenSplit) -> "WholeTexts":
        """The texts of one split."""
        return WholeTexts(split.tokens, self.longest, self.tokenizer)

    @cached_property
    def train(self) -> Examples:
        rows = self.rows(self.tokens.train)
        return Examples(rows, rows.lengths, self.recipe.training.batch_size)

    @cached_property
    def val(self) -> list[NoisedText]:
        """Each text once, from the shortest to the longest; together they are masked evenly from one token to all."""
        texts = self.by_length(self.tokens.val)
        parts = np.random.default_rng(0).permutation(len(texts)).tolist()
        return [NoisedText(inputs, (part, len(texts))) for inputs, part in zip(texts, parts, strict=True)]

    def by_length(self, split: TokenSplit) -> list[EncodedInput]:
        """The texts of a split, from the shortest to the longest."""
        rows = self.rows(split)
        return [rows[i].inputs for i in np.argsort(rows.lengths, kind="stable")]

    @cached_property
    def length_nats(self) -> np.ndarray:
        """-log p(L) for L = 0 … `longest`, from the counts of the training texts, plus one for each length."""
        counts = np.bincount(self.rows(self.tokens.train).lengths, minlength=self.longest + 1)[1:] + 1.0
        return -np.log(np.append(1.0, counts / counts.sum()))

    @cached_property
    def floor(self) -> float | None:
        """The entropy of the held-out texts in nats per token (ends of text not counted); None if it is not known."""
        information = self.data.information("val")
        return None if information is None else information / int(self.rows(self.tokens.val).lengths.sum())

    def summarize_data(self) -> list[str]:
        train, val = self.rows(self.tokens.train), self.rows(self.tokens.val)
        lines = [
            f"tokens   {self.tokenizer.kind}, vocabulary of {self.tokenizer.vocab_size:,}: {len(train):,} texts of "
            f"{train.lengths.mean():.0f} tokens on average to train on, {len(val):,} held out"
        ]
        if self.floor is not None:
            lines.append(f"floor    {self.floor:.4f} nats per token: the entropy of the held-out text itself")
        return lines

    def metrics(self, val_loss: float) -> dict[str, float]:
        return {} if self.floor is None else {"floor": self.floor}

    def sample(self, model: Model) -> str:
        return self.texts_of(model, 1)[0]

    def texts_of(self, model: Model, n: int) -> list[str]:
        """Texts written by the model, as long as held-out ones, in 64 steps each."""
        middle = self.val[len(self.val) // 2 :][:n]  # of middle length
        mask_id, n_special = self.tokenizer.special_tokens[MASK], self.tokenizer.n_special_tokens(1)
        rows = [self.tokenizer.build_inputs([mask_id] * (len(text.inputs.ids) - n_special)).ids for text in middle]
        seed = self.recipe.training.seed
        written = unmask_ids(model, self.tokenizer, rows, SHOWN_STEPS, temperature=0.7, seed=seed)
        return [self.tokenizer.decode(ids, skip_special=True).strip() for ids in written]

    def evaluate(self, model: Model, split: str = "val") -> Report:
        """The bound in nats per token and in bits per byte, with intervals by bootstrap over the texts."""
        parts = [getattr(self.tokens, name) for name in text_splits(split)]
        nats = np.concatenate([self.nats(model, part) for part in parts])  # (texts, 2)
        n_bytes, (total, n_tokens) = sum(part.n_bytes for part in parts), nats.sum(axis=0)
        low, high = bootstrap(nats, mean_of_column)
        note = f"an upper bound; each text masked {STRATA} times"
        value, factor = total / n_tokens, n_tokens / n_bytes / np.log(2.0)
        return Report([
            Metric("nats per token", value, low, high, int(n_tokens), note, 4),
            Metric("bits per byte", factor * value, factor * low, factor * high, int(n_tokens), note, 4),
        ])  # fmt: skip

    def nats(self, model: Model, split: TokenSplit) -> np.ndarray:
        """For each text its bound, with the cost of its length, and its number of tokens: (texts, 2)."""
        texts = self.by_length(split)
        noised = [NoisedText(text, (i, STRATA)) for text in texts for i in range(STRATA)]
        losses = np.concatenate([
            self.objective.text_losses(model, batch).double().cpu().numpy()
            for _, batch in batches(self.objective, noised, self.recipe.training.seed, model)
        ])  # fmt: skip
        check_finite(losses)
        lengths = np.array([len(text.ids) for text in texts]) - self.tokenizer.n_special_tokens(1)
        return np.stack([losses.reshape(-1, STRATA).mean(axis=1) + self.length_nats[lengths], lengths], axis=1)

    def report(self, model: Model) -> Report:
        """The bound, and three texts by the finished model."""
        texts = "\n\n".join(["Three texts by the model:", *self.texts_of(model, 3)])
        return Report(self.evaluate(model).metrics, samples=[texts])

    def describe_loss(self, val_loss: float) -> str:
        floor = "" if self.floor is None else f", floor {self.floor:.4f}"
        return f"val_loss {val_loss:.4f}{floor} (nats per token, an upper bound without the cost of a text's length)"

    def next_command(self, run: Path) -> str:
        return command("sample", run, "--prompt", " ".join([MASK] * 12), "--unmask-steps", "12")


class WholeTexts(Sequence[NoisedText]):
    """The documents of an array of tokens, each with its special tokens; longer ones are cut. Made when asked for.

    Args:
        tokens: (N,) integers, usually a memory map.
        longest: the number of tokens that fit into one input.
        tokenizer: its end-of-text ends each document and is not part of it. A text without any is one long document.
    """

    def __init__(self, tokens: np.ndarray, longest: int, tokenizer: Tokenizer):
        rows = DocumentRows(tokens, tokenizer.end_of_text, tokenizer.end_of_text, longest)
        stops = rows.stops - (rows.tokens[rows.stops - 1] == tokenizer.end_of_text)  # without the end-of-text
        kept = stops > rows.starts
        self.tokens, self.tokenizer = rows.tokens, tokenizer
        self.starts, self.stops = rows.starts[kept], stops[kept]

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each text, special ones not counted: (texts,)."""
        return self.stops - self.starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, i: int) -> NoisedText:  # type: ignore[override]  # no slices
        return NoisedText(self.tokenizer.build_inputs(self.tokens[self.starts[i] : self.stops[i]]))
