"""A model on disk: a folder with `config.json` and `model.safetensors`.

    build_model(config)          a new model, with fresh weights
    save_model, load_model       the whole model to a folder and back
    load_body(model, folder)     only what lies under a model's head: where fine-tuning starts

Nothing else decides what the model computes, and both can be read without this library. The tokenizer that belongs to
it lies in the same folder (see `llmasos/tokenizers`).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models.config import ModelConfig
from llmasos.models.heads import FAMILIES, HEADS
from llmasos.nn import is_quantized
from llmasos.storage import load_tensors, read_json, save_tensors, write_json

TOKENIZER = "tokenizer_sha256"  # in config.json, beside the model's own fields: the tokenizer it was saved with

# Fields in which a body may differ from the one whose weights it takes: they change none of its tensors' meaning.
NOT_BACKBONE = ("head", "labels", "dropout", "fused", "tie_embeddings", "n_decoder_layers")


def build_model(config: ModelConfig) -> nn.Module:
    """A freshly initialised model of the family that the config names, with the head that it names."""
    return FAMILIES[config.family](config) if config.is_pretraining else HEADS[config.head](config)


def save_model(folder: Path, model: nn.Module) -> None:
    """Write config and weights into a folder that exists. Tied weights are written once."""
    write_json(Path(folder) / "config.json", model.config.to_dict())
    save_tensors(Path(folder) / "model.safetensors", weights_of(model), metadata={"format": "pt"})


def load_model(folder: Path, device: torch.device | str = "cpu") -> nn.Module:
    """Read the model back, in evaluation mode.

    Raises:
        UserError: no such folder, not a model folder, damaged, or weights that do not fit the config.
    """
    model, file = empty_model(load_config(folder)), Path(folder) / "model.safetensors"
    tensors = load_tensors(file)
    check_weights(model, tensors, file)
    give_weights(model, tensors)
    return model.to(device).eval()


def load_config(folder: Path) -> ModelConfig:
    """Read the config of a model's folder alone. Raises UserError: no such folder, or not a model folder."""
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise UserError(f"{folder} holds no model: no config.json in it. Give the folder of a run or of a model.")
    fields = read_json(file)
    if not isinstance(fields, dict):
        raise UserError(f"{file} is damaged: expected a JSON object; copy it again.")
    return ModelConfig.from_dict({name: value for name, value in fields.items() if name != TOKENIZER})


def load_backbone(model: nn.Module, folder: Path) -> None:
    """Copy pre-trained weights into the body of a model with a head; the head stays as it is.

    Args:
        model: a `SequenceClassifier` or a `SpanExtractor`, freshly built.
        folder: of a model of the same family and sizes, without a head or with any.

    Raises:
        UserError: not a model folder, or the model in it has other sizes, parts or vocabulary than `model`'s body.
    """
    theirs = load_config(folder)
    check_same_backbone(model.config, theirs, folder)
    file = Path(folder) / "model.safetensors"
    found, wanted = load_tensors(file), weights_of(model.backbone)
    if not theirs.is_pretraining:
        found = {name.removeprefix("backbone."): tensor for name, tensor in found.items()}
    missing = [name for name in wanted if name not in found or found[name].shape != wanted[name].shape]
    if missing:
        raise UserError(
            f"{file} has no {missing[0]} of shape {tuple(wanted[missing[0]].shape)}, which the head "
            f"{model.config.head!r} stands on (the model there has the head {theirs.head!r}): start from the folder of "
            "one without a head."
        )
    for name, tensor in wanted.items():
        tensor.copy_(found[name])


def check_same_backbone(config: ModelConfig, theirs: ModelConfig, folder: Path) -> None:
    """Raise UserError unless a model of `config` can take the body of the model in `folder`, whose config is given."""
    ours, theirs = config.to_dict(), theirs.to_dict()
    odd = [name for name in ours if ours[name] != theirs[name] and name not in NOT_BACKBONE]
    if odd:
        name = odd[0]
        raise UserError(
            f"the weights in {folder} do not fit: {name} is {theirs[name]!r} there and {ours[name]!r} in the new model "
            f"(they differ in: {', '.join(odd)}). Give the new model that folder's config, or start from another."
        )


def empty_model(config: ModelConfig) -> nn.Module:
    """The model of a config with the shapes of its weights and no values, for weights that are read from a file."""
    with torch.device("meta"):
        return build_model(config)


def give_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Make these tensors the weights of an `empty_model`, by their names in `weights_of`, without copying them.

    Half-precision tensors become float32. A tensor that lies in a file stays there until it is used, and what training
    changes is changed in memory only.
    """
    given = {}
    for name, parameter in model.named_parameters():
        given[id(parameter)] = nn.Parameter(tensors[name].float())
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) in given:  # under each of its names, if it is tied
                setattr(module, name, given[id(parameter)])


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained tensors by name, each once: of tied weights only the first name.

    Raises:
        UserError: the model is quantised: what it has left of its weights is not what training made of them.
    """
    if is_quantized(model):
        raise UserError(
            "the model is quantised to int8, and rounded weights are not saved: load the model without quantize and "
            "save that; quantising takes seconds and can be done again whenever it is loaded."
        )
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, file: Path) -> None:
    """Copy the tensors of a safetensors file into the model; every name and shape must agree."""
    found = load_tensors(file)
    check_weights(model, found, file)
    for name, tensor in weights_of(model).items():
        tensor.copy_(found[name])


def check_weights(model: nn.Module, found: Mapping[str, Tensor], file: Path) -> None:
    """Raise UserError unless the tensors of a file have the names and shapes of the model's."""
    wanted = weights_of(model)
    odd = sorted(set(found) ^ set(wanted))
    odd += [name for name in wanted if name in found and found[name].shape != wanted[name].shape]
    if odd:
        name = odd[0]
        has = f"the file has {tuple(found[name].shape)}" if name in found else "the file does not have it"
        wants = f"the model wants {tuple(wanted[name].shape)}" if name in wanted else "the model has no such tensor"
        raise UserError(
            f"{file} does not fit the model of its config.json: {name}: {has}, {wants} ({len(odd)} tensors differ). "
            "The weights belong to another config; use the config.json they were saved with."
        )
