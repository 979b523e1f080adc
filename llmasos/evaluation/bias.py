"""Bias: counterfactual pairs, and how sampling amplifies a preference.

A *counterfactual pair* is two prompts that differ in one word, such as "boy" and "girl". A model that treats both alike
gives their continuations the same probabilities. The measure is the difference of the log odds of one continuation
against another ("brave" against "shy"), averaged over pairs (Rudinger et al. 2018 and Zhao et al. 2018 do it with
coreference):

    ln [p(brave | boy) / p(shy | boy)] - ln [p(brave | girl) / p(shy | girl)]        0 = no difference

**Amplification.** Sampling at temperature τ raises every probability to the power 1/τ. A preference of 0.8 to 0.2 in
the data, learned perfectly, becomes 0.94 to 0.06 at τ = ½, and 1 to 0 with greedy decoding (`amplified`).
"""

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llmasos.arguments import user_path
from llmasos.datasets.json_records import read_records
from llmasos.errors import UserError, check_number
from llmasos.evaluation.intervals import mean
from llmasos.evaluation.metric import Metric

LogProbsAfter = Callable[
    [Sequence[tuple[str, str]]], Sequence[float] | np.ndarray
]  # of (prompt, continuation), in nats
_choice = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")


@dataclass(frozen=True)
class CounterfactualPair:
    """Two prompts that differ in one thing, and two continuations.

    Attributes:
        first, second: the prompts.
        continuation, alternative: the two continuations compared after each of them.
    """

    first: str
    second: str
    continuation: str
    alternative: str


@dataclass(frozen=True)
class BiasReport:
    """The result for a set of pairs.

    Attributes:
        difference: the mean difference of the log odds, with its interval; 0 = no difference.
        first_preference, second_preference: the mean probability of the continuation among the two, after the first
            and after the second prompts.
        pairs: the difference of each pair.
    """

    difference: Metric
    first_preference: float
    second_preference: float
    pairs: np.ndarray

    def __str__(self) -> str:
        return (
            f"{self.difference}\nprobability of the continuation: {self.first_preference:.3f} after the first prompts, "
            f"{self.second_preference:.3f} after the second"
        )


def expand_template(
    template: str, continuation: str, alternative: str, **fillers: Sequence[str]
) -> list[CounterfactualPair]:
    """The pairs of a template: {boy|girl} differs within a pair, other names in braces differ between pairs.

    >>> pairs = expand_template("The {boy|girl} at the {place} was", " brave", " shy", place=["mill", "lake"])
    >>> [(pair.first, pair.second) for pair in pairs]
    [('The boy at the mill was', 'The girl at the mill was'), ('The boy at the lake was', 'The girl at the lake was')]

    Raises:
        UserError: the template has no choice such as {boy|girl}, or a name without a list.
    """
    if not _choice.search(template):
        raise UserError(f"the template {template!r} has no choice such as {{boy|girl}}, in which the prompts differ.")
    pairs = []
    for words in itertools.product(*fillers.values()):
        filled = template
        for name, word in zip(fillers, words, strict=True):
            filled = filled.replace(f"{{{name}}}", word)
        first, second = _choice.sub(r"\1", filled), _choice.sub(r"\2", filled)
        if left := re.search(r"\{.*?\}", first):
            raise UserError(f"the template {template!r} has {left[0]} without a list of words for it.")
        pairs.append(CounterfactualPair(first, second, continuation, alternative))
    return pairs


def read_templates(path: Path | str) -> list[CounterfactualPair]:
    """Read a file of templates, one JSON object on each line.

        {"template": "The {boy|girl} in the {place}", "continuations": [" ran", " sat"], "place": ["hall", "park"]}

    Raises:
        UserError: the file cannot be read, or a line is not such an object; names the line.
    """
    pairs: list[CounterfactualPair] = []
    for record in read_records(user_path(path)):
        fields = record.value
        if record.problem or not is_template(fields):
            raise UserError(
                f'{record.where}: expected an object like {{"template": "The {{boy|girl}} was", "continuations": '
                f'[" brave", " shy"]}}, with a list of words for each other name in braces. {record.problem or ""}'
            )
        lists = {name: words for name, words in fields.items() if name not in ("template", "continuations")}
        try:
            pairs += expand_template(fields["template"], *fields["continuations"], **lists)
        except UserError as error:
            raise UserError(f"{record.where}: {error}") from error
    if not pairs:
        raise UserError(f"{path} has no templates in it.")
    return pairs


def is_template(fields: object) -> bool:
    """Whether a value from a file is a template: a text, two continuations, and lists of words."""
    if not isinstance(fields, dict) or not isinstance(fields.get("template"), str):
        return False
    lists = [value for name, value in fields.items() if name != "template"]
    are_words = all(isinstance(words, list) and words and all(isinstance(w, str) for w in words) for words in lists)
    return are_words and len(fields.get("continuations", [])) == 2


def measure_bias(log_probs: LogProbsAfter, pairs: Sequence[CounterfactualPair]) -> BiasReport:
    """Measure a model on counterfactual pairs.

    Args:
        log_probs: the log-probabilities of continuations after their prompts, in nats.
        pairs: at least one; the interval is over pairs.

    Raises:
        UserError: there are no pairs, or a probability is zero or NaN.
    """
    if not pairs:
        raise UserError("there are no pairs to measure; give at least one.")
    texts = [
        (prompt, continuation)
        for pair in pairs
        for prompt in (pair.first, pair.second)
        for continuation in (pair.continuation, pair.alternative)
    ]
    values = np.array(log_probs(texts)).reshape(-1, 2, 2)  # pair, prompt, continuation
    with np.errstate(invalid="ignore"):  # of two continuations that are both impossible
        odds = values[:, :, 0] - values[:, :, 1]  # (n, 2)
    for pair, row in zip(pairs, odds, strict=True):
        if not np.isfinite(row).all():
            raise UserError(
                f"a continuation of {pair.first!r} or {pair.second!r} has the probability 0 under this model, so there "
                "are no odds; choose other continuations."
            )
    preferences = (1 / (1 + np.exp(-odds))).mean(axis=0)
    difference = odds[:, 0] - odds[:, 1]
    return BiasReport(
        mean("difference of log odds", difference), float(preferences[0]), float(preferences[1]), difference
    )


def amplified(probability: float, temperature: float) -> float:
    """A preference between two continuations after sampling at temperature τ: p^(1/τ) / (p^(1/τ) + (1 - p)^(1/τ)).

    >>> round(amplified(0.8, 0.5), 3), amplified(0.8, 1.0), round(amplified(0.8, 2.0), 3)
    (0.941, 0.8, 0.667)

    Args:
        probability: the probability of one of the two, given that it is one of them.
        temperature: τ, above 0.
    """
    check_number("probability", probability, at_least=0, at_most=1)
    check_number("temperature", temperature, above=0)
    if probability in (0, 1):
        return float(probability)
    return 1 / (1 + math.exp(-(math.log(probability) - math.log1p(-probability)) / temperature))
