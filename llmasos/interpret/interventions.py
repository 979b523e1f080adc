"""Interventions: reading and changing activations inside a model, with one mechanism for all families.

    site = Site("head", layer=1, head=3)
    with recorded(model, [site]) as values:              # values[site]: (B, T, D)
        model(ids)
    with intervened(model, {site: torch.zeros_like}):    # the model without this head
        logits = model(ids)

Everything else is built from these two: ablation, activation patching (`patching.py`), probes and edits (`probes.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models import Model, Transformer

KINDS = ("residual", "attention", "cross_attention", "feed_forward", "head")
Change = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Site:
    """A place in a model where a tensor can be read or changed.

    Attributes:
        kind: "residual", the stream (B, T, C) before block `layer` (the number of blocks: after the last);
            "attention", "cross_attention" or "feed_forward", what a sublayer adds to it (B, T, C), before a post-norm;
            "head", the output of one attention head (B, T, D), before the output projection.
        layer: the number of the block, from 0.
        head: the number of the head, from 0; only for the kind "head".
        side: "encoder" or "decoder"; only for a Transformer.
    """

    kind: str
    layer: int
    head: int | None = None
    side: str = "decoder"


@contextmanager
def recorded(model: Model, sites: Iterable[Site]) -> Iterator[dict[Site, Tensor]]:
    """Record copies of the tensors at some sites during the forward passes inside the `with`; the last pass counts.

    Args:
        model: a model of any family, in any mode.
        sites: the sites to record.

    Yields:
        A dictionary with one tensor per site, of the shapes given in `Site`; empty until the first pass.

    Raises:
        UserError: the model has no such site.
    """
    kept: dict[Site, Tensor] = {}

    def keep(site: Site) -> Change:
        def change(x: Tensor) -> Tensor:
            kept[site] = x.clone()
            return x

        return change

    with intervened(model, {site: keep(site) for site in sites}):
        yield kept


@contextmanager
def intervened(model: Model, changes: Mapping[Site, Change]) -> Iterator[None]:
    """Replace the tensors at some sites by a function of them inside the `with`.

    Args:
        model: a model of any family, in any mode.
        changes: for each site, a function that returns a tensor of the same shape. Gradients may flow through it.

    Raises:
        UserError: the model has no such site.
    """
    handles = []
    try:
        for site, change in changes.items():
            module, on_input = module_at(model, site)
            part = head_slice(model, site)
            if on_input:
                handles.append(module.register_forward_pre_hook(input_hook(change, part)))
            else:
                handles.append(module.register_forward_hook(output_hook(change)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def input_hook(change: Change, part: slice) -> Callable[[nn.Module, Any], Any]:
    """A hook that changes a part of the last dimension of a module's first input."""

    def hook(module: nn.Module, inputs: Any) -> Any:
        x = inputs[0]
        changed = x.clone()
        changed[..., part] = change(x[..., part])
        return (changed, *inputs[1:])

    return hook


def output_hook(change: Change) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    """A hook that changes a module's output."""
    return lambda module, inputs, output: change(output)


def module_at(model: Model, site: Site) -> tuple[nn.Module, bool]:
    """The module whose output, or else whose input (True), is the tensor at a site."""
    blocks = blocks_of(model, site.side)
    n_layers, config = len(blocks), model.config
    if site.kind not in KINDS:
        raise UserError(f"there is no kind of site {site.kind!r}; choose one of: {', '.join(KINDS)}.")
    if not 0 <= site.layer < n_layers + (site.kind == "residual"):
        raise UserError(f"layer is {site.layer}; this model has {n_layers} blocks, from 0 to {n_layers - 1}.")
    if (site.head is None) == (site.kind == "head") or not 0 <= (site.head or 0) < config.n_heads:
        raise UserError(f"head is {site.head} of a site of the kind {site.kind!r}; a head of this model is a number "
                        f"from 0 to {config.n_heads - 1}, and other kinds have none.")  # fmt: skip
    if site.kind == "residual":
        return (blocks[site.layer], True) if site.layer < n_layers else (blocks[-1], False)
    block = blocks[site.layer]
    if site.kind == "head":
        return block.attention.out_proj, True  # type: ignore[union-attr, return-value]
    if not hasattr(block, site.kind):
        raise UserError(f"the blocks of this model have no {site.kind}; only the decoder blocks of a transformer do.")
    return getattr(block, site.kind), False


def blocks_of(model: Model, side: str = "decoder") -> nn.ModuleList:
    """The blocks of a model, or of its backbone if it has a head; of a Transformer, those of one side."""
    backbone = getattr(model, "backbone", model)
    if not isinstance(backbone, Transformer):
        return backbone.blocks  # type: ignore[return-value]
    return backbone.encoder_blocks if side == "encoder" else backbone.decoder_blocks  # type: ignore[return-value]


def head_slice(model: Model, site: Site) -> slice:
    """The part of the tensor's last dimension that belongs to the site."""
    if site.head is None:
        return slice(None)
    size = model.config.head_size
    return slice(site.head * size, (site.head + 1) * size)


def replaced(values: Tensor, positions: slice | Tensor | int = slice(None)) -> Change:
    """A change that replaces the values at some positions by others.

    Args:
        values: (B, T, …) or broadcastable to it, for example recorded in another pass.
        positions: which of the T positions are replaced.
    """

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, positions] = values.expand_as(x)[:, positions].to(x)
        return x

    return change


def shifted(direction: Tensor, positions: slice | Tensor | int = slice(None)) -> Change:
    """A change that adds a vector (C,) at some positions of a tensor (B, T, C)."""

    def change(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, positions] += direction.to(x)
        return x

    return change
