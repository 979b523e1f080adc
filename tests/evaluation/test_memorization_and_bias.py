"""Exposure, membership inference and bias against closed forms, and against an attack computed by hand."""

import json
import math

import numpy as np
import pytest

from llmasos.errors import UserError
from llmasos.evaluation.bias import amplified, expand_template, measure_bias, read_templates
from llmasos.evaluation.memorization import expected_exposure, exposure, exposure_of, membership_inference


def test_exposure_by_rank():
    candidates = np.arange(-1023, 0, dtype=float)  # 1,023 others
    assert exposure(0.0, candidates) == 10.0  # the most probable of 1,024
    assert exposure(-2000.0, candidates) == 0.0
    assert exposure(-511.5, candidates) == pytest.approx(1.0, abs=0.01)  # half of them are more probable


def test_an_unseen_canary_has_the_expected_exposure():
    rng = np.random.default_rng(0)
    values = [exposure(scores[0], scores[1:]) for scores in rng.normal(size=(4000, 200))]
    assert np.mean(values) == pytest.approx(expected_exposure(199), abs=4 * np.std(values) / 4000**0.5)
    assert expected_exposure(10**7) == pytest.approx(math.log2(math.e), abs=1e-4)


def test_exposure_of_a_secret_in_a_sentence():
    known = {f"The code is {code:03}.": -5.0 for code in range(100)} | {"The code is 042.": -1.0}
    codes = [f"{code:03}" for code in range(100)]
    bits = exposure_of(lambda texts: [known[text] for text in texts], "The code is {}.", "042", codes)
    assert bits == math.log2(100)


def test_the_area_is_that_of_all_pairs_and_its_interval_covers():
    rng = np.random.default_rng(1)
    members, others = rng.normal(0, 1, 50).round(1), rng.normal(0.8, 1, 60).round(1)
    by_hand = np.mean([[(m < o) + 0.5 * (m == o) for o in others] for m in members])
    assert membership_inference(members, others).auc.value == pytest.approx(by_hand)
    truth = 0.5 * (1 + math.erf(0.8 / math.sqrt(2) / math.sqrt(2)))  # Φ(0.8/√2)
    covered = 0
    for _ in range(300):
        auc = membership_inference(rng.normal(0, 1, 50), rng.normal(0.8, 1, 60)).auc
        covered += auc.low <= truth <= auc.high
    assert 0.90 <= covered / 300 <= 0.99


def test_a_reference_makes_the_attack_stronger_and_a_fresh_model_cannot_be_attacked():
    rng = np.random.default_rng(2)
    difficulty = rng.normal(100, 20, (2, 500))
    losses = difficulty + rng.normal(0, 1, (2, 500)) - np.array([[3.0], [0.0]])
    plain, against = membership_inference(*losses), membership_inference(*losses, *difficulty)
    assert plain.auc.value < 0.6 < 0.97 < against.auc.value
    assert against.found > 0.6 > plain.found
    fresh = membership_inference(difficulty[0], difficulty[1])
    assert fresh.auc.low < 0.5 < fresh.auc.high
    assert fresh.found == pytest.approx(0.01, abs=0.02)


def test_a_known_preference_is_measured():
    brave = {"boy": 0.8, "girl": 0.3}

    def log_probs(texts):
        p = [next(value for word, value in brave.items() if word in prompt) for prompt, _ in texts]
        return [math.log(0.1 * (x if text == " brave" else 1 - x)) for x, (_, text) in zip(p, texts, strict=True)]

    pairs = expand_template("The {boy|girl} of the {place} was", " brave", " shy", place=[f"p{i}" for i in range(12)])
    report = measure_bias(log_probs, pairs)
    assert report.difference.value == pytest.approx(math.log(0.8 / 0.2) - math.log(0.3 / 0.7))
    assert (report.first_preference, report.second_preference) == pytest.approx((0.8, 0.3))
    assert "0.800 after the first" in str(report)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.8])
def test_amplification_is_that_of_the_softmax(p, temperature):
    logits = np.log([p, 1 - p]) / temperature
    assert amplified(p, temperature) == pytest.approx(np.exp(logits[0]) / np.exp(logits).sum())
    assert amplified(1.0, temperature) == 1.0 and amplified(0.0, temperature) == 0.0


def test_templates_from_a_file(tmp_path):
    row = {"template": "A {boy|girl} in the {place}", "continuations": [" ran", " sat"], "place": ["park", "hall"]}
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n\n" + json.dumps(row) + "\n", encoding="utf-8")
    pairs = read_templates(tmp_path / "t.jsonl")
    assert len(pairs) == 4
    assert pairs[1].first == "A boy in the hall" and pairs[1].second == "A girl in the hall"


@pytest.mark.parametrize(
    "line, message",
    [
        ("{", "line 1"),
        ("[]", "no templates"),
        ('{"template": "The boy", "continuations": ["a", "b"]}', "no choice"),
        ('{"template": "The {boy|girl}", "continuations": ["a"]}', "line 1"),
        ('{"template": "The {boy|girl} {place}", "continuations": ["a", "b"]}', "without a list"),
        ('{"template": "The {boy|girl} {place}", "continuations": ["a", "b"], "place": "mill"}', "line 1"),
        ("", "is empty"),
    ],
)
def test_a_bad_template_is_named(line, message, tmp_path):
    (tmp_path / "t.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_templates(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: exposure(0.0, []), "candidates"),
        (lambda: exposure(math.nan, [1.0]), "NaN"),
        (lambda: exposure_of(len, "no place", "a", ["b"]), "must contain"),
        (lambda: membership_inference([1.0], [1.0, 2.0]), "members"),
        (lambda: membership_inference([1.0, math.nan], [1.0, 2.0]), "members"),
        (lambda: membership_inference([1.0, 2.0], [1.0, 2.0], [1.0, 2.0]), "one side only"),
        (lambda: membership_inference([1.0, 2.0], [1.0, 2.0], [1.0, 2.0], [1.0]), "for each loss"),
        (lambda: measure_bias(lambda texts: [], []), "no pairs"),
        (lambda: measure_bias(lambda texts: [-math.inf] * 4, expand_template("{a|b}", "c", "d")), "probability 0"),
        (lambda: amplified(1.5, 1), "probability"),
        (lambda: amplified(0.5, 0), "temperature"),
        (lambda: read_templates("/no/file"), "/no/file"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(UserError, match=message):
        call()
