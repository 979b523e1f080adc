"""Shared by the tests of the pretraining objectives: a tokenizer, tiny models, examples."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from model_helpers import randomize
from training_helpers import tiny_settings

from llmasos.datasets.batching import Examples
from llmasos.models import BERT, ModelConfig, Transformer
from llmasos.objectives import Batch, EncodedSentencePair, Objective
from llmasos.tokenizers import END_OF_TEXT, Tokenizer, train_tokenizer
from llmasos.tokenizers.tokenizer import EncodedInput
from llmasos.training.trainer import Trainer

SPECIAL = (END_OF_TEXT, "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@cache
def tokenizer() -> Tokenizer:
    """26 letters, the space and the special tokens."""
    return train_tokenizer("char", ["abcdefghijklmnopqrstuvwxyz "], special_tokens=SPECIAL)


def rngs(n: int, step: int = 0) -> list:
    """Random generators for n rows, as made by the training loop."""
    return [lambda row=row: np.random.default_rng([0, step, row]) for row in range(n)]


def random_inputs(n: int, longest: int = 24, seed: int = 0) -> list[EncodedInput]:
    """n random inputs of unequal lengths with special tokens, every other one a pair."""
    chance = np.random.default_rng(seed)
    letters = tokenizer().encode("abcdefghijklmnopqrstuvwxyz ")

    def text():
        return chance.choice(letters, chance.integers(1, longest // 2 - 2)).tolist()

    return [tokenizer().build_inputs(text(), text() if row % 2 else None) for row in range(n)]


def framed_pairs(n: int, seed: int = 0) -> list[EncodedSentencePair]:
    """n random sentence pairs with special tokens; every third one is labeled as following."""
    return [EncodedSentencePair(inputs, row % 3 == 0) for row, inputs in enumerate(random_inputs(n, seed=seed))]


def tiny_bert(seed: int = 0, **changes) -> BERT:
    """One small block in float64, every parameter random."""
    torch.manual_seed(seed)
    fields = {
        "family": "bert", "vocab_size": tokenizer().vocab_size, "context_length": 64, "n_layers": 1, "n_heads": 2,
        "d_model": 16, "norm_position": "post",
    }  # fmt: skip
    return randomize(BERT(ModelConfig(**{**fields, **changes})).double(), seed).eval()


def tiny_transformer(seed: int = 0, **changes) -> Transformer:
    """One small encoder block and one decoder block in float64."""
    torch.manual_seed(seed)
    fields = {
        "family": "transformer", "vocab_size": tokenizer().vocab_size, "context_length": 32, "n_layers": 1,
        "n_heads": 2, "d_model": 16, "positions": "sinusoidal",
    }  # fmt: skip
    return Transformer(ModelConfig(**{**fields, **changes})).double().eval()


def cut(batch: Batch, row: int, names=("ids", "attention_mask", "segments", "targets")) -> Batch:
    """One row of a batch alone, without its padding."""
    n = int(batch["attention_mask"][row].sum())
    return {name: t[row : row + 1, :n] if name in names else t[row : row + 1] for name, t in batch.items()}


def gradients_of(model: torch.nn.Module, losses: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The gradient of the summed losses with respect to every parameter; None for unused ones."""
    return torch.autograd.grad(sum(losses.values()), list(model.parameters()), allow_unused=True)


def learn(objective: Objective, model: torch.nn.Module, examples: list, run: Path, steps: int = 60, **more) -> float:
    """Train on these few examples only, in one batch, and return their loss at the end."""
    settings = tiny_settings(max_steps=steps, batch_size=len(examples), learning_rate=1e-2, eval_interval=steps, **more)
    quiet = {"say": lambda text: None}
    return Trainer(model, objective, Examples(examples), examples, settings, run, **quiet).train().val_loss
