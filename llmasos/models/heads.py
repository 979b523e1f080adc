"""Heads for tasks other than pretraining: a small layer on top of any family, trained together with it (fine-tuning).

    ids (B, T) → backbone → hidden states (B, T, C) ┬→ pooled (B, C) → SequenceClassifier → logits (B, n_labels)
                                                    ├→ pooled (B, C) → RewardModel        → rewards (B,)
                                                    ├→                 SpanExtractor      → logits (B, T, 2)
                                                    ├→                 TokenClassifier    → logits (B, T, n_labels)
                                                    └→                 FeatureExtractor   → the hidden states themselves

The backbone is a BERT, a GPT or a Transformer without the layers that only its own pretraining needs. Each family
pools a text in its own way: BERT takes its first token, [CLS], which is trained for that; GPT the last real token, the
only one that has seen all others; the Transformer the mean of its encoder's output. In a pair of texts, BERT
distinguishes the two by segments, the other families only by the token between them.
"""

from torch import Tensor, nn

from llmasos.models.base import Backbone, Model
from llmasos.models.bert import BERT
from llmasos.models.config import ModelConfig
from llmasos.models.gpt import GPT
from llmasos.models.init import initialize
from llmasos.models.transformer import Transformer

FAMILIES: dict[str, type[Backbone]] = {"gpt": GPT, "bert": BERT, "transformer": Transformer}


class GPTBackbone(GPT):
    """A GPT under a head. As with all three, calling it computes its hidden states, so hooks see every call."""

    forward = GPT.hidden_states


class BERTBackbone(BERT):
    """A BERT under a head."""

    forward = BERT.hidden_states  # type: ignore[assignment]


class TransformerBackbone(Transformer):
    """The encoder of a Transformer under a head."""

    forward = Transformer.hidden_states  # type: ignore[assignment]


BACKBONES: dict[str, type[Backbone]] = {"gpt": GPTBackbone, "bert": BERTBackbone, "transformer": TransformerBackbone}


class SequenceClassifier(Model):
    """Which of the config's labels does the whole text have? (Devlin et al. 2019, section 4.1)"""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.backbone = BACKBONES[config.family](config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, len(config.labels))
        initialize(self.head)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Logits of the labels (B, n_labels), in the order of `config.labels`; see `Backbone.hidden_states`."""
        hidden_states = self.backbone(ids, attention_mask, segments)
        return self.head(self.dropout(self.backbone.pooled(hidden_states, attention_mask)))


class RewardModel(Model):
    """How good is a text? One number, learned from comparisons (Ouyang et al. 2022, section 3.5)."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.backbone = BACKBONES[config.family](config)
        self.head = nn.Linear(config.d_model, 1)
        initialize(self.head)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """The reward of each text (B,); see `Backbone.hidden_states`."""
        hidden_states = self.backbone(ids, attention_mask, segments)
        return self.head(self.backbone.pooled(hidden_states, attention_mask))[:, 0]


class SpanExtractor(Model):
    """Where does the answer start and end? Extractive question answering (Devlin et al. 2019, section 4.2)."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.backbone = BACKBONES[config.family](config)
        self.head = nn.Linear(config.d_model, 2)
        initialize(self.head)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """For each position the logits (B, T, 2) of [the answer starts here, it ends with this token]."""
        return self.head(self.backbone(ids, attention_mask, segments))


class TokenClassifier(Model):
    """Which of the config's labels does each token have? (Devlin et al. 2019, section 5.3)"""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.backbone = BACKBONES[config.family](config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, len(config.labels))
        initialize(self.head)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """For each position the logits (B, T, n_labels) of the labels, in the order of `config.labels`."""
        hidden_states = self.backbone(ids, attention_mask, segments)
        if self.config.has_pooler:
            hidden_states = self.backbone.pooler(hidden_states)  # type: ignore[operator]
        return self.head(self.dropout(hidden_states))


class FeatureExtractor(Model):
    """The backbone's hidden states with nothing on top: to compare texts, or to look inside.

    Its backbone keeps BERT's pooler, since published encoders come with one.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.backbone = BACKBONES[config.family](config)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Hidden states (B, T, C); see `Backbone.hidden_states`."""
        return self.backbone(ids, attention_mask, segments)


HEADS: dict[str, type[Model]] = {
    "features": FeatureExtractor,
    "classifier": SequenceClassifier,
    "reward": RewardModel,
    "question_answering": SpanExtractor,
    "token_classifier": TokenClassifier,
}
