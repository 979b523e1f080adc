"""The evaluation harness: likelihoods, multiple choice, pass@k, contamination, paired tests, suites."""

import itertools
import json
import math
import random
from math import comb

import numpy as np
import pytest
import torch

from llmasos.cli import eval as eval_command
from llmasos.datasets.storyworld import stories, valid_prefix
from llmasos.errors import UserError
from llmasos.evaluation import (
    Choice,
    choice_scores,
    compare_suites,
    contamination,
    is_right,
    last_number,
    log_likelihoods,
    multiple_choice,
    pass_at_k,
    run_suite,
    sign_flip_test,
)
from llmasos.evaluation.storyworld_suite import questions
from llmasos.hub import load_pretrained


@pytest.fixture(scope="module")
def storyteller():
    """Return the shipped GPT and its tokenizer."""
    return load_pretrained("storyworld-gpt", "cpu")


def test_the_log_likelihood_of_a_continuation_is_that_of_its_tokens_one_by_one(storyteller):
    model, tokenizer = storyteller
    pairs = [("Once there was", " a brave boy"), ("Anna", " was small and shy."), ("Once there was a", " king")]
    pairs = [(tokenizer.encode_prompt(context), tokenizer.encode(rest)) for context, rest in pairs]
    for (context, rest), values in zip(pairs, log_likelihoods(model, pairs, batch_size=2), strict=True):
        for i, token in enumerate(rest):
            with torch.inference_mode():
                logits = model(torch.tensor([[*context, *rest[:i]]]))[0, -1].float()
            assert values[i] == pytest.approx(logits.log_softmax(-1)[token].item(), abs=1e-4)


def test_a_continuation_beyond_the_context_is_scored_token_by_token_too(storyteller):
    model, tokenizer = storyteller
    T = model.config.context_length
    ids = tokenizer.encode(" ".join(story.text for story in stories("val", 6)))
    assert len(ids) > T + 40
    (values,) = log_likelihoods(model, [(ids[:5], ids[5 : T + 40])])
    (start,) = log_likelihoods(model, [(ids[:5], ids[5:T])])
    assert len(values) == T + 35 and np.isfinite(values).all()
    np.testing.assert_allclose(values[: len(start)], start, atol=1e-4)
    (cropped,) = log_likelihoods(model, [(ids[: T + 30], ids[T + 30 : T + 40])])
    (expected,) = log_likelihoods(model, [(ids[39 : T + 30], ids[T + 30 : T + 40])])
    np.testing.assert_allclose(cropped, expected, atol=1e-4)
    with pytest.raises(UserError, match="a context of at least one token"):
        log_likelihoods(model, [([], [1])])


def test_normalization_divides_by_the_bytes_of_the_choice(storyteller):
    question = Choice("Once there was a", (" brave boy called Paul", " käse"), 0)
    (scores,) = choice_scores(*storyteller, [question])
    np.testing.assert_allclose(scores[:, 1], scores[:, 0] / [len(" brave boy called Paul"), len(" käse") + 1])
    with pytest.raises(UserError, match="there are no questions"):
        choice_scores(*storyteller, [])


def test_the_groups_of_questions_are_reported_apart():
    items = [Choice("", ("a", "b"), 1, "x"), Choice("", ("a", "b", "c", "d"), 0, "y"), Choice("", ("a", "b"), 0, "x")]
    scores = [
        np.array([[-2.0, -1], [-1, -2]]),
        np.array([[-1.0, -1]] + [[-2, -2]] * 3),
        np.array([[-2.0, -1], [-1, -2]]),
    ]
    metrics, outcomes = multiple_choice(items, scores)
    assert [(m.name, m.value, m.n, m.note) for m in metrics] == [
        ("x", 0.5, 2, "chance 0.50"), ("x, normalized", 0.5, 2, "chance 0.50"),
        ("y", 1.0, 1, "chance 0.25"), ("y, normalized", 1.0, 1, "chance 0.25"),
    ]  # fmt: skip
    assert outcomes["x"].tolist() == [1, 0] and outcomes["x, normalized"].tolist() == [0, 1]


def test_pass_at_k_is_the_fraction_of_choices_with_a_right_answer_and_unbiased():
    for n, c, k in itertools.product(range(1, 7), range(7), range(1, 7)):
        if c <= n and k <= n:
            answers = [1] * c + [0] * (n - c)
            chosen = [any(pick) for pick in itertools.combinations(answers, k)]
            assert pass_at_k(n, c, k) == pytest.approx(sum(chosen) / len(chosen))
    n, k, p = 8, 3, 0.2  # the mean over c ~ Binomial(n, p) is the truth, 1 - (1 - p)^k
    expected = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert expected == pytest.approx(1 - (1 - p) ** k)
    for bad in ((3, 1, 4), (3, 4, 1), (3, 1, 0)):
        with pytest.raises(UserError, match="is not possible"):
            pass_at_k(*bad)


