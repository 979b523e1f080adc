"""A training step without a run: random tokens, no files. The doctor takes one step, the benchmark many."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from llmasos.datasets import Windows
from llmasos.models import ModelConfig, build_model
from llmasos.objectives import CausalLM
from llmasos.training.recipe import TrainingSettings
from llmasos.training.trainer import Trainer


def make_step(
    config: ModelConfig, batch_size: int, device: torch.device, precision: str = "auto"
) -> Callable[[], float]:
    """Set up the training loop with a new model. Returns a function that takes one step and returns its loss."""
    torch.manual_seed(0)
    model = build_model(config).to(device)
    windows = Windows(random_tokens(config.vocab_size), config.context_length)
    settings = TrainingSettings(batch_size=batch_size, max_steps=1_000_000, precision=precision)
    trainer = Trainer(model, CausalLM(), windows, [], settings, Path("unused"))

    def step() -> float:
        loss = trainer.step(model).loss
        trainer.state.step += 1
        return loss

    return step


def random_tokens(vocab_size: int) -> np.ndarray:
    """Tokens (100,000,) to train on; the speed does not depend on their values."""
    return np.random.default_rng(0).integers(vocab_size, size=100_000).astype(np.uint16)
