"""T5 (Raffel et al. 2020), and T5 v1.1 and flan-T5, which have a gated feed-forward and an output layer of their own.

An encoder–decoder with relative positions, RMSNorm, and scores that are not divided by √D. Where the output layer is
the token embedding, what it reads is divided by √C; here, that is part of the final norm's weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmasos.errors import UserError
from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    SHARED,
    HFConfig,
    HFFormat,
    TensorMapping,
    is_ordinary,
    tensor,
)
from llmasos.models import ModelConfig
from llmasos.models.config import GATES

if TYPE_CHECKING:  # so that a tokenizer opens without waiting for torch
    from torch import Tensor

GATED = {gate: name for name, gate in GATES.items()}  # the activation of a gate → our name
PUBLISHED = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new", "silu": "silu"}


class T5Format(HFFormat):
    """`Transformer` with relative positions, pre-norm RMSNorms, and no biases."""

    model_types = ("t5",)
    architectures = {"T5ForConditionalGeneration": "lm", "T5EncoderModel": "features"}
    prefix = ""
    ignored = (*SHARED, "EncDecAttention.relative_attention_bias.weight")  # a table of the first T5s: nothing reads it
    copies = HFFormat.copies | dict.fromkeys(SHARED, "token_embedding.weight")
    only_pretraining = ("decoder.", "lm_head.")

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("decoder_start_token_id", published.get("pad_token_id", 0))
        kind = published.get("feed_forward_proj", "relu")
        name = "gelu_new" if kind == "gated-gelu" else kind.removeprefix("gated-")  # as in transformers
        activation = FROM_PUBLISHED_ACTIVATION.get(name)
        if activation is None:
            raise UserError(
                f"{published.file} asks for feed_forward_proj = {kind!r}; llmasos supports "
                f"{', '.join(FROM_PUBLISHED_ACTIVATION)}, each also as gated-…."
            )
        is_scaled = published.get("scale_decoder_outputs", True)  # what transformers 5 writes in place of "tied"
        return {
            "family": "transformer",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("n_positions", 512),  # of its training; any length is possible
            "n_layers": published.required("num_layers"),
            "n_decoder_layers": published.get("num_decoder_layers", published.required("num_layers")),
            "n_heads": published.required("num_heads"),
            "head_size": published.required("d_kv"),
            "d_model": published.required("d_model"),
            "d_ff": published.required("d_ff"),
            "positions": "none",
            "relative_attention_num_buckets": published.get("relative_attention_num_buckets", 32),
            "relative_attention_max_distance": published.get("relative_attention_max_distance", 128),
            "attention_scale": 1.0,
            "scale_embeddings": False,
            "norm": "rmsnorm",
            "norm_eps": published.get("layer_norm_epsilon", 1e-6),
            "activation": GATED[activation] if kind.startswith("gated-") else activation,
            "bias": False,
            "tie_embeddings": is_scaled and published.get("tie_word_embeddings", True),
            "dropout": published.get("dropout_rate", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.attention_scale)
        if options != ("transformer", "none", "rmsnorm", "pre", False, False, 1.0) or c.scale_embeddings:
            return None
        relative = ("relative_attention_num_buckets", "relative_attention_max_distance")
        if not is_ordinary(c, *relative, "attention_scale", "scale_embeddings") or c.n_kv_heads != c.n_heads:
            return None
        kind = c.gate or c.activation
        if kind not in PUBLISHED or c.activation == "geglu":  # "gated-gelu" is the approximation
            return None
        published = "gated-" + PUBLISHED[kind].removesuffix("_new") if c.gate else PUBLISHED[kind]
        return {
            "model_type": "t5",
            "is_encoder_decoder": True,
            "vocab_size": c.vocab_size,
            "n_positions": c.context_length,
            "num_layers": c.n_layers,
            "num_decoder_layers": c.n_decoder_layers,
            "num_heads": c.n_heads,
            "d_kv": c.head_size,
            "d_model": c.d_model,
            "d_ff": c.d_ff,
            "relative_attention_num_buckets": c.relative_attention_num_buckets,
            "relative_attention_max_distance": c.relative_attention_max_distance,
            "layer_norm_epsilon": c.norm_eps,
            "feed_forward_proj": published,
            "tie_word_embeddings": c.tie_embeddings,
            "dropout_rate": c.dropout,
        }

    def completed(self, published: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        """transformers 5 ties the output layer of every T5 and only leaves out the division, so it is not saved."""
        if config.is_pretraining and not config.tie_embeddings and "shared.weight" in published:
            return {"lm_head.weight": published["shared.weight"], **published}
        return published

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("shared.weight", "token_embedding.weight")
        stacks = {"encoder": config.n_layers, "decoder": config.n_decoder_layers if config.is_pretraining else 0}
        for stack, n_layers in stacks.items():
            for i in range(n_layers):
                yield from self.block(f"{stack}.block.{i}.layer", f"{stack}_blocks.{i}", config, stack == "decoder")
            if n_layers:
                bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
                yield tensor(bias, f"{stack}_bias.embedding.weight")
        yield tensor("encoder.final_layer_norm.weight", "encoder_norm.weight")
        if config.is_pretraining:
            scale = 1.0 / math.sqrt(config.d_model) if config.tie_embeddings else 1.0
            yield tensor("decoder.final_layer_norm.weight", "final_norm.weight", scale=scale)

    def block(self, published: str, ours: str, config: ModelConfig, is_decoder: bool) -> Iterator[TensorMapping]:
        """The table of one block, whose sublayers are numbered there."""
        attentions = [("SelfAttention", "attention"), *([("EncDecAttention", "cross_attention")] if is_decoder else [])]
        for number, (theirs, name) in enumerate(attentions):
            for letter in "qkvo":
                part = "out" if letter == "o" else letter
                yield tensor(f"{published}.{number}.{theirs}.{letter}.weight", f"{ours}.{name}.{part}_proj.weight")
            yield tensor(f"{published}.{number}.layer_norm.weight", f"{ours}.{name}_residual.norm.weight")
        last = f"{published}.{len(attentions)}"
        names = {"wi_0": "gate_proj", "wi_1": "up_proj"} if config.gate else {"wi": "up_proj"}
        for theirs, name in {**names, "wo": "down_proj"}.items():
            yield tensor(f"{last}.DenseReluDense.{theirs}.weight", f"{ours}.feed_forward.{name}.weight")
        yield tensor(f"{last}.layer_norm.weight", f"{ours}.feed_forward_residual.norm.weight")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("lm_head.weight", "lm_head.weight")
