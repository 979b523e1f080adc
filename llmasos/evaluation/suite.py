"""Suites: sets of tests for any causal model, whatever it was trained on, reported as one table with intervals.

    storyworld      how well a model knows the world (`storyworld_suite.py`)
    storyworld-chat the same for a chat model (`tasks/storyworld_chat_suite.py`, as it needs a chat template)
    FILE.jsonl      questions of your own, one per line:
                    {"question": "The sky is", "choices": [" blue", " green"], "answer": " blue"}
                    {"question": "What is 3 + 4?", "answer": 7, "tolerance": 0}
                    {"question": "Capital of France?", "answer": "Paris", "group": "geography"}

With choices, the most likely one is chosen (`multiple_choice.py`); without, the model writes an answer, or several for
pass@k (`pass_at_k.py`), and a rule judges each: it needs the same words, or a number within a tolerance (`is_right`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llmasos.arguments import user_path
from llmasos.datasets.json_records import Record, read_records
from llmasos.datasets.values import BadRow, is_missing, to_text
from llmasos.errors import UserError, check_number, nearest, shown
from llmasos.evaluation.contamination import contamination
from llmasos.evaluation.intervals import paired_bootstrap, proportion
from llmasos.evaluation.metric import Metric
from llmasos.evaluation.multiple_choice import Choice, choice_scores, multiple_choice
from llmasos.evaluation.paired_test import sign_flip_test
from llmasos.evaluation.pass_at_k import pass_at_k_metric
from llmasos.evaluation.show_table import ShownAsTable
from llmasos.evaluation.squad import exact_match
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model
from llmasos.tokenizers import Tokenizer

STORYWORLD = "storyworld"
STORYWORLD_CHAT = "storyworld-chat"  # for chat models: `llmasos/tasks/storyworld_chat_suite.py`
FIELDS = ("question", "choices", "answer", "tolerance", "group")
NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+−]?\.\d+")


@dataclass(repr=False)
class SuiteResult(ShownAsTable):
    """The result of a suite.

    Attributes:
        metrics: the metrics, each with its interval.
        outcomes: for each metric's name, the values it is the mean of, one per example, to compare two models example
            by example.
        texts: the test texts, for the contamination check.
    """

    metrics: list[Metric]
    outcomes: dict[str, np.ndarray] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def add(self, metric: Metric, outcomes: np.ndarray) -> None:
        """Add a metric with the values that it is the mean of."""
        self.metrics.append(metric)
        self.outcomes[metric.name] = np.asarray(outcomes, dtype=np.float64)

    def add_choices(self, model: Model, tokenizer: Tokenizer, questions: Sequence[Choice]) -> None:
        """Ask multiple-choice questions, and add their metrics."""
        metrics, outcomes = multiple_choice(questions, choice_scores(model, tokenizer, questions))
        for metric in metrics:
            self.add(metric, outcomes[metric.name])

    def check_contamination(self, training_texts: Iterable[str]) -> None:
        """Add how many of the test texts share a run of words with the training data."""
        metric, fractions = contamination(self.texts, training_texts)
        self.add(metric, fractions > 0)

    def to_dict(self) -> dict[str, Any]:
        """Metrics and outcomes, for a JSON file."""
        outcomes = {name: values.tolist() for name, values in self.outcomes.items()}
        return {"metrics": [metric.to_dict() for metric in self.metrics], "outcomes": outcomes}

    def table(self) -> list[Sequence[str]]:
        return [("metric", "value", "95 % interval", "n", ""), *(metric.cells for metric in self.metrics)]


@dataclass(frozen=True)
class Written:
    """A question whose answer the model writes."""

    question: str
    answer: str | float
    tolerance: float
    group: str


def run_suite(
    suite: str | Path, model: Model, tokenizer: Tokenizer, examples: int | None = None, samples: int = 1, seed: int = 0
) -> SuiteResult:
    """Test a model.

    Args:
        suite: "storyworld", or a `.jsonl` or `.json` file.
        model: a causal model.
        tokenizer: the one it was trained with.
        examples: the maximum number of examples; None = 100 for storyworld, all for a file.
        samples: how many answers to write to each question of a file: 1 = one by greedy decoding; more are sampled.
        seed: seed of the samples.

    Raises:
        UserError: there is no such suite, or a line of the file is not a question.
    """
    check_number("samples", samples, whole=True, at_least=1)
    if examples is not None:
        check_number("examples", examples, whole=True, at_least=1)
    if str(suite) == STORYWORLD:
        from llmasos.evaluation.storyworld_suite import storyworld_suite

        if samples != 1:
            raise UserError(f"samples is {samples}, but the suite storyworld has its own number: leave it out.")
        return storyworld_suite(model, tokenizer, examples or 100, seed)
    file = user_path(suite)
    if not file.is_file():
        suites = (STORYWORLD, STORYWORLD_CHAT)
        raise UserError(
            f"there is no suite or file {str(suite)!r}{nearest(str(suite), suites)}; write {' or '.join(suites)}, "
            "or the name of a .jsonl file."
        )
    questions = [read_question(record) for record in read_records(file)][:examples]
    if not questions:
        raise UserError(f"{suite} has no questions; write at least one line.")
    result = SuiteResult([], texts=[question.question for question in questions])
    if choices := [question for question in questions if isinstance(question, Choice)]:
        result.add_choices(model, tokenizer, choices)
    written = [question for question in questions if isinstance(question, Written)]
    right = answer(model, tokenizer, written, samples, seed)
    for group in dict.fromkeys(question.group for question in written):
        members = [r for question, r in zip(written, right, strict=True) if question.group == group]
        name = group or "right answers"
        if samples == 1:
            result.add(proportion(name, sum(r[0] for r in members), len(members)), np.array([r[0] for r in members]))
        for k in sorted({1, samples}) if samples > 1 else ():
            metric, values = pass_at_k_metric(members, k)
            metric = Metric(f"{name}, {metric.name}", *list(vars(metric).values())[1:])
            result.add(metric, values)
    return result


def answer(
    model: Model, tokenizer: Tokenizer, questions: Sequence[Written], samples: int, seed: int
) -> list[list[bool]]:
    """For each question, whether each of the model's answers is right. An answer ends at the end of its line."""
    options = SamplingOptions(64, temperature=0.0 if samples == 1 else 1.0, stop=("\n",), seed=seed)
    generations = generate(model, tokenizer, [q.question for q in questions], options, samples) if questions else []
    texts = [generation.text for generation in generations]
    return [
        [is_right(text, question.answer, question.tolerance) for text in texts[i * samples : (i + 1) * samples]]
        for i, question in enumerate(questions)
    ]


