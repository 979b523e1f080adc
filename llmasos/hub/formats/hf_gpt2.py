"""GPT-2 (Radford et al. 2019), and distilgpt2, DialoGPT and all others of its architecture."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    linear,
    tensor,
)
from llmasos.models import ModelConfig


class GPT2Format(HFFormat):
    """`GPT` with learned positions, pre-norm LayerNorms, and biases.

    Attributes:
        names: our field → the published one.
        default_dropout: the dropout of a config.json that has none.
        other_dropouts: further published fields for our one dropout.
        qkv_bias: whether queries, keys and values have biases.
        transposed: whether matrices are stored as (in, out).
        positions_may_be_longer: whether a file may have more positions than the context that is read.
    """

    model_types: tuple[str, ...] = ("gpt2",)
    architectures = {"GPT2LMHeadModel": "lm", "GPT2Model": "features"}
    prefix = "transformer."
    ignored: tuple[str, ...] = (".attn.bias", ".attn.masked_bias")  # the causal mask, in older files
    names = {
        "vocab_size": "vocab_size", "context_length": "n_positions", "n_layers": "n_layer", "n_heads": "n_head",
        "d_model": "n_embd", "d_ff": "n_inner", "norm_eps": "layer_norm_epsilon", "activation": "activation_function",
        "tie_embeddings": "tie_word_embeddings", "dropout": "resid_pdrop",
    }  # fmt: skip
    default_dropout = 0.1
    other_dropouts: tuple[str, ...] = ("attn_pdrop", "embd_pdrop")
    qkv_bias = True
    transposed = True
    positions_may_be_longer = False

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("scale_attn_weights", True)
        published.require("scale_attn_by_inverse_layer_idx", False)
        published.require("add_cross_attention", False)
        names = self.names
        return {
            "family": "gpt",
            "vocab_size": published.required(names["vocab_size"]),
            "context_length": published.required(names["context_length"], "n_ctx"),
            "n_layers": published.required(names["n_layers"]),
            "n_heads": published.required(names["n_heads"]),
            "d_model": published.required(names["d_model"]),
            "d_ff": published.get(names["d_ff"]),
            "norm_eps": published.get(names["norm_eps"], 1e-5),
            "activation": published.choice(names["activation"], FROM_PUBLISHED_ACTIVATION, "gelu_new"),
            "qkv_bias": self.qkv_bias,
            "tie_embeddings": published.get(names["tie_embeddings"], True),
            "dropout": published.get(names["dropout"], self.default_dropout),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias)
        if options != ("gpt", "learned", "layernorm", "pre", True, self.qkv_bias) or not has_ordinary_heads(c):
            return None
        if c.activation not in TO_PUBLISHED_ACTIVATION or not is_ordinary(c):
            return None
        fields = {published: getattr(c, ours) for ours, published in self.names.items()}
        fields[self.names["activation"]] = TO_PUBLISHED_ACTIVATION[c.activation]
        return {"model_type": self.model_types[0], **fields, **dict.fromkeys(self.other_dropouts, c.dropout)}

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("wte.weight", "token_embedding.weight")
        yield tensor("wpe.weight", "position_embedding.weight", may_be_longer=self.positions_may_be_longer)
        for i in range(config.n_layers):
            h, b = f"h.{i}", f"blocks.{i}"
            yield from linear(f"{h}.ln_1", f"{b}.attention_residual.norm")
            yield from self.attention(f"{h}.attn", f"{b}.attention", config)
            yield from linear(f"{h}.ln_2", f"{b}.feed_forward_residual.norm")
            yield from self.matrix(f"{h}.mlp.c_fc", f"{b}.feed_forward.up_proj")
            yield from self.matrix(f"{h}.mlp.c_proj", f"{b}.feed_forward.down_proj")
        yield from linear("ln_f", "final_norm")

    def attention(self, published: str, ours: str, config: ModelConfig) -> Iterator[TensorMapping]:
        """The table of one attention, by the names under which it is stored there and here."""
        qkv = [f"{ours}.{name}_proj" for name in "qkv"]
        yield tensor(f"{published}.c_attn.weight", *(f"{name}.weight" for name in qkv), transposed=True)
        yield tensor(f"{published}.c_attn.bias", *(f"{name}.bias" for name in qkv))
        yield from self.matrix(f"{published}.c_proj", f"{ours}.out_proj")

    def matrix(self, published: str, ours: str) -> Iterator[TensorMapping]:
        """The table entries of one layer, in the layout of this format."""
        yield tensor(f"{published}.weight", f"{ours}.weight", transposed=self.transposed)
        yield tensor(f"{published}.bias", f"{ours}.bias")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")
