"""The shape of a model of a given size: width, depth and number of heads."""

import math

from llmasos.errors import check_number
from llmasos.models.config import ModelConfig
from llmasos.models.flops import flops_per_token, n_parameters_of
from llmasos.planning.training import optimal_size, optimal_tokens

WIDTH_PER_LAYER = 128  # 64 to 170 in GPT-3, Llama and similar models; the loss hardly depends on it (Kaplan 2020)
HEAD_SIZE = 128


def shape_with(n_parameters: float, vocab_size: int = 128_256, context_length: int = 8192) -> ModelConfig:
    """A modern decoder with about this many parameters: Llama's block, width and depth in proportion.

    The smallest possible change is one layer, so a small model can miss the number by a few percent; a large one is
    within 1 %.

    Args:
        n_parameters: the number of parameters, from 10⁵ to 10¹⁴.
        vocab_size: V; a small model gets a smaller one, so that at most a quarter of its parameters are embeddings.
        context_length: the context length in tokens.
    """
    check_number("the number of parameters", n_parameters, at_least=1e5, at_most=1e14)
    width = (n_parameters * WIDTH_PER_LAYER / 12) ** (1 / 3)  # N ≈ 12·L·C² with L = C / 128
    head_size = HEAD_SIZE if width >= 8 * HEAD_SIZE else 32
    candidates = []
    multiple = 8 if width >= 32 * head_size else 1  # many heads: a number that 8 devices can share
    for n_heads in {max(1, math.floor(width / head_size / multiple) + step) * multiple for step in range(-2, 3)}:
        d_model = n_heads * head_size
        vocabulary = max(256, min(vocab_size, int(n_parameters / 4 / d_model)))
        sizes = {
            "vocab_size": vocabulary,
            "context_length": context_length,
            "n_heads": n_heads,
            "n_kv_heads": max(n for n in range(1, n_heads // 4 + 2) if n_heads % n == 0),
            "d_model": d_model,
            "tie_embeddings": n_parameters < 3e9,
        }
        one, two = (n_parameters_of(llama(n_layers=n, **sizes)) for n in (1, 2))
        n_layers = min(1000, max(1, round(1 + (n_parameters - one) / (two - one))))
        candidates.append(llama(n_layers=n_layers, **sizes))
    return min(candidates, key=lambda config: abs(n_parameters_of(config) - n_parameters))


def optimal_shape(flops: float) -> ModelConfig:
    """A modern decoder that is compute-optimal for a budget, operations of attention included.

    `optimal_size` leaves out attention; so the size is corrected until the run spends the budget.
    """
    size = optimal_size(flops)
    for _ in range(5):
        config = shape_with(size)
        size *= (flops / (flops_per_token(config) * optimal_tokens(n_parameters_of(config)))) ** 0.5
    return shape_with(size)


def llama(**sizes) -> ModelConfig:
    """A config with the block of Touvron et al. 2023."""
    return ModelConfig(positions="rotary", norm="rmsnorm", activation="swiglu", bias=False, **sizes)
