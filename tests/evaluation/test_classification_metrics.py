"""Accuracy, F1, confusion and calibration: against counts by hand and against the definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.evaluation import (
    accuracy,
    calibration_error,
    choose_mistakes,
    confusion_matrix,
    confusion_table,
    exact_interval,
    fit_temperature,
    macro_f1,
    majority_baseline,
    per_class,
    show_mistakes,
)

TRUE = ["cat", "cat", "cat", "dog", "dog", "owl"]
GIVEN = ["cat", "cat", "dog", "dog", "cat", "cat"]


def random_labels(seed: int, n: int = 200, kinds: int = 4) -> tuple[list[int], list[int]]:
    """Predictions and references that agree about half of the time."""
    rng = np.random.default_rng(seed)
    true = rng.choice(kinds, size=n, p=np.arange(1, kinds + 1) / sum(range(1, kinds + 1)))
    given = np.where(rng.random(n) < 0.4, true, rng.choice(kinds, size=n))
    return given.tolist(), true.tolist()


def test_accuracy_has_the_exact_interval():
    score = accuracy(GIVEN, TRUE)
    assert score.value == 3 / 6
    assert (score.low, score.high) == exact_interval(3, 6)


def test_rows_of_the_confusion_matrix_are_the_truth():
    assert confusion_matrix(GIVEN, TRUE).tolist() == [[2, 1, 0], [1, 1, 0], [1, 0, 0]]
    assert confusion_matrix(GIVEN, TRUE, ["owl", "dog", "cat"]).tolist() == [[0, 0, 1], [0, 1, 1], [0, 1, 2]]


def test_the_confusion_table_is_aligned_with_long_names_and_large_numbers():
    matrix = np.array([[1234567, 0], [5, 1]])
    lines = confusion_table(matrix, ["ab", "a rather long label"]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split()[:2] == ["ab", "1,234,567"]


def test_precision_recall_and_f1_by_hand():
    cat, dog, owl = per_class(GIVEN, TRUE)
    assert cat == ("cat", 2 / 4, 2 / 3, pytest.approx(4 / 7), 3)
    assert dog == ("dog", 1 / 2, 1 / 2, 0.5, 2)
    assert owl == ("owl", 0, 0, 0, 1)
    assert macro_f1(GIVEN, TRUE).value == pytest.approx((4 / 7 + 0.5 + 0) / 3)


@pytest.mark.parametrize("seed", range(5))
def test_f1_is_the_harmonic_mean_and_macro_f1_its_mean(seed):
    given, true = random_labels(seed)
    classes = per_class(given, true)
    for label, precision, recall, f1, n in classes:
        hits = sum(g == t == label for g, t in zip(given, true, strict=True))
        assert precision == pytest.approx(hits / given.count(label))
        assert recall == pytest.approx(hits / true.count(label))
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))
        assert n == true.count(label)
    score = macro_f1(given, true)
    assert score.value == pytest.approx(np.mean([c.f1 for c in classes]))
    assert score.low < score.value < score.high


def test_the_interval_of_macro_f1_is_that_of_resampled_examples():
    given, true = random_labels(9)
    rng, values = np.random.default_rng(0), []
    for _ in range(400):
        drawn = rng.integers(len(true), size=len(true))
        values.append(macro_f1([given[i] for i in drawn], [true[i] for i in drawn]).value)
    score = macro_f1(given, true)
    width = score.high - score.low
    assert [score.low, score.high] == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.15 * width)


def test_a_label_that_never_occurs_does_not_lower_macro_f1():
    assert macro_f1(GIVEN, TRUE, ["ant", "cat", "dog", "owl"]).value == macro_f1(GIVEN, TRUE).value


def test_the_majority_baseline_takes_its_label_from_the_training_data():
    assert majority_baseline(TRUE).value == 3 / 6
    baseline = majority_baseline(TRUE, training=["dog", "dog", "cat"])
    assert baseline.value == 2 / 6 and "'dog'" in baseline.note


def test_calibration_error_by_hand():
    """Bins (0.4, 0.6] and (0.8, 1]: |1.1 - 1| / 4 + |1.9 - 1| / 4."""
    score = calibration_error([0.5, 0.6, 1.0, 0.9], [True, False, True, False], bins=5)
    assert score.value == pytest.approx((0.1 + 0.9) / 4)


def test_calibration_error_is_the_definition():
    rng = np.random.default_rng(0)
    confidence = rng.random(500)
    correct = rng.random(500) < confidence**2
    expected = 0.0
    for m in range(15):
        members = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        expected += members.sum() / 500 * abs(correct[members].mean() - confidence[members].mean())
    score = calibration_error(confidence, correct)
    assert score.value == pytest.approx(expected)
    assert score.value == pytest.approx(1 / 6, abs=0.04)  # the mean of c - c²
    honest = calibration_error(confidence, rng.random(500) < confidence)
    assert honest.value < 0.1 and score.low > 0.1
    assert calibration_error([0.0, 1.0], [False, True]).value == 0


def test_the_temperature_is_the_one_with_the_smallest_loss():
    """Compare with torch's cross-entropy on a fine grid; logits multiplied by 3 give three times the temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(300, 4))
    labels = (logits + rng.gumbel(size=(300, 4))).argmax(axis=1)  # drawn from softmax(logits): perfectly calibrated
    grid = np.geomspace(0.2, 5, 2001)
    loss = [float(F.cross_entropy(torch.from_numpy(logits / t), torch.from_numpy(labels))) for t in grid]
    fitted = fit_temperature(logits, labels)
    assert fitted == pytest.approx(grid[np.argmin(loss)], rel=2e-3) and fitted == pytest.approx(1, abs=0.2)
    assert fit_temperature(3 * logits + 1000, labels) == pytest.approx(3 * fitted)
    assert fit_temperature(logits, logits.argmax(axis=1)) == pytest.approx(0.05)  # always right: the lowest temperature
    assert fit_temperature(logits, logits.argmin(axis=1)) == pytest.approx(20)
    with pytest.raises(UserError, match="there is a label 4"):
        fit_temperature(logits, [4] * 300)
    with pytest.raises(UserError, match="300 predictions but 2 references"):
        fit_temperature(logits, [0, 1])


