"""Rotary frequencies for texts longer than those of pretraining: part of a model's config, used in `positions.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from llmasos.errors import UserError, check_number

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's way to read texts longer than those of its pretraining (Llama 3.1; `rope_type` "llama3").

    A plane that rotates many times within the original context distinguishes near positions, and is left as it is. One
    that does not complete a single rotation distinguishes far ones: its frequency is divided by `factor`, so that it
    covers the longer context as it covered the original one. Between the two, the scaling sets in gradually.

    Attributes:
        factor: by how much low frequencies are divided, at least 1.
        low_freq_factor: planes that rotate less often than this within the original context have low frequencies.
        high_freq_factor: planes that rotate more often than this have high frequencies; above `low_freq_factor`.
        original_context_length: the context of pretraining, in tokens.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context_length: int

    def __post_init__(self):
        for field in fields(self):
            check_number(f"rope_scaling: {field.name}", getattr(self, field.name), above=0, at_most=1e15)
        if self.factor < 1 or self.high_freq_factor <= self.low_freq_factor:
            raise UserError(
                f"rope_scaling is {self}; factor must be at least 1 and high_freq_factor above low_freq_factor."
            )

    @classmethod
    def from_dict(cls, values: dict) -> RopeScaling:
        """From the object in a `config.json`. Raises UserError if its fields are others."""
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            raise UserError(f"rope_scaling has the fields {sorted(values)}; expected {sorted(names)}.")
        return cls(**values)

    def scale(self, frequencies: Tensor) -> Tensor:
        """The scaled frequencies of the planes (D/2,), in radians per position."""
        rotations = self.original_context_length * frequencies / (2.0 * math.pi)  # within the original context
        low, high = self.low_freq_factor, self.high_freq_factor
        kept = ((rotations - low) / (high - low)).clamp(0.0, 1.0)  # 1 = unscaled, 0 = fully scaled
        return kept * frequencies + (1.0 - kept) * frequencies / self.factor
