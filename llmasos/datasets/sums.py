"""Sums without carrying, such as 47+85=22: each column by itself, 7 + 5 = 2. A program can check the answers.

A column with a 0 is easy, so the number of columns without a 0 controls the difficulty. As text (`--task
language-modeling`), the sums have the answers of lazy pupils, who often copy a digit of the first number, so a model
that imitates them is rarely right. As prompts, such as "47+85=", they let that model learn from its own attempts
(`--task reinforcement-learning`).
"""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

from llmasos.datasets.examples import Prompt, Splits
from llmasos.datasets.source import ManyDocuments, text_key

COLUMNS = 8
N_TEXTS, N_TRAIN, N_VAL = 8000, 4000, 500
EASY_ONE_IN = 8  # of the training prompts
RIGHT, COPIED = 0.27, 0.5  # fractions of a lazy pupil's digits in columns without a 0; the rest is random
CHARACTERS = "0123456789+="
DESCRIPTION = f"sums of two numbers of {COLUMNS} digits, without carrying"


def draw_sums(n: int, m: int | np.ndarray, random: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """Draw n random sums with m columns without a 0.

    >>> sums, answers = draw_sums(1, 3, np.random.default_rng(1))
    >>> sums[0], as_text(answers[0])
    ('55791289+30000830=', '85791019')

    Args:
        n: the number of sums.
        m: the number of columns without a 0, from 0 (easy) to `COLUMNS`; one number, or one for each sum (n,).
        random: a source of random numbers.

    Returns:
        The sums, each with an = at its end, and their right answers (n, COLUMNS).
    """
    a, b = random.integers(1, 10, (2, n, COLUMNS))
    hard = np.argsort(random.random((n, COLUMNS)), axis=1) < np.reshape(m, (-1, 1))  # m columns of each sum
    b = np.where(hard, b, 0)
    texts = ["".join(map(str, x)) + "+" + "".join(map(str, y)) + "=" for x, y in zip(a, b, strict=True)]
    return texts, (a + b) % 10


def lazy_pupils(sums: list[str], answers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The answers (n, COLUMNS) of lazy pupils to n sums: right in every column with a 0, and rarely in the others.

    Args:
        sums, answers: the sums and their answers, from `draw_sums`.
        random: a source of random numbers.
    """
    first = np.array([list(map(int, text[:COLUMNS])) for text in sums])
    u = random.random(answers.shape)
    written = np.where(u < RIGHT, answers, np.where(u < RIGHT + COPIED, first, random.integers(0, 10, answers.shape)))
    return np.where(answers == first, answers, written)  # adding 0 is easy


def as_text(answer: np.ndarray) -> str:
    """The digits of one answer (COLUMNS,) as text."""
    return "".join(map(str, answer))


def text_sums(seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The data of `SumsText`: sums, half of which have no 0, their right answers, and those of lazy pupils."""
    random = np.random.default_rng(seed)
    m = np.where(random.random(N_TEXTS) < 0.5, COLUMNS, random.integers(0, COLUMNS + 1, N_TEXTS))
    sums, answers = draw_sums(N_TEXTS, m, random)
    return sums, answers, lazy_pupils(sums, answers, random)


class SumsText(ManyDocuments):
    """Documents that each contain a sum with the answer of a lazy pupil."""

    name = "sums"
    description = f"{N_TEXTS:,} {DESCRIPTION}, with the answers of lazy pupils; about a tenth of them is held out"

    def entries(self) -> Iterator[tuple[int, Iterable[str]]]:
        sums, _, written = text_sums()
        for text, answer in zip(sums, written, strict=True):
            yield text_key(text), [text + as_text(answer)]

    def fingerprint(self) -> str:
        return fingerprint_of_texts("".join(parts) for _, parts in self.entries())


def sum_prompts() -> Splits[Prompt]:
    """Sums without answers. Of those to train on, one in `EASY_ONE_IN` has a single column without a 0."""
    random = np.random.default_rng(1)
    m = np.where(np.arange(N_TRAIN) % EASY_ONE_IN == 0, 1, COLUMNS)
    train, val = draw_sums(N_TRAIN, m, random)[0], draw_sums(N_VAL, COLUMNS, random)[0]
    description = (
        f"{DESCRIPTION}; one in {EASY_ONE_IN} has one column to add, the others {COLUMNS}, as do those held out"
    )
    examples = [Prompt(text) for text in train], [Prompt(text) for text in val]
    return Splits("sums", description, *examples, test=None, fingerprint=fingerprint_of_texts([*train, "", *val]))


def fingerprint_of_texts(texts: Iterable[str]) -> str:
    """Hexadecimal digits that change when one of the texts changes."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
