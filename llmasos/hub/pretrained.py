"""Loading a model by its name, and saving one: the package's public functions."""

import shutil
import warnings
from contextlib import suppress
from pathlib import Path

import torch

from llmasos.arguments import user_path
from llmasos.errors import UserError
from llmasos.hub.adapters import base_folder, copy_merged, find_adapter, read_adapted
from llmasos.hub.config_files import read_config
from llmasos.hub.model_card import CARD
from llmasos.hub.pretrained_folder import Say, copy_weights, read_model, read_tokenizer, write_model
from llmasos.hub.resolve import find_model_folder
from llmasos.hub.weights import MAX_SHARD_BYTES
from llmasos.models import Model
from llmasos.models.adapter import merge_adapter
from llmasos.models.config import config_file, is_adapter
from llmasos.nn import quantization
from llmasos.storage import read_json, write_folder
from llmasos.storage.atomic import write_error
from llmasos.storage.checksums import CHECKSUMS, find_corruption, foreign_files, seal
from llmasos.tokenizers import Tokenizer

SAVED_BY_TRANSFORMERS = "transformers_version"  # a field of config.json, which keeps our checksums of the files before


def load_pretrained(
    name: str | Path,
    device: torch.device | str = "cpu",
    say: Say = warnings.warn,
    quantize: str | None = None,
    adapter: str | Path | None = None,
    merge: bool = True,
) -> tuple[Model, Tokenizer]:
    """Load the model of this name, in evaluation mode, and its tokenizer.

    Args:
        name: a folder with a model, a run or an adapter in it, a shipped model's name, or a name on the Hugging Face
            hub, such as "gpt2" or "HuggingFaceTB/SmolLM2-135M" (from its cache, or downloaded).
        device: the model's device.
        say: called with messages for the user, for example about weights that are missing from the files.
        quantize: "int8" rounds the large matrices to one byte per weight, a quarter of the memory, "int4" to about
            five bits, for inference only (see `nn/quantization.py`). None = full precision.
        adapter: an adapter of the model: a folder, a run or a name on the hub; None = none, unless `name` is one.
        merge: whether an adapter is merged into the weights, which is right for every use except saving it again.

    Raises:
        UserError: there is no such model, it cannot be fetched, it is damaged or not supported, the adapter is of
            another model, or `quantize` is unknown.
    """
    quantization.check_quantize(quantize)
    folder = find_model_folder(name, say)
    report_changes(folder, say)
    if adapter is not None or is_adapter(folder):
        base, folder = (None, folder) if adapter is None else (whole_model(folder), find_adapter(adapter, say))
        model = read_adapted(folder, base, say)
        model = merge_adapter(model) if merge or quantize else model
        own_tokenizer = config_file(folder).is_file()
        tokenizer_folder = folder if own_tokenizer else base or base_folder(folder, say)
    else:
        model, tokenizer_folder = read_model(folder, "cpu" if quantize else device, say), folder
    if quantize:  # before the model moves to its device, which may have no room for its float32 weights
        quantization.quantize(model, quantize)
    return model.to(device), read_tokenizer(tokenizer_folder, model.config, say)


def whole_model(folder: Path) -> Path:
    """The folder itself. Raises UserError if it holds an adapter, which cannot have one of its own."""
    if is_adapter(folder):
        raise UserError(f"{folder} is itself an adapter: name its base model, or leave the other adapter out.")
    return folder


def load_tokenizer(name: str | Path) -> Tokenizer:
    """Load the tokenizer of the model of this name; see `load_pretrained`."""
    folder = find_model_folder(name)
    if is_adapter(folder) and not config_file(folder).is_file():
        folder = base_folder(folder)
    return read_tokenizer(folder, read_config(folder))


def load_backbone(model: Model, name: str | Path, with_head: bool = False) -> list[str]:
    """Copy pretrained weights into the backbone of a model, where fine-tuning starts.

        config = dataclasses.replace(load_config("storyworld-bert"), head="classifier", labels=("happy", "sad"))
        model = build_model(config)
        load_backbone(model, "storyworld-bert")

    Args:
        model: a newly built model.
        name: the pretrained model's name; see `load_pretrained`.
        with_head: whether the head's weights are copied too; the two models must then have the same head.

    Returns:
        The names of the weights that are new: those of another head, and what the pretrained model does not have.

    Raises:
        UserError: the sizes of the two backbones differ, or `load_pretrained` would raise.
    """
    folder = find_model_folder(name)
    report_changes(folder, warnings.warn)
    return (copy_merged if is_adapter(folder) else copy_weights)(model, folder, with_head)


def report_changes(folder: Path, say: Say) -> None:
    """Say which file of a model that `save_pretrained` wrote is not as it wrote it.

    A damaged weight gives other answers and no error. But the change may be the user's own, or that of another program
    that has saved the model there again, so it is no error here either.
    """
    file = config_file(folder)
    with suppress(UserError):  # which reading the file will raise again
        fields = read_json(file)
        if isinstance(fields, dict) and CHECKSUMS in fields and SAVED_BY_TRANSFORMERS not in fields:
            if reason := find_corruption(file):
                say(f"{folder}: {reason}; if you have not changed it, copy the folder again or save the model again.")


def save_pretrained(
    folder: str | Path,
    model: Model,
    tokenizer: Tokenizer,
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> str | None:
    """Write model and tokenizer into a folder atomically. See `pretrained_folder.write_model` for the arguments.

    Of a model with an adapter only the adapter is written; `merge_adapter` first to save the whole model.

    transformers 5 splits the texts of every `qwen2` model as Qwen does, whatever its tokenizer's files say. A tokenizer
    that was trained here with such a model is opened there with `GPT2Tokenizer.from_pretrained(folder)`;
    `AutoTokenizer` of transformers 4 reads the files.

    Returns:
        The name of the published architecture that transformers opens, or None for our own format.

    Raises:
        UserError: the folder holds other files than those of a model that we saved there (and its card), or it cannot
            be written.
    """
    folder = user_path(folder)
    check_replaceable(folder)
    with write_folder(folder) as temporary:
        architecture = write_model(temporary, model, tokenizer, dtype, max_shard_bytes)
        seal(config_file(temporary), read_json(config_file(temporary)))
        if (folder / CARD).is_file():
            shutil.copy(folder / CARD, temporary)
    return architecture


def check_replaceable(folder: Path) -> None:
    """Raise UserError if a folder holds anything other than a model that we saved there, unchanged, and its card."""
    try:
        others = (
            [path for path in foreign_files(config_file(folder)) if path != folder / CARD] if folder.is_dir() else []
        )
    except OSError as error:
        raise write_error(folder, error) from error
    if others:
        raise UserError(
            f"{folder} holds other files than a model's ({others[0].name}: llmasos did not write it, or it was changed "
            "later); choose another folder, so that nothing there is lost."
        )
