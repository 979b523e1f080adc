"""The published formats: read `architecture` (what a format is), then any of the others; each is one mapping table."""

from llmasos.hub.formats.architecture import Fields, Format, TensorMapping
from llmasos.hub.formats.hf_bert import BertFormat
from llmasos.hub.formats.hf_gpt2 import GPT2Format
from llmasos.hub.formats.hf_llama import LlamaFormat
from llmasos.hub.formats.hf_marian import MarianFormat

__all__ = ["FORMATS", "Fields", "Format", "TensorMapping"]

FORMATS: tuple[Format, ...] = (GPT2Format(), BertFormat(), LlamaFormat(), MarianFormat())
