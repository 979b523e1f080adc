"""MPNet (Song et al. 2020), the encoder of many sentence embedders: a RoBERTa that also has relative positions."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_bert import LM_HEAD, BertFormat
from llmasos.hub.formats.hf_format import (
    HFConfig,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    label_fields,
    linear,
    tensor,
)
from llmasos.models import ModelConfig

OFFSET = 2  # rows of the position table before that of the first position: up to that of the padding, whose id is 1
BUCKETS, DISTANCE = 32, 128  # of the relative positions


class MPNetFormat(BertFormat):
    """`BERT` with post-norm and biases, and with relative positions besides the learned ones."""

    model_types = ("mpnet",)
    architectures = {
        "MPNetForMaskedLM": "pretraining",
        "MPNetModel": "features",
        "MPNetForSequenceClassification": "classifier",
        "MPNetForQuestionAnswering": "question_answering",
        "MPNetForTokenClassification": "token_classifier",
    }
    prefix = "mpnet."
    head_names = LM_HEAD
    optional = ("pooler.", "backbone.pooler.")

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("pad_token_id", OFFSET - 1)
        published.require("relative_attention_num_buckets", BUCKETS)  # transformers takes these, whatever is written
        published.require("hidden_act", "gelu")  # that of the head, whatever the others are
        return {
            "family": "bert",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("max_position_embeddings", 512) - OFFSET,
            "n_layers": published.required("num_hidden_layers"),
            "n_heads": published.required("num_attention_heads"),
            "d_model": published.required("hidden_size"),
            "d_ff": published.required("intermediate_size"),
            "relative_attention_num_buckets": BUCKETS,
            "relative_attention_max_distance": DISTANCE,
            "n_segments": 0,
            "next_sentence": False,
            "norm_position": "post",
            "norm_eps": published.get("layer_norm_eps", 1e-12),
            "activation": "gelu",
            "dropout": published.get("hidden_dropout_prob", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.activation, c.bias, c.qkv_bias, c.n_segments)
        if options != ("bert", "learned", "layernorm", "post", "gelu", True, True, 0) or not has_ordinary_heads(c):
            return None
        relative = (c.relative_attention_num_buckets, c.relative_attention_max_distance)
        if relative != (BUCKETS, DISTANCE) or c.next_sentence or not c.tie_embeddings:
            return None
        if not is_ordinary(c, "relative_attention_num_buckets", "relative_attention_max_distance", "next_sentence"):
            return None
        fields = {
            "model_type": "mpnet",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length + OFFSET,
            "num_hidden_layers": c.n_layers,
            "num_attention_heads": c.n_heads,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "relative_attention_num_buckets": BUCKETS,
            "layer_norm_eps": c.norm_eps,
            "hidden_act": "gelu",
            "hidden_dropout_prob": c.dropout,
            "attention_probs_dropout_prob": c.dropout,
        }
        return fields | label_fields(c)

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("embeddings.word_embeddings.weight", "token_embedding.weight")
        yield tensor("embeddings.position_embeddings.weight", "position_embedding.weight", skipped_rows=OFFSET)
        yield from linear("embeddings.LayerNorm", "embedding_norm")
        yield tensor("encoder.relative_attention_bias.weight", "relative_bias.embedding.weight")
        for i in range(config.n_layers):
            for published, ours in (
                ("attention.attn.q", "attention.q_proj"),
                ("attention.attn.k", "attention.k_proj"),
                ("attention.attn.v", "attention.v_proj"),
                ("attention.attn.o", "attention.out_proj"),
                ("attention.LayerNorm", "attention_residual.norm"),
                ("intermediate.dense", "feed_forward.up_proj"),
                ("output.dense", "feed_forward.down_proj"),
                ("output.LayerNorm", "feed_forward_residual.norm"),
            ):
                yield from linear(f"encoder.layer.{i}.{published}", f"blocks.{i}.{ours}")
        if config.head == "features":
            yield from linear("pooler.dense", "pooler")
