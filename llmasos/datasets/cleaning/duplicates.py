"""Duplicates, exact and near: MinHash signatures, cut into bands so that not all pairs have to be compared.

The similarity of two texts is that of their sets A and B of shingles, runs of five successive words (Broder 1997):

    J = |A ∩ B| / |A ∪ B|

In a random order of all shingles, both sets have the same first element with probability J. A text's first elements in
k = 64 such orders are its *signature*, and the fraction of equal ones in two signatures is an estimate of J with a
standard deviation of √(J·(1 − J)/k), at most 0.06. An order is a random hash function, its first element the minimum.

Comparing all pairs takes too long. A signature is cut into b = 16 bands of r = 4; only texts with an equal band are
compared (Indyk & Motwani 1998). Two texts have one with probability 1 − (1 − Jʳ)ᵇ: 0.9998 for J = 0.8, and 0.03 for
0.2.
"""

import re
import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b

import numpy as np

SHINGLE = 5  # words
BANDS, ROWS = 16, 4
SIGNATURE = BANDS * ROWS
SLICE = 1 << 20  # characters of a long text that are processed at a time

_rng = np.random.default_rng(20)  # any seed; a fixed one, so that a corpus is always cleaned in the same way
FACTORS = _rng.integers(0, 2**63, SIGNATURE, dtype=np.uint64) * np.uint64(2) + np.uint64(1)  # odd
OFFSETS = _rng.integers(0, 2**63, SIGNATURE, dtype=np.uint64)
MIXERS = _rng.integers(0, 2**63, SHINGLE, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

_words = re.compile(r"\w+")
ASCII_WORDS = bytes(ord(chr(i).lower()) if re.match(r"\w", chr(i)) else ord(" ") for i in range(128)) + bytes(128)


def slices(text: str) -> Iterator[str]:
    """A text in slices of about a million characters, cut after white space where there is some."""
    start = 0
    while start < len(text):
        stop = start + SLICE
        if stop < len(text):
            space = max(text.rfind(" ", start + SLICE // 2, stop), text.rfind("\n", start + SLICE // 2, stop))
            stop = space + 1 if space >= 0 else stop
        yield text[start:stop]
        start = stop


def exact_key(text: str) -> int:
    """A 64-bit hash that is equal for two texts that differ only in case and white space."""
    digest = blake2b(digest_size=8)
    for part in slices(text):
        digest.update((" ".join(part.casefold().split()) + " ").encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "little")


class WordHashes(dict[bytes, int]):
    """A 32-bit hash of each word, kept, since most words of a text are frequent."""

    def __missing__(self, word: bytes) -> int:
        if len(self) >= 1 << 18:
            self.clear()
        self[word] = hashed = zlib.crc32(word)
        return hashed


word_hash = WordHashes().__getitem__


def words_of(text: str) -> Sequence[bytes]:
    """The words of a text in lower case, as UTF-8."""
    if text.isascii():  # several times faster
        return text.encode().translate(ASCII_WORDS).split()
    return [word.encode("utf-8", "surrogatepass") for word in _words.findall(text.casefold())]


def shingle_hashes(words: Sequence[bytes]) -> np.ndarray:
    """One 64-bit hash for every five successive words, (S,) uint64; a shorter text is one shingle."""
    hashes = np.fromiter(map(word_hash, words), np.uint64, len(words))
    n = max(1, len(words) - SHINGLE + 1)
    mixed = np.zeros(n, np.uint64)
    for i in range(min(SHINGLE, len(words))):
        mixed += (hashes[i : i + n] + np.uint64(i)) * MIXERS[i]  # modulo 2⁶⁴
    return mixed


def signature(text: str) -> np.ndarray:
    """The MinHash signature of a text, (64,) uint32: for each hash function, the smallest hash of its shingles.

    The functions are x ↦ the upper half of a·x + b modulo 2⁶⁴ with a odd (Dietzfelbinger et al. 1997).
    """
    smallest = np.full(SIGNATURE, 2**32 - 1, np.uint64)
    for part in slices(text) if text else [text]:
        words = words_of(part)
        for first in range(0, len(words) or 1, 4096):  # in parts that stay in the processor's cache
            shingles = shingle_hashes(words[first : first + 4096 + SHINGLE - 1])
            hashes = (FACTORS[:, None] * shingles + OFFSETS[:, None]) >> np.uint64(32)  # (64, S)
            np.minimum(smallest, hashes.min(axis=1), out=smallest)
    return smallest.astype(np.uint32)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """The estimate of J from two signatures (64,): the fraction of equal values."""
    return float((first == second).mean())


def chance_to_be_compared(jaccard: float) -> float:
    """The probability that two texts of this Jaccard similarity have an equal band."""
    return 1 - (1 - jaccard**ROWS) ** BANDS


def find_exact(keys: np.ndarray) -> np.ndarray:
    """Which of N texts have the key of an earlier one: (N,) uint64 → (N,) bool."""
    _, first = np.unique(keys, return_index=True)
    is_duplicate = np.ones(len(keys), bool)
    is_duplicate[first] = False
    return is_duplicate


def band_keys(signatures: np.ndarray, band: int) -> np.ndarray:
    """One 64-bit hash of a band of each signature: (N, 64) uint32 → (N,) uint64. Sorting these takes less than rows."""
    keys = np.empty(len(signatures), np.uint64)
    for start in range(0, len(keys), 1 << 14):
        rows = signatures[start : start + (1 << 14), band * ROWS : (band + 1) * ROWS]
        keys[start : start + (1 << 14)] = (rows * MIXERS[:ROWS]).sum(axis=1)  # modulo 2⁶⁴
    return keys


def find_near(signatures: np.ndarray, threshold: float) -> np.ndarray:
    """For each of N texts, the index of an earlier text that it nearly equals, (N,) int64; -1 = none.

    In each band, a text is compared with the first text of its bucket. So one text of a group of copies stays, and only
    one band is in memory at a time.

    Args:
        signatures: (N, 64) uint32; may be a memory map.
        threshold: the smallest similarity at which two texts count as equal.
    """
    original = np.full(len(signatures), -1, np.int64)
    for band in range(BANDS):
        _, first, inverse = np.unique(band_keys(signatures, band), return_index=True, return_inverse=True)
        earliest = first[inverse]
        candidates = np.flatnonzero(earliest < np.arange(len(signatures)))
        for start in range(0, len(candidates), 1 << 14):
            chunk = candidates[start : start + (1 << 14)]
            equal = (signatures[chunk] == signatures[earliest[chunk]]).mean(axis=1) >= threshold
            copies = chunk[equal & (original[chunk] < 0)]
            original[copies] = earliest[copies]
    return original
