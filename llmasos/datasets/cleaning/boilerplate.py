"""Boilerplate: lines that occur in many documents of a corpus, such as menus, cookie banners and copyright lines."""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

AT_LEAST = 10  # a line in fewer documents is never boilerplate


def line_keys(text: str) -> set[bytes]:
    """The keys of a document's lines, each once; blank lines have none. A text of a single line has none either.

    A document that is one line and occurs often is a duplicate, not boilerplate.
    """
    lines = {line.strip() for line in text.split("\n")} - {""}
    return {line_key(line) for line in lines} if len(lines) > 1 else set()


def line_key(line: str) -> bytes:
    """An 8-byte hash of a line."""
    return blake2b(line.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()


class LineCounter:
    """Counts the documents in which each line occurs, in bounded memory (Misra & Gries 1982).

    Whenever the table is full, every count is reduced by one, and lines at zero are forgotten: nearly all of them,
    since most lines occur in one document. A count is then too low by at most `taken_off`.
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
        """The keys of the lines that occur in at least this fraction of the documents, and in at least ten."""
        least = max(AT_LEAST, fraction * n_documents) - self.taken_off
        return frozenset(key for key, n in self.counts.items() if n >= max(2, least))


def without_boilerplate(text: str, boilerplate: frozenset[bytes]) -> str:
    """The text without its boilerplate lines, and without the blank lines that this leaves at its ends."""
    if not boilerplate or "\n" not in text:
        return text
    lines = text.split("\n")
    kept = [line for line in lines if not line.strip() or line_key(line) not in boilerplate]
    return text if len(kept) == len(lines) else "\n".join(kept).strip("\n")
