"""Bytes of keys and values: the formulas against tensors in memory and against published numbers."""

import dataclasses

import pytest
import torch

from llmasos.errors import UserError
from llmasos.models import GPT, ModelConfig
from llmasos.nn import KVCache
from llmasos.planning import cache_bytes, latent_cache_bytes

BASE = ModelConfig(vocab_size=11, context_length=12, n_layers=3, n_heads=4, d_model=32, positions="rotary")


def n_bytes(cache):
    return cache.kv.nbytes


@pytest.mark.parametrize("n_kv_heads, per_token", [(4, 2 * 3 * 32), (2, 2 * 3 * 16), (1, 2 * 3 * 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_all_heads_some_and_one_take_the_bytes_of_their_tensors(n_kv_heads, per_token, dtype):
    config = dataclasses.replace(BASE, n_kv_heads=n_kv_heads)
    cache = GPT(config).to(dtype).make_cache(batch_size=2, length=10)
    assert n_bytes(cache) == 2 * cache_bytes(config, 10, dtype.itemsize) == 2 * 10 * per_token * dtype.itemsize


def test_a_window_takes_the_bytes_of_a_ring_and_the_ring_is_enough():
    """A model with a window, token by token, with a cache of W slots, gives the logits of the whole text at once."""
    W = 5
    torch.manual_seed(0)
    config = dataclasses.replace(BASE, sliding_window=W, n_kv_heads=2)
    model = GPT(config).double().eval()
    ids = torch.randint(11, (2, 12))
    cache = KVCache.empty(config.n_layers, 2, config.n_kv_heads, W, config.head_size, torch.float64)
    assert n_bytes(cache) == 2 * cache_bytes(config, 12, 8) == 2 * cache_bytes(config, W, 8)
    assert cache_bytes(config, W - 1) < cache_bytes(config, W) < cache_bytes(BASE, W)
    with torch.no_grad():
        whole = model(ids)
        for t in range(12):
            positions = torch.full((2, 1), t)
            layers = [cache.rolling_layer(i, positions) for i in range(config.n_layers)]
            logits = model.lm_head(model.run_blocks(ids[:, t : t + 1], positions, None, layers))
            torch.testing.assert_close(logits[:, 0], whole[:, t])


def test_layers_that_see_everything_keep_everything():
    """As in Gemma 3: of three layers, two have the window and one does not."""
    layers = ("sliding_attention", "sliding_attention", "full_attention")
    config = dataclasses.replace(BASE, sliding_window=5, layer_types=layers)
    per_layer = 2 * 32 * 2  # keys and values, in 16 bits
    assert cache_bytes(config, 12) == (5 + 5 + 12) * per_layer
    assert cache_bytes(config, 4) == cache_bytes(BASE, 4) == 3 * 4 * per_layer


def test_published_numbers():
    """DeepSeek-V2: 128 heads of 128, N = 512, R = 64. Their table 1 says that this is GQA with 2.25 groups."""
    heads = ModelConfig(vocab_size=11, n_layers=60, n_heads=128, head_size=128, d_model=5120)
    latent = latent_cache_bytes(60, 512, 64, n_tokens=1)
    assert latent == 60 * 576 * 2
    assert latent / cache_bytes(dataclasses.replace(heads, n_kv_heads=1), 1) == 2.25
    assert 1 - latent / cache_bytes(heads, 1) == pytest.approx(0.982, abs=0.001)


@pytest.mark.parametrize("arguments, message", [
    ((BASE, -1), "the number of tokens is -1"),
    ((BASE, 1.5), "the number of tokens is 1.5"),
    ((BASE, 1, 0), "value_bytes is 0"),
])  # fmt: skip
def test_numbers_out_of_range(arguments, message):
    with pytest.raises(UserError, match=message):
        cache_bytes(*arguments)
    with pytest.raises(UserError, match="latent_size is -3"):
        latent_cache_bytes(1, -3, 2, 5)