@pytest.mark.parametrize(
    "text, number", [("no number", None), ("-3.", -3), ("1,234.5 of 7e2", 700), ("is .5", 0.5), ("12,34", 34)]
)
def test_the_last_number_of_a_text(text, number):
    assert last_number(text) == number


def test_written_answers_are_right_if_equal_or_within_the_tolerance():
    assert is_right("The Red House!", "red house") and not is_right("red", "red house")
    assert is_right("It is 7.", 7) and is_right("7.4", 7, 0.5) and not is_right("7.6", 7, 0.5) and not is_right("", 7)
    assert is_right("0.3", 0.1 + 0.2)


def test_contamination_finds_what_was_put_into_the_training_data():
    rng = random.Random(0)
    words = [f"w{i}" for i in range(500)]
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(30)]
    training = [" ".join(rng.choices(words, k=400)) for _ in range(20)]
    clean, _ = contamination(texts, training)
    assert clean.value == 0
    leaked = [f"before {text.upper().replace(' ', ', ')} after" for text in texts[:3]]
    part = " ".join(texts[3].split()[:13])
    metric, fractions = contamination(texts, [*training, *leaked, part])
    assert metric.value == pytest.approx(4 / 30)
    assert fractions[:3].tolist() == [1, 1, 1] and fractions[3] == pytest.approx(1 / 28) and not fractions[4:].any()
    assert contamination(["Too short."], ["it is too short for that"])[0].value == 1
    assert contamination(["", "Too short."], ["too long"])[0].value == 0


def test_the_sign_flip_test_is_the_fraction_of_all_signs_that_are_as_far_from_zero():
    rng = np.random.default_rng(0)
    for n in range(1, 8):
        a, b = rng.normal(0.4, 1, n), rng.normal(0, 1, n)
        sums = [abs(np.dot(signs, a - b)) for signs in itertools.product((1, -1), repeat=n)]
        expected = np.mean([value >= abs((a - b).sum()) - 1e-9 for value in sums])
        assert sign_flip_test(a, b) == pytest.approx(expected)
    assert sign_flip_test([1, 2], [1, 2]) == 1
    assert sign_flip_test([0.1, 0.2, -0.3, 0.4, -0.4], [0] * 5) == 1, "the sum is 0 on paper"
    cancelling = [0.1, 0.2, -0.3] * 8
    assert sum(cancelling) != 0 and sign_flip_test(cancelling, [0] * 24) == 1
    assert sign_flip_test(range(1, 6), [0] * 5) == 2 / 2**5
    with pytest.raises(UserError, match="as many values of A as of B"):
        sign_flip_test([1, 2], [1])


def test_the_sign_flip_test_of_many_pairs_has_its_nominal_rate_of_false_alarms():
    rng = np.random.default_rng(1)
    p_values = [sign_flip_test(rng.normal(0, 1, 10), rng.normal(0, 1, 10)) for _ in range(150)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)
    a = rng.normal(0, 1, 40)
    assert sign_flip_test(a + 1, a + rng.normal(0, 0.1, 40)) < 0.001


def test_every_question_about_stories_has_one_possible_answer():
    items = list(questions(list(stories("val", 8))))
    assert {item.group for item in items} == {"who", "what", "outcome"}
    for item in items:
        possible = [valid_prefix(item.question + choice) for choice in item.choices]
        assert len(possible) == 4 and possible.index(True) == item.answer and sum(possible) == 1


@pytest.mark.slow
def test_the_suite_of_a_real_storyteller(storyteller):
    result = run_suite("storyworld", *storyteller, examples=5)
    values = {metric.name: metric for metric in result.metrics}
    assert values["nats above the floor"].value > 0, "no model is better than the generator"
    assert 0 < values["allowed"].value <= 1 and values["bits per byte"].n == 5
    assert values["pass@1"].value <= values["pass@5"].value
    for metric in result.metrics[1:]:  # bits per byte is a ratio of sums
        assert np.mean(result.outcomes[metric.name]) == pytest.approx(metric.value)
    result.check_contamination(story.text for story in stories("val", 5))
    assert result.metrics[-1].name == "contaminated" and result.metrics[-1].value == 1
    rows = compare_suites([result], [result])
    assert all(row[3].strip("+-0.") == "" and row[5] == "1" for row in rows[1:])
    assert json.loads(json.dumps(result.to_dict()))["metrics"][0]["name"] == "bits per byte"


