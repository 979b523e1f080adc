"""How logits become a token: the effect of each sampling rule, and the random number that decides.

logits → penalties → temperature → top-k → top-p → min-p → softmax → sampled token
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from llmasos.generation import SamplingOptions
from llmasos.generation.options import sampler_fields
from llmasos.generation.sampling import greedy, process_logits, sample, uniform


@dataclass(frozen=True)
class SamplingTrace:
    """The choice of one token.

    Attributes:
        stages: for each enabled rule, its field of `SamplingOptions` and the logits (V,) after it.
        probabilities: (V,) from which the token is sampled; after greedy decoding all but one are 0.
        uniform: the random number in [0, 1) that decides; None = greedy: the most likely token is chosen.
        id: the token.
    """

    stages: list[tuple[str, Tensor]]
    probabilities: Tensor
    uniform: float | None
    id: int


def sampling_trace(logits: Tensor, options: SamplingOptions, ids: Sequence[int] = ()) -> SamplingTrace:
    """Choose a token as `generate` does for the first new token, and keep the logits after each rule.

    Args:
        logits: (V,), of the last position.
        options: how to sample. Its presence and frequency penalties have no effect on a first token.
        ids: the prompt's ids, to which the repetition penalty applies.
    """
    off: dict[str, Any] = {rule.name: rule.default for rule in sampler_fields()}
    on = [rule for rule in rules_in_order() if getattr(options, rule) != off[rule]]
    if options.greedy:
        on = [rule for rule in on if is_penalty(rule)]  # the others do not change which is most likely
    stages: list[tuple[str, Tensor]] = []
    rows = logits.float()[None]  # (1, V)
    for n, rule in enumerate(on):
        so_far = replace(options, **off | {name: getattr(options, name) for name in on[: n + 1]})
        stages.append((rule, process_logits(rows, so_far, [ids], [[]])[0]))
    last = stages[-1][1][None] if stages else rows
    if options.greedy:
        id = int(greedy(last))
        return SamplingTrace(stages, F.one_hot(torch.tensor(id), last.size(1)).float(), None, id)
    number = uniform(options.seed, sample=0, step=0)
    return SamplingTrace(stages, last.softmax(dim=-1)[0], number, int(sample(last, torch.tensor([number]))))


def rules_in_order() -> list[str]:
    """The fields of `SamplingOptions` that process logits, in the order in which they do: penalties come first."""
    return sorted((rule.name for rule in sampler_fields()), key=lambda name: not is_penalty(name))


def is_penalty(rule: str) -> bool:
    """Whether a rule is a penalty, which applies to greedy decoding, too."""
    return rule.endswith("_penalty")
