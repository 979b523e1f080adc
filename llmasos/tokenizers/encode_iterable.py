"""Encode many texts, one after another, on all cores: for a corpus that does not fit in memory.

Texts are encoded in batches, of which only a few are read ahead, and the ids come in the order of the texts. tiktoken
encodes outside of Python, so threads are enough for it. A tokenizer written in Python encodes in additional processes,
which start only if there is more than a megabyte of text: starting them takes longer than encoding that much.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import numpy as np

from llmasos.errors import UserError, check_number
from llmasos.parallel import in_batches, map_in_processes, map_in_threads, usable_cores

BATCH = 100_000  # characters that are encoded at a time
ALONE = 10  # batches that this process encodes by itself before starting others pays off


class Encoder(Protocol):
    """The part of a tokenizer that this file needs; with `encodes_in_python` set, it can also be pickled."""

    def encode_array(self, text: str) -> np.ndarray: ...


def encode_iterable(
    tokenizer: Encoder, texts: Iterable[str], allow_special: bool = False, workers: int | None = None
) -> Iterator[np.ndarray]:
    """Yield the ids of each text; see `Tokenizer.encode_iterable`."""
    if isinstance(texts, str):  # it would be read as a list of one-character texts
        raise UserError(f"texts is one text ({texts[:20]!r}...) and not several: pass [text], or an open file.")
    if workers is not None:
        check_number("workers", workers, whole=True, at_least=1)
    encode: Callable[..., np.ndarray] = tokenizer.encode_array
    encode_batch = partial(encode_all, partial(encode, allow_special=True) if allow_special else encode)
    batches = in_batches(texts, lambda text: len(text) + 1, BATCH)  # an empty text takes room, too
    n = max(1, int(usable_cores())) if workers is None else workers
    if not getattr(tokenizer, "encodes_in_python", False):
        return itertools.chain.from_iterable(map_in_threads(encode_batch, batches, n))
    return itertools.chain.from_iterable(in_processes(encode_batch, batches, n))


def encode_all(encode: Callable[[str], np.ndarray], texts: list[str]) -> list[np.ndarray]:
    """The ids of a batch of texts."""
    return [encode(text) for text in texts]


def in_processes(
    encode_batch: Callable[[list[str]], list[np.ndarray]], batches: Iterator[list[str]], n: int
) -> Iterator[list[np.ndarray]]:
    """Encode the first batches here, and if there are more, the others in n processes."""
    here = itertools.islice(batches, ALONE if n > 1 and sys.executable else None)
    yield from map(encode_batch, here)
    for first in batches:  # there are more
        yield from map_in_processes(encode_batch, itertools.chain([first], batches), n)
