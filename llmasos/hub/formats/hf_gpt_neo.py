"""GPT-Neo (Black et al. 2021), and the TinyStories models (Eldan & Li 2023), which have its architecture.

It is a GPT-2 under other names, with two differences. Scores are not divided by √D, so here its query matrices are
multiplied by √D. And in "local" layers a token sees only a window of 256 tokens; up to that length there is no
difference to full attention, so a model with local layers has a context of one window here.
"""

import math
from collections.abc import Iterator
from typing import Any

from llmasos.errors import UserError, shown
from llmasos.hub.formats.hf_format import HFConfig, TensorMapping, tensor
from llmasos.hub.formats.hf_gpt2 import GPT2Format
from llmasos.models import ModelConfig


class GPTNeoFormat(GPT2Format):
    """`GPT` with learned positions, pre-norm LayerNorms, and biases except on queries, keys and values."""

    model_types = ("gpt_neo",)
    architectures = {"GPTNeoForCausalLM": "lm", "GPTNeoModel": "features"}
    ignored = (".attention.bias", ".attention.masked_bias")  # the causal mask, in older files
    names = GPT2Format.names | {
        "context_length": "max_position_embeddings", "n_layers": "num_layers", "n_heads": "num_heads",
        "d_model": "hidden_size", "d_ff": "intermediate_size", "dropout": "resid_dropout",
    }  # fmt: skip
    default_dropout = 0.0
    other_dropouts = ("attention_dropout", "embed_dropout")
    qkv_bias = False
    transposed = False
    positions_may_be_longer = True

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        fields = super().read_config(published)
        if "local" in attention_kinds(published, fields["n_layers"]):
            fields["context_length"] = min(fields["context_length"], published.get("window_size", 256))
        return fields

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        fields = super().write_config(config)
        n_layers = config.n_layers
        kinds = {"attention_types": [[["global"], n_layers]], "attention_layers": ["global"] * n_layers}
        return None if fields is None else fields | kinds

    def attention(self, published: str, ours: str, config: ModelConfig) -> Iterator[TensorMapping]:
        for name, scale in (("q", math.sqrt(config.head_size)), ("k", 1.0), ("v", 1.0)):
            yield tensor(f"{published}.attention.{name}_proj.weight", f"{ours}.{name}_proj.weight", scale=scale)
        yield from self.matrix(f"{published}.attention.out_proj", f"{ours}.out_proj")


def attention_kinds(published: HFConfig, n_layers: int) -> set[str]:
    """Return which kinds of attention the layers have. Raises UserError if that is not said in the form of GPT-Neo."""
    types = published.get("attention_types", [[["global", "local"], n_layers // 2]])
    try:
        kinds = [kind for kinds, times in types for _ in range(times) for kind in kinds]
    except (TypeError, ValueError):
        kinds = []
    if len(kinds) != n_layers or not set(kinds) <= {"global", "local"}:
        raise UserError(
            f"{published.file} has attention_types = {shown(types)}; expected global or local for each of the "
            f"{n_layers} layers. Fetch the model again."
        )
    return set(kinds)
