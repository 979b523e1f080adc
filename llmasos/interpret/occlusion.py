"""Occlusion: how much of what a model says hangs on each word? Leave the word out and ask again.

Zeiler & Fergus (2014, section 4.2) covered pieces of a picture to see which ones a classifier needs; Li et al. (2016,
"Understanding Neural Networks through Representation Erasure") did the same to words. It needs nothing but the model's
own answers, so it is right by construction about one question only: what happens without this word? A text that says
a thing twice shows little influence for either word, because the other is still there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import nn

from llmasos.errors import UserError
from llmasos.tasks import classify
from llmasos.tokenizers import Tokenizer

MAX_WORDS = 256  # the model reads the text once more for each of its words


class Influence(NamedTuple):
    """What hangs on one word.

    Attributes:
        start, end: where it stands: the word is `whole[start:end]`.
        text: the word.
        influence: how much the score falls without it; below zero: the score rises.
    """

    start: int
    end: int
    text: str
    influence: float


def occlusion(tokenizer: Tokenizer, text: str, score: Callable[[list[str]], Sequence[float]]) -> list[Influence]:
    """How much a score of a text falls when each of its words is left out.

    >>> from llmasos.tokenizers import train_tokenizer
    >>> [(w.text, w.influence) for w in occlusion(train_tokenizer("byte", []), "a cat", lambda texts: map(len, texts))]
    [('a', 1), ('cat', 4)]

    Args:
        tokenizer: decides what a word is.
        text: of at most 256 words.
        score: from N texts to N numbers.

    Returns:
        One for each word, in the order of the text.

    Raises:
        UserError: the text has more words.
    """
    pieces = word_pieces(tokenizer, text)
    if len(pieces) > MAX_WORDS:
        raise UserError(
            f"the text has {len(pieces)} words, and the influence of each is found by reading the text without it: "
            f"that is done for at most {MAX_WORDS}. Give a shorter text, or do not ask for the influence of its words."
        )
    whole, *rest = score([text, *(text[:start] + text[end:] for start, end in pieces)])
    found = []
    for (start, end), without in zip(pieces, rest, strict=True):
        word = text[start:end].strip()  # a bpe token may bring along the space before the word
        start += text[start:end].find(word)
        found.append(Influence(start, start + len(word), word, whole - without))
    return found


def label_evidence(model: nn.Module, tokenizer: Tokenizer, text: str, label: str | None = None) -> list[Influence]:
    """How much the probability of a label falls when each word of the text is left out.

    Args:
        model: a `SequenceClassifier`, in any mode.
        tokenizer: the one it was trained with.
        text: of at most 256 words.
        label: one of `model.config.labels`; None = the likeliest.

    Raises:
        UserError: the model has no classifier, or no such label, or the text has more words.
    """
    if label is not None and label not in model.config.labels:
        raise UserError(f"there is no label {label!r}; the model knows {', '.join(model.config.labels) or 'none'}.")

    def score(texts: list[str]) -> list[float]:
        probabilities = classify(model, tokenizer, texts)  # (N, n_labels), the whole text first
        number = int(probabilities[0].argmax()) if label is None else model.config.labels.index(label)
        return probabilities[:, number].tolist()

    return occlusion(tokenizer, text, score)


def word_pieces(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """Where each word's tokens stand in the text: (start, end) in characters. White space alone is no word."""
    spans, pieces = tokenizer.encode_with_offsets(text), {}
    for start, end, word in zip(spans.starts, spans.ends, spans.words, strict=True):
        pieces[word] = (pieces.get(word, (start, end))[0], end)
    return [(start, end) for start, end in pieces.values() if text[start:end].strip()]
