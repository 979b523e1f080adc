"""Multiple choice by likelihood: the model chooses the continuation that it finds most probable.

    score       log p(choice | question), the sum over its tokens
    normalized  the same per byte of the choice, so that a long choice is not penalized for its length

(Brown et al. 2020, section 2.4, normalize by the number of tokens; both are reported, because neither is right for
every question.) Nothing is generated, so it also works for a model that has never seen a question with letters A to D.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmasos.errors import UserError
from llmasos.evaluation.intervals import proportion
from llmasos.evaluation.likelihood import continuation_log_probs
from llmasos.evaluation.metric import Metric
from llmasos.models import Model
from llmasos.tokenizers import Tokenizer


@dataclass(frozen=True)
class Choice:
    """A question with several answers to choose from.

    Attributes:
        question: the text before the answer; "" = the beginning of a document.
        choices: the answers, two or more, as continuations of the question (including a space between them).
        answer: the index of the right one.
        group: questions of one group are reported together.
    """

    question: str
    choices: tuple[str, ...]
    answer: int
    group: str = ""


def choice_scores(model: Model, tokenizer: Tokenizer, questions: Sequence[Choice]) -> list[np.ndarray]:
    """The scores of each question's choices: (choices, 2), the log-likelihood in nats, as a sum and per byte.

    Raises:
        UserError: there are no questions, or as `log_likelihoods`.
    """
    if not questions:
        raise UserError("there are no questions; give at least one.")
    pairs = [(question.question, choice) for question in questions for choice in question.choices]
    values = iter(continuation_log_probs(model, tokenizer, pairs))
    results = []
    for question in questions:
        sums = np.array([next(values) for _ in question.choices])
        sizes = np.array([len(choice.encode()) for choice in question.choices])
        results.append(np.stack([sums, sums / sizes], axis=1))
    return results


def multiple_choice(
    questions: Sequence[Choice], scores: Sequence[np.ndarray]
) -> tuple[list[Metric], dict[str, np.ndarray]]:
    """The accuracy in each group of questions, without and with normalization; the note states the accuracy of chance.

    >>> questions = [Choice("2 + 2 =", (" 4", " five"), 0), Choice("1 + 1 =", (" two", " 3"), 0)]
    >>> metrics, _ = multiple_choice(questions, [np.array([[-1, -0.5], [-2, -0.4]]), np.array([[-1, -0.3], [-2, -1]])])
    >>> print(metrics[0])
    multiple choice 1.000 (95 % interval 0.158–1.000, n = 2; chance 0.50)
    >>> metrics[1].value
    0.5

    Returns:
        The metrics, and for each metric's name 1 for every right answer and 0 for every wrong one, (n,).
    """
    metrics, outcomes = [], {}
    for group in dict.fromkeys(question.group for question in questions):
        members = [i for i, question in enumerate(questions) if question.group == group]
        chance = np.mean([1 / len(questions[i].choices) for i in members])
        for column, suffix in enumerate(("", ", normalized")):
            name = f"{group or 'multiple choice'}{suffix}"
            right = np.array([int(scores[i][:, column].argmax() == questions[i].answer) for i in members])
            metrics.append(proportion(name, int(right.sum()), len(right), f"chance {chance:.2f}"))
            outcomes[name] = right
    return metrics, outcomes
