"""What a published format is: another spelling of a `ModelConfig`, and other names for the same tensors.

A format is three things:

    read_config      their config.json → ours        (what we cannot compute is refused by name)
    write_config     ours → theirs
    table            one list of pairs (their name ↔ our name), read from left to right to load and from right to left
                     to save, so that the two directions cannot disagree

Most pairs are one tensor under two names. Three spellings differ in more: GPT-2 stores its matrices input first
(`transposed`) and queries, keys and values as one matrix (several names of ours, laid on top of each other), and Marian
keeps a bias as a row of a matrix (`as_row`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from llmasos.errors import UserError
from llmasos.models import ModelConfig


@dataclass(frozen=True)
class Pair:
    """One tensor of theirs, and what it is called here.

    Attributes:
        theirs: its name in their file.
        ours: our name; if it is several of our tensors in one, their names in order.
        transposed: theirs is (in, out) where ours is (out, in).
        as_row: theirs is (1, n) where ours is (n,).
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    as_row: bool = False

    def load(self, tensor: Tensor, sizes: list[int]) -> list[Tensor]:
        """Their tensor as ours, none of it copied; `sizes` are the first dimensions of ours."""
        tensor = tensor.T if self.transposed else tensor[0] if self.as_row else tensor
        return list(tensor.split(sizes)) if len(self.ours) > 1 else [tensor]

    def save(self, tensors: list[Tensor]) -> Tensor:
        """Our tensors as theirs."""
        tensor = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        return tensor.T if self.transposed else tensor[None] if self.as_row else tensor


def pair(theirs: str, *ours: str, transposed: bool = False, as_row: bool = False) -> Pair:
    """A `Pair`, as it is written in a table."""
    return Pair(theirs, ours, transposed, as_row)


def layer(theirs: str, ours: str, bias: bool = True) -> Iterator[Pair]:
    """The weight and the bias of a layer that has the same layout in both."""
    yield pair(f"{theirs}.weight", f"{ours}.weight")
    if bias:
        yield pair(f"{theirs}.bias", f"{ours}.bias")


class Format(ABC):
    """One family of published models.

    Attributes:
        model_types: what `model_type` says in the config.json of models in this format.
        architectures: their class names → the `head` that is ours for it; the first is written for its head.
        prefix: what stands before the names of the body's tensors, except in files of a body alone.
        without_values: the ends of names of tensors that hold nothing trained (tables of positions, masks).
        replaceable: beginnings of *our* names that another pre-training leaves out; they are then initialised anew.
    """

    model_types: tuple[str, ...]
    architectures: dict[str, str]
    prefix: str
    without_values: tuple[str, ...] = ()
    replaceable: tuple[str, ...] = ()

    @abstractmethod
    def read_config(self, theirs: "Fields") -> dict[str, Any]:
        """The fields of a `ModelConfig`, its head and labels left out. Raises UserError for what we cannot compute."""

    @abstractmethod
    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        """Their config.json without `architectures`, or None if this model is not of their kind."""

    @abstractmethod
    def backbone(self, config: ModelConfig) -> Iterator[Pair]:
        """The pairs of the body; their names without the prefix."""

    def top(self, config: ModelConfig) -> Iterator[Pair]:
        """The pairs of what stands on the body (output layers, heads)."""
        return iter(())

    def spelling(self, name: str) -> str:
        """A name in their file as this format's table has it; older files may have another."""
        return name

    def architecture(self, config: ModelConfig) -> str | None:
        """The name of their class for this head, if they have one."""
        return next((name for name, head in self.architectures.items() if head == config.head), None)

    def table(self, config: ModelConfig, prefix: str | None = None) -> list[Pair]:
        """All pairs.

        Args:
            config: of the model.
            prefix: what stands before the body's names in this file; None = the format's own.
        """
        prefix = self.prefix if prefix is None else prefix
        ours = "" if config.is_pretraining else "backbone."  # our heads hold the model that they sit on as their body
        body = [
            Pair(prefix + p.theirs, tuple(ours + name for name in p.ours), p.transposed, p.as_row)
            for p in self.backbone(config)
        ]
        return [*body, *self.top(config)]


class Fields:
    """A config.json of theirs, read field by field; says which file is wrong where it is."""

    def __init__(self, values: dict[str, Any], where: str):
        self.values, self.where = values, where

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or the default that their class has for it."""
        value = self.values.get(name)
        return default if value is None else value

    def need(self, *names: str) -> Any:
        """A field without which there is no model, under the first of these names that is there."""
        for name in names:
            if self.values.get(name) is not None:
                return self.values[name]
        raise UserError(f"{self.where} has no {names[0]!r}; it is damaged or of another kind: fetch it again.")

    def must(self, name: str, *allowed: Any, default: Any = None) -> None:
        """Raise UserError if a field asks for what is not computed here."""
        value = self.values.get(name, default)
        if value is not None and value not in allowed:
            expected = " or ".join(map(repr, allowed))
            raise UserError(
                f"{self.where} asks for {name} = {value!r}, which llmasos does not compute (only {expected}): "
                "its outputs would be wrong. Choose another model."
            )

    def choice(self, name: str, known: dict[str, str], default: str) -> str:
        """Our word for one of theirs."""
        value = self.get(name, default)
        if value not in known:
            raise UserError(f"{self.where} asks for {name} = {value!r}; llmasos knows {', '.join(known)}.")
        return known[value]


ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu",
               "silu": "silu", "swish": "silu"}  # fmt: skip
"""Their names for activations → ours."""

THEIR_ACTIVATION = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
