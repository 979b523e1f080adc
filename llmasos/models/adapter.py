"""Adapters: LoRA for a whole model, which is then trained without changing the pretrained weights.

    add_adapter(model, base="gpt2", rank=8)      each chosen linear layer becomes a `LoRALinear`
    merge_adapter(model)                         W + ΔW everywhere: an ordinary model again
    unload_adapter(model)                        the base model, as it was

An adapter (`adapter_weights`) consists of the matrices A and B and of the layers that the pretrained model does not
have, such as the head of a new task, which are trained in full. An adapter only works with the model that it was
trained on, its *base*, so it stores that model's name and a checksum of its weights.

By default every linear layer of the blocks gets an adapter. With the same number of weights, adapting all layers works
better than adapting attention alone (Schulman et al. 2025, "LoRA Without Regret").
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from llmasos.errors import UserError, check_number, nearest
from llmasos.models.base import Model
from llmasos.nn import LoRALinear
from llmasos.nn.quantization import children, is_quantized

AnyModel = TypeVar("AnyModel", bound=Model)
DEFAULT_ALPHA = 32.0
OUTPUTS = ("lm_head", "decoder", "head", "next_sentence_head", "router")  # output layers, which get no adapter
GROUPS = {"attention": ("attention", "cross_attention"), "feed-forward": ("feed_forward",)}  # names of --lora-targets


@dataclass(frozen=True)
class Adapter:
    """What an adapted model stores about its adapter, besides the layers.

    Attributes:
        base: the name or the folder of the pretrained model.
        base_sha256: of that model's weights (`weights_sha256`); None = not known.
        new: names of the parts that the pretrained model does not have, which are trained in full.
    """

    base: str
    base_sha256: str | None = None
    new: tuple[str, ...] = ()


def add_adapter(
    model: AnyModel,
    base: str,
    rank: int,
    alpha: float = DEFAULT_ALPHA,
    targets: str = "all",
    new: Collection[str] = (),
) -> AnyModel:
    """Add adapters to a model's linear layers, in place; from then on only the adapters are trained.

    Args:
        model: the model with its pretrained weights.
        base: the name or folder of the pretrained model.
        rank: r, of every adapter.
        alpha: α; the adapter's output is multiplied by α / r.
        targets: which layers: "all", "attention", "feed-forward", or comma-separated names, each of one layer
            ("blocks.0.attention.q_proj") or the last part of several ("q_proj").
        new: parts of the model that are not pretrained ("head") and are trained in full.

    Raises:
        UserError: the rank is too large for a layer, no layer has such a name, or the model has an adapter or is
            quantized.
    """
    check_number("lora_rank", rank, whole=True, at_least=1)
    check_number("lora_alpha", alpha, above=0)
    check_unadapted(model)
    layers = choose_layers(model, targets, new)
    adapter = Adapter(base, weights_sha256(model, new), tuple(new))
    return install(model, adapter, {name: LoRALinear(layer, rank, alpha) for name, layer in layers.items()})


def install(model: AnyModel, adapter: Adapter, layers: dict[str, LoRALinear]) -> AnyModel:
    """Replace layers of a model by the adapted layers with the same names, and freeze everything else."""
    check_unadapted(model)
    model.requires_grad_(False)
    for name, layer in layers.items():
        model.set_submodule(name, layer.train(model.training))
    model.adapter = adapter
    for parameter in adapter_weights(model).values():
        parameter.requires_grad_()
    return model


def check_unadapted(model: Model) -> None:
    """Raise UserError if a model is quantized or already has an adapter."""
    if is_quantized(model):
        raise UserError(
            "the model is quantized, and its layers cannot get an adapter: open it without quantize; a "
            "finished adapter can be opened with quantize, and is merged first."
        )
    if model.adapter is not None:
        raise UserError("the model has an adapter already: merge or unload that one first.")


def adaptable_layers(model: nn.Module, new: Collection[str] = ()) -> dict[str, nn.Linear]:
    """The linear layers that may get an adapter, by name: all except new ones and output layers."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.rpartition(".")[2] not in OUTPUTS
        and not is_part_of(name, new)
        and not name.endswith((".lora_A", ".lora_B"))
    }


def choose_layers(model: nn.Module, targets: str, new: Collection[str] = ()) -> dict[str, nn.Linear]:
    """The layers that `targets` names; see `add_adapter`. Raises UserError if a name matches none."""
    layers = adaptable_layers(model, new)
    if targets == "all":
        return layers
    chosen: set[str] = set()
    for target in (part.strip() for part in targets.split(",")):
        groups = GROUPS.get(target)
        fitting = {
            name
            for name in layers
            if (groups and set(groups) & set(name.split("."))) or f".{name}".endswith(f".{target}")
        }
        if not target or not fitting:
            known = ("all", *GROUPS, *dict.fromkeys(name.rpartition(".")[2] for name in layers))
            raise UserError(
                f"lora_targets is {targets!r}, and the model has no layer {target!r} to adapt"
                + (nearest(target, known) or f"; choose from {', '.join(known)}.")
            )
        chosen |= fitting
    return {name: layer for name, layer in layers.items() if name in chosen}


def is_part_of(name: str, parts: Collection[str]) -> bool:
    """Whether a name is one of these parts of a model or inside one of them."""
    return any(f"{name}.".startswith(f"{part}.") for part in parts)


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers, by name."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def adapter_weights(model: Model) -> dict[str, nn.Parameter]:
    """Everything that belongs to the adapter of a model, by name: A, B, and the new parts."""
    new = () if model.adapter is None else model.adapter.new
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if ".lora_A." in name or ".lora_B." in name or is_part_of(name, new)
    }


def merge_adapter(model: AnyModel) -> AnyModel:
    """Add ΔW to every adapted layer, in place: the same function, up to rounding, without an adapter."""
    return replace_layers(model, merge=True)


def unload_adapter(model: AnyModel) -> AnyModel:
    """Remove the adapter from a model, in place. New parts keep their trained weights."""
    return replace_layers(model, merge=False)


def replace_layers(model: AnyModel, merge: bool) -> AnyModel:
    """Replace adapted layers by ordinary ones, with the adapter merged in or dropped."""
    for owner, name, layer in children(model):
        if isinstance(layer, LoRALinear):
            setattr(owner, name, layer.merged() if merge else layer.original())
    model.adapter = None
    return model.requires_grad_()


@torch.no_grad()
def weights_sha256(model: Model, without: Collection[str] = ()) -> str:
    """Compute a checksum of a model's weights, which identifies the base of an adapter.

    Args:
        model: a model without an adapter.
        without: names of parts to leave out.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(model.named_parameters(), key=lambda item: item[0]):
        if not is_part_of(name, without):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.float().cpu().contiguous().numpy().data)
    return digest.hexdigest()
