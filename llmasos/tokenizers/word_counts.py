"""Count the words of a text on all cores: byte-pair encoding is trained on these counts.

    "to be or not to be"  --->  "to": 1, " be": 2, " or": 1, " not": 1, " to": 1

No merge crosses a word boundary, so the trainer needs only the distinct words and their counts. These take little
memory however long the text is, and the counts of its parts can be added, so a long text is distributed over several
processes in batches. The counts do not depend on the number of processes.
"""

import itertools
import os
import pickle
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

import regex  # the standard library's `re` lacks \p{L}; tiktoken depends on this package

from llmasos.parallel import in_batches, python_processes, usable_cores
from llmasos.tokenizers.tokenizer import replace_surrogates

# GPT-2's words: an English contraction | letters | digits | other symbols, each with the space before it | white space.
# Of several spaces before a word, the last belongs to the word: `\s+(?!\S)` stops one short of it. The possessive `++`
# and `\s++$` do not change what matches; they save the engine from backtracking.
SPLIT_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
SPLIT = regex.compile(SPLIT_PATTERN)
ASCII_SPLIT = re.compile(  # the same for a text in ASCII, in half the time
    r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s", re.ASCII
)
BETWEEN_WORDS = re.compile(r"\w(?= \w)")  # after such a match one word ends and another begins

BATCH = 1_000_000  # characters that are counted at a time
ALONE = 4  # batches that are counted before other processes are started, which takes a few tenths of a second
WORKER = "from llmasos.tokenizers.word_counts import count_batches; count_batches()"


def count_words(documents: Iterable[str], processes: int | None = None) -> Counter[str]:
    """Return how often each word (a match of GPT-2's pattern, including its leading space) occurs in `documents`.

    >>> count_words(["to be or not to be"])
    Counter({' be': 2, 'to': 1, ' or': 1, ' not': 1, ' to': 1})

    Args:
        documents: the texts, each read once.
        processes: the number of processes; None = one per core if the text is long enough.
    """
    n = int(usable_cores()) if processes is None and sys.executable else processes or 1
    batches = in_batches(divided(documents), len, BATCH)
    counts: Counter[str] = Counter()
    for batch in itertools.islice(batches, ALONE if n > 1 else None):
        add_words(counts, batch)
    for first in batches:  # there are more
        for part in count_elsewhere(itertools.chain([first], batches), n):
            counts.update(part)
    return counts


def count_elsewhere(batches: Iterable[list[str]], n: int) -> Iterator[dict[str, int]]:
    """Distribute batches over n processes and yield the counts of each. Raises UserError if one of them fails."""
    with python_processes(WORKER, n) as processes:
        for (stdin, _), batch in zip(itertools.cycle(processes), batches, strict=False):
            pickle.dump(batch, stdin)  # waits while this process is busy
        for stdin, _ in processes:
            stdin.close()
        for _, stdout in processes:
            yield pickle.load(stdout)


def divided(documents: Iterable[str]) -> Iterator[str]:
    """Split documents that are longer than a batch, each time between two words."""
    for document in map(replace_surrogates, documents):
        start = 0
        while start < len(document):
            cut = BETWEEN_WORDS.search(document, start + BATCH)
            end = cut.end() if cut else len(document)
            yield document[start:end]
            start = end


def add_words(counts: Counter[str], batch: Iterable[str]) -> None:
    """Add the words of some texts to the counts."""
    for text in batch:
        counts.update((ASCII_SPLIT if text.isascii() else SPLIT).findall(text))


def count_batches() -> None:
    """Count the words of the batches on standard input until it ends, and write the counts to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # see `python_processes`
    counts: Counter[str] = Counter()
    try:
        while True:
            add_words(counts, pickle.load(sys.stdin.buffer))
    except EOFError:
        with suppress(OSError):  # the reader has gone
            pickle.dump(dict(counts), sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except pickle.UnpicklingError:  # the sender has ended in the middle of a batch
        pass
    os._exit(0)  # at once: the memory of the words need not be freed one by one
