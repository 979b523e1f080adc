"""The training loop of later lessons. Lesson 05 explains its parts; the full one is `llmasos/training/trainer.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmasos.training.optimizers import learning_rate_factor, make_optimizers, set_learning_rate
from llmasos.training.recipe import TrainingSettings

if TYPE_CHECKING:  # the loop itself only calls methods of the model and its loss
    from torch import Tensor, nn


def train(
    model: nn.Module,
    loss_of_step: Callable[[int], Tensor],
    steps: int,
    rate: float,
    *,
    seed: int,
    optimizer: str = "muon",
    warmup: int = 20,
    schedule: str = "linear",
    after: Callable[[int], Any] | None = None,
) -> Any:
    """Train a model, and return it in evaluation mode.

    Args:
        model: the model to train.
        loss_of_step: the function from the number of a step, 0 … steps - 1, to its loss.
        steps: the number of steps.
        rate: the peak of the learning rate, reached after `warmup` steps.
        seed: the seed of the lesson's run.
        optimizer: "muon" or "adamw".
        warmup: the number of steps in which the rate rises.
        schedule: the way it falls to 0 afterwards: "linear", "cosine" or "wsd" (see `learning_rate_factor`).
        after: a function that is called after each step with the number of steps so far.
    """
    settings = TrainingSettings(optimizer=optimizer, learning_rate=rate, weight_decay=0.0, precision="fp32", seed=seed)
    optimizers = make_optimizers(model.train(), settings)
    for step in range(steps):
        set_learning_rate(optimizers, rate * learning_rate_factor(step, steps, warmup, schedule, 0.0))
        loss = loss_of_step(step)
        for each in optimizers:
            each.zero_grad()
        loss.backward()
        for each in optimizers:
            each.step()
        if after is not None:
            after(step + 1)
    return model.eval()
