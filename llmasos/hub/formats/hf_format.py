"""The interface of a published format: a different `config.json` for a `ModelConfig`, and different tensor names.

A format has three parts:

    read_config      the published config.json → ours        (an unsupported option is an error that names it)
    write_config     ours → the published one
    mappings         a table of pairs (published name ↔ our name), read from left to right to load a model and from
                     right to left to save it, so that the two directions cannot disagree

Most entries are one tensor under two names. Some layouts differ further: GPT-2 stores its matrices as (in, out)
(`transposed`), and queries, keys and values as one matrix (several of our names, concatenated; in GPT-NeoX head by
head, `n_heads`); Marian stores a bias as the row of a matrix (`as_row`); OPT, RoBERTa and MPNet have unused rows
(`skipped_rows`); GPT-Neo and T5 have other units (`scale`), and Gemma leaves out the one in a norm's weight (`offset`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from llmasos.errors import UserError, shown
from llmasos.models import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class TensorMapping:
    """One published tensor and our name for it.

    Attributes:
        published: its name in the published file.
        ours: our name; if it concatenates several of our tensors, their names in order.
        transposed: whether the published tensor is (in, out) where ours is (out, in).
        as_row: whether the published tensor is (1, n) where ours is (n,).
        skipped_rows: the number of rows that the published tensor has before the first of ours.
        may_be_longer: whether it may have further rows after ours.
        scale: the factor by which the published tensor is multiplied.
        offset: the number added to it.
        n_heads: if it concatenates several tensors, into how many parts each of them is cut; the first parts of all
            come first, then the second parts, and so on.
    """

    published: str
    ours: tuple[str, ...]
    transposed: bool = False
    as_row: bool = False
    skipped_rows: int = 0
    may_be_longer: bool = False
    scale: float = 1.0
    offset: float = 0.0
    n_heads: int = 1

    def load(self, tensor: Tensor, sizes: list[int]) -> list[Tensor]:
        """Convert a published tensor to ours, mostly without copying; `sizes` are the first dimensions of ours."""
        tensor = tensor.T if self.transposed else tensor[0] if self.as_row else tensor
        if self.skipped_rows or self.may_be_longer:
            tensor = tensor[self.skipped_rows :][: sizes[0]]
        tensor = tensor if self.scale == 1.0 else tensor.float() * self.scale
        tensor = tensor if self.offset == 0.0 else tensor.float() + self.offset
        if self.n_heads > 1:  # (heads, parts, …) → (parts, heads, …)
            tensor = tensor.unflatten(0, (self.n_heads, len(self.ours), -1)).transpose(0, 1).flatten(0, 2)
        return list(tensor.split(sizes)) if len(self.ours) > 1 else [tensor]

    def save(self, tensors: list[Tensor]) -> Tensor:
        """Convert our tensors to the published one."""
        import torch  # here, because reading a config needs none of it

        tensor = torch.cat(tensors) if len(tensors) > 1 else tensors[0]
        if self.n_heads > 1:
            tensor = tensor.unflatten(0, (len(self.ours), self.n_heads, -1)).transpose(0, 1).flatten(0, 2)
        tensor = tensor if self.offset == 0.0 else tensor - self.offset
        tensor = tensor if self.scale == 1.0 else tensor / self.scale
        if self.skipped_rows:
            tensor = torch.cat([tensor.new_zeros(self.skipped_rows, *tensor.shape[1:]), tensor])
        return tensor.T if self.transposed else tensor[None] if self.as_row else tensor


def tensor(published: str, *ours: str, **options: Any) -> TensorMapping:
    """A table entry for one tensor; `options` are the further fields of a `TensorMapping`."""
    return TensorMapping(published, ours, **options)


def linear(published: str, ours: str, bias: bool = True) -> Iterator[TensorMapping]:
    """The table entries for the weight and the bias of a layer with the same layout in both."""
    yield tensor(f"{published}.weight", f"{ours}.weight")
    if bias:
        yield tensor(f"{published}.bias", f"{ours}.bias")


def label_fields(config: ModelConfig) -> dict[str, Any]:
    """The fields of a config.json with the names of a classifier's labels; that of a reward model has one."""
    labels = ("LABEL_0",) if config.head == "reward" else config.labels
    if not labels:
        return {}
    return {
        "id2label": {str(id): label for id, label in enumerate(labels)},
        "label2id": {label: id for id, label in enumerate(labels)},
    }


SHARED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # other names of an encoder–decoder's embedding

# The fields that a format's `write_config` handles one by one. All others are options that few models use.
ORDINARY = frozenset(
    "family vocab_size context_length n_layers n_decoder_layers n_heads n_kv_heads head_size d_model d_ff "
    "n_active_experts capacity_factor router_aux_loss_coef ngram_buckets n_segments positions rope_theta norm "
    "norm_position norm_eps activation bias qkv_bias zero_init_residual mup_base_width tie_embeddings dropout head "
    "labels fused".split()
)


def is_ordinary(config: ModelConfig, *options: str) -> bool:
    """Whether a config uses no rare option except those named, so that new options are unsupported until a format lists
    them.
    """
    known, default = ORDINARY.union(options), ModelConfig(family=config.family)
    names = (field.name for field in fields(config) if field.name not in known)
    return all(getattr(config, name) == getattr(default, name) for name in names)


