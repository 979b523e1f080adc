"""What every bench is told."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Settings:
    """Where to compute, and how thoroughly to measure.

    Attributes:
        device: what to compute on; tokenizers always run on the CPU.
        quick: tiny sizes and two repetitions: shows that everything runs, and says nothing about speed.
    """

    device: torch.device
    quick: bool = False

    def repetitions(self, thorough: int) -> int:
        """How often to measure, where `thorough` times would be enough for a figure."""
        return 2 if self.quick else thorough

    def seconds(self, thorough: float) -> float:
        """How long a repetition should take."""
        return 0.0 if self.quick else thorough
