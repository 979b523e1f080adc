"""Text to token ids on disk, once: little-endian arrays that are memory-mapped, so a corpus can exceed the memory.

Each pair of a source and a tokenizer has a folder `tokens/NAME-KIND-KEY`, whose key is a hash of both fingerprints:
other text or another tokenizer gets another folder, and nothing is ever out of date. It holds

    train.bin, val.bin    the ids, uint16 if the vocabulary fits, else uint32
    counts.json           their origin, the number of tokens, bytes, characters and documents, and checksums

Each document is followed by the tokenizer's end-of-text. A single plain text has no end-of-text, neither between its
pieces nor at its end: Tiny Shakespeare at character level has exactly one token for each character.

The folder is written under a temporary name and renamed, so a killed build leaves nothing that could be mistaken for a
complete one. The arrays are written as files, not through a memory map: a full disk is then an error message and does
not kill the process (a write to a mapped page without room on the disk is a bus error).
"""

import hashlib
import itertools
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from llmasos.console import progress_bar, say
from llmasos.datasets.paths import cache_folder as default_cache_folder
from llmasos.datasets.source import SPLITS, TextSource
from llmasos.storage import read_json, write_folder
from llmasos.storage.checksums import find_corruption, seal
from llmasos.storage.lock import lock
from llmasos.tokenizers.encode_iterable import encode_iterable

COUNTS = "counts.json"
FORMAT = 3  # increase it when the layout, the splits or the cutting into pieces change; older folders are then ignored


class Encoder(Protocol):
    """The part of a tokenizer that this file needs."""

    kind: str
    vocab_size: int

    @property
    def end_of_text(self) -> int: ...

    def encode_array(self, text: str) -> np.ndarray: ...

    def fingerprint(self) -> str: ...


@dataclass
class TokenSplit:
    """The tokens of one split, and the size of the text that they encode.

    Attributes:
        tokens: (N,) uint16 or uint32, read-only, on disk.
        n_bytes: UTF-8 bytes of the text; bits per byte divide by it.
        n_characters: Unicode code points of the text.
        n_documents: the number of end-of-text tokens; 0 for a single plain text.
        parts: the number of tokens from each part of a mixture.
    """

    tokens: np.ndarray
    n_bytes: int
    n_characters: int
    n_documents: int
    parts: tuple[int, ...] = ()


@dataclass
class TokenData:
    """Both splits of a corpus as tokens, and the folder that holds them."""

    train: TokenSplit
    val: TokenSplit
    folder: Path


def build_tokens(
    source: TextSource, tokenizer: Encoder, cache_folder: Path | str | None = None, progress: bool = True
) -> TokenData:
    """Return a source's text as memory-mapped token ids, building them if they are not in the cache.

    Args:
        source: the text.
        tokenizer: the tokenizer.
        cache_folder: the folder for the ids; by default `llmasos.datasets.paths.cache_folder()`.
        progress: whether to show a progress bar while building, on a terminal or in a notebook.

    Raises:
        UserError: the text cannot be read, or the disk is full; nothing half-built is left behind.
    """
    key = hashlib.sha256(f"{FORMAT} {source.fingerprint()} {tokenizer.fingerprint()}".encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]+", "-", source.name)[:60]
    folder = Path(cache_folder or default_cache_folder()) / "tokens" / f"{name}-{tokenizer.kind}-{key}"
    if data := _open(folder):
        return data
    message = f"another process is tokenizing {source.name}; waiting for it."
    with lock(folder.with_name(f".{folder.name}.lock"), partial(say, message, error=True)):
        if data := _open(folder, report=True):  # built by the process that held the lock
            return data
        with write_folder(folder, keep_others=True) as temporary:
            _build(source, tokenizer, temporary, progress)
    data = _open(folder)
    assert data, f"{folder} was written but cannot be opened"
    return data


def _build(source: TextSource, tokenizer: Encoder, folder: Path, progress: bool) -> None:
    """Write the arrays and the counts of both splits."""
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 1 << 16 else "<u4")
    counts = {}
    title, hidden = f"tokenizing {source.name}", None if progress else True
    with progress_bar(total=source.size(), unit="B", unit_scale=True, desc=title, disable=hidden) as bar:
        for split in SPLITS:
            counts[split] = _build_split(source, tokenizer, split, folder / f"{split}.bin", dtype, bar)
    origin = {"source": source.name, "source_fingerprint": source.fingerprint()}
    origin |= {"tokenizer": tokenizer.kind, "tokenizer_fingerprint": tokenizer.fingerprint()}
    seal(folder / COUNTS, {"format": FORMAT, "dtype": dtype.str, **origin, "splits": counts})


def _build_split(
    source: TextSource, tokenizer: Encoder, split: str, path: Path, dtype: np.dtype, bar: Any
) -> dict[str, Any]:
    """Write the array of one split and return its counts."""

    end_of_text = np.array([tokenizer.end_of_text], dtype).tobytes()
    n_tokens = n_bytes = n_characters = n_documents = 0
    parts: list[int] = []
    with open(path, "wb") as file:
        for stream in source.streams(split):
            n_before = n_tokens
            pieces, copies = itertools.tee(stream)  # only the pieces being encoded are held
            arrays = encode_iterable(tokenizer, (piece.text for piece in copies))
            for (text, ends_document), ids in zip(pieces, arrays, strict=True):
                if len(ids) and int(ids.max()) >= tokenizer.vocab_size:
                    raise ValueError(
                        f"the tokenizer gave id {ids.max()}, but its vocabulary has {tokenizer.vocab_size}."
                    )
                file.write(ids.astype(dtype).tobytes())
                if ends_document:
                    file.write(end_of_text)
                text_bytes = len(text) if text.isascii() else len(text.encode("utf-8"))
                n_tokens += len(ids) + ends_document
                n_bytes += text_bytes
                n_characters += len(text)
                n_documents += ends_document
                bar.update(text_bytes)
            parts.append(n_tokens - n_before)
    return {"tokens": n_tokens, "bytes": n_bytes, "characters": n_characters, "documents": n_documents, "parts": parts}


def _open(folder: Path, report: bool = False) -> TokenData | None:
    """Map the arrays of a finished folder; return None if it is missing or damaged, and report that with `report`."""
    if not folder.is_dir():
        return None
    if reason := find_corruption(folder / COUNTS):
        if report:
            say(f"{folder} is damaged; building it again: {reason}.", error=True)
        return None
    record = read_json(folder / COUNTS)
    dtype = np.dtype(record["dtype"])
    splits = {}
    for split in SPLITS:
        counts, path = record["splits"][split], folder / f"{split}.bin"
        # An empty file cannot be mapped.
        tokens = np.memmap(path, dtype, mode="r") if counts["tokens"] else np.empty(0, dtype)
        parts = tuple(counts.get("parts", [counts["tokens"]]))
        splits[split] = TokenSplit(tokens, counts["bytes"], counts["characters"], counts["documents"], parts)
    return TokenData(splits["train"], splits["val"], folder)
