"""Shared by the tests of training: a tiny text, a tiny recipe, a tiny run."""

import socket
from pathlib import Path

import numpy as np
import torch

from llmasos.datasets import Windows
from llmasos.models import GPT, ModelConfig
from llmasos.objectives import CausalLM
from llmasos.training.recipe import TrainingSettings
from llmasos.training.trainer import Trainer

TEXT = "".join(f"The {n} little foxes ran over hill number {n * n}.\n" for n in range(120))
TINY_FLAGS = [
    "--tokenizer", "char", "--n-layers", "1", "--n-heads", "2", "--d-model", "32", "--context-length", "16",
    "--batch-size", "4", "--steps", "20", "--warmup-steps", "2", "--eval-interval", "10", "--log-interval", "5",
    "--device", "cpu",
]  # fmt: skip


def free_port() -> int:
    """Return a free port for the rendezvous of processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tiny_settings(**changes) -> TrainingSettings:
    """Twelve steps of a batch of four windows on the CPU."""
    settings = {
        "max_steps": 12, "batch_size": 4, "warmup_steps": 2, "eval_interval": 6, "log_interval": 1, "device": "cpu",
        "precision": "fp32",
    }  # fmt: skip
    return TrainingSettings(**{**settings, **changes})


def tiny_model(seed: int = 0, **changes) -> GPT:
    """Two layers of width 16 over a vocabulary of 11, context 8."""
    torch.manual_seed(seed)
    config = {"vocab_size": 11, "context_length": 8, "n_layers": 2, "n_heads": 2, "d_model": 16}
    return GPT(ModelConfig(**{**config, **changes}))


def tiny_tokens(n: int = 400, seed: int = 0) -> np.ndarray:
    """A random but learnable sequence: each token is mostly the one before plus one, modulo 11."""
    steps = np.random.default_rng(seed).choice([1, 1, 1, 2], size=n)
    return (np.cumsum(steps) % 11).astype(np.uint16)


def tiny_trainer(run: Path, model: GPT | None = None, settings: TrainingSettings | None = None, **more) -> Trainer:
    """A trainer over tiny tokens; `more` goes to Trainer."""
    data = {
        "train": Windows(tiny_tokens(), 8),
        "val": Windows(tiny_tokens(61, seed=1), 8, split="val").validation_windows(),
    }
    arguments = {"objective": CausalLM(), "say": lambda text: None, **data, **more}
    return Trainer(model or tiny_model(), settings=settings or tiny_settings(), run=run, **arguments)


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters."""
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
