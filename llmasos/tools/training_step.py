"""A training step without a run: random tokens, no files. The doctor runs one step, the benchmark many."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from llmasos.datasets import Windows
from llmasos.models import ModelConfig, build_model
from llmasos.models.adapter import add_adapter
from llmasos.objectives import CausalLM
from llmasos.training.recipe import TrainingSettings
from llmasos.training.trainer import Trainer


def make_trainer(
    config: ModelConfig, batch_size: int, device: torch.device, precision: str = "auto", lora_rank: int | None = None
) -> Trainer:
    """Set up the training loop with a new model, or with an adapter of this rank on it."""
    torch.manual_seed(0)
    model = build_model(config).to(device)
    if lora_rank is not None:
        add_adapter(model, "a random model", lora_rank)
    windows = Windows(random_tokens(config.vocab_size), config.context_length)
    settings = TrainingSettings(batch_size=batch_size, max_steps=1_000_000, precision=precision)
    return Trainer(model, CausalLM(), windows, [], settings, Path("unused"))


def make_step(
    config: ModelConfig, batch_size: int, device: torch.device, precision: str = "auto"
) -> Callable[[], float]:
    """Set up the training loop with a new model. Returns a function that takes one step and returns its loss."""
    return step_of(make_trainer(config, batch_size, device, precision))


def step_of(trainer: Trainer) -> Callable[[], float]:
    """Return a function that takes one step of a training loop and returns its loss."""

    def step() -> float:
        loss = trainer.step(trainer.model).loss
        trainer.state.step += 1
        return loss

    return step


def random_tokens(vocab_size: int) -> np.ndarray:
    """Tokens (100,000,) to train on; the speed does not depend on their values."""
    return np.random.default_rng(0).integers(vocab_size, size=100_000).astype(np.uint16)
