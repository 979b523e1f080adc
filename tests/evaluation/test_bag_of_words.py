"""The bag-of-words baseline: naive Bayes by hand against a direct computation of its formula."""

import math

import pytest

from llmasos.errors import UserError
from llmasos.evaluation import NaiveBayes, bag_of_words_baseline

TEXTS = ["good fun , good film", "a good film", "a bad film", "no fun"]
LABELS = ["+", "+", "-", "-"]


def test_log_probabilities_follow_the_formula():
    model = NaiveBayes(TEXTS, LABELS)
    # 8 words in the texts of "+", 5 in those of "-"; V = {good fun , film a bad no} = 7
    plus = math.log(2 / 4) + math.log((3 + 1) / (8 + 7)) + math.log((2 + 1) / (8 + 7))
    minus = math.log(2 / 4) + math.log((0 + 1) / (5 + 7)) + math.log((1 + 1) / (5 + 7))
    assert model.log_probabilities("Good FILM unseen").tolist() == pytest.approx([plus, minus])
    assert model.predict(["good film", "bad fun", ""]) == ["+", "-", "+"]


def test_word_order_and_unknown_words_make_no_difference():
    model = NaiveBayes(TEXTS, LABELS)
    together = model.log_probabilities("film bad a zebra")
    assert together.tolist() == pytest.approx(model.log_probabilities("a bad film").tolist())


def test_the_baseline_is_the_share_of_right_labels():
    score = bag_of_words_baseline(TEXTS, LABELS, ["good", "bad", "good", "no"], ["+", "-", "-", "-"])
    assert (score.value, score.n) == (0.75, 4)


def test_unequal_numbers_are_refused():
    with pytest.raises(UserError, match="3 predictions but 4"):
        NaiveBayes(TEXTS[:3], LABELS)
