"""The size of a KV cache by formula: all heads, fewer, one, a latent vector, a sliding window.

multi-head      MHA    2 · H · D      per token and layer
grouped-query   GQA    2 · Hkv · D    Ainslie et al. 2023
multi-query     MQA    2 · D          Shazeer 2019
latent          MLA    N + R          DeepSeek-AI 2024, "DeepSeek-V2", section 2.1.4 and table 1
sliding window         any of these, for at most W tokens (Jiang et al. 2023, "Mistral 7B", section 2)
"""

from llmasos.errors import check_number
from llmasos.models.config import ModelConfig
from llmasos.planning.serving import cache_bytes_per_token


def cache_bytes(config: ModelConfig, n_tokens: int, value_bytes: int = 2) -> int:
    """Bytes of the keys and values of one sequence: 2·L·Hkv·D values for each token, or each that a window still needs.

    Args:
        config: the config of a generating model. Its `sliding_window` counts as if tokens outside it were overwritten
            (`KVCache.rolling_layer`); the library's own models keep and mask them. Layers of the type "full_attention"
            keep everything.
        n_tokens: the length of the sequence.
        value_bytes: bytes of a value: 2 for 16 bits, 4 for fp32.

    Raises:
        UserError: a number is out of range.
    """
    check_number("the number of tokens", n_tokens, whole=True, at_least=0, at_most=10**12)
    check_number("value_bytes", value_bytes, whole=True, at_least=1, at_most=8)
    whole = n_tokens * cache_bytes_per_token(config, value_bytes)
    if config.sliding_window is None:
        return whole
    left = max(0, n_tokens - config.sliding_window)  # of the tokens, how many have left the window
    n_sliding = sum(config.is_sliding(layer) for layer in range(config.n_layers))
    return whole - left * n_sliding * cache_bytes_per_token(config, value_bytes) // config.n_layers


def latent_cache_bytes(n_layers: int, latent_size: int, rotary_size: int, n_tokens: int, value_bytes: int = 2) -> int:
    """Bytes that latent attention keeps of one sequence: L·(N + R) values for each token (`nn/latent_attention.py`).

    With DeepSeek's N = 4·D and R = D/2 that is 4.5·D a layer: as much as grouped-query attention with 2.25 heads.

    >>> latent_cache_bytes(n_layers=60, latent_size=512, rotary_size=64, n_tokens=1)  # DeepSeek-V2, 128 heads of 128
    69120

    Args:
        n_layers: L.
        latent_size: N, the width of the latent vector.
        rotary_size: R, the width of the key with positions, which all heads share.
        n_tokens: the length of the sequence.
        value_bytes: bytes of a value.

    Raises:
        UserError: a number is out of range.
    """
    sizes = {"n_layers": n_layers, "latent_size": latent_size, "rotary_size": rotary_size}
    for name, value in {**sizes, "the number of tokens": n_tokens, "value_bytes": value_bytes}.items():
        check_number(name, value, whole=True, at_least=0, at_most=10**12)
    return n_tokens * n_layers * (latent_size + rotary_size) * value_bytes
