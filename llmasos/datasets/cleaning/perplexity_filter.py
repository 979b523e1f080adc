"""The perplexity filter: how unlike a reference a text is, by its perplexity under an n-gram model.

A model of text that is known to be good gives other good text a low perplexity, and a high one to noise, misspelled
words and other languages (the filter of Wenzek et al. 2020, "CCNet", with a smaller model). The n-grams are runs of
characters, so a misspelled word is unlikely even though no list of words says so. Their probabilities are interpolated
with those of shorter ones (Witten & Bell 1991; Chen & Goodman 1999, equation 16):

    p_k(c | h) = (n(h c) + u(h) · p_{k-1}(c | h')) / (n(h) + u(h))

where n counts the reference, h is the context of k - 1 characters, h' the same without its first, and u(h) the number
of different characters that follow h there. p₀ is uniform. The perplexity is that of a character: the exponential of
the mean of -log p, so that a model of other units, such as a GPT, is comparable if its nats are divided by the
characters, too.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from llmasos.datasets.cleaning.trigrams import characters

ORDER = 6  # characters of the longest n-gram; ORDER · BITS must be at most 64
BITS = 10  # of a character in the key of an n-gram
SLICE = 1 << 17  # characters that are scored at a time
LONG = 100_000  # characters; the beginning of a longer text is enough
LARGEST_REFERENCE = 4_000_000  # characters; more would not change the probabilities much

Score = Callable[[Sequence[str]], Sequence[float] | np.ndarray]  # texts → nats per character of each


class NgramModel:
    """Probabilities of characters, each given the five before it.

    >>> model = NgramModel(["the cat sat on the mat"] * 9)
    >>> [bool(nats < 1) for nats in model(["the cat sat", "teh cta sta"])]
    [True, False]

    Args:
        texts: the reference, of which at most four million characters are read. A character that is not among its 1,022
            most frequent ones is "unknown", a character as improbable as one that was never seen.
    """

    def __init__(self, texts: Iterable[str]):
        codes = np.concatenate([characters("\n" * (ORDER - 1)), *map(characters, _beginning(texts))])
        alphabet, counts = np.unique(codes, return_counts=True)
        alphabet = alphabet[np.argsort(-counts, kind="stable")][: (1 << BITS) - 2]
        self.id_of = np.zeros(0x110000, np.uint16)  # 0 = unknown
        self.id_of[alphabet] = np.arange(1, len(alphabet) + 1)
        self.uniform = math.log(len(alphabet) + 1)  # nats
        ids = self.id_of[codes].astype(np.uint64)
        self.grams: list[tuple[np.ndarray, np.ndarray]] = []  # of k = 1 … ORDER: keys, sorted, and their nats
        self.contexts: list[tuple[np.ndarray, np.ndarray]] = []  # keys, sorted, and the nats of leaving them
        shorter = np.zeros(0)
        for k in range(1, ORDER + 1):
            keys, n = np.unique(_keys(ids, k)[ORDER - 1 :], return_counts=True)
            contexts, first, unique = np.unique(keys >> np.uint64(BITS), return_index=True, return_counts=True)
            total = np.add.reduceat(n, first)  # n(h); unique is u(h)
            suffix = np.exp(-shorter[np.searchsorted(self.grams[-1][0], _last(keys, k - 1))]) if k > 1 else None
            below = np.full(len(keys), math.exp(-self.uniform)) if suffix is None else suffix  # p_{k-1}
            u, at = np.repeat(unique, unique), np.repeat(total, unique)  # of each n-gram's context
            shorter = -np.log((n + u * below) / (at + u))
            self.grams.append((keys, shorter))
            self.contexts.append((contexts, np.log((total + unique) / unique)))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The mean -log p of each text's characters in nats, (n,); 0 for an empty one. Each begins after blank lines.

        Of a text of more than 100,000 characters, only the beginning is read.
        """
        ids = [self.id_of[characters("\n" * (ORDER - 1) + text[:LONG])] for text in texts]
        means = np.zeros(len(texts))
        first = 0
        while first < len(texts):  # many short texts at a time
            last, n = first + 1, len(ids[first])
            while last < len(texts) and n + len(ids[last]) <= SLICE:
                n += len(ids[last])
                last += 1
            nats = self._nats(np.concatenate(ids[first:last]).astype(np.uint64))
            start = 0
            for i in range(first, last):
                stop = start + len(ids[i])
                if stop - start >= ORDER:
                    means[i] = nats[start + ORDER - 1 : stop].mean()
                start = stop
            first = last
        return means

    def _nats(self, ids: np.ndarray) -> np.ndarray:
        """-log p of each character, (T,) → (T,); for the first ones, with less context, it is meaningless."""
        longest = _keys(ids, ORDER)
        nats = np.zeros(len(longest))
        left = np.arange(len(longest))  # the places whose n-gram has not been seen so far
        for k in range(ORDER, 0, -1):
            keys = _last(longest[left], k)
            seen, values = _look_up(self.grams[k - 1], keys)
            nats[left[seen]] += values[seen]
            left, keys = left[~seen], keys[~seen]
            known, leaving = _look_up(self.contexts[k - 1], keys >> np.uint64(BITS))
            nats[left] += np.where(known, leaving, 0.0)
        nats[left] += self.uniform
        return nats


def _beginning(texts: Iterable[str]) -> Iterator[str]:
    """The texts with blank lines between them, up to the largest size of a reference."""
    n = 0
    for text in texts:
        yield text[: LARGEST_REFERENCE - n] + "\n" * (ORDER - 1)
        n += len(text)
        if n >= LARGEST_REFERENCE:
            return


def _keys(ids: np.ndarray, k: int) -> np.ndarray:
    """For each place the last k characters in one number, BITS bits each: (T,) uint64; at the beginning fewer."""
    keys = np.zeros(len(ids), np.uint64)
    for distance in range(k - 1, -1, -1):
        keys <<= np.uint64(BITS)
        keys[distance:] |= ids[: len(ids) - distance]
    return keys


def _last(keys: np.ndarray, k: int) -> np.ndarray:
    """The last k characters of longer n-grams."""
    return keys & np.uint64((1 << (BITS * k)) - 1)


def _look_up(table: tuple[np.ndarray, np.ndarray], keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which keys a sorted table has (n,) bool, and their values (n,); others have any value."""
    known, values = table
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return known[at] == keys, values[at]
