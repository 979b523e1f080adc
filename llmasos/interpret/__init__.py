"""Looking inside a model: who attends to whom, what each layer would say, how sure the model is of each token, and how
much of what it says hangs on each word."""

from llmasos.interpret.attention import attention_maps
from llmasos.interpret.logit_lens import LensRow, lens_rows, logit_lens
from llmasos.interpret.occlusion import Influence, label_evidence, occlusion
from llmasos.interpret.tokens import TokenScore, score_masked_tokens, score_target, score_tokens

__all__ = ["Influence", "LensRow", "TokenScore", "attention_maps", "label_evidence", "lens_rows", "logit_lens",
           "occlusion", "score_masked_tokens", "score_target", "score_tokens"]  # fmt: skip
