"""Weight-only quantization: the matrices of a trained model in a quarter (int8) or a sixth (int4) of their memory.

- "int8": every large matrix has one byte for each weight and one scale for each row (`int8.py`).
- "int4": the matrices from features to features have half a byte for each weight and one scale for each group of 32
  (`int4.py`). The token embedding and the output layer keep int8: every token passes through them, and no later layer
  can compensate for their errors.

Not quantized are

- norms, biases and the embeddings of positions and segments: together they are a hundredth of a model;
- the small output layers of heads, and the routers of a mixture of experts (`SKIPPED`): they have too few rows for
  rounding errors to average out, and a small error in a router selects another expert.

A token embedding that is tied to the output layer remains one table: its rows are the output channels of that layer, so
one table and one scale per row serve both.
"""

from collections.abc import Iterator

from torch import nn

from llmasos.errors import UserError
from llmasos.nn.int4 import Int4Linear, quantize_groups
from llmasos.nn.int8 import Int8Embedding, Int8Linear, QuantizedLinear, quantize_rows
from llmasos.nn.lora import LoRALinear

SKIPPED = ("head", "next_sentence_head", "router")  # of classifiers, of BERT, of experts
OUTPUT = ("lm_head", "decoder")  # the layers to the vocabulary, of a GPT or Transformer and of BERT's masked-LM head
QUANTIZE = ("int8", "int4")  # the values of `quantize=`, besides None


def quantize(model: nn.Module, kind: str = "int8") -> nn.Module:
    """Quantize the matrices of a model, in place.

    From then on the model is for inference only: it is in evaluation mode and cannot be trained or saved.

    Args:
        model: the model, with float weights and without an adapter.
        kind: "int8" or "int4".

    Returns:
        The same model.
    """
    check_quantize(kind)
    if any(isinstance(layer, LoRALinear) for layer in model.modules()):
        raise UserError("the model has an adapter, which rounded weights have no room for: merge the adapter first.")
    tables: dict[int, Int8Linear] = {}  # id of a float matrix → the layer that has replaced it
    for owner, name, layer in children(model):
        if isinstance(layer, nn.Linear) and name not in SKIPPED:
            if kind == "int4" and name not in OUTPUT:
                setattr(owner, name, Int4Linear(*quantize_groups(layer.weight), layer.in_features, layer.bias))
            else:
                tables[id(layer.weight)] = Int8Linear(*quantize_rows(layer.weight), layer.bias)
                setattr(owner, name, tables[id(layer.weight)])
    for owner, name, layer in children(model):
        if name == "token_embedding" and isinstance(layer, nn.Embedding):
            table = tables.get(id(layer.weight)) or Int8Linear(*quantize_rows(layer.weight))
            setattr(owner, name, Int8Embedding(table))
    return model.eval().requires_grad_(False)


def children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every submodule of a model, with its parent and its name there: (parent, name, module)."""
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            yield owner, name, child


def quantized_layers(model: nn.Module) -> list[QuantizedLinear]:
    """The quantized layers, each only once, even if it is tied to another."""
    return [module for module in model.modules() if isinstance(module, QuantizedLinear)]


def quantization_of(model: nn.Module) -> str | None:
    """The kind of quantization, "int8" or "int4"; None for float weights."""
    layers = quantized_layers(model)
    if not layers:
        return None
    return "int4" if any(isinstance(layer, Int4Linear) for layer in layers) else "int8"


def is_quantized(model: nn.Module) -> bool:
    """Whether the model has quantized layers."""
    return quantization_of(model) is not None


def check_quantize(quantize: str | None) -> None:
    """Raise UserError unless `quantize` is the name of a kind, or None for float weights."""
    if quantize is not None and quantize not in QUANTIZE:
        raise UserError(
            f"quantize is {quantize!r}; it must be {' or '.join(map(repr, QUANTIZE))}, or None for float weights."
        )
