"""BERT (Devlin et al. 2019), MiniLM and every other encoder whose config says `bert`, with four kinds of head."""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.architecture import ACTIVATIONS, THEIR_ACTIVATION, Fields, Format, Pair, layer, pair
from llmasos.models import ModelConfig

OLD_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # of LayerNorms, in the files of the first BERTs


class Bert(Format):
    """`BERT` with post-norm and biases."""

    model_types = ("bert",)
    architectures = {
        "BertForPreTraining": "pretraining",
        "BertForMaskedLM": "pretraining",
        "BertModel": "features",
        "BertForSequenceClassification": "classifier",
        "BertForQuestionAnswering": "question_answering",
    }
    prefix = "bert."
    without_values = (".position_ids", "predictions.decoder.weight", "predictions.decoder.bias")
    replaceable = ("pooler.", "backbone.pooler.", "next_sentence_head.")

    def read_config(self, theirs: Fields) -> dict[str, Any]:
        theirs.must("position_embedding_type", "absolute")
        theirs.must("is_decoder", False)
        theirs.must("add_cross_attention", False)
        return {
            "family": "bert",
            "vocab_size": theirs.need("vocab_size"),
            "context_length": theirs.get("max_position_embeddings", 512),
            "n_layers": theirs.need("num_hidden_layers"),
            "n_heads": theirs.need("num_attention_heads"),
            "d_model": theirs.need("hidden_size"),
            "d_ff": theirs.need("intermediate_size"),
            "n_segments": theirs.get("type_vocab_size", 2),
            "norm_position": "post",
            "norm_eps": theirs.get("layer_norm_eps", 1e-12),
            "activation": theirs.choice("hidden_act", ACTIVATIONS, "gelu"),
            "dropout": theirs.get("hidden_dropout_prob", 0.1),
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        c = config
        kind = (c.family, c.positions, c.norm, c.norm_position, c.bias, c.qkv_bias, c.tie_embeddings, c.qk_norm)
        same_heads = c.n_kv_heads == c.n_heads and c.head_size * c.n_heads == c.d_model
        if kind != ("bert", "learned", "layernorm", "post", True, True, True, False) or not same_heads:
            return None
        if c.activation not in THEIR_ACTIVATION:
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
            "hidden_act": THEIR_ACTIVATION[c.activation],
            "hidden_dropout_prob": c.dropout,
            "attention_probs_dropout_prob": c.dropout,
        }
        if c.labels:
            fields["id2label"] = {str(id): label for id, label in enumerate(c.labels)}
            fields["label2id"] = {label: id for id, label in enumerate(c.labels)}
        return fields

    def backbone(self, config: ModelConfig) -> Iterator[Pair]:
        for theirs, ours in (("word", "token"), ("position", "position"), ("token_type", "segment")):
            yield pair(f"embeddings.{theirs}_embeddings.weight", f"{ours}_embedding.weight")
        yield from layer("embeddings.LayerNorm", "embedding_norm")
        for i in range(config.n_layers):
            for theirs, ours in (
                ("attention.self.query", "attention.q_proj"),
                ("attention.self.key", "attention.k_proj"),
                ("attention.self.value", "attention.v_proj"),
                ("attention.output.dense", "attention.out_proj"),
                ("attention.output.LayerNorm", "attention_residual.norm"),
                ("intermediate.dense", "feed_forward.up_proj"),
                ("output.dense", "feed_forward.down_proj"),
                ("output.LayerNorm", "feed_forward_residual.norm"),
            ):
                yield from layer(f"encoder.layer.{i}.{theirs}", f"blocks.{i}.{ours}")
        if config.head != "question_answering":
            yield from layer("pooler.dense", "pooler")

    def top(self, config: ModelConfig) -> Iterator[Pair]:
        if config.is_pretraining:
            yield from layer("cls.predictions.transform.dense", "masked_lm_head.dense")
            yield from layer("cls.predictions.transform.LayerNorm", "masked_lm_head.norm")
            yield pair("cls.predictions.bias", "masked_lm_head.decoder.bias")
            yield from layer("cls.seq_relationship", "next_sentence_head")
        elif config.head == "classifier":
            yield from layer("classifier", "head")
        elif config.head == "question_answering":
            yield from layer("qa_outputs", "head")

    def spelling(self, name: str) -> str:
        for old, new in OLD_NAMES.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name
