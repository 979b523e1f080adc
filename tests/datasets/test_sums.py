"""Sums without carrying: what makes a sum hard, how pupils answer, and what is held out."""

import numpy as np
import pytest

from llmasos.datasets import open_text
from llmasos.datasets.sums import COLUMNS, EASY_ONE_IN, as_text, draw_sums, sum_prompts, text_sums
from llmasos.rewards import VERIFIERS


def n_hard(text: str) -> int:
    return sum(digit != "0" for digit in text[COLUMNS + 1 : -1])


@pytest.mark.parametrize("m", [0, 1, COLUMNS])
def test_a_sum_has_as_many_columns_without_a_zero_as_it_should_and_the_verifier_knows_its_answer(m):
    texts, answers = draw_sums(50, m, np.random.default_rng(3))
    for text, answer in zip(texts, answers, strict=True):
        assert len(text) == 2 * COLUMNS + 2 and n_hard(text) == m
        assert VERIFIERS["sums"](text, as_text(answer)) == 1.0
        assert VERIFIERS["sums"](text, as_text((answer + (np.arange(COLUMNS) == 3)) % 10)) == 0.0


def test_lazy_pupils_are_right_in_easy_columns_and_copy_in_the_others():
    texts, answers, written = text_sums()
    first, second = (np.array([list(map(int, text[i : i + COLUMNS])) for text in texts]) for i in (0, COLUMNS + 1))
    easy = second == 0
    assert (written == answers)[easy].all()
    n = (~easy).sum()
    for what, share in ((answers, 0.27 + 0.023), (first, 0.5 + 0.023)):
        assert (written == what)[~easy].mean() == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5)


def test_what_is_held_out():
    source, prompts = open_text("sums"), sum_prompts()
    train, val = (set(source.documents(split)) for split in ("train", "val"))
    assert not train & val and len(train) + len(val) == 8000 and 600 < len(val) < 1000
    counts = [n_hard(prompt.text) for prompt in prompts.train]
    assert counts.count(1) == len(counts) // EASY_ONE_IN and set(counts) == {1, COLUMNS}
    assert {n_hard(prompt.text) for prompt in prompts.val} == {COLUMNS}
    assert not {*prompts.train} & {*prompts.val} and prompts.fingerprint == sum_prompts().fingerprint
