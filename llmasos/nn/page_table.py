"""Bookkeeping for a paged key/value cache: which pages are free, which are shared, and what they hold. No tensors here.

Reserving memory for the longest possible text of each sequence would leave most of it empty. So memory is divided into
pages of a few tokens, as in an operating system, and a sequence gets another page when its last one is full (Kwon et
al. 2023, "PagedAttention", section 4). Its **page table** is the list of its pages: position p is in page p //
page_size of the list, at place p mod page_size. At most page_size - 1 places per sequence are wasted.

**Shared prefixes.** Keys and values of a token depend on the tokens up to it and on nothing after it, so two texts with
the same beginning can use the same pages. Only full pages are shared: they are never written to again, so nothing has
to be copied where the texts diverge, and a page becomes free when the last sequence that uses it has ended.

**How a known prefix is found.** A page is remembered by a hash of its tokens *and of the hash of the page before it*:

    h₁ = H(tokens of page 1)      h₂ = H(h₁, tokens of page 2)      …

so equal hashes mean equal texts from the start, and a new prompt is looked up page by page until one is unknown. H is
cryptographic (BLAKE2b, 128 bits), so a prompt cannot match another prompt's pages, whether by accident or by design. A
free page keeps its content, and can still be found, until it is allocated again; the least recently freed pages are
reused first.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b


class PagePool:
    """`n_pages` pages of `page_size` tokens, and how many sequences use each of them.

    >>> pool = PagePool(n_pages=4, page_size=2)
    >>> pages = pool.allocate(2)
    >>> pool.remember(pages, [7, 8, 9, 6])
    >>> pool.find([7, 8, 9, 5, 1]) == pages[:1]  # the second page differs
    True

    Args:
        n_pages: the largest number of pages.
        page_size: tokens in a page.

    Attributes:
        n_used: how many pages have been given out at least once: memory is needed for pages 0 … n_used - 1.
    """

    def __init__(self, n_pages: int, page_size: int):
        self.n_pages, self.page_size, self.n_used = n_pages, page_size, 0
        self._n_readers: list[int] = []  # number of sequences using each page
        self._freed: dict[int, None] = {}  # pages in use by no sequence, least recently freed first
        self._hashes: dict[int, bytes] = {}  # page → hash of the text up to its end, if it is full and computed
        self._pages: dict[bytes, int] = {}  # the inverse; of pages with equal content, only one

    @property
    def n_free(self) -> int:
        """How many pages can be allocated."""
        return self.n_pages - self.n_in_use

    @property
    def n_in_use(self) -> int:
        """How many pages belong to at least one sequence."""
        return self.n_used - len(self._freed)

    @property
    def n_shared(self) -> int:
        """How many pages belong to more than one sequence."""
        return sum(n > 1 for n in self._n_readers)

    def pages_for(self, n_tokens: int) -> int:
        """How many pages a text needs: n_tokens / page_size, rounded up."""
        return -(-n_tokens // self.page_size)

    def allocate(self, n: int) -> list[int]:
        """Take n free pages for a sequence. Their previous content is forgotten.

        Raises:
            ValueError: fewer than n pages are free.
        """
        if n > self.n_free:
            raise ValueError(f"{n} pages are needed and {self.n_free} are free")
        return [self._take() for _ in range(n)]

    def _take(self) -> int:
        if not self._freed:
            self._n_readers.append(1)
            self.n_used += 1
            return self.n_used - 1
        page = next(iter(self._freed))
        del self._freed[page]
        self._n_readers[page] = 1
        digest = self._hashes.pop(page, b"")
        if self._pages.get(digest) == page:  # another page may have the same content
            del self._pages[digest]
        return page

    def share(self, pages: Sequence[int]) -> None:
        """Record that another sequence uses these pages, which `find` has returned."""
        for page in pages:
            self._n_readers[page] += 1
            self._freed.pop(page, None)

    def free(self, pages: Sequence[int]) -> None:
        """Release a sequence's pages; the last pages of a text will be reused before the first ones."""
        for page in reversed(pages):
            self._n_readers[page] -= 1
            if self._n_readers[page] == 0:
                self._freed[page] = None

    def is_known(self, page: int) -> bool:
        """Whether the content of a page is remembered."""
        return page in self._hashes

    def remember(self, pages: Sequence[int], ids: Sequence[int]) -> None:
        """Make the full pages of a text available to `find`; pages that are already known are unchanged.

        Args:
            pages: the page table of a sequence.
            ids: its tokens whose keys and values are computed.
        """
        n_full = len(ids) // self.page_size
        n_known = next((i for i in range(n_full, 0, -1) if self.is_known(pages[i - 1])), 0)
        for i in range(n_known, n_full):
            before = self._hashes[pages[i - 1]] if i else b""
            digest = chained_hash(before, self._part(ids, i))
            self._hashes[pages[i]] = digest
            self._pages.setdefault(digest, pages[i])

    def find(self, ids: Sequence[int]) -> list[int]:
        """Return the pages of the longest known prefix of a text, full pages only."""
        pages: list[int] = []
        digest = b""
        while len(ids) >= (len(pages) + 1) * self.page_size:
            digest = chained_hash(digest, self._part(ids, len(pages)))
            if digest not in self._pages:
                break
            pages.append(self._pages[digest])
        return pages

    def _part(self, ids: Sequence[int], i: int) -> Sequence[int]:
        return ids[i * self.page_size : (i + 1) * self.page_size]


def chained_hash(before: bytes, ids: Sequence[int]) -> bytes:
    """The hash of a text by the hash of the pages before its last page (b"" if there are none), and the ids of it."""
    return blake2b(before + array("q", ids).tobytes(), digest_size=16).digest()
