"""Memorization of individual training texts: exposure of canaries, membership inference.

A *canary* is an invented secret in the training data ("The code of Ida's door is 4071."). If the model has learned it,
it gives the secret a higher probability than all other codes in the same place. Its **exposure** (Carlini et al. 2019,
definition 2.1) among R candidates is

    log₂ R - log₂ rank

It is 0 bits for the least probable candidate and log₂ R bits for the most probable one. The rank of a canary that was
never seen is uniform, so its expected exposure is about log₂ e = 1.44 bits.

**Membership inference** asks whether a given text was in the training data, from its loss alone (Yeom et al. 2018). The
measure is the area under the ROC curve: the probability that a member has a lower loss than a non-member; ½ is
guessing. Easy texts have low losses anyway, so the attack is stronger if the loss under a reference model is subtracted
first (Carlini et al. 2022), or, best of all, the text's true information if it is known.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from llmasos.errors import UserError
from llmasos.evaluation.metric import Metric

LogProbs = Callable[[Sequence[str]], Sequence[float] | np.ndarray]  # of each text, in nats


def exposure(canary: float, candidates: Sequence[float] | np.ndarray) -> float:
    """The exposure of a canary in bits.

    >>> exposure(-1.0, [-5.0, -6.0, -7.0])
    2.0

    Args:
        canary: its log-probability, in nats.
        candidates: the log-probabilities of all other texts that could be in its place, (R - 1,). Of equal ones, half
            count as more probable.

    Raises:
        UserError: there are no candidates, or a number is NaN.
    """
    others = checked("candidates", candidates)
    if math.isnan(canary):
        raise UserError("the log-probability of the canary is NaN, so it has no rank.")
    rank = 1 + (others > canary).sum() + (others == canary).sum() / 2
    return math.log2(len(others) + 1) - math.log2(rank)


def expected_exposure(n_candidates: int) -> float:
    """The mean exposure in bits of a canary that was never seen, among n others: every rank is equally likely.

        log₂ R - (1/R) · log₂ R!  →  log₂ e

    >>> round(expected_exposure(10**6), 3)
    1.443
    """
    size = n_candidates + 1
    return math.log2(size) - math.lgamma(size + 1) / math.log(2) / size


def exposure_of(log_probs: LogProbs, template: str, secret: str, candidates: Sequence[str]) -> float:
    """The exposure of a secret in a sentence, in bits.

    Args:
        log_probs: the log-probabilities of texts under the model, in nats.
        template: the sentence, with {} in place of the secret.
        secret: the one that was in the training data.
        candidates: all possible secrets; the true one may be among them.

    Raises:
        UserError: the template has no place for the secret, or there is no other candidate.
    """
    if template.count("{}") != 1:
        raise UserError(f"the template {template!r} must contain {{}} once, in place of the secret.")
    secrets = dict.fromkeys([secret, *candidates])
    if len(secrets) == 1:
        raise UserError(f"the only candidate is the secret {secret!r} itself; add the others that could be there.")
    canary, *others = log_probs([template.replace("{}", each) for each in secrets])
    return exposure(float(canary), others)


@dataclass(frozen=True)
class MembershipInference:
    """How well members can be told from non-members.

    Attributes:
        auc: the area under the ROC curve, with its interval; ½ is guessing.
        found: the true positive rate, the fraction of members that are found at this false positive rate.
        false_alarms: the false positive rate, the fraction of non-members that are taken for members.
    """

    auc: Metric
    found: float
    false_alarms: float


def membership_inference(
    members: Sequence[float] | np.ndarray,
    others: Sequence[float] | np.ndarray,
    member_references: Sequence[float] | np.ndarray | None = None,
    other_references: Sequence[float] | np.ndarray | None = None,
    false_alarms: float = 0.01,
) -> MembershipInference:
    """Attack a model by the losses of texts.

    The area is the Mann–Whitney statistic (1947); its interval is that of DeLong et al. 1988, from the variance of each
    text's contribution.

    Args:
        members: losses of texts that were in the training data, in nats.
        others: losses of similar texts that were not, in nats.
        member_references, other_references: the losses of the same texts under a reference model, which are subtracted.
        false_alarms: see `MembershipInference`.

    Raises:
        UserError: fewer than two losses on a side, one that is NaN, or not one reference for each loss.
    """
    inside, outside = checked("members", members, 2), checked("others", others, 2)
    if (member_references is None) != (other_references is None):
        raise UserError("there are references for one side only; give them for both, or for none.")
    if member_references is not None and other_references is not None:
        references = checked("member_references", member_references), checked("other_references", other_references)
        if len(references[0]) != len(inside) or len(references[1]) != len(outside):
            raise UserError("there must be one reference for each loss.")
        inside, outside = inside - references[0], outside - references[1]
    ordered_in, ordered_out = np.sort(inside), np.sort(outside)

    def share_above(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
        """For each value, the fraction of the others above it; equal ones count half."""
        above = len(ordered) - np.searchsorted(ordered, values, "right")
        equal = np.searchsorted(ordered, values, "right") - np.searchsorted(ordered, values, "left")
        return (above + equal / 2) / len(ordered)

    wins, losses = share_above(inside, ordered_out), 1 - share_above(outside, ordered_in)
    auc = float(wins.mean())
    spread = 1.96 * math.sqrt(wins.var(ddof=1) / len(inside) + losses.var(ddof=1) / len(outside))
    threshold = ordered_out[int(false_alarms * len(outside))]
    metric = Metric("AUC", auc, max(0.0, auc - spread), min(1.0, auc + spread), len(inside) + len(outside))
    return MembershipInference(metric, float((inside < threshold).mean()), false_alarms)


def checked(name: str, values: Sequence[float] | np.ndarray, at_least: int = 1) -> np.ndarray:
    """The values (n,) as an array. Raises UserError if they are too few, or one is NaN."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < at_least or np.isnan(array).any():
        raise UserError(f"{name} must be a list of {at_least} or more numbers, none of them NaN.")
    return array
