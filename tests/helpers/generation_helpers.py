"""Shared by the tests of llmasos/generation: models with known behavior, and lively random ones."""

import torch
from model_helpers import randomize
from torch import nn

from llmasos.models import GPT, GenerationConfig, ModelConfig, Transformer, preset
from llmasos.nn import KVCache
from llmasos.tokenizers import ByteTokenizer

PRESETS = ("gpt-laptop", "llama-laptop")


def lively_model(name: str = "gpt-laptop", **changes) -> GPT:
    """A preset's model, made small, in float64, with random weights so large that every token affects the rest."""
    config = preset(name, **{"vocab_size": 40, "context_length": 16, "d_model": 32, "n_layers": 2, **changes})
    return randomize(GPT(config).double(), scale=1.7 / config.d_model**0.5).eval()


class ScriptedModel(nn.Module):
    """A model that always predicts one text: after position p it is certain of `script[p + 1]`, whatever the input."""

    def __init__(self, script: list[int], vocab_size: int = 257, context_length: int = 1000):
        super().__init__()
        sizes = {"n_layers": 1, "n_heads": 1, "d_model": 2}
        self.config = ModelConfig(vocab_size=vocab_size, context_length=context_length, **sizes)
        self.generation_config = GenerationConfig()
        self.script = nn.Parameter(torch.tensor(script, dtype=torch.float32))
        self.lm_head = nn.Identity()

    def hidden_states(self, ids):
        return self.decode(ids, torch.arange(ids.size(1))[None])

    def decode(self, ids, positions, cache=None, bounds=None):
        return 50.0 * nn.functional.one_hot(self.script.long()[positions + 1], self.config.vocab_size)  # (B, T, V)

    def make_cache(self, batch_size, length=None):
        return KVCache.empty(1, batch_size, 1, length or self.config.context_length, 2)


def scripted(prompt: str, text: str) -> ScriptedModel:
    """A model that continues `prompt` (of bytes, for a ByteTokenizer) with `text`, then with end_of_text forever."""
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(prompt + text)
    return ScriptedModel(ids + [tokenizer.end_of_text] * 500)


def lively_transformer(scale: float = 0.4, **changes) -> Transformer:
    """A small encoder–decoder in float64, with random weights so large that every token affects the rest."""
    sizes = {"vocab_size": 257, "context_length": 24, "n_layers": 2, "n_heads": 4, "d_model": 32}
    config = ModelConfig(**{"family": "transformer", "positions": "sinusoidal", **sizes, **changes})
    return randomize(Transformer(config).double(), scale=scale).eval()
