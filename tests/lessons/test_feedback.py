"""The feedback for a student: two mistakes at once, examples that show the mistake, names that are not imported."""

import re

import pytest
import torch

from lessons.machinery.comparison import format_pair
from lessons.machinery.diagnosis import diagnose_failure, format_input
from lessons.machinery.execution import describe
from lessons.machinery.exercises import Case, Exercise, Misconception
from lessons.machinery.grading import WRONG, grade_observations, observe_all


def feedback(code, **options):
    """The verdict on a solution of an exercise: twice x, or minus twice x if `turn` is set."""
    exercise = Exercise(
        name="twice", asks="Twice x, negative if turned.", reference=lambda x, turn: -2 * x if turn else 2 * x,
        cases=[
            Case("one", x=torch.tensor([0.0]), turn=False), Case("three", x=torch.tensor([1.0, 3.0, 5.0]), turn=False),
            Case("five", x=torch.arange(3.0, 8.0), turn=False), Case("turned", x=torch.arange(6.0, 10.0), turn=True),
            Case("turned, too", x=torch.arange(1.0, 6.0), turn=True),
        ],
        misconceptions=[
            Misconception("squared", lambda x, turn: -(x**2) if turn else x**2, "You squared it.", "Add.", "1.1"),
            Misconception("never turned", lambda x, turn: 2 * x, "You did not turn it.", "Look at turn.", "1.2"),
        ],
        hints=["Add."], section="1", **options,
    )  # fmt: skip
    return grade_observations(exercise, observe_all(exercise, code))


def test_a_known_mistake_beside_an_unknown_one_is_named_with_the_example_on_which_it_shows():
    verdict = feedback(lambda x, turn: x**2)
    assert verdict.mistake == "perhaps “squared”" and verdict.section == "1.1" and verdict.hint == "Add."
    assert "You squared it." in verdict.why and "2 of the 4 cases" in verdict.why and "something else" in verdict.why
    assert "case: three" in verdict.example and "[1 9 25]" in verdict.example, "and not the first one, where 0 is 0"


def test_two_known_mistakes_are_both_named():
    verdict = feedback(lambda x, turn: 2 * x if turn else x**2)
    assert verdict.mistake == "perhaps “squared” and “never turned”" and "You did not turn it." in verdict.why


def test_one_mistake_is_named_without_perhaps_and_an_unknown_one_not_at_all():
    assert feedback(lambda x, turn: 2 * x).mistake == "never turned"
    assert feedback(lambda x, turn: x + 7).mistake == "wrong values"


def test_a_wrong_gradient_is_shown():
    verdict = feedback(lambda x, turn: 0 * x + (-2 if turn else 2) * x.detach(), gradients=True)
    assert verdict.mistake == "wrong gradient" and "the gradient of x:" in verdict.example
    assert "(as expected)" in verdict.example


LONG = torch.zeros(20, 20)
ELSEWHERE = LONG.clone()
ELSEWHERE[13, 17] = 7


@pytest.mark.parametrize(
    "expected, got",
    [
        (torch.tensor([0.333, 0.5]), torch.tensor([0.3334, 0.5])),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.004])),
        (torch.tensor([1e-9]), torch.tensor([0.0])),
        (0.12345, 0.123456), (5, 5.0), ([1, 2], torch.tensor([1, 2])), (torch.tensor([1, 2]), torch.tensor([1.0, 2.0])),
        ({"a": 1}, {"a": 1.0}), ([[1]], [[1.0]]),
        ([torch.ones(2)], [torch.ones(2, dtype=torch.long)]), (torch.ones(2, 1), torch.ones(1, 2)),
        ({"a": torch.ones(2)}, {"a": torch.full((2,), 1.0001)}),
        (LONG, ELSEWHERE), (list(range(40)), [*range(20), 99, *range(21, 40)]),
        ("a" * 500 + "b" + "c" * 500, "a" * 500 + "x" + "c" * 500), (b"a" * 700, b"a" * 699 + b"b"),
        ({i: i for i in range(30)}, {i: i + (i == 25) for i in range(30)}),
    ],
    ids=str,
)  # fmt: skip
def test_expected_and_yours_never_have_the_same_digits(expected, got):
    texts = format_pair(expected, got)
    assert len({re.sub(r"[\W_]", "", text) for text in texts}) == 2, texts
    assert all(len(text) < 700 for text in texts)


def test_where_a_long_value_differs_is_shown():
    wanted, got = format_pair(LONG, ELSEWHERE)
    assert wanted.startswith("… from row 9") and "… 20 rows" in wanted and "7" in got
    assert "99" in format_pair(list(range(40)), [*range(20), 99, *range(21, 40)])[1]


def test_an_identity_matrix_and_a_constant_are_described_in_words():
    assert format_input(torch.eye(4), "") == "the identity matrix, 4 × 4"
    assert format_input(torch.ones(3, 8), "") == "1 everywhere, of shape (3, 8)"
    assert format_input(torch.eye(2), "") == "[1 0]\n[0 1]"


@pytest.mark.parametrize("name, hint", [
    ("math", "`math` is not imported in your file; add `import math` at its top."),
    ("np", "add `import numpy as np`"), ("F", "add `import torch.nn.functional as F`"), ("scroes", "misspelled"),
])  # fmt: skip
def test_a_name_that_is_not_imported_gets_a_hint(name, hint):
    with pytest.raises(NameError) as caught:
        eval(name)
    assert hint in diagnose_failure(describe(caught.value, None), "", "mine.py").hint


def test_the_hint_reaches_the_student():
    verdict = feedback(lambda x, turn: math.sqrt(x))  # noqa: F821
    assert verdict.status == WRONG and "add `import math`" in verdict.hint
