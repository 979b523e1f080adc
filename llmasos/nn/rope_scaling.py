"""Rotary frequencies for texts longer than those of pretraining: part of a model's config, used in `positions.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from llmasos.errors import UserError, check_number, shown

if TYPE_CHECKING:
    from torch import Tensor


TYPES = ("llama3", "linear", "ntk", "yarn")


@dataclass(frozen=True)
class RopeScaling:
    """One of four ways to handle texts that are `factor` times as long as those of pretraining.

    A plane that rotates many times within the original context distinguishes nearby positions. One that does not
    complete a single rotation distinguishes distant ones, and beyond the context it reaches angles never seen in
    training.

    - "linear": every frequency is divided by `factor`, so that no angle is new (position interpolation, Chen et al.
      2023). Nearby positions become harder to distinguish.
    - "ntk": the base grows, so that the slowest plane is slowed down by `factor` and the fastest not at all
      ("NTK-aware" scaling, bloc97 2023; Peng et al. 2023, "YaRN", section 3.1). `dynamic_ntk` chooses its factor for
      the length of a text.
    - "yarn": slow planes are scaled as in "linear", fast ones are unchanged, with a ramp over the planes in between;
      and all scores are scaled up slightly (Peng et al. 2023, sections 3.2 to 3.4).
    - "llama3": the same idea with a ramp over the frequencies and without the last step (Llama 3.1).

    Attributes:
        factor: the divisor of low frequencies, at least 1.
        low_freq_factor: llama3: planes that rotate less often than this within the original context are slow.
        high_freq_factor: llama3: planes that rotate more often than this are fast; above `low_freq_factor`.
        original_context_length: llama3 and yarn: the context of pretraining, in tokens.
        type: one of TYPES.
        beta_fast, beta_slow: yarn: the corresponding thresholds; β and α in the paper.
        attention_factor: yarn: multiplies the rotated queries and keys (None = 0.1 · ln(factor) + 1).
    """

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context_length: int = 8192
    type: str = "llama3"
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None

    def __post_init__(self):
        for field in fields(self):
            if field.name not in ("type", "attention_factor"):
                check_number(f"rope_scaling: {field.name}", getattr(self, field.name), above=0, at_most=1e15)
        if self.type not in TYPES:
            raise UserError(f"rope_scaling: type is {shown(self.type)}; it must be one of: {', '.join(TYPES)}.")
        if self.attention_factor is not None:
            check_number("rope_scaling: attention_factor", self.attention_factor, above=0, at_most=1e15)
        if self.factor < 1 or self.high_freq_factor <= self.low_freq_factor or self.beta_fast <= self.beta_slow:
            raise UserError(
                f"rope_scaling is {self}; factor must be at least 1, high_freq_factor above low_freq_factor, and "
                "beta_fast above beta_slow."
            )

    @classmethod
    def from_dict(cls, values: dict) -> RopeScaling:
        """Build from the object in a `config.json`. Raises UserError if it has missing or unknown fields."""
        names = {field.name for field in fields(cls)}
        if not {"factor"} <= set(values) <= names:
            raise UserError(f"rope_scaling has the fields {sorted(values)}; expected {sorted(names)}.")
        return cls(**values)

    def scale(self, frequencies: Tensor, base: float) -> Tensor:
        """The scaled frequencies of the planes (D/2,), in radians per position; plane i had base^(-2i/D)."""
        import torch  # here, because a config does not need torch

        if self.type == "linear":
            return frequencies / self.factor
        n_planes = len(frequencies)
        planes = torch.arange(n_planes, dtype=frequencies.dtype, device=frequencies.device)
        if self.type == "ntk":  # the new base is base · factor^(D / (D - 2))
            return frequencies * self.factor ** (-planes / max(1, n_planes - 1))
        if self.type == "yarn":
            fast, slow = (self.plane_that_rotates(beta, n_planes, base) for beta in (self.beta_fast, self.beta_slow))
            first, last = max(math.floor(fast), 0), min(math.ceil(slow), 2 * n_planes - 1)
            scaled = ((planes - first) / max(last - first, 0.001)).clamp(0.0, 1.0)  # 0 = unscaled, 1 = fully scaled
            return scaled * frequencies / self.factor + (1.0 - scaled) * frequencies
        rotations = self.original_context_length * frequencies / (2.0 * math.pi)  # within the original context
        low, high = self.low_freq_factor, self.high_freq_factor
        kept = ((rotations - low) / (high - low)).clamp(0.0, 1.0)  # 1 = unscaled, 0 = fully scaled
        return kept * frequencies + (1.0 - kept) * frequencies / self.factor

    def plane_that_rotates(self, times: float, n_planes: int, base: float) -> float:
        """The (fractional) index of the plane that rotates this many times within the original context."""
        return n_planes * math.log(self.original_context_length / (times * 2.0 * math.pi)) / math.log(base)

    @property
    def magnitude(self) -> float:
        """The factor of the rotated queries and keys: scores are scaled by its square."""
        if self.type != "yarn":
            return 1.0
        return 0.1 * math.log(self.factor) + 1.0 if self.attention_factor is None else self.attention_factor


def dynamic_ntk(length: int, original_context_length: int, factor: float = 1.0) -> RopeScaling:
    """The "ntk" scaling for a text of this length: none within the original context, then more and more.

    Dynamic NTK scaling (emozilla 2023; Peng et al. 2023, "YaRN", section 3.3), as in transformers: the base is that of
    "ntk" with the factor · length / original_context_length - (factor - 1). With factor 1, the scaling is exactly
    length / original_context_length.

    It is a function, not a type of `RopeScaling`, because a model whose frequencies depend on the length computes
    different keys for *all* tokens whenever one more arrives. A KV cache would then be invalid, and a new token would
    change the results of earlier ones. So choose the length first: `extend_context(model, n, dynamic_ntk(n, 48))`
    handles texts of up to n tokens.

    >>> dynamic_ntk(192, 48).factor, dynamic_ntk(30, 48).factor
    (4.0, 1.0)

    Args:
        length: the length of the text, in tokens.
        original_context_length: the context of pretraining, in tokens.
        factor: how fast the scaling grows with the length, at least 1.

    Raises:
        UserError: an argument is out of range.
    """
    check_number("length", length, whole=True, at_least=1, at_most=10**9)
    check_number("original_context_length", original_context_length, whole=True, at_least=1, at_most=10**9)
    check_number("factor", factor, at_least=1, at_most=1e9)
    stretch = max(length, original_context_length) / original_context_length
    return RopeScaling(factor * stretch - (factor - 1.0), original_context_length=original_context_length, type="ntk")
