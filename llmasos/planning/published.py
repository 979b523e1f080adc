"""The formulas compared with what others have published about their runs: `python -m llmasos plan --published`."""

from collections.abc import Callable
from dataclasses import dataclass

from llmasos.models.config import ModelConfig
from llmasos.models.flops import flops_per_token, n_active_parameters_of, n_parameters_of
from llmasos.models.presets import preset
from llmasos.planning.devices import DEVICES
from llmasos.planning.serving import cache_bytes_per_token
from llmasos.planning.shapes import llama
from llmasos.planning.training import STATES, optimal_size, optimal_tokens, state_bytes

MODELS = {  # published shapes without a preset, because they are too large to train here
    "gpt3-175b": ModelConfig(n_layers=96, n_heads=96, d_model=12_288, context_length=2048),  # Brown et al. 2020
    "chinchilla-70b": ModelConfig(  # Hoffmann et al. 2022, table 4; without its relative positions
        vocab_size=32_000, n_layers=80, n_heads=64, d_model=8192, context_length=2048, positions="none"
    ),
    "palm-540b": ModelConfig(  # Chowdhery et al. 2022, table 1: one key/value head, SwiGLU with 4·C
        vocab_size=256_000, n_layers=118, n_heads=48, n_kv_heads=1, head_size=256, d_model=18_432, d_ff=4 * 18_432,
        context_length=2048, positions="rotary", activation="swiglu", bias=False,
    ),
    "opt-13b": ModelConfig(vocab_size=50_272, n_layers=40, n_heads=40, d_model=5120, context_length=2048),
    "llama3-8b": llama(
        vocab_size=128_256, n_layers=32, n_heads=32, n_kv_heads=8, d_model=4096, d_ff=14_336, context_length=8192,
        tie_embeddings=False,
    ),
    "llama3-405b": llama(  # Dubey et al. 2024, table 3
        vocab_size=128_256, n_layers=126, n_heads=128, n_kv_heads=8, d_model=16_384, d_ff=53_248, context_length=8192,
        tie_embeddings=False,
    ),
    "mixtral-8x7b": llama(  # Jiang et al. 2024, table 1
        vocab_size=32_000, n_layers=32, n_heads=32, n_kv_heads=8, d_model=4096, d_ff=14_336, context_length=32_768,
        n_experts=8, n_active_experts=2, tie_embeddings=False,
    ),
    "nanochat-d20": ModelConfig(  # norms and q/k norms without weights, which count for nothing here
        vocab_size=65_536, n_layers=20, n_heads=10, d_model=1280, context_length=2048, positions="rotary",
        norm="rmsnorm", activation="relu", bias=False, tie_embeddings=False,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A published number, and the formula for it.

    Attributes:
        what: the model and the quantity, with its unit.
        published: the number.
        predict: computes it.
        source: where it was published.
    """

    what: str
    published: float
    predict: Callable[[], float]
    source: str

    @property
    def error(self) -> float:
        """The relative error of the prediction, as a fraction of the published number."""
        return self.predict() / self.published - 1


def training_flops(name: str, n_tokens: float) -> float:
    """FLOPs of a whole run of a published model on this many tokens."""
    return flops_per_token(MODELS[name]) * n_tokens


def palm_mfu() -> float:
    """Model FLOPs utilization at 238.3 thousand tokens per second on 6,144 chips."""
    return 238.3e3 * flops_per_token(MODELS["palm-540b"]) / (6144 * DEVICES["tpu-v4"].flops)


def zero_gigabytes(sharding: str) -> float:
    """Model states per device, in GB: 7.5B parameters on 64 devices, 16-bit training with Adam."""
    return state_bytes(sharding, 7.5e9, 64, STATES["bf16", "adamw"]) / 1e9


GPT3, CHINCHILLA, PALM = "Brown et al. 2020, appendix D", "Hoffmann et al. 2022", "Chowdhery et al. 2022, table 3"
LLAMA, ZERO, NANOCHAT = "Dubey et al. 2024, section 3.2", "Rajbhandari et al. 2020, figure 1", "its report, 2025"
VLLM, MIXTRAL = "Kwon et al. 2023, section 3", "Jiang et al. 2024, section 1"

PUBLISHED = [
    Published("GPT-2 small: parameters", 124_439_808, lambda: n_parameters_of(preset("gpt2")), "its weights"),
    Published("GPT-3: parameters", 174.6e9, lambda: n_parameters_of(MODELS["gpt3-175b"]), GPT3),
    Published("GPT-3: training FLOPs", 3.14e23, lambda: training_flops("gpt3-175b", 300e9), GPT3),
    Published("Chinchilla: optimal parameters for 5.76e23", 70e9, lambda: optimal_size(5.76e23), CHINCHILLA),
    Published("Chinchilla: optimal tokens for 70B", 1.4e12, lambda: optimal_tokens(70e9), CHINCHILLA),
    Published("Chinchilla: training FLOPs", 5.76e23, lambda: training_flops("chinchilla-70b", 1.4e12), CHINCHILLA),
    Published("PaLM 540B: MFU", 0.462, palm_mfu, PALM),
    Published("Llama 3 405B: parameters", 405e9, lambda: n_parameters_of(MODELS["llama3-405b"]), LLAMA),
    Published("Llama 3 405B: training FLOPs", 3.8e25, lambda: training_flops("llama3-405b", 15.6e12), LLAMA),
    Published("Mixtral 8x7B: parameters", 47e9, lambda: n_parameters_of(MODELS["mixtral-8x7b"]), MIXTRAL),
    Published("Mixtral 8x7B: active", 13e9, lambda: n_active_parameters_of(MODELS["mixtral-8x7b"]), MIXTRAL),
    Published("nanochat d20: parameters", 560_988_160, lambda: n_parameters_of(MODELS["nanochat-d20"]), NANOCHAT),
    Published("nanochat d20: FLOPs", 3.91767e19, lambda: training_flops("nanochat-d20", 11_219_763_200), NANOCHAT),
    Published("7.5B on 64 devices, GB on each: DDP", 120, lambda: zero_gigabytes("ddp"), ZERO),
    Published("7.5B on 64 devices, GB on each: ZeRO-1", 31.4, lambda: zero_gigabytes("zero1"), ZERO),
    Published("7.5B on 64 devices, GB on each: ZeRO-2", 16.6, lambda: zero_gigabytes("zero2"), ZERO),
    Published("7.5B on 64 devices, GB on each: ZeRO-3", 1.9, lambda: zero_gigabytes("zero3"), ZERO),
    Published("OPT-13B: cache per token, kB", 819.2, lambda: cache_bytes_per_token(MODELS["opt-13b"]) / 1e3, VLLM),
]
