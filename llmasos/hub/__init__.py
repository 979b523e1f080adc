"""Loading models by name: a folder, a run, a shipped model, or one from the Hugging Face hub.

    model, tokenizer = load_pretrained("storyworld-gpt")
    save_pretrained("my_llm", model, tokenizer)

Read `formats/hf_format` and any of the formats (other names for the same tensors), `weights` (the files),
`config_files` and `pretrained_folder` (a model's folder), `adapters` (a base model with a LoRA adapter), then `resolve`
and `hub_cache` (from a name to a folder), and `pretrained`, which joins them.
"""

from typing import TYPE_CHECKING

from llmasos.lazy import lazy_exports

if TYPE_CHECKING:  # each on first use
    from llmasos.hub.config_files import load_config
    from llmasos.hub.model_card import card_examples
    from llmasos.hub.pretrained import load_backbone, load_pretrained, load_tokenizer, save_pretrained
    from llmasos.hub.resolve import find_model_folder

__all__ = ["card_examples", "find_model_folder", "load_backbone", "load_config", "load_pretrained", "load_tokenizer",
           "save_pretrained"]  # fmt: skip
lazy_exports(__name__)
