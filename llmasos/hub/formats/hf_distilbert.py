"""DistilBERT (Sanh et al. 2019): a BERT without segments and next sentences, with a relu in its classifier."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_bert import BertFormat, HeadNames
from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    label_fields,
    linear,
    tensor,
)
from llmasos.models import ModelConfig

EPS = 1e-12  # of every norm


class DistilBertFormat(BertFormat):
    """`BERT` with post-norm and biases, without segments."""

    model_types = ("distilbert",)
    architectures = {
        "DistilBertForMaskedLM": "pretraining",
        "DistilBertModel": "features",
        "DistilBertForSequenceClassification": "classifier",
        "DistilBertForQuestionAnswering": "question_answering",
        "DistilBertForTokenClassification": "token_classifier",
    }
    prefix = "distilbert."
    copies = {"vocab_projector.weight": "token_embedding.weight"}
    head_names = HeadNames("vocab_transform", "vocab_layer_norm", "vocab_projector.bias", "pre_classifier")
    optional = ("pooler.", "backbone.pooler.")

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        return {
            "family": "bert",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("max_position_embeddings", 512),
            "n_layers": published.required("n_layers"),
            "n_heads": published.required("n_heads"),
            "d_model": published.required("dim"),
            "d_ff": published.required("hidden_dim"),
            "n_segments": 0,
            "next_sentence": False,
            "pooler": "relu",
            "norm_position": "post",
            "norm_eps": EPS,
            "activation": published.choice("activation", FROM_PUBLISHED_ACTIVATION, "gelu"),
            "tie_embeddings": published.get("tie_word_embeddings", True),
            "dropout": published.get("dropout", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.norm_eps, c.bias, c.qkv_bias, c.n_segments)
        if options != ("bert", "learned", "layernorm", "post", EPS, True, True, 0) or not has_ordinary_heads(c):
            return None
        if c.next_sentence or c.pooler != "relu" or not is_ordinary(c, "next_sentence", "pooler"):
            return None
        if c.activation not in TO_PUBLISHED_ACTIVATION:
            return None
        fields = {
            "model_type": "distilbert",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "n_layers": c.n_layers,
            "n_heads": c.n_heads,
            "dim": c.d_model,
            "hidden_dim": c.d_ff,
            "activation": TO_PUBLISHED_ACTIVATION[c.activation],
            "tie_word_embeddings": c.tie_embeddings,
            "dropout": c.dropout,
            "attention_dropout": c.dropout,
            "seq_classif_dropout": c.dropout,
            "qa_dropout": c.dropout,
        }
        return fields | label_fields(c)

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield tensor("embeddings.word_embeddings.weight", "token_embedding.weight")
        yield tensor("embeddings.position_embeddings.weight", "position_embedding.weight")
        yield from linear("embeddings.LayerNorm", "embedding_norm")
        for i in range(config.n_layers):
            for published, ours in (
                ("attention.q_lin", "attention.q_proj"),
                ("attention.k_lin", "attention.k_proj"),
                ("attention.v_lin", "attention.v_proj"),
                ("attention.out_lin", "attention.out_proj"),
                ("sa_layer_norm", "attention_residual.norm"),
                ("ffn.lin1", "feed_forward.up_proj"),
                ("ffn.lin2", "feed_forward.down_proj"),
                ("output_layer_norm", "feed_forward_residual.norm"),
            ):
                yield from linear(f"transformer.layer.{i}.{published}", f"blocks.{i}.{ours}")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        yield from super().head(config)
        if config.is_pretraining and not config.tie_embeddings:
            yield tensor("vocab_projector.weight", "masked_lm_head.decoder.weight")