def is_right(prediction: str, answer: str | float, tolerance: float = 0.0) -> bool:
    """Whether a written answer is right.

    >>> is_right("It was the red house.", "it was a red house"), is_right("about 3.14", 3.14159, tolerance=0.01)
    (True, True)

    Args:
        prediction: the generated answer.
        answer: a text, which has to be equal after SQuAD's normalization, or a number, with which the last number of
            the prediction is compared.
        tolerance: the largest allowed difference of a number.
    """
    if isinstance(answer, str):
        return bool(exact_match(prediction, answer))
    number = last_number(prediction)
    return number is not None and abs(number - answer) <= tolerance + 1e-12 * abs(answer)


def last_number(text: str) -> float | None:
    """The last number in a text, which is where a worked answer has its result; None if there is none.

    >>> last_number("3 boxes of 4 make 12, and 1,000 of them −12,000.5.")
    -12000.5
    """
    numbers = NUMBER.findall(text)
    return float(numbers[-1].replace(",", "").replace("−", "-")) if numbers else None


def read_question(record: Record) -> Choice | Written:
    """The question in a line of a file.

    Raises:
        UserError: the line is not a question; says why.
    """

    def refuse(problem: str) -> UserError:
        return UserError(f"{record.where}: {problem}")

    row: Any = record.value
    if record.problem:
        raise refuse(record.problem)
    if not isinstance(row, dict) or not isinstance(row.get("question"), str) or "answer" not in row:
        raise refuse('a question is {"question": "…", "choices": ["…", "…"], "answer": "…"}, with or without choices.')
    if unknown := [name for name in row if name not in FIELDS]:
        raise refuse(f"there is no field {unknown[0]!r}; a question has {', '.join(FIELDS)}.")
    try:
        group = to_text(row.get("group"), "group")
    except BadRow as problem:
        raise refuse(str(problem)) from problem
    right, choices = row["answer"], row.get("choices")
    if choices is None:
        tolerance = row.get("tolerance", 0.0)
        if isinstance(right, bool) or not isinstance(right, str | int | float) or is_missing(right):
            raise refuse(f"the answer is {shown(right)}; it must be a text or a number.")
        try:
            check_number("the tolerance", tolerance, at_least=0)
            if not isinstance(right, str):
                check_number("the answer", right)
        except UserError as error:
            raise refuse(str(error)) from error
        return Written(row["question"], right, float(tolerance), group)
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise refuse("choices must be a list of two texts or more.")
    if len(set(choices)) < len(choices):
        raise refuse("two of the choices are the same; only one answer can be right.")
    if right in choices:
        right = choices.index(right)
    if isinstance(right, bool) or not isinstance(right, int) or not 0 <= right < len(choices):
        raise refuse(f"the answer {right!r} is neither one of the choices nor its number, counted from 0.")
    if row["question"] and not row["question"][-1].isspace():  # a choice is the next word
        choices = [choice if choice[0].isspace() else f" {choice}" for choice in choices]
    return Choice(row["question"], tuple(choices), right, group)


def compare_suites(a: Sequence[SuiteResult], b: Sequence[SuiteResult]) -> list[tuple[str, ...]]:
    """The differences between models A and B, as rows of a table.

    With one result of each, the same examples are compared, by `paired_bootstrap` and `sign_flip_test`. With several,
    one for each seed, the values of equal seeds are paired; the interval then runs from the lowest to the highest
    difference, because a few seeds are too few for a confidence interval.

    Raises:
        UserError: the numbers of results of A and B differ.
    """
    if len(a) != len(b):
        raise UserError(f"A has {len(a)} models and B {len(b)}; give as many of each, in the order of their seeds.")
    interval = "95 % interval" if len(a) == 1 else "lowest to highest"
    rows: list[tuple[str, ...]] = [("metric", "A", "B", "difference", interval, "p")]
    for number, metric in enumerate(a[0].metrics):
        values = [np.array([result.metrics[number].value for result in side]) for side in (a, b)]
        differences = values[0] - values[1]
        low, high = differences.min(), differences.max()
        if len(a) == 1:
            values = [side[0].outcomes[metric.name] for side in (a, b)]
            interval_of = paired_bootstrap(values[0], values[1])
            low, high = interval_of.low, interval_of.high
        digits = metric.digits
        means = (f"{np.mean([result.metrics[number].value for result in side]):.{digits}f}" for side in (a, b))
        ends = "" if np.isnan(low) else f"{low:+.{digits}f} to {high:+.{digits}f}"
        p = sign_flip_test(values[0], values[1])
        rows.append((metric.name, *means, f"{differences.mean():+.{digits}f}", ends, f"{p:.3g}"))
    return rows
