"""Looking inside a model: attention maps, each layer's prediction, token probabilities, the influence of each word."""

from llmasos.interpret.attention import attention_maps
from llmasos.interpret.logit_lens import LensRow, lens_rows, logit_lens
from llmasos.interpret.occlusion import Influence, label_evidence, occlusion
from llmasos.interpret.tokens import TokenScore, score_masked_tokens, score_target, score_tokens

__all__ = ["Influence", "LensRow", "TokenScore", "attention_maps", "label_evidence", "lens_rows", "logit_lens",
           "occlusion", "score_masked_tokens", "score_target", "score_tokens"]  # fmt: skip
