"""Pages: each is free or in use, a prefix is found if and only if its text is equal, nothing leaks."""

import random
from collections import Counter

import pytest

from llmasos.nn import PagePool
from llmasos.nn.page_table import chained_hash


def test_pages_are_given_out_once_and_reused_after_they_are_freed():
    pool = PagePool(3, 4)
    a, b = pool.allocate(2), pool.allocate(1)
    assert len({*a, *b}) == 3 and pool.n_free == 0 and pool.n_in_use == 3
    with pytest.raises(ValueError, match="1 pages are needed and 0 are free"):
        pool.allocate(1)
    pool.free(a)
    assert pool.n_free == 2 and {*pool.allocate(2)} == {*a}


def test_memory_is_needed_only_for_pages_that_were_in_use_at_once():
    pool = PagePool(100, 4)
    for _ in range(5):
        pool.free(pool.allocate(7))
    assert pool.n_used == 7 and pool.n_free == 100


@pytest.mark.parametrize("n_tokens, n_pages", [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_a_text_needs_its_length_over_the_page_size_rounded_up(n_tokens, n_pages):
    assert PagePool(9, 4).pages_for(n_tokens) == n_pages


def test_a_page_is_free_when_its_last_reader_has_gone():
    pool = PagePool(4, 2)
    pages = pool.allocate(2)
    pool.share(pages[:1])
    assert pool.n_shared == 1
    pool.free(pages)
    assert pool.n_in_use == 1 and pool.n_shared == 0
    pool.free(pages[:1])
    assert pool.n_in_use == 0


def test_a_prefix_is_found_by_whole_pages_from_the_beginning():
    pool = PagePool(9, 2)
    pages = pool.allocate(3)
    pool.remember(pages, [1, 2, 3, 4, 5])
    assert pool.find([1, 2, 3, 4, 5, 6]) == pages[:2]  # the third is not full
    assert pool.find([1, 2, 3]) == pages[:1] and pool.find([1]) == pool.find([2, 1, 3, 4]) == []
    assert pool.find([9, 9, 3, 4]) == pool.find([3, 4]) == []  # the same tokens elsewhere are another text
    pool.remember(pages, [1, 2, 3, 4, 5, 6])
    assert pool.find([1, 2, 3, 4, 5, 6]) == pages


def test_a_freed_page_is_known_until_it_is_given_away_and_the_end_of_a_text_goes_first():
    pool = PagePool(3, 2)
    pages = pool.allocate(3)
    pool.remember(pages, range(6))
    pool.free(pages)
    assert pool.find(range(6)) == pages
    pool.share(pool.find(range(2)))
    assert pool.n_in_use == 1 and pool.allocate(1) == pages[2:] and pool.find(range(6)) == pages[:2]


@pytest.mark.parametrize("gone, found", [(0, []), (1, [0])])
def test_of_two_pages_with_one_text_the_first_is_found(gone, found):
    pool = PagePool(2, 2)
    for page in pool.allocate(2):
        pool.remember([page], [1, 2])
    pool.free([gone])
    pool.allocate(1)
    assert pool.find([1, 2]) == found
    pool.free([1 - gone])
    pool.allocate(1)
    assert pool.find([1, 2]) == []


def test_the_hash_is_a_chain():
    one = chained_hash(b"", [1, 2])
    assert chained_hash(one, [3]) == chained_hash(one, (3,)) != chained_hash(b"", [3])
    assert len(one) == 16 and chained_hash(b"", [2, 1]) != one


@pytest.mark.parametrize("seed", range(8))
def test_no_page_leaks_and_none_is_given_to_two_whatever_happens(seed):
    """Compare with a simple model of the pool: the page tables of all sequences, and the texts."""
    draw, pool = random.Random(seed), PagePool(20, 3)
    tables: list[tuple[list[int], list[int]]] = []
    for _ in range(300):
        if draw.random() < 0.55:
            text = [draw.randrange(2) for _ in range(draw.randint(1, 14))]
            known = pool.find(text[:-1])
            for i, page in enumerate(known):  # all sequences with this page begin alike
                live = [ids for pages, ids in tables if page in pages]
                assert all(ids[: 3 * (i + 1)] == text[: 3 * (i + 1)] for ids in live)
            pool.share(known)
            n_new = pool.pages_for(len(text)) - len(known)
            if n_new > pool.n_free:
                pool.free(known)
                continue
            new = pool.allocate(n_new)
            assert not {page for pages, _ in tables for page in pages} & {*new}
            pool.remember([*known, *new], text)
            tables.append(([*known, *new], text))
        elif tables:
            pool.free(tables.pop(draw.randrange(len(tables)))[0])
        readers = Counter(page for pages, _ in tables for page in pages)
        assert pool.n_in_use == len(readers) and pool.n_free == 20 - len(readers)
        assert pool.n_shared == sum(n > 1 for n in readers.values())
    for pages, _ in tables:
        pool.free(pages)
    assert pool.n_in_use == 0 and pool.n_free == 20 and len(pool.allocate(20)) == 20
