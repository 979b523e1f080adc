"""Heads for other tasks than pre-training: a small layer on top of any family, trained together with it (fine-tuning).

    ids (B, T) → body → features (B, T, C) ┬→ summary (B, C) → SequenceClassifier → logits (B, n_labels)
                                           ├→                  SpanExtractor      → logits (B, T, 2)
                                           └→                  FeatureExtractor   → the features as they are

The body is a BERT, a GPT or a Transformer without the parts that only its own pre-training needs: its config says
which head it serves, and it builds nothing else. Each family has its own idea of what stands for a whole text: BERT its
first token, [CLS], which is trained for that; GPT the last real token, the only one that has seen all others; the
Transformer the mean over what its encoder has made of the text. Texts in pairs are told apart by BERT's segments, by
the others only by the token between them.
"""

from torch import Tensor, nn

from llmasos.models.bert import BERT
from llmasos.models.config import ModelConfig
from llmasos.models.gpt import GPT
from llmasos.models.init import initialize
from llmasos.models.transformer import Transformer

FAMILIES: dict[str, type[nn.Module]] = {"gpt": GPT, "bert": BERT, "transformer": Transformer}


class SequenceClassifier(nn.Module):
    """Which of the config's labels does the whole text have? (Devlin et al. 2019, section 4.1)"""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = FAMILIES[config.family](config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, len(config.labels))
        initialize(self.head)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Logits of the labels (B, n_labels), in the order of `config.labels`.

        Args:
            ids: token ids (B, T).
            attention_mask: (B, T) booleans, False = padding, on either side; None = no padding.
            segments: (B, T) numbers of the text each token belongs to, 0 or 1; None = all of the first. BERT reads
                them, the other families do not.

        Raises:
            UserError: the sequence is longer than context_length.
        """
        summary = self.backbone.pooled(self.backbone.hidden_states(ids, attention_mask, segments), attention_mask)
        return self.head(self.dropout(summary))


class SpanExtractor(nn.Module):
    """Where does the answer begin and end? (Devlin et al. 2019, section 4.2)"""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = FAMILIES[config.family](config)
        self.head = nn.Linear(config.d_model, 2)
        initialize(self.head)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """For each position the logits (B, T, 2) of [the answer begins here, it ends with this token].

        What stands at padded positions has no meaning. The arguments are those of `SequenceClassifier.forward`.
        """
        return self.head(self.backbone.hidden_states(ids, attention_mask, segments))


class FeatureExtractor(nn.Module):
    """What the body makes of each position, with nothing on top: to compare texts by, or to look inside.

    Its body keeps BERT's pooler, since published encoders come with one.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = FAMILIES[config.family](config)

    def forward(self, ids: Tensor, attention_mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        """Features (B, T, C). The arguments are those of `SequenceClassifier.forward`."""
        return self.backbone.hidden_states(ids, attention_mask, segments)


HEADS: dict[str, type[nn.Module]] = {
    "features": FeatureExtractor,
    "classifier": SequenceClassifier,
    "question_answering": SpanExtractor,
}
