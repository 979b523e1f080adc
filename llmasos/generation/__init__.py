"""Ids out: sampling rules, the cached batched decoder, and text as it grows."""

from llmasos.generation.decoder import Decoder
from llmasos.generation.generate import Event, Generation, generate, stream
from llmasos.generation.options import SamplingOptions
from llmasos.generation.plain import generate_plain
from llmasos.generation.rows import Row, eval_mode

__all__ = [
    "Decoder", "Event", "Generation", "Row", "SamplingOptions", "eval_mode", "generate", "generate_plain", "stream",
]
