"""Pages of a key/value cache: which are free, who uses them, and what is in them. Only numbers; no keys, no values.

A sequence that gets room for its longest possible text leaves most of it empty. So memory is cut into pages of a few
tokens, as an operating system does it, and a sequence gets one more page when its last one is full (Kwon et al. 2023,
"PagedAttention", section 4). Its **page table** is the list of its pages: position p is in page p // page_size of the
list, at place p mod page_size. At most page_size - 1 places of a text are empty.

**Shared prefixes.** Keys and values of a token depend on the tokens up to it and on nothing after it, so two texts with
the same beginning can use the same pages. Only whole pages are shared: nothing is ever written into them again, so no
copy has to be made when texts part, and a page is free again when the last text that uses it has ended.

**How a known prefix is found.** A page is remembered by a hash of its tokens *and of the hash of the page before it*:

    h₁ = H(tokens of page 1)      h₂ = H(h₁, tokens of page 2)      …

so equal hashes mean equal texts from the beginning on, and a new prompt is compared page by page until one is unknown.
H is cryptographic (BLAKE2b, 128 bits): nobody can make a prompt that meets the pages of another one by chance or by
intent. A page that is free keeps its content until it is given away, and can be found as long; those freed longest ago
are given away first.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b


class PagePool:
    """`n_pages` pages of `page_size` tokens, and how many sequences use each of them.

    >>> pool = PagePool(n_pages=4, page_size=2)
    >>> pages = pool.allocate(2)
    >>> pool.remember(pages, [7, 8, 9, 6])
    >>> pool.find([7, 8, 9, 5, 1]) == pages[:1]  # the second page is another one
    True

    Args:
        n_pages: the largest number of pages.
        page_size: tokens in a page.

    Attributes:
        n_used: how many pages have been given out at least once: memory is needed for pages 0 … n_used - 1.
    """

    def __init__(self, n_pages: int, page_size: int):
        self.n_pages, self.page_size, self.n_used = n_pages, page_size, 0
        self._n_readers: list[int] = []  # of each page that has been used
        self._freed: dict[int, None] = {}  # pages without a reader, those freed longest ago first
        self._hashes: dict[int, bytes] = {}  # page → hash of the text up to its end, if it is full and computed
        self._pages: dict[bytes, int] = {}  # and back; of pages with equal content, one

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
        """Take n free pages for one sequence. Their content is forgotten.

        Raises:
            ValueError: there are not so many.
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
        """Give pages that `find` found to one sequence more."""
        for page in pages:
            self._n_readers[page] += 1
            self._freed.pop(page, None)

    def free(self, pages: Sequence[int]) -> None:
        """Take pages from one sequence; the last ones of a text are given away before the first ones."""
        for page in reversed(pages):
            self._n_readers[page] -= 1
            if self._n_readers[page] == 0:
                self._freed[page] = None

    def is_known(self, page: int) -> bool:
        """Whether the content of a page is remembered."""
        return page in self._hashes

    def remember(self, pages: Sequence[int], ids: Sequence[int]) -> None:
        """Let the full ones among the pages of a text be found; a page that is known already is left as it is.

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
        """The pages of the longest known prefix of a text, whole pages only."""
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
