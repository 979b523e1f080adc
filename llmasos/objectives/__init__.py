"""What to learn: each objective turns examples into a batch and a model's outputs into a loss."""

from llmasos.objectives.base import Batch, Objective
from llmasos.objectives.causal import IGNORED, CausalLM

__all__ = ["IGNORED", "Batch", "CausalLM", "Objective"]
