"""The published formats: read `hf_format` (what a format is), then any of the others; each is one mapping table."""

from llmasos.hub.formats.hf_bert import BertFormat
from llmasos.hub.formats.hf_distilbert import DistilBertFormat
from llmasos.hub.formats.hf_format import HFConfig, HFFormat, TensorMapping
from llmasos.hub.formats.hf_gemma3 import Gemma3Format
from llmasos.hub.formats.hf_gpt2 import GPT2Format
from llmasos.hub.formats.hf_gpt_neo import GPTNeoFormat
from llmasos.hub.formats.hf_gpt_neox import GPTNeoXFormat
from llmasos.hub.formats.hf_llama import LlamaFormat
from llmasos.hub.formats.hf_marian import MarianFormat
from llmasos.hub.formats.hf_modernbert import ModernBertFormat
from llmasos.hub.formats.hf_mpnet import MPNetFormat
from llmasos.hub.formats.hf_opt import OPTFormat
from llmasos.hub.formats.hf_roberta import RobertaFormat
from llmasos.hub.formats.hf_t5 import T5Format

__all__ = ["FORMATS", "GPT2Format", "HFConfig", "HFFormat", "TensorMapping"]

FORMATS: tuple[HFFormat, ...] = (
    GPT2Format(), BertFormat(), LlamaFormat(), MarianFormat(), GPTNeoFormat(), OPTFormat(), RobertaFormat(),
    DistilBertFormat(), GPTNeoXFormat(), T5Format(), Gemma3Format(), MPNetFormat(), ModernBertFormat(),
)  # fmt: skip
