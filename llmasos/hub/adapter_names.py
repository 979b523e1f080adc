"""The layers of an adapter under their published names: what `formats` does for the weights of a whole model.

Most layers have one published counterpart. GPT-2 keeps queries, keys and values in one matrix, which has one adapter.
Ours are three separate adapters, which together form one adapter of three times the rank, with a block-diagonal B:

    A = [A_q; A_k; A_v]  (3r, in)            B = diag(B_q, B_k, B_v)  (3·out, 3r)

In the other direction the three share the same A, and each gets its rows of B. A and B are never transposed: only base
models store matrices as (in, out). What a format's table says about the rows of a matrix (their order in GPT-NeoX,
their scale in GPT-Neo) also applies to the rows of B.
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.hub.formats import HFFormat, TensorMapping
from llmasos.models import ModelConfig
from llmasos.models.adapter_files import AdapterFile, Factors


def table(format: HFFormat, config: ModelConfig, prefix: str) -> dict[str, TensorMapping]:
    """The format's table for a model, by published name."""
    return {mapping.published: mapping for mapping in format.mappings(config, prefix)}


def layer_names(mapping: TensorMapping) -> list[str]:
    """This library's names of the layers that a table entry is about."""
    return [name.removesuffix(".weight") for name in mapping.ours]


def to_published(adapter: AdapterFile, format: HFFormat, model: nn.Module, config: ModelConfig) -> AdapterFile:
    """Convert an adapter to the published names.

    Args:
        adapter: an adapter with this library's names.
        format: the model's format.
        model, config: the model that the adapter belongs to, and its config.
    """
    sizes = {name: parameter.size(0) for name, parameter in model.named_parameters()}
    layers, new = {}, {}
    for published, mapping in table(format, config, "" if config.head == "features" else format.prefix).items():
        parts = [adapter.layers.get(name) for name in layer_names(mapping)]
        if any(parts) and published.endswith(".weight"):
            joined = join(parts, [sizes[name] for name in mapping.ours])
            B = dataclasses.replace(mapping, transposed=False).save([joined.B])
            layers[published.removesuffix(".weight")] = joined._replace(B=B)
        if all(name in adapter.new for name in mapping.ours):
            new[published] = mapping.save([adapter.new[name] for name in mapping.ours])
    return dataclasses.replace(adapter, layers=layers, new=new)


def from_published(adapter: AdapterFile, format: HFFormat, model: nn.Module, config: ModelConfig) -> AdapterFile:
    """The inverse. Raises UserError if it adapts a layer that the model does not have."""
    sizes = {name: parameter.size(0) for name, parameter in model.named_parameters()}
    has_prefix = any(name.startswith(format.prefix) for name in adapter.layers)
    mappings = table(format, config, format.prefix if has_prefix else "")
    layers: dict[str, Factors] = {}
    new: dict[str, Tensor] = {}
    for published, factors in adapter.layers.items():
        mapping = mappings.get(f"{published}.weight")
        names = layer_names(mapping) if mapping else []
        rows = [sizes[f"{name}.weight"] for name in names]
        if mapping is None or sum(rows) != factors.B.size(0):
            raise UserError(
                f"the adapter has {published} with {factors.B.size(0)} outputs, for which the model has no place: it "
                "belongs to another model; give it the model it was trained on."
            )
        parts = dataclasses.replace(mapping, transposed=False).load(factors.B, rows)
        for name, B in zip(names, parts, strict=True):
            layers[name] = Factors(factors.A, B, factors.alpha)
    for published, tensor in adapter.new.items():
        mapping = mappings.get(format.current_name(published))
        if mapping is None:
            raise UserError(
                f"the adapter brings {published} of its own, for which the model has no place: it belongs to another "
                "model or another task; choose another adapter."
            )
        new |= zip(mapping.ours, mapping.load(tensor, [sizes[name] for name in mapping.ours]), strict=True)
    return dataclasses.replace(adapter, layers=layers, new=new)


def join(parts: Sequence[Factors | None], sizes: Sequence[int]) -> Factors:
    """One adapter for several layers that read the same input: their outputs one after another.

    Args:
        parts: the adapter of each layer, None for those without one.
        sizes: the number of outputs of each layer.
    """
    present = [part for part in parts if part is not None]
    first = present[0]
    if all(
        torch.equal(part.A, first.A) and part.alpha == first.alpha for part in present
    ):  # one layer, or split before
        rows = [part.B if part else first.B.new_zeros(n, first.rank) for part, n in zip(parts, sizes, strict=True)]
        return Factors(first.A, torch.cat(rows), first.alpha)
    scale = first.alpha / first.rank  # of all; a part with another one is rescaled
    blocks = [part.B * (part.alpha / part.rank / scale) if part else first.B.new_zeros(n, 0)
              for part, n in zip(parts, sizes, strict=True)]  # fmt: skip
    A = torch.cat([part.A for part in present])
    return Factors(A, torch.block_diag(*blocks), scale * A.size(0))
