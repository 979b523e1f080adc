"""Shared by the tests of llmasos/nn and llmasos/models: random models, gradients, comparisons."""

import torch
from torch import nn

from llmasos.models import GPT, ModelConfig
from llmasos.nn.cache import KVCache, split_kv


def randomize(module: nn.Module, seed: int = 0, scale: float = 0.3) -> nn.Module:
    """Give every parameter, biases and norms too, a random value: a zero or a one would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            value = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(scale * value + (1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0))
    return module


def random_gpt(seed: int = 0, **fields) -> GPT:
    """A very small GPT in float64 and in eval mode, all of whose parameters are random."""
    small = {"vocab_size": 29, "context_length": 16, "n_layers": 2, "n_heads": 4, "d_model": 16}
    return randomize(GPT(ModelConfig(**{**small, **fields})).double(), seed).eval()


def random_ids(*shape: int, vocab_size: int = 29, seed: int = 0) -> torch.Tensor:
    """Random token ids with this shape."""
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def layers_of(cache: KVCache) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The keys and the values (B, Hkv, P, D) of each layer of a cache, as views of it."""
    return [split_kv(kv) for kv in cache.kv]


def gradients(output: torch.Tensor, inputs, seed: int = 7) -> list[torch.Tensor]:
    """Gradients of a random weighted sum of `output` with respect to each of `inputs`; zeros for unused ones."""
    probe = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed)).to(output)
    return torch.autograd.grad(output, list(inputs), probe, retain_graph=True, materialize_grads=True)


def assert_all_close(actual, expected, **tolerance) -> None:
    """Pairwise `torch.testing.assert_close` over two equally long sequences."""
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def set_parameters(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Copy tensors into a model by name. They must be exactly its trained parameters."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert set(weights) == set(parameters), set(weights) ^ set(parameters)
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)


def assert_gradients_equal(ours: nn.Module, our_loss, oracle: nn.Module, their_loss, mapping, **tolerance) -> None:
    """Compare the gradients of both losses, with `mapping`: model → {their name: our tensor}."""
    their_loss.backward()
    our_loss.backward()
    with torch.no_grad():  # put each gradient in its parameter's place: the mapping then carries gradients
        for parameter in ours.parameters():
            parameter.copy_(parameter.grad)
    theirs = {name: p.grad for name, p in oracle.named_parameters() if p.requires_grad}
    weights = mapping(ours)
    assert_all_close([weights[name] for name in theirs], list(theirs.values()), **tolerance)


# The architectures that differ most: each test of a whole model runs over all of them.
VARIANTS = {
    "gpt2": {},
    "llama": {"positions": "rotary", "norm": "rmsnorm", "activation": "swiglu", "bias": False, "n_kv_heads": 2},
    "original": {"positions": "sinusoidal", "norm_position": "post", "activation": "relu", "tie_embeddings": False},
    "modern": {
        "positions": "rotary", "activation": "relu2", "bias": False, "qk_norm": True, "value_embeddings": True,
        "max_ngram": 3, "ngram_buckets": 50,
    },
    "mixture": {"positions": "sinusoidal", "norm": "rmsnorm", "activation": "swiglu", "n_experts": 4},
    "alibi, window": {"positions": "alibi", "sliding_window": 5, "n_kv_heads": 2},
    "window": {"positions": "rotary", "sliding_window": 3, "bias": False},
    "gpt-neox": {"positions": "rotary", "partial_rotary_factor": 0.5, "parallel_residual": True, "activation": "gelu",
                 "tie_embeddings": False},
    "gemma": {
        "positions": "rotary", "norm": "rmsnorm", "norm_position": "sandwich", "activation": "geglu_tanh",
        "bias": False, "n_kv_heads": 2, "qk_norm": True, "attention_scale": 0.3, "scale_embeddings": True,
        "sliding_window": 3, "layer_types": ("sliding_attention", "full_attention"), "rope_theta": 500.0,
        "local_rope_theta": 20.0,
    },
    "bare": {"positions": "none", "activation": "gelu", "n_kv_heads": 1},
}  # fmt: skip
