"""A model on disk: a folder with `config.json` and `model.safetensors`.

Nothing else decides what the model computes, and both can be read without this library. The tokenizer that belongs to
it lies in the same folder (see `llmasos/tokenizers`).
"""

from pathlib import Path

import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.models.bert import BERT
from llmasos.models.config import ModelConfig
from llmasos.models.gpt import GPT
from llmasos.models.transformer import Transformer
from llmasos.storage import load_tensors, read_json, save_tensors, write_json

FAMILIES: dict[str, type[nn.Module]] = {"gpt": GPT, "bert": BERT, "transformer": Transformer}


def build_model(config: ModelConfig) -> nn.Module:
    """A freshly initialised model of the family that the config names."""
    return FAMILIES[config.family](config)


def save_model(folder: Path, model: nn.Module) -> None:
    """Write config and weights into a folder that exists. Tied weights are written once."""
    write_json(Path(folder) / "config.json", model.config.to_dict())
    save_tensors(Path(folder) / "model.safetensors", weights_of(model), metadata={"format": "pt"})


def load_model(folder: Path, device: torch.device | str = "cpu") -> nn.Module:
    """Read the model back, in evaluation mode.

    Raises:
        UserError: no such folder, not a model folder, damaged, or weights that do not fit the config.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} holds no model: no config.json in it. Give the folder of a run or of a model.")
    model = build_model(ModelConfig.from_dict(read_json(folder / "config.json")))
    load_weights(model, folder / "model.safetensors")
    return model.to(device).eval()


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """The trained tensors by name, each once: of tied weights only the first name."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def load_weights(model: nn.Module, file: Path) -> None:
    """Copy the tensors of a safetensors file into the model; every name and shape must agree."""
    found, wanted = load_tensors(file), weights_of(model)
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
    for name, tensor in wanted.items():
        tensor.copy_(found[name])
