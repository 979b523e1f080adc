"""RoBERTa (Liu et al. 2019): a BERT whose positions begin with two rows that no token uses, without segments.

Only reading: it has no details that a BERT's file could not hold, so when saved again, it becomes a BERT. It was
trained without next sentences, so that head is missing.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_bert import BertFormat
from llmasos.hub.formats.hf_format import HFConfig, TensorMapping, linear, tensor
from llmasos.models import ModelConfig

OFFSET = 2  # rows of the position table before that of the first position: up to that of the padding, whose id is 1


class RobertaFormat(BertFormat):
    """`BERT` with post-norm and biases, and one segment."""

    model_types = ("roberta",)
    architectures = {
        "RobertaForMaskedLM": "pretraining",
        "RobertaModel": "features",
        "RobertaForSequenceClassification": "classifier",
        "RobertaForQuestionAnswering": "question_answering",
        "RobertaForTokenClassification": "token_classifier",
    }
    prefix = "roberta."
    ignored = (".position_ids", "lm_head.decoder.weight", "lm_head.decoder.bias")

    def read_config(self, published: HFConfig) -> dict[str, Any]:
        published.require("pad_token_id", OFFSET - 1, default=1)
        published.require("type_vocab_size", 1, default=2)
        published.require("hidden_act", "gelu")  # that of the head, whatever the others are
        context = published.get("max_position_embeddings", 512)
        return super().read_config(published) | {
            "context_length": context - OFFSET,
            "n_segments": 1,
        }

    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        return None

    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        for mapping in super().backbone(config):
            if mapping.published == "embeddings.position_embeddings.weight":
                yield tensor(mapping.published, *mapping.ours, skipped_rows=OFFSET)
            elif not (mapping.published.startswith("pooler.") and config.head in ("classifier", "reward")):
                yield mapping

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        if config.is_pretraining:
            yield from linear("lm_head.dense", "masked_lm_head.dense")
            yield from linear("lm_head.layer_norm", "masked_lm_head.norm")
            yield tensor("lm_head.bias", "masked_lm_head.decoder.bias")
        elif config.head in ("classifier", "reward"):  # its head has a layer more, which is BERT's pooler
            yield from linear("classifier.dense", "backbone.pooler")
            yield from linear("classifier.out_proj", "head")
        elif config.head == "token_classifier":
            yield from linear("classifier", "head")
        elif config.head == "question_answering":
            yield from linear("qa_outputs", "head")