@pytest.mark.parametrize("metric", [accuracy, macro_f1, confusion_matrix, per_class])
def test_unequal_numbers_and_nothing_are_said(metric):
    with pytest.raises(UserError, match="3 predictions but 2 references"):
        metric(["a", "b", "c"], ["a", "b"])
    with pytest.raises(UserError, match="nothing to score"):
        metric([], [])


def test_labels_and_confidences_that_cannot_be_are_said():
    with pytest.raises(UserError, match="label 'owl' is not among the known ones: 'cat', 'dog'"):
        macro_f1(GIVEN, TRUE, ["cat", "dog"])
    with pytest.raises(UserError, match="several types"):
        confusion_matrix(["a", 1], ["a", "b"])
    for confidence in (1.5, -0.1, float("nan")):
        with pytest.raises(UserError, match=f"confidence of {confidence:g} is no probability"):
            calibration_error([0.5, confidence], [True, True])
    with pytest.raises(UserError, match="bins is 0"):
        calibration_error([0.5], [True], bins=0)


# Mistakes


def test_the_most_confident_mistakes_come_first_and_right_answers_never():
    rng = np.random.default_rng(1)
    wrong, confidences = rng.random(50) < 0.4, rng.random(50)
    chosen = choose_mistakes(wrong, confidences, n=6)
    assert all(wrong[chosen])
    others = [i for i in range(50) if wrong[i] and i not in chosen]
    shown = [confidences[i] for i in chosen]
    assert shown == sorted(shown, reverse=True) and min(shown) > max(confidences[others])


def test_without_confidences_a_sample_is_drawn_by_the_seed():
    wrong = np.arange(1000) % 3 == 0
    first, again, other = (choose_mistakes(wrong, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(set(first)) == 5 and first == sorted(first) and all(wrong[first])
    assert max(first) > 20, "not the beginning of the file"


def test_fewer_mistakes_than_asked_for_are_all_shown_and_none_is_fine():
    assert choose_mistakes([False, True, True]) == [1, 2]
    assert choose_mistakes([False, False], [0.5, 0.6]) == []
    assert show_mistakes([], [], [], []) == []


def test_shown_texts_are_one_line_and_no_longer_than_asked():
    block = show_mistakes([0], ["word \n" * 50], ["the\texpected"], [""], width=40)[0].splitlines()
    assert block[0].startswith("1. word word") and block[0].endswith("…") and len(block[0]) == 3 + 40
    assert block[1:] == ["   expected:  the expected", "   predicted: (nothing)"]
