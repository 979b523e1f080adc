"""Planning: what a training run or a server will need, by formula, before you pay for it: `python -m llmasos plan`.

Every formula has its source in its docstring, and `published.py` compares them with published numbers.
"""

from llmasos.planning.devices import DEVICES, Device
from llmasos.planning.serving import ServingPlan, cache_bytes, latent_cache_bytes, plan_serving, reserved_tokens
from llmasos.planning.shapes import optimal_shape, shape_with
from llmasos.planning.training import SHARDINGS, TrainingPlan, optimal_size, optimal_tokens, plan_training

__all__ = [
    "DEVICES",
    "SHARDINGS",
    "Device",
    "ServingPlan",
    "TrainingPlan",
    "cache_bytes",
    "latent_cache_bytes",
    "optimal_shape",
    "optimal_size",
    "optimal_tokens",
    "plan_serving",
    "plan_training",
    "reserved_tokens",
    "shape_with",
]
