"""The published formats: read `base` (what a format is), then any of the others; each is one table."""

from llmasos.hub.formats.architecture import Fields, Format, Pair
from llmasos.hub.formats.hf_bert import Bert
from llmasos.hub.formats.hf_gpt2 import GPT2
from llmasos.hub.formats.hf_llama import Llama
from llmasos.hub.formats.hf_marian import Marian

__all__ = ["FORMATS", "Fields", "Format", "Pair"]

FORMATS: tuple[Format, ...] = (GPT2(), Bert(), Llama(), Marian())
