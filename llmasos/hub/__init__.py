"""Names to models: a folder, a run, a shipped model, or one from the Hugging Face hub.

    model, tokenizer = load_pretrained("storyworld-gpt")
    save_pretrained("my_llm", model, tokenizer)

Read `formats/base` and any of its tables (other names for the same tensors), `weights` (the files), `folder` (a model
in and out), then `names` (where a name leads).
"""

import shutil
import warnings
from pathlib import Path

import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.hub.folder import Say, read_backbone, read_config, read_model, read_tokenizer, write_model
from llmasos.hub.names import find
from llmasos.hub.weights import MAX_SHARD_BYTES
from llmasos.models import ModelConfig
from llmasos.nn import int8
from llmasos.storage import write_folder
from llmasos.tokenizers import Tokenizer

CARD = "README.md"
MODEL_FILES = (
    "config.json",
    ".safetensors",
    ".safetensors.index.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "special_tokens_map.json",
    ".spm",
    "characters.txt",
    "chat_template.jinja",
)  # how the names of a model folder's files end

__all__ = ["find", "load_backbone", "load_config", "load_model", "load_pretrained", "load_tokenizer", "save_pretrained"]


def load_pretrained(
    name: str | Path,
    device: torch.device | str = "cpu",
    say: Say = warnings.warn,
    quantize: str | None = None,
) -> tuple[nn.Module, Tokenizer]:
    """The model of this name, in evaluation mode, and its tokenizer.

    Args:
        name: a folder with a model or a run in it, a shipped model's name, or a name on the Hugging Face hub, such as
            "gpt2" or "HuggingFaceTB/SmolLM2-135M" (taken from its cache, or downloaded).
        device: where to put the model.
        say: told what a person should know, such as weights that the files leave out.
        quantize: "int8" rounds the large matrices to one byte for each weight (see `nn/int8.py`): a quarter of the
            memory, for a model that is used and not trained. None = as they are.

    Raises:
        UserError: there is no such model, it cannot be fetched, or it is damaged or of an unknown kind; or there is no
            such way to quantise.
    """
    int8.check_quantize(quantize)
    folder = find(name, say)
    model = read_model(folder, "cpu" if quantize else device, say)
    if quantize:  # before the model goes to its device, where there may be no room for its floats
        model = int8.quantize(model).to(device)
    return model, read_tokenizer(folder, model.config)


def load_model(name: str | Path, device: torch.device | str = "cpu", say: Say = warnings.warn) -> nn.Module:
    """The model alone; see `load_pretrained`."""
    return read_model(find(name, say), device, say)


def load_config(name: str | Path) -> ModelConfig:
    """What the model of this name is made of; see `load_pretrained`."""
    return read_config(find(name))


def load_tokenizer(name: str | Path) -> Tokenizer:
    """The tokenizer of the model of this name; see `load_pretrained`."""
    folder = find(name)
    return read_tokenizer(folder, read_config(folder))


def load_backbone(model: nn.Module, name: str | Path) -> None:
    """Copy pre-trained weights into the body of a model with a head, which stays as it is: where fine-tuning starts.

        config = dataclasses.replace(load_config("storyworld-bert"), head="classifier", labels=("happy", "sad"))
        model = build_model(config)
        load_body(model, "storyworld-bert")

    Raises:
        UserError: the named model has other sizes than this one's body, or `load_pretrained` would raise.
    """
    read_backbone(model, find(name))


def save_pretrained(
    folder: str | Path,
    model: nn.Module,
    tokenizer: Tokenizer,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> str | None:
    """Write model and tokenizer into a folder, complete or not at all. See `folder.write_model` for the arguments.

    Returns:
        The published architecture in whose format it is (transformers opens it), None if it is in our own.

    Raises:
        UserError: the folder holds other files than a model's, or it cannot be written.
    """
    folder = Path(folder)
    foreign = [path for path in folder.iterdir() if not is_of_a_model(path)] if folder.is_dir() else []
    if foreign:
        raise UserError(
            f"{folder} holds other files than a model's ({foreign[0].name}); choose another folder, so that nothing "
            "there is lost."
        )
    with write_folder(folder) as temporary:
        if (folder / CARD).is_file():
            shutil.copy(folder / CARD, temporary)
        return write_model(temporary, model, tokenizer, dtype, max_shard_bytes)


def is_of_a_model(path: Path) -> bool:
    """Whether a file belongs to a model's folder, so that saving a model there replaces it (but for the card)."""
    return path.is_file() and (path.name == CARD or path.name.endswith(MODEL_FILES))
