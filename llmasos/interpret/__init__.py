"""Looking inside a model: who attends to whom, what each layer would say, and how sure the model is of each token."""

from llmasos.interpret.attention import attention_maps
from llmasos.interpret.lens import LensRow, logit_lens
from llmasos.interpret.tokens import TokenScore, score_tokens

__all__ = ["LensRow", "TokenScore", "attention_maps", "logit_lens", "score_tokens"]
