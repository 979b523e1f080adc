"""Pairs for next-sentence prediction: they follow each other or not, and only their meaning reveals which."""

import numpy as np
import pytest

from llmasos.datasets.sentence_pairs import SentencePairs, fitting, truncate_pair
from llmasos.errors import UserError

# Documents whose tokens encode their position: document d, sentence s, word w is 10000 d + 100 s + w.


def _documents(n: int = 30, seed: int = 0, longest: int = 9) -> list[list[np.ndarray]]:
    chance = np.random.default_rng(seed)
    return [
        [10000 * d + 100 * s + np.arange(chance.integers(1, longest)) for s in range(chance.integers(3, 12))]
        for d in range(n)
    ]


def _positions(segment: np.ndarray) -> list[tuple[int, int]]:
    """(document, sentence) of each sentence of the segment, in order."""
    return sorted({(int(token) // 10000, int(token) // 100 % 100) for token in segment})


def _is_stretch(positions: list[tuple[int, int]]) -> bool:
    return all(b == (a[0], a[1] + 1) for a, b in zip(positions, positions[1:], strict=False))


@pytest.mark.parametrize("negatives", ["other", "same"])
@pytest.mark.parametrize("max_tokens", [2, 3, 20, 64, 1000])
def test_segments_are_consecutive_sentences_that_fit_and_follow_as_labeled(negatives, max_tokens):
    documents = _documents()
    pairs = SentencePairs(documents, max_tokens, negatives)
    for index in range(400):
        first, second, follows = pairs.example(0, index)
        a, b = _positions(first), _positions(second)
        assert 1 <= len(first) and 1 <= len(second) and len(first) + len(second) <= max_tokens
        assert _is_stretch(a) and _is_stretch(b)
        assert (np.diff(first) > 0).all() and (np.diff(second) > 0).all()
        boundary = (a[-1][0], a[-1][1] + 1)
        if follows:
            assert b[0] == boundary and second[0] % 100 == 0
            assert first[-1] == documents[boundary[0]][boundary[1] - 1][-1], "nothing is missing at the boundary"
        elif negatives == "other":
            assert b[0][0] != a[0][0] and second[0] % 100 == 0
        else:
            assert b[0][0] == a[0][0] and b[0] != boundary and not set(a) & set(b)


@pytest.mark.parametrize("negatives", ["other", "same"])
def test_half_of_the_pairs_follow(negatives):
    pairs = SentencePairs(_documents(), 40, negatives)
    n = 2000
    follow = sum(pairs.example(1, index).follows for index in range(n))
    assert abs(follow - n / 2) < 4 * np.sqrt(n) / 2
    for seed in range(3):
        assert sum(pair.follows for pair in pairs.validation(seed, 100)) == 50


def test_lengths_and_positions_do_not_reveal_the_label():
    """No threshold on any of these numbers does better than chance (a difference of 4 sigma would be 0.07)."""
    pairs = SentencePairs(_documents(200), 60)
    examples = [pairs.example(0, index) for index in range(4000)]
    follows = np.array([example.follows for example in examples])
    features = {
        "first": [len(e.first) for e in examples],
        "second": [len(e.second) for e in examples],
        "sentences": [len(_positions(e.second)) for e in examples],
        "together": [len(e.first) + len(e.second) for e in examples],
        "product": [len(_positions(e.first)) * len(_positions(e.second)) for e in examples],
        "position": [_positions(e.second)[0][1] for e in examples],
    }
    for name, values in features.items():
        assert abs(np.corrcoef(values, follows)[0, 1]) < 0.07, name


def test_an_epoch_uses_each_document_about_as_often_as_it_fills_the_context():
    documents = _documents(20)
    documents.append([10000 * 20 + 100 * s + np.arange(10) for s in range(60)])  # 600 tokens
    pairs = SentencePairs(documents, 100)
    assert pairs.examples_per_epoch == 26
    for epoch in range(3):
        used = [_positions(pairs.example(0, epoch * 26 + index).first)[0][0] for index in range(26)]
        assert [used.count(d) for d in range(21)] == [1] * 20 + [6]


def test_a_pair_depends_on_seed_and_index_alone():
    pairs, fresh = SentencePairs(_documents(), 40), SentencePairs(_documents(), 40)
    expected = [_plain(pairs.example(3, index)) for index in range(200)]
    for index in np.random.default_rng(0).permutation(200):
        fresh.example(4, int(index))
        assert _plain(fresh.example(3, int(index))) == expected[index]
    assert len({str(pair) for pair in expected}) > 170, "each epoch has other pairs"


def _plain(pair) -> tuple:
    return pair.first.tolist(), pair.second.tolist(), pair.follows


def test_validation_is_fixed_balanced_and_goes_once_through_the_documents():
    pairs = SentencePairs(_documents(), 40)
    chosen = pairs.validation(0)
    assert len(chosen) == pairs.examples_per_epoch
    assert list(map(_plain, chosen)) == list(map(_plain, pairs.validation(0)))
    assert abs(sum(pair.follows for pair in chosen) - len(chosen) / 2) <= 0.5
    assert len({_positions(pair.first)[0][0] for pair in chosen}) == 30
    assert list(map(_plain, pairs.validation(0, 7))) == list(map(_plain, chosen[:7]))


@pytest.mark.parametrize("negatives", ["other", "same"])
def test_a_sentence_equal_to_the_true_continuation_is_never_a_negative(negatives):
    stock = np.array([1, 2, 3])  # occurs again and again in every document
    documents = [[np.array([10 + d]), stock, np.array([50 + d]), stock, np.array([90 + d])] for d in range(6)]
    pairs = SentencePairs(documents, 4, negatives)
    negative = [pair for pair in (pairs.example(0, i) for i in range(600)) if not pair.follows]
    assert len(negative) > 200
    for first, second, _ in negative:
        if first[-1] in range(10, 16) or first[-1] in range(50, 56):
            assert second[0] != 1, "after these comes the stock phrase"


def test_identical_documents_are_refused_instead_of_searched_forever():
    pairs = SentencePairs([[np.array([1]), np.array([2])]] * 3, 10)
    with pytest.raises(UserError, match="too alike"):
        pairs.example(0, 0)


def test_long_sentences_are_truncated_and_counted():
    long = [np.arange(100, 150), np.arange(200, 250), np.arange(300, 310)]
    pairs = SentencePairs([long, [sentence + 1000 for sentence in long]], 30)
    assert pairs.n_truncated == 4
    for index in range(50):
        first, second, _ = pairs.example(0, index)
        assert len(first) + len(second) == 30 if len(second) != 10 else len(first) == 20


def test_only_the_longer_segment_is_truncated_on_the_side_away_from_the_boundary():
    for n_first in range(1, 12):
        for n_second in range(1, 12):
            for limit in range(2, 25):
                a, b = truncate_pair(np.arange(n_first), np.arange(n_second), limit)
                assert len(a) + len(b) == min(limit, n_first + n_second)
                assert a[-1] == n_first - 1 and b[0] == 0
                if len(a) < n_first:
                    assert len(a) >= len(b) - 1
                if len(b) < n_second:
                    assert len(b) >= len(a)


def test_fitting_counts_whole_sentences_but_at_least_one():
    three = [np.arange(3), np.arange(4), np.arange(2)]
    assert [fitting(three, n) for n in (1, 3, 6, 7, 8, 9, 100)] == [1, 1, 1, 2, 2, 3, 3]


def test_sentences_without_tokens_are_skipped():
    empty = np.array([], dtype=int)
    documents = [[np.array([1]), empty, np.array([2])], [np.array([3]), empty], [np.array([4]), np.array([5])]]
    assert [len(document) for document in SentencePairs(documents, 10).documents] == [2, 2]


@pytest.mark.parametrize(
    "documents, arguments, message",
    [
        ([[[1], [2]]], {}, "need 2 documents of 2 sentences or more, and there is 1; give more text\\."),
        ([[[1]], [[2]]], {}, "need 2 documents of 2 sentences or more, and there are 0;"),
        ([[[1], [2]]] * 5, {"negatives": "same"}, "need 1 document of 3 sentences or more, and there are 0;"),
        ([[[1], [2]]] * 5, {"max_tokens": 1}, "max_tokens is 1; two sentences need room for 2 or more"),
        ([[[1], [2]]] * 5, {"negatives": "none"}, "negatives is 'none'; it must be 'other' or 'same'"),
    ],
)
def test_too_few_documents_are_reported(documents, arguments, message):
    with pytest.raises(UserError, match=message):
        SentencePairs([[np.array(s) for s in document] for document in documents], **{"max_tokens": 10, **arguments})
