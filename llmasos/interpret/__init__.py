"""Looking inside a model: attention maps, each layer's prediction, token probabilities, the influence of each word, one
prediction step by step; and changing it: patching, ablation, attribution, probes, induction."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.interpret.attention import attention_maps, telling_head, trivial_keys
    from llmasos.interpret.forward_trace import TraceStep, forward_trace
    from llmasos.interpret.induction import InductionScores, induction_scores
    from llmasos.interpret.interventions import Site, intervened, recorded, replaced, shifted
    from llmasos.interpret.logit_lens import LensRow, lens_rows, logit_lens
    from llmasos.interpret.occlusion import Influence, label_evidence, occlusion
    from llmasos.interpret.patching import (
        PatchedCell,
        Patching,
        ablation,
        activation_patching,
        logit_attribution,
        logit_difference,
        patched_cells,
        sites_of,
    )
    from llmasos.interpret.probes import Probe, train_probe
    from llmasos.interpret.sampling_trace import SamplingTrace, sampling_trace
    from llmasos.interpret.story_probe import StoryProbe, train_story_probes
    from llmasos.interpret.token_probabilities import TokenScore, score_masked_tokens, score_target, score_tokens

__all__ = ["InductionScores", "Influence", "LensRow", "PatchedCell", "Patching", "Probe", "SamplingTrace", "Site",
           "StoryProbe", "TokenScore", "TraceStep", "ablation", "activation_patching", "attention_maps",
           "forward_trace", "induction_scores", "intervened", "label_evidence", "lens_rows", "logit_attribution",
           "logit_difference", "logit_lens", "occlusion", "patched_cells", "recorded", "replaced",
           "sampling_trace", "score_masked_tokens", "score_target", "score_tokens", "shifted", "sites_of",
           "telling_head", "train_probe", "train_story_probes", "trivial_keys"]  # fmt: skip
lazy_exports(__name__)
