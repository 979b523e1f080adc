"""Token classification: predict a label for every word, for example to find names (Devlin et al. 2019, section 5.3).

A word may be several tokens. Its label is learned and predicted at the first of them; the others are not targets:

    words     Grandmother     saw    Kleinwitz
    tokens    grand ##mother  saw    klein ##wi ##tz
    targets   B-PER    -      O      B-LOC  -    -

A text that is longer than the context is split into overlapping windows, because the first words of a window lack their
left context. Each word is a target in exactly one window, the one with the most context around it:

    tokens    a b c d e f g h i j         with room for 6 tokens and an overlap of 2
    windows   a b c d e f                 targets: a b c d e
                      e f g h i j         targets: f g h i j
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.datasets.examples import TaggedText
from llmasos.errors import UserError
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng, collate_inputs
from llmasos.tokenizers import EncodedInput, Tokenizer


class TextWindow(NamedTuple):
    """A part of a text.

    Attributes:
        inputs: its tokens, with special ones around them.
        words: the indices of the text's words that are targets here, in order.
        positions: for each of them, the index of its first token in `inputs.ids`.
        labels: for each of them the index of its label, or IGNORE_INDEX if it is not known.
    """

    inputs: EncodedInput
    words: list[int]
    positions: list[int]
    labels: list[int]


class TokenClassification:
    """An example is a `TextWindow`; the loss is the cross-entropy -log p(label | text) of each word, in nats.

    >>> from llmasos.datasets.tagging import tagged_words
    >>> from llmasos.tokenizers import train_tokenizer
    >>> objective = TokenClassification(train_tokenizer("byte", []), ["O", "B-PER", "I-PER"])
    >>> (window,) = objective.encode(tagged_words(["Ann", "ran"], ["B-PER", "O"]), context_length=16)
    >>> window.positions, window.labels
    ([0, 4], [1, 0])
    >>> objective.collate([window])["labels"].tolist()
    [[1, -100, -100, -100, 0, -100, -100, -100]]

    Args:
        tokenizer: encodes the texts.
        labels: in the order of the model's outputs (`config.labels`).
    """

    def __init__(self, tokenizer: Tokenizer, labels: Sequence[str]):
        self.tokenizer, self.labels = tokenizer, tuple(labels)
        self._index = {label: index for index, label in enumerate(self.labels)}

    def encode(self, example: TaggedText, context_length: int) -> list[TextWindow]:
        """Encode a text as windows of at most `context_length` tokens.

        Labels unknown to the model are not targets. Neither are words without a token of their own: white space that
        the tokenizer drops, or a punctuation mark that shares a token with the word before it.

        Raises:
            UserError: the context has no room for a few tokens.
        """
        room = context_length - self.tokenizer.n_special_tokens(1)
        if room < 4:
            raise UserError(f"a context of {context_length} tokens has no room for a text; use a longer one.")
        encoded = self.tokenizer.encode_with_offsets(example.text)
        first_tokens = first_token_of_words(encoded.starts, encoded.ends, example.words)
        labels = [self._index.get(label, IGNORE_INDEX) for label in example.labels]
        windows = []
        for begin, end, first, last in window_bounds(len(encoded.ids), room, room // 4):
            inputs = self.tokenizer.build_inputs(encoded.ids[begin:end])
            shift = self.tokenizer.n_special_tokens(1) - 1  # those before the text: [CLS], or none
            words = [word for word, token in enumerate(first_tokens) if first <= token < last]
            positions = [first_tokens[word] - begin + shift for word in words]
            windows.append(TextWindow(inputs, words, positions, [labels[word] for word in words]))
        return windows

    def collate(self, examples: Sequence[TextWindow], rngs: Sequence[MakeRng] = ()) -> Batch:
        """Stack windows to `ids`, `attention_mask`, `segments` and `labels`, all (B, T), padded on the right."""
        batch = collate_inputs([example.inputs for example in examples], self.tokenizer.pad_id)
        labels = torch.full_like(batch["ids"], IGNORE_INDEX)
        for row, example in zip(labels, examples, strict=True):
            row[torch.tensor(example.positions, dtype=torch.long)] = torch.tensor(example.labels, dtype=torch.long)
        return {**batch, "labels": labels}

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The number of words with a known label."""
        return {"label": int((batch["labels"] != IGNORE_INDEX).sum())}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The summed cross-entropy of the words. `model` is a `TokenClassifier` with the same labels."""
        logits, labels = self.predictions(model, batch)
        return {"label": F.cross_entropy(logits.float(), labels, reduction="sum")}

    def predictions(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits (B·T, n_labels) and the labels (B·T,), most of which may be IGNORE_INDEX."""
        logits = model(batch["ids"], batch["attention_mask"], batch["segments"])  # (B, T, n_labels)
        return logits.flatten(0, 1), batch["labels"].flatten()

    @torch.inference_mode()
    def n_correct(self, model: nn.Module, batch: Batch) -> dict[str, int]:
        """The number of words whose label is predicted correctly."""
        logits, labels = self.predictions(model, batch)
        return {"label": int((logits.argmax(dim=1) == labels).sum())}


def first_token_of_words(starts: Sequence[int], ends: Sequence[int], words: Sequence[tuple[int, int]]) -> list[int]:
    """The index of the first token of each word; -1 for a word without one of its own.

    >>> first_token_of_words([0, 3, 5, 6], [3, 5, 6, 9], [(0, 5), (5, 6), (7, 9), (9, 9)])  # the last token is " is"
    [0, 2, 3, -1]

    Args:
        starts, ends: character offsets of each token.
        words: (start, end) of each word, in order.
    """
    results, used = [], -1
    for start, end in words:
        token = bisect_right(ends, start)
        has_token = used < token < len(starts) and starts[token] < end
        results.append(token if has_token else -1)
        used = max(used, results[-1])
    return results


def window_bounds(n: int, room: int, overlap: int) -> list[tuple[int, int, int, int]]:
    """Windows over n tokens: (begin, end, first, last), where the tokens first … last - 1 are the window's targets.

    >>> window_bounds(10, 6, 2)
    [(0, 6, 0, 5), (4, 10, 5, 10)]
    """
    begins = list(range(0, max(1, n - overlap), room - overlap))
    bounds = []
    for number, begin in enumerate(begins):
        first = begin + overlap // 2 if number else 0
        is_last = number == len(begins) - 1
        last = n if is_last else begins[number + 1] + overlap // 2
        bounds.append((begin, min(begin + room, n), first, last))
    return bounds