def test_models_are_compared_over_seeds(storyteller, tmp_path):
    file = tmp_path / "q.jsonl"
    file.write_text('{"question": "Once there was a brave", "choices": ["boy", "king"], "answer": "boy"}\n')
    results = [run_suite(file, *storyteller) for _ in range(4)]
    for result, value in zip(results, (0.9, 0.8, 0.5, 0.6), strict=True):
        vars(result.metrics[0])["value"] = value
    header, row = compare_suites(results[:2], results[2:])[:2]
    assert header[4] == "lowest to highest"
    assert row == ("multiple choice", "0.850", "0.550", "+0.300", "+0.200 to +0.400", "0.5")
    with pytest.raises(UserError, match="A has 1 models and B 2"):
        compare_suites(results[:1], results[1:3])


def test_a_file_of_questions(storyteller, tmp_path):
    file = tmp_path / "q.jsonl"
    rows = [
        {"question": "Once there was a brave", "choices": ["boy called", "king called"], "answer": 0, "group": "x"},
        {"question": "Once there was a brave boy", "answer": 5, "tolerance": 1, "group": None},
        {"question": "Once there was a brave boy", "answer": "nothing"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = run_suite(file, *storyteller, samples=3)
    assert [metric.name for metric in result.metrics] == [
        "x", "x, normalized", "right answers, pass@1", "right answers, pass@3",
    ]  # fmt: skip
    assert result.metrics[0].value == 1 and result.metrics[2].n == 2


@pytest.mark.parametrize(
    "row, message",
    [
        ("[1]", "a question is"),
        ("{", "line 1"),
        ('{"question": "a"}', "a question is"),
        ('{"question": "a", "answer": true}', "it must be a text or a number"),
        ('{"question": "a", "answer": 1, "tolerance": -1}', "the tolerance is -1"),
        ('{"question": "a", "answer": 1, "tolerance": NaN}', "the tolerance is nan"),
        ('{"question": "a", "answer": NaN}', "the answer is nan"),
        ('{"question": "a", "answer": Infinity}', "the answer is inf"),
        ('{"question": "a", "answer": " "}', "it must be a text or a number"),
        ('{"question": "a", "answer": 1, "group": ["b"]}', "the group is a list, expected a text"),
        ('{"question": "a", "answer": "b", "choices": ["b"]}', "two texts or more"),
        ('{"question": "a", "answer": "b", "choices": ["b", "b"]}', "two of the choices are the same"),
        ('{"question": "a", "answer": "d", "choices": ["b", "c"]}', "neither one of the choices"),
        ('{"question": "a", "answer": 2, "choices": ["b", "c"]}', "neither one of the choices"),
        ('{"question": "a", "answer": "b", "option": ["b", "c"]}', "there is no field 'option'"),
        ("", "is empty"),
    ],
)
def test_a_line_that_is_no_question_is_a_sentence(storyteller, tmp_path, row, message):
    file = tmp_path / "q.jsonl"
    file.write_text(row)
    with pytest.raises(UserError, match=message) as problem:
        run_suite(file, *storyteller)
    assert "q.jsonl" in str(problem.value) and str(problem.value).endswith((".", ")."))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["storyworld-bert", "--suite", "storyworld"], "cannot continue a text"),
        (["storyworld-gpt", "--suite", "nothing"], "there is no suite or file 'nothing'"),
        (["storyworld-gpt", "--suite", "storyworld-cat"], "did you mean 'storyworld-chat'"),
        (["storyworld-gpt", "--examples", "3"], "--examples needs a suite"),
        (["storyworld-gpt", "storyworld-chat"], "several models are compared"),
        (["a", "b", "--against", "c", "--suite", "storyworld"], "2 and 1 models"),
        (["storyworld-gpt", "--suite", "storyworld", "--data", "x.txt"], "leave --data out"),
        (["storyworld-gpt", "--suite", "storyworld", "--examples", "0"], "examples"),
        (["storyworld-gpt", "--suite", "storyworld", "--samples", "0"], "samples is 0"),
        (["storyworld-gpt", "--suite", "storyworld", "--samples", "3"], "has its own number: leave it out"),
        (["storyworld-gpt", "--samples", "0"], "--samples needs a suite"),
    ],
)
def test_flags_of_suites_that_do_not_fit_are_a_sentence(flags, message):
    with pytest.raises(UserError, match=message):
        eval_command.main(flags)


def test_the_command_prints_the_table_and_writes_it(tmp_path, capsys):
    file, out = tmp_path / "q.jsonl", tmp_path / "out.json"
    file.write_text('{"question": "Once there was a brave", "choices": ["boy", "king"], "answer": "boy"}\n')
    flags = ["storyworld-gpt", "--against", "storyworld-gpt", "--suite", str(file), "--json", str(out)]
    assert eval_command.main(flags) == 0
    printed = capsys.readouterr().out
    assert "multiple choice              1.000  0.025–1.000    1  chance 0.50" in printed
    assert "A: storyworld-gpt; B: storyworld-gpt" in printed
    assert json.loads(out.read_text())["metrics"][0]["value"] == 1
