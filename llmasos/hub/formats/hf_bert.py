"""BERT (Devlin et al. 2019), MiniLM and all other encoders with the `model_type` "bert", with six types of head."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from llmasos.hub.formats.hf_format import (
    FROM_PUBLISHED_ACTIVATION,
    TO_PUBLISHED_ACTIVATION,
    HFConfig,
    HFFormat,
    TensorMapping,
    has_ordinary_heads,
    is_ordinary,
    label_fields,
    linear,
    tensor,
)
from llmasos.models import ModelConfig

OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # LayerNorms in the files of the first BERTs


class HeadNames(NamedTuple):
    """The names of the heads' layers in the files of a BERT or a related model.

    Attributes:
        dense, norm, bias: the first layer, the norm and the output layer's bias of the masked-LM head.
        pooler: the layer before the last one of a classifier, where it is a part of that head.
        classifier: the last layer of a classifier.
    """

    dense: str = "cls.predictions.transform.dense"
    norm: str = "cls.predictions.transform.LayerNorm"
    bias: str = "cls.predictions.bias"
    pooler: str | None = None
    classifier: str = "classifier"


LM_HEAD = HeadNames("lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "classifier.dense", "classifier.out_proj")
DECODER_COPIES = {"decoder.weight": "token_embedding.weight", "decoder.bias": "masked_lm_head.decoder.bias"}


class BertFormat(HFFormat):
    """`BERT` with post-norm and biases."""

    head_names = HeadNames()

    model_types = ("bert",)
    architectures = {
        "BertForPreTraining": "pretraining",
        "BertForMaskedLM": "pretraining",
        "BertModel": "features",
        "BertForSequenceClassification": "classifier",
        "BertForQuestionAnswering": "question_answering",
        "BertForTokenClassification": "token_classifier",
    }
    prefix = "bert."
    ignored: tuple[str, ...] = (".position_ids",)
    copies = DECODER_COPIES
    optional: tuple[str, ...] = ("pooler.", "backbone.pooler.", "next_sentence_head.")

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("position_embedding_type", "absolute")
        published.require("is_decoder", False)
        published.require("add_cross_attention", False)
        return {
            "family": "bert",
            "vocab_size": published.required("vocab_size"),
            "context_length": published.get("max_position_embeddings", 512),
            "n_layers": published.required("num_hidden_layers"),
            "n_heads": published.required("num_attention_heads"),
            "d_model": published.required("hidden_size"),
            "d_ff": published.required("intermediate_size"),
            "n_segments": published.get("type_vocab_size", 2),
            "norm_position": "post",
            "norm_eps": published.get("layer_norm_eps", 1e-12),
            "activation": published.choice("hidden_act", FROM_PUBLISHED_ACTIVATION, "gelu"),
            "dropout": published.get("hidden_dropout_prob", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        options = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.tie_embeddings)
        if options != ("bert", "learned", "layernorm", "post", True, True, True) or not has_ordinary_heads(c):
            return None
        if c.activation not in TO_PUBLISHED_ACTIVATION or not is_ordinary(c) or not c.n_segments:
            return None
        fields = {
            "model_type": "bert",
            "vocab_size": c.vocab_size,
            "max_position_embeddings": c.context_length,
            "num_hidden_layers": c.n_layers,
            "num_attention_heads": c.n_heads,
            "hidden_size": c.d_model,
            "intermediate_size": c.d_ff,
            "type_vocab_size": c.n_segments,
            "layer_norm_eps": c.norm_eps,
            "hidden_act": TO_PUBLISHED_ACTIVATION[c.activation],
            "hidden_dropout_prob": c.dropout,
            "attention_probs_dropout_prob": c.dropout,
        }
        return fields | label_fields(c)

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        for published, ours in (("word", "token"), ("position", "position"), ("token_type", "segment")):
            yield tensor(f"embeddings.{published}_embeddings.weight", f"{ours}_embedding.weight")
        yield from linear("embeddings.LayerNorm", "embedding_norm")
        for i in range(config.n_layers):
            for published, ours in (
                ("attention.self.query", "attention.q_proj"),
                ("attention.self.key", "attention.k_proj"),
                ("attention.self.value", "attention.v_proj"),
                ("attention.output.dense", "attention.out_proj"),
                ("attention.output.LayerNorm", "attention_residual.norm"),
                ("intermediate.dense", "feed_forward.up_proj"),
                ("output.dense", "feed_forward.down_proj"),
                ("output.LayerNorm", "feed_forward_residual.norm"),
            ):
                yield from linear(f"encoder.layer.{i}.{published}", f"blocks.{i}.{ours}")
        is_in_head = self.head_names.pooler is not None and config.head in ("classifier", "reward")
        if config.has_pooler and not is_in_head:
            yield from linear("pooler.dense", "pooler")

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        names = self.head_names
        if config.is_pretraining:
            yield from linear(names.dense, "masked_lm_head.dense")
            yield from linear(names.norm, "masked_lm_head.norm")
            yield tensor(names.bias, "masked_lm_head.decoder.bias")
            if config.next_sentence:
                yield from linear("cls.seq_relationship", "next_sentence_head")
        elif config.head in ("classifier", "reward"):
            if names.pooler is not None:
                yield from linear(names.pooler, "backbone.pooler")
            yield from linear(names.classifier, "head")
        elif config.head == "token_classifier":
            yield from linear("classifier", "head")
        elif config.head == "question_answering":
            yield from linear("qa_outputs", "head")

    def current_name(self, name: str) -> str:
        for old, new in OLD_NAMES.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name
