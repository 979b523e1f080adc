"""Training byte-pair encoding: which pairs of adjacent symbols to merge, and in which order.

BPE (Gage 1994; for translation, Sennrich et al. 2016, arXiv:1508.07909; on bytes, Radford et al. 2019) starts with the
256 bytes as symbols and repeats: find the most frequent pair of adjacent symbols in the text, make it a new symbol,
replace every occurrence. The list of merges, in this order, *is* the tokenizer.

Two rules keep it well-behaved. First, the text is split into words by GPT-2's pattern, and no merge crosses a word
boundary, so only the distinct words and their counts matter (`word_counts.py`). Second, ties are broken: of equally
frequent pairs the one with the smaller left id is merged first, then the one with the smaller right id. The result
does not depend on the order of the documents, and equals that of the `tokenizers` package.

`learn_merges_naive` is the definition: it recounts all pairs for each merge. `learn_merges` learns the same merges but
only updates the places that change. Symbol ids: 0 ... 255 are the bytes in GPT-2's order (see `bytes_to_unicode`),
256 + i is merge i. `wordpiece_trainer` uses the same code with another alphabet.
"""

import gc
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from llmasos.tokenizers.bytes_to_unicode import ID_OF_BYTE

BOUNDARY = -1  # between words, so that a word's first and last symbol have neighbors too
MERGED = -2  # the right half of a merged pair


def merge_pair(symbols: Sequence[int], pair: tuple[int, int], new: int) -> list[int]:
    """Return `symbols` with each occurrence of `pair`, from the left, replaced by the symbol `new`.

    >>> merge_pair([7, 7, 7, 8], (7, 7), 256)
    [256, 7, 8]
    """
    merged = []
    position = 0
    while position < len(symbols):
        if tuple(symbols[position : position + 2]) == pair:
            merged.append(new)
            position += 2
        else:
            merged.append(symbols[position])
            position += 1
    return merged


def spell_in_bytes(word: str) -> bytes:
    """Return the symbols of a word before any merge: the id of each byte, in GPT-2's order."""
    return word.encode().translate(ID_OF_BYTE)


def learn_merges_naive(
    word_counts: dict[str, int],
    n_merges: int,
    min_frequency: int = 2,
    spell: Callable[[str], Sequence[int]] = spell_in_bytes,
    alphabet_size: int = 256,
) -> list[tuple[int, int]]:
    """Learn merges straight from the definition, recounting every pair of every word for each merge.

    It has the arguments of `learn_merges` and returns the same merges; 8,000 of them on 1 MB take several minutes.
    """
    words = [(list(spell(word)), count) for word, count in word_counts.items()]
    merges: list[tuple[int, int]] = []
    while len(merges) < n_merges:
        frequency: Counter[tuple[int, int]] = Counter()
        for symbols, count in words:
            for pair in zip(symbols, symbols[1:], strict=False):
                frequency[pair] += count
        best = min(frequency, key=lambda pair: (-frequency[pair], pair), default=None)
        if best is None or frequency[best] < min_frequency:
            break
        words = [(merge_pair(symbols, best, alphabet_size + len(merges)), count) for symbols, count in words]
        merges.append(best)
    return merges


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """While open, Python does not search for cycles.

    It would look through all lists whenever some thousand were added, a fifth of the time, and there are no cycles.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@no_garbage_collection()
def learn_merges(
    word_counts: dict[str, int],
    n_merges: int,
    min_frequency: int = 2,
    spell: Callable[[str], Sequence[int]] = spell_in_bytes,
    alphabet_size: int = 256,
) -> list[tuple[int, int]]:
    """Learn the merges of byte-pair encoding.

    All distinct words are laid out in one long array, and `before` and `after` link each symbol to its neighbors
    (a doubly linked list), so that a merge happens in place. For each pair we keep its frequency and the positions
    where it was created. A pair is created by one merge only, the one that makes the newer of its two symbols, and from
    then on it can only become rarer: so a heap entry may be too high but never too low (a lazy heap). The top pair is
    pushed back with its current frequency until an entry is up to date: that pair is the most frequent of all.

    Args:
        word_counts: word to number of occurrences, from `count_words`.
        n_merges: the number of merges to learn.
        min_frequency: pairs that occur less often are not merged.
        spell: maps a word to its symbols before any merge.
        alphabet_size: the number of symbols before any merge; merge i creates the symbol alphabet_size + i.

    Returns:
        Pairs of symbol ids, in the order in which they were merged; fewer than `n_merges` if no pair was left.
    """
    symbol, weight = _lay_out(word_counts, spell)
    row = list(range(len(symbol)))
    before, after = [-1, *row[:-1]], [*row[1:], -1]  # the same integer objects again: half the memory to scan
    new_pairs = defaultdict(list)  # pair -> the positions of its left symbol, ascending
    for p, pair in zip(row, zip(symbol, symbol[1:], strict=False), strict=False):
        new_pairs[pair].append(p)

    frequency: defaultdict[tuple[int, int], int] = defaultdict(int)
    positions_of: dict[tuple[int, int], list[int]] = {}
    # (-upper bound of the frequency, pair): the most frequent pair is on top, ties are broken as above.
    heap: list[tuple[int, tuple[int, int]]] = []
    merges: list[tuple[int, int]] = []
    while True:
        for pair, positions in new_pairs.items():
            count = sum([weight[p] for p in positions])
            if count >= min_frequency and BOUNDARY not in pair:
                frequency[pair] = count
                positions_of[pair] = positions
                heapq.heappush(heap, (-count, pair))

        while heap and frequency[heap[0][1]] < -heap[0][0]:
            pair = heap[0][1]
            heapq.heapreplace(heap, (-frequency[pair], pair))
        if len(merges) == n_merges or not heap or -heap[0][0] < min_frequency:
            return merges

        left, right = pair = heapq.heappop(heap)[1]
        new = alphabet_size + len(merges)
        merges.append(pair)
        merged = []  # the positions of the new symbol
        for p in positions_of.pop(pair):
            second = after[p]
            # Otherwise the pair was consumed by another merge, or by the first "aa" of "aaa".
            if symbol[p] == left and symbol[second] == right:
                third = after[second]
                frequency[symbol[before[p]], left] -= weight[p]
                frequency[right, symbol[third]] -= weight[p]
                symbol[p], symbol[second] = new, MERGED
                after[p], before[third] = third, p
                merged.append(p)

        new_pairs = defaultdict(list)
        for p in merged:
            new_pairs[symbol[before[p]], new].append(before[p])
            if symbol[after[p]] != new:  # the pair (new, new) is recorded once, by its right half
                new_pairs[new, symbol[after[p]]].append(p)


def _lay_out(word_counts: dict[str, int], spell: Callable[[str], Sequence[int]]) -> tuple[list[int], list[int]]:
    """Return all words in one array, separated by BOUNDARY: the symbol at each position and the count of its word."""
    symbol, weight = [BOUNDARY], [0]
    for word, count in word_counts.items():
        ids = spell(word)
        symbol += [*ids, BOUNDARY]
        weight += [count] * len(ids) + [0]
    return symbol, weight
