"""Text generation: sampling, beam search, the cached batched decoder, continuous batching and streaming."""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.generation.beam import Hypothesis, beam_search
    from llmasos.generation.decoder import Decoder
    from llmasos.generation.generate import Generation, TokenEvent, generate, generate_from, stream, stream_from
    from llmasos.generation.json_schema import json_schema
    from llmasos.generation.naive import beam_search_naive, generate_naive
    from llmasos.generation.options import BeamOptions, SamplingOptions, options_for
    from llmasos.generation.regular_expression import regular_expression
    from llmasos.generation.sequence import SequenceState
    from llmasos.generation.speculative import generate_speculative, generate_with_draft
    from llmasos.generation.unmasking import unmask, unmask_ids

__all__ = [
    "BeamOptions",
    "Decoder",
    "Generation",
    "Hypothesis",
    "SamplingOptions",
    "SequenceState",
    "TokenEvent",
    "beam_search",
    "beam_search_naive",
    "generate",
    "generate_from",
    "generate_naive",
    "generate_speculative",
    "generate_with_draft",
    "json_schema",
    "options_for",
    "regular_expression",
    "stream",
    "stream_from",
    "unmask",
    "unmask_ids",
]
lazy_exports(__name__)