def has_ordinary_heads(config: ModelConfig) -> bool:
    """Whether the heads split d_model evenly, and each has its own keys and values."""
    return config.n_kv_heads == config.n_heads and config.head_size * config.n_heads == config.d_model


class HFFormat(ABC):
    """One family of published models.

    Attributes:
        model_types: the values of `model_type` in its config.json files.
        architectures: published class names → our `head`; the first name for a head is the one that is written.
        prefix: the prefix of the backbone's tensor names, except in files with only a backbone.
        ignored: suffixes of tensors that hold nothing trained (position tables, masks).
        copies: suffixes of tensors that duplicate another one → our name of the original.
        optional: prefixes of *our* names that a published file may omit; they are then initialized at random.
        only_pretraining: prefixes of *published* names in the backbone that other heads do not need.
    """

    model_types: tuple[str, ...]
    architectures: dict[str, str]
    prefix: str
    ignored: tuple[str, ...] = ()
    copies: dict[str, str] = {"lm_head.weight": "token_embedding.weight"}
    optional: tuple[str, ...] = ()
    only_pretraining: tuple[str, ...] = ()

    @abstractmethod
    def read_config(self, published: HFConfig) -> dict[str, Any]:
        """Return the fields of a `ModelConfig`, without head and labels. Raises UserError for unsupported options."""

    @abstractmethod
    def write_config(self, config: ModelConfig) -> dict[str, Any] | None:
        """Return the published config.json without `architectures`, or None if it cannot represent this model."""

    @abstractmethod
    def backbone(self, config: ModelConfig) -> Iterator[TensorMapping]:
        """The table of the backbone; the published names lack the prefix."""

    def head(self, config: ModelConfig) -> Iterator[TensorMapping]:
        """The table of the head."""
        return iter(())

    def current_name(self, name: str) -> str:
        """Return the current form of a published name, which is different in some old files."""
        return name

    def completed(self, published: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        """Return a file's tensors, completed by those that some files omit because they duplicate another one."""
        return published

    def architecture(self, config: ModelConfig) -> str | None:
        """Return the published class name for this head, if there is one: a reward model is a classifier with one
        label.
        """
        wanted = "classifier" if config.head == "reward" else config.head
        return next((name for name, head in self.architectures.items() if head == wanted), None)

    def mappings(self, config: ModelConfig, prefix: str | None = None) -> list[TensorMapping]:
        """Return the whole table.

        Args:
            config: the model's config.
            prefix: the prefix of the backbone's names in this file; None = the format's own.
        """
        prefix = self.prefix if prefix is None else prefix
        our_prefix = "" if config.is_pretraining else "backbone."  # our heads hold the model under them as `backbone`
        backbone = [
            replace(m, published=prefix + m.published, ours=tuple(our_prefix + name for name in m.ours))
            for m in self.backbone(config)
        ]
        return [*backbone, *self.head(config)]


class HFConfig:
    """A published config.json, read field by field, with error messages that name the file.

    A field has the type of its default: a text is not a number, and null stands for the default. (The range of a size
    is checked by `ModelConfig`.)
    """

    def __init__(self, values: dict[str, Any], file: str):
        self.values, self.file = values, file

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or its default in the published class. Raises UserError if it is not of the default's type.

        Args:
            name: the field's name.
            default: for a field that is missing or null; None = a field of any type.
        """
        value = self.values.get(name)
        if value is None:
            return default
        return value if default is None else self.checked(name, value, type(default))

    def required(self, *names: str, type: type = int) -> Any:
        """Return a required field of a type, under the first of these names that is present."""
        for name in names:
            if self.values.get(name) is not None:
                return self.checked(name, self.values[name], type)
        raise UserError(f"{self.file} has no {names[0]!r}; it is damaged or of another type: fetch it again.")

    def checked(self, name: str, value: Any, expected: type) -> Any:
        """Return a value if it has the type. Raises UserError if not; only integers also count as floats."""
        if type(value) is not expected and not (expected is float and type(value) is int):
            raise UserError(f"{self.file} has {name} = {shown(value)}; it must be {JSON_TYPES[expected]}.")
        return value

    def require(self, name: str, *supported: Any, default: Any = None) -> None:
        """Raise UserError if a field has an unsupported value."""
        value = self.values.get(name, default)
        if value is not None and value not in supported:
            expected = " or ".join(map(repr, supported))
            raise UserError(
                f"{self.file} asks for {name} = {shown(value)}, which llmasos does not support (only {expected}): "
                "its outputs would be wrong. Choose another model."
            )

    def choice(self, name: str, ours: dict[str, str], default: str) -> str:
        """Return our name for the value of a field."""
        value = self.get(name, default)
        if value not in ours:
            raise UserError(f"{self.file} asks for {name} = {value!r}; llmasos supports {', '.join(ours)}.")
        return ours[value]


JSON_TYPES = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "an object",
}  # fmt: skip
FROM_PUBLISHED_ACTIVATION = {
    "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "relu": "relu", "silu": "silu",
    "swish": "silu",
}  # fmt: skip
TO_PUBLISHED_ACTIVATION = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu", "silu": "silu"}
