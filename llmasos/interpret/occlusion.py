"""Occlusion: measure how much a model's output depends on each word by leaving it out and predicting again.

Zeiler & Fergus (2014, section 4.2) covered pieces of a picture to see which ones a classifier needs; Li et al. (2016,
"Understanding Neural Networks through Representation Erasure") did the same with words. Occlusion only needs the
model's outputs, and it answers exactly one question: what happens without this word? In a text that says something
twice, both words have little influence, because the other one is still there.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from llmasos.errors import UserError
from llmasos.models import Model
from llmasos.tasks import classify
from llmasos.tokenizers import Tokenizer

MAX_WORDS = 256  # each word costs one more forward pass


class Influence(NamedTuple):
    """The influence of one word.

    Attributes:
        start, end: its position in characters: the word is `text[start:end]` of the whole text.
        text: the word.
        influence: how much the score falls without it; negative if the score rises.
    """

    start: int
    end: int
    text: str
    influence: float


def occlusion(tokenizer: Tokenizer, text: str, score: Callable[[list[str]], Sequence[float]]) -> list[Influence]:
    """The influence of each word on a score of the text: how much the score falls when the word is left out.

    >>> from llmasos.tokenizers import train_tokenizer
    >>> [(w.text, w.influence) for w in occlusion(train_tokenizer("byte", []), "a cat", lambda texts: map(len, texts))]
    [('a', 1), ('cat', 4)]

    Args:
        tokenizer: determines what a word is.
        text: a text of at most 256 words.
        score: a function from N texts to N numbers.

    Returns:
        One item per word, in the order of the text.

    Raises:
        UserError: the text has more words than that.
    """
    pieces = word_pieces(tokenizer, text)
    if len(pieces) > MAX_WORDS:
        raise UserError(
            f"the text has {len(pieces)} words, and the influence of each takes one more forward pass; at most "
            f"{MAX_WORDS} are allowed. Give a shorter text, or do without the influence of its words."
        )
    whole, *rest = score([text, *(text[:start] + text[end:] for start, end in pieces)])
    influences = []
    for (start, end), without in zip(pieces, rest, strict=True):
        word = text[start:end].strip()  # a BPE token may include the space before the word
        start += text[start:end].find(word)
        influences.append(Influence(start, start + len(word), word, whole - without))
    return influences


def label_evidence(model: Model, tokenizer: Tokenizer, text: str, label: str | None = None) -> list[Influence]:
    """The influence of each word on the probability of a label (see `occlusion`).

    Args:
        model: a `SequenceClassifier`, in any mode.
        tokenizer: the one it was trained with.
        text: a text of at most 256 words.
        label: one of `model.config.labels`; None = the most likely one.

    Raises:
        UserError: the model has no classifier or no such label, or the text has more words.
    """
    if label is not None and label not in model.config.labels:
        raise UserError(
            f"there is no label {label!r}; the labels of this model are: {', '.join(model.config.labels) or 'none'}."
        )

    def score(texts: list[str]) -> list[float]:
        probabilities = classify(model, tokenizer, texts)  # (N, n_labels); row 0 is the whole text
        index = int(probabilities[0].argmax()) if label is None else model.config.labels.index(label)
        return probabilities[:, index].tolist()

    return occlusion(tokenizer, text, score)


def word_pieces(tokenizer: Tokenizer, text: str) -> list[tuple[int, int]]:
    """The (start, end) in characters of each word's tokens. White space alone is not a word."""
    encoding = tokenizer.encode_with_offsets(text)
    pieces: dict[int, tuple[int, int]] = {}
    for start, end, word in zip(encoding.starts, encoding.ends, encoding.words, strict=True):
        pieces[word] = (pieces.get(word, (start, end))[0], end)
    return [(start, end) for start, end in pieces.values() if text[start:end].strip()]
