"""Training: recipe, optimizers, the loop, checkpoints, run folders, several processes."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.training.device import DTYPES, pick_device
    from llmasos.training.recipe import Recipe, make_recipe
    from llmasos.training.trainer import Trainer

__all__ = ["DTYPES", "Recipe", "Trainer", "make_recipe", "pick_device"]
lazy_exports(__name__)
