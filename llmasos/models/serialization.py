"""A model on disk: a folder with `config.json` and `model.safetensors`.

    build_model(config)          a new model, with random weights
    save_model, load_model       write it to a folder and read it back
    load_weights(model, folder)  copy saved weights into an existing model

These two files determine everything the model computes, and both can be read without this library. The model's
tokenizer is in the same folder (see `llmasos/tokenizers`). `llmasos.hub` also opens published models and copies a
backbone.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.adapter_files import load_adapter, save_adapter
from llmasos.models.base import Model
from llmasos.models.config import BASE_SHA256, ModelConfig, read_own_config
from llmasos.models.generation_config import write_generation_config
from llmasos.models.heads import FAMILIES, HEADS
from llmasos.models.memory_checks import check_model_fits
from llmasos.nn import is_quantized
from llmasos.storage import load_tensors, save_tensors, write_json

# Fields that may differ when a backbone's weights are copied: they do not change the meaning of its tensors.
NOT_BACKBONE = (
    "head", "labels", "next_sentence", "pooler", "classifier_pooling", "dropout", "fused", "tie_embeddings",
    "n_decoder_layers", "capacity_factor", "router_aux_loss_coef", "rope_scaling", "sliding_window",
)  # fmt: skip


def build_model(config: ModelConfig) -> Model:
    """Build the config's model with random weights. Raises UserError if the machine has no memory for it."""
    if torch.get_default_device().type != "meta":
        check_model_fits(config)
    return FAMILIES[config.family](config) if config.is_pretraining else HEADS[config.head](config)


def save_model(folder: Path, model: Model) -> None:
    """Write config, recommendations and weights into an existing folder. Tied weights are written once.

    For a model with an adapter, only the adapter is written, with the name and the checksum of its base.
    """
    adapter = model.adapter
    fields = model.config.to_dict() | ({} if adapter is None else {BASE_SHA256: adapter.base_sha256})
    write_json(Path(folder) / "config.json", fields)
    write_generation_config(folder, model.generation_config, {})
    if adapter is not None:
        return save_adapter(Path(folder), model)
    save_tensors(Path(folder) / "model.safetensors", weights_of(model), metadata={"format": "pt"})


def load_model(folder: Path, device: torch.device | str = "cpu") -> Model:
    """Read a model in our own format, in evaluation mode.

    Raises:
        UserError: there is no such folder, it holds no model or a damaged one, or the weights do not match the config.
    """
    config, file = read_own_config(folder), Path(folder) / "model.safetensors"
    tensors = load_tensors(file)
    model = build_on_meta(config, sum(tensor.numel() for tensor in tensors.values()))
    check_weights(model, tensors, file)
    assign_weights(model, tensors)
    return model.to(device).eval()


def check_same_backbone(config: ModelConfig, saved: ModelConfig, folder: Path) -> None:
    """Raise UserError unless a model of `config` has the backbone of the model in `folder`, whose config is `saved`."""
    new, old = config.to_dict(), saved.to_dict()
    different = [name for name in new if new[name] != old[name] and name not in NOT_BACKBONE]
    if "learned" not in (config.positions, saved.positions):  # computed positions exist for any length
        different = [name for name in different if name != "context_length"]
    if different:
        name = different[0]
        raise UserError(
            f"the weights in {folder} do not fit: {name} is {old[name]!r} there and {new[name]!r} in the new model "
            f"(they differ in: {', '.join(different)}). Give the new model that folder's config, or start from another."
        )


def build_on_meta(config: ModelConfig, n_stored: int) -> Model:
    """Build the config's model on the meta device: its weights have shapes but no values yet (see `assign_weights`).

    Args:
        config: the model's config.
        n_stored: the number of values in the file of its weights.

    Raises:
        UserError: the config describes a much larger model than the file can hold.
    """
    check_model_fits(config, n_stored)
    with torch.device("meta"):
        return build_model(config)


def assign_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Make tensors, by their names in `weights_of`, the weights of a model from `build_on_meta`, without copying them.

    Half-precision tensors become float32. A memory-mapped tensor is read from the disk when it is first used, and
    training changes only the copy in memory.
    """
    assigned = {}
    for name, parameter in model.named_parameters():
        assigned[id(parameter)] = nn.Parameter(tensors[name].float())
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) in assigned:  # under each of its names, if it is tied
                setattr(module, name, assigned[id(parameter)])


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the trained tensors by name; tied weights appear once, under their first name.

    Raises:
        UserError: the model is quantized, so its original weights are lost.
    """
    if is_quantized(model):
        raise UserError(
            "the model is quantized, and rounded weights are not saved: load the model without quantize and "
            "save that; quantizing takes seconds and can be repeated whenever it is loaded."
        )
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: Model, folder: Path) -> None:
    """Copy the weights that `save_model` wrote into an existing model; every name and shape must match."""
    if model.adapter is not None:
        return load_adapter(model, folder)
    file = Path(folder) / "model.safetensors"
    tensors = load_tensors(file)
    check_weights(model, tensors, file)
    for name, weight in weights_of(model).items():
        weight.copy_(tensors[name])


def check_weights(model: nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Raise UserError unless the tensors of a file have the names and shapes of the model's."""
    weights = weights_of(model)
    different = sorted(set(tensors) ^ set(weights))
    different += [name for name in weights if name in tensors and tensors[name].shape != weights[name].shape]
    if different:
        name = different[0]
        actual = f"the file has {tuple(tensors[name].shape)}" if name in tensors else "the file does not have it"
        expected = (
            f"the model wants {tuple(weights[name].shape)}" if name in weights else "the model has no such tensor"
        )
        raise UserError(
            f"{file} does not fit the model of its config.json: {name}: {actual}, {expected} ({len(different)} tensors "
            "differ). The weights belong to another config; use the config.json they were saved with."
        )
