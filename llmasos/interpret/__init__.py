"""Looking inside a model: attention maps, each layer's prediction, token probabilities, the influence of each word, and
one prediction step by step."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.interpret.attention import attention_maps, telling_head, trivial_keys
    from llmasos.interpret.forward_trace import TraceStep, forward_trace
    from llmasos.interpret.logit_lens import LensRow, lens_rows, logit_lens
    from llmasos.interpret.occlusion import Influence, label_evidence, occlusion
    from llmasos.interpret.sampling_trace import SamplingTrace, sampling_trace
    from llmasos.interpret.tokens import TokenScore, score_masked_tokens, score_target, score_tokens

__all__ = ["Influence", "LensRow", "SamplingTrace", "TokenScore", "TraceStep", "attention_maps", "forward_trace",
           "label_evidence", "lens_rows", "logit_lens", "occlusion", "sampling_trace", "score_masked_tokens",
           "score_target", "score_tokens", "telling_head", "trivial_keys"]  # fmt: skip
lazy_exports(__name__)
