"""Boilerplate: lines that stand in many documents of a corpus, such as menus, cookie notes and copyright lines."""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

AT_LEAST = 10  # documents, however small the corpus is


def line_keys(text: str) -> set[bytes]:
    """The keys of a document's lines, each once; blank lines have none. A text of a single line has none either.

    A document that is one line and occurs often is a duplicate, not boilerplate.
    """
    lines = {line.strip() for line in text.split("\n")} - {""}
    return {line_key(line) for line in lines} if len(lines) > 1 else set()


def line_key(line: str) -> bytes:
    """8 bytes that stand for a line."""
    return blake2b(line.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()


class LineCounter:
    """Counts in how many documents each line stands, in bounded memory (Misra & Gries 1982).

    Whenever the table is full, one is taken off every count, and lines at zero are forgotten: nearly all of them, since
    most lines stand in one document. A count is then too low by at most `taken_off`.
    """

    def __init__(self, max_lines: int = 500_000):
        self.counts: Counter[bytes] = Counter()
        self.max_lines = max_lines
        self.taken_off = 0

    def add(self, keys: Iterable[bytes]) -> None:
        """Count the lines of one document."""
        self.counts.update(keys)
        while len(self.counts) > self.max_lines:
            self.taken_off += 1
            self.counts = Counter({key: n - 1 for key, n in self.counts.items() if n > 1})

    def frequent(self, n_documents: int, fraction: float) -> frozenset[bytes]:
        """The lines that stand in at least this fraction of the documents, and in ten."""
        least = max(AT_LEAST, fraction * n_documents) - self.taken_off
        return frozenset(key for key, n in self.counts.items() if n >= max(2, least))


def without_boilerplate(text: str, boilerplate: frozenset[bytes]) -> str:
    """The text without the lines of boilerplate, and without the blank lines that this leaves at its ends."""
    if not boilerplate or "\n" not in text:
        return text
    lines = text.split("\n")
    kept = [line for line in lines if not line.strip() or line_key(line) not in boilerplate]
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")
