"""RoBERTa (Liu et al. 2019): a BERT whose positions begin with two rows that no token uses, without segments.

Read only: a BERT file can represent all its details, so when saved again, it becomes a BERT. It was
trained without next sentences, so that head is missing.
"""

from collections.abc import Iterator
from typing import Any

from llmasos.hub.formats.hf_bert import LM_HEAD, BertFormat
from llmasos.hub.formats.hf_format import HFConfig, TensorMapping, tensor
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
    head_names = LM_HEAD

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
            else:
                yield mapping
