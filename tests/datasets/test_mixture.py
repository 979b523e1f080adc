"""Mixtures of texts: exact proportions, every row once per epoch, and the same rows in any order of access."""

from collections import Counter

import numpy as np
import pytest

from llmasos.datasets import Windows, open_text
from llmasos.datasets.batching import Examples
from llmasos.datasets.mixture import MixedText, Mixture
from llmasos.datasets.text import mixture_of
from llmasos.datasets.tokens import build_tokens
from llmasos.errors import UserError
from llmasos.tokenizers import ByteTokenizer


def test_a_block_has_the_exact_proportions_and_each_part_its_own_order(monkeypatch):
    monkeypatch.setattr("llmasos.datasets.mixture.BLOCK", 999)
    parts = [Examples([f"{name}{i}" for i in range(n)]) for name, n in (("a", 7), ("b", 30), ("c", 1000))]
    mixture = Mixture(parts, [0.6, 0.1, 0.3], batch_size=16)
    assert mixture.block_size == 1008 and mixture.counts.tolist() == [605, 101, 302]
    rows = [mixture.example(5, index) for index in range(2016)]
    for block in (rows[:1008], rows[1008:]):
        assert Counter(row[0] for row in block) == {"a": 605, "b": 101, "c": 302}
        assert 35 < sum(row[0] == "a" for row in block[:100]) < 85  # mixed throughout
    for name, part in zip("abc", parts, strict=True):
        mine = [row for row in rows if row[0] == name]
        assert mine == [part.example(5, index) for index in range(len(mine))]  # so every epoch is complete
    other = Mixture(parts, [0.6, 0.1, 0.3], batch_size=16)
    for index in (2015, 3, 1008, 1234, 0):  # as a resumed process, or one with a part of each batch, may
        assert other.example(5, index) == rows[index]
    assert [other.example(6, index) for index in range(50)] != rows[:50]


def test_weights_that_do_not_fit_the_block():
    parts = [Examples("ab"), Examples("cd"), Examples("ef")]
    mixture = Mixture(parts, [1 / 3] * 3, batch_size=48)
    assert mixture.block_size == 10_032 and mixture.counts.tolist() == [3344] * 3
    assert mixture.examples_per_epoch == 6
    with pytest.raises(UserError, match="less than a row in 10,000"):
        Mixture(parts[:2], [1e-5, 1 - 1e-5])
    assert Mixture(parts[:2], [0.25, 0.75]).describe(["x", "y"], 80) == "25.0% x, read 10 times; 75.0% y, read 30 times"


@pytest.mark.parametrize(
    "name, message",
    [("a.txt=0.7,b.txt", "'b.txt' in a mixture has no weight"), ("a=0,b=1", "above 0"), ("a=1,a=2", "a text twice")],
)
def test_bad_mixtures_are_one_sentence(name, message):
    with pytest.raises(UserError, match=message):
        mixture_of(name)


def test_names_that_are_no_mixtures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=1,b=2").write_text("one file")
    assert [mixture_of(name) for name in ("a=1,b=2", "storyworld:dirt=0.5", "de.txt,en.txt", "a.txt=1")] == [[]] * 4
    assert mixture_of("storyworld:9:dirt=0.5=1, b.txt=3") == [("storyworld:9:dirt=0.5", 0.25), ("b.txt", 0.75)]


def test_the_tokens_of_a_mixture_know_their_parts_and_no_window_crosses(tmp_path):
    for name, text in (("a.txt", "aaaaaaaaaa" * 20), ("b.txt", "bbbbb" * 20), ("v.txt", "vvv" * 9)):
        (tmp_path / name).write_text(text)
    names = ",".join(f"{tmp_path / name}={w}" for name, w in (("a.txt", 1), ("b.txt", 1)))
    data = open_text(names)
    assert isinstance(data, MixedText) and data.weights == (0.5, 0.5)
    tokens = build_tokens(data, ByteTokenizer(), tmp_path)
    assert tokens.train.parts == (180, 90) and tokens.val.parts == (20, 10)
    parts = np.split(tokens.train.tokens, np.cumsum(tokens.train.parts)[:-1])
    mixture = Mixture([Windows(part, 8) for part in parts], data.weights, 4)
    assert all(len(set(mixture.example(0, index).tolist())) == 1 for index in range(200))
    all_of_it = build_tokens(open_text(names, val=tmp_path / "v.txt"), ByteTokenizer(), tmp_path)
    assert all_of_it.train.parts == (200, 100) and all_of_it.val.parts == (27,)
    reweighted = open_text(names.replace("=1", "=2", 1))
    assert reweighted.fingerprint() == data.fingerprint() and reweighted.weights == (2 / 3, 1 / 3)
    with pytest.raises(UserError, match="a dataset with its own splits"):
        open_text(f"storyworld=1,{names}", val=tmp_path / "v.txt")
