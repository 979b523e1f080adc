"""GPT-Neo (Black et al. 2021), and the TinyStories models (Eldan & Li 2023), which have its architecture.

It is a GPT-2 with two differences. Scores are not divided by √D, so here its query matrices are multiplied by √D. And
in "local" layers a token sees only a window of 256 tokens; up to that length there is no difference to full attention,
so a model with local layers has a context of one window here.
"""

import math
from collections.abc import Iterator
from typing import Any

from llmasos.errors import UserError, shown
from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    linear,
    tensor,
)
from llmasos.models import ModelConfig


class GPTNeoFormat(HFFormat):
    """`GPT` with learned positions, pre-norm LayerNorms, and biases except on queries, keys and values."""

    model_types = ("gpt_neo",)
    architectures = {"GPTNeoForCausalLM": "lm", "GPTNeoModel": "features"}
    prefix = "transformer."
    ignored = (".attention.bias", ".attention.masked_bias")  # the causal mask, in older files

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        n_layers = published.required("num_layers")
        context = published.required("max_position_embeddings")
        if "local" in attention_kinds(published, n_layers):
            context = min(context, published.get("window_size", 256))
        return {
            "family": "gpt",
            "vocab_size": published.required("vocab_size"),
            "context_length": context,
            "n_layers": n_layers,
            "n_heads": published.required("num_heads"),
            "d_model": published.required("hidden_size"),
            "d_ff": published.get("intermediate_size"),
            "norm_eps": published.get("layer_norm_epsilon", 1e-5),
            "activation": published.choice("activation_function", FROM_PUBLISHED_ACTIVATION, "gelu_new"),
            "qkv_bias": False,
            "tie_embeddings": published.get("tie_word_embeddings", True),
            "dropout": published.get("resid_dropout", 0.0),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.output_bias, c.qk_norm)
        same_heads = c.n_kv_heads == c.n_heads and c.head_size * c.n_heads == c.d_model
        if options != ("gpt", "learned", "layernorm", "pre", True, False, False, False) or not same_heads:
            return None
        if c.activation not in TO_PUBLISHED_ACTIVATION or c.value_embeddings or c.max_ngram > 1 or c.n_experts > 1:
            return None
        return {
            "model_type": "gpt_neo",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "num_layers": c.n_layers,
            "num_heads": c.n_heads,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "layer_norm_epsilon": c.norm_eps,
            "activation_function": TO_PUBLISHED_ACTIVATION[c.activation],
            "attention_types": [[["global"], c.n_layers]],
            "attention_layers": ["global"] * c.n_layers,
            "tie_word_embeddings": c.tie_embeddings,
            "resid_dropout": c.dropout,
            "attention_dropout": c.dropout,
            "embed_dropout": c.dropout,
        }

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("wte.weight", "token_embedding.weight")
        yield tensor("wpe.weight", "position_embedding.weight", may_be_longer=True)
        for i in range(config.n_layers):
            h, b = f"h.{i}", f"blocks.{i}"
            yield from linear(f"{h}.ln_1", f"{b}.attention_residual.norm")
            for name, scale in (("q", math.sqrt(config.head_size)), ("k", 1.0), ("v", 1.0)):
                yield tensor(f"{h}.attn.attention.{name}_proj.weight", f"{b}.attention.{name}_proj.weight", scale=scale)
            yield from linear(f"{h}.attn.attention.out_proj", f"{b}.attention.out_proj")
            yield from linear(f"{h}.ln_2", f"{b}.feed_forward_residual.norm")
            yield from linear(f"{h}.mlp.c_fc", f"{b}.feed_forward.up_proj")
            yield from linear(f"{h}.mlp.c_proj", f"{b}.feed_forward.down_proj")
        yield from linear("ln_f", "final_norm")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")


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
