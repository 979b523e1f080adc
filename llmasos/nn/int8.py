"""Weight-only int8: the large matrices of a trained model in a quarter of their memory, for inference.

The weights in a row of a matrix have similar sizes, most of them between −0.1 and 0.1. Divided by one number for the
whole row, its *scale*, they fit the integers from −127 to 127 ("absmax" quantization, Dettmers et al. 2022, section
2.1; here per channel: one scale for each row, that is for each output channel):

    s = max |row| / 127          one float for each row
    q = round(row / s)           one byte for each weight
    row ≈ q · s                  off by at most s / 2

A matrix times a vector needs no float matrix: y = (q x) · s, since s is the same for a whole row and can be multiplied
with the row's sum. Only weights are quantized. Activations are not (their outliers would not survive it, as the same
paper shows), and neither are

- norms, biases and the embeddings of positions and segments: together they are a hundredth of a model;
- the small output layers of heads, and the routers of a mixture of experts (`SKIPPED`): they have a few rows, too few
  for rounding errors to average out, and a router that errs asks another expert.

A token embedding that is tied to the output layer remains one table: its rows are the output channels of that layer, so
one table and one scale per row serve both.

**Speed.** torch's matrix products are for floats, so the bytes are converted back to floats just before the product,
one block of rows at a time, which stays in the processor's cache meanwhile. On a CPU this costs about as much as
reading less memory saves; for small models, which are in the cache anyway, it costs more. `python -m llmasos quantize`
measures both. What int8 saves is memory.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError
from llmasos.nn.lora import LoRALinear

Q_MAX = 127  # of a signed byte; -128 is not used, so that the range is symmetric
BLOCK = 2**20  # weights converted to floats at a time: 4 MB, the fastest of 2^17 … 2^21 for one row and for sixteen
SKIPPED = ("head", "next_sentence_head", "router")  # a classifier, a span extractor, BERT's second output layer
QUANTIZE = ("int8",)  # the values of `quantize=`, besides None


def quantize(model: nn.Module) -> nn.Module:
    """Quantize the matrices of a model to int8, in place.

    Every `nn.Linear` except small heads and routers becomes an `Int8Linear`, and the token embedding an
    `Int8Embedding`. From then on the model is for inference only: it is in evaluation mode and cannot be trained or
    saved.

    Returns:
        The same model.
    """
    if any(isinstance(layer, LoRALinear) for layer in model.modules()):
        raise UserError("the model has an adapter, which int8 weights have no room for: merge the adapter first.")
    quantized: dict[int, Int8Linear] = {}  # id of a float matrix → the layer that has replaced it
    for owner, name, layer in children(model):
        if isinstance(layer, nn.Linear) and name not in SKIPPED:
            quantized[id(layer.weight)] = Int8Linear(*quantize_rows(layer.weight), layer.bias)
            setattr(owner, name, quantized[id(layer.weight)])
    for owner, name, layer in children(model):
        if name == "token_embedding" and isinstance(layer, nn.Embedding):
            table = quantized.get(id(layer.weight)) or Int8Linear(*quantize_rows(layer.weight))
            setattr(owner, name, Int8Embedding(table))
    return model.eval().requires_grad_(False)


def children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every submodule of a model, with its parent and its name there: (parent, name, module)."""
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            yield owner, name, child


def is_quantized(model: nn.Module) -> bool:
    """Whether the model has quantized layers."""
    return any(isinstance(module, Int8Linear) for module in model.modules())


def check_quantize(quantize: str | None) -> None:
    """Raise UserError unless `quantize` is "int8", or None for float weights."""
    if quantize is not None and quantize not in QUANTIZE:
        raise UserError(
            f"quantize is {quantize!r}; it must be {' or '.join(map(repr, QUANTIZE))}, or None for float weights."
        )


@torch.no_grad()
def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Absmax quantization of a matrix (out, in): integers (out, in) int8, and one scale per row (out,) of its dtype.

    |w − q·s| ≤ s/2 for every weight w. In float32 that holds exactly: the quotient is computed in float64, which is
    never rounded to the wrong side of a half.

    >>> q, s = quantize_rows(torch.tensor([[0.5, -1.27, 0.0], [0.0, 0.0, 0.0]]))
    >>> q.tolist()
    [[50, -127, 0], [0, 0, 0]]
    """
    weight = weight.detach()
    absmax = torch.maximum(weight.amax(dim=1), -weight.amin(dim=1))  # (out,): max |w|
    scale = (absmax / Q_MAX).clamp(min=torch.finfo(weight.dtype).tiny)  # avoids 0 / 0 in a row of zeros
    q = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    rows = rows_per_block(weight)
    for part, floats, s in zip(q.split(rows), weight.split(rows), scale.split(rows), strict=True):
        part.copy_((floats.cpu().double() / s.cpu().double()[:, None]).round())
    return q, scale


def rows_per_block(matrix: Tensor) -> int:
    """The number of rows that are converted to floats at a time."""
    return max(1, BLOCK // matrix.size(1))


class Int8Linear(nn.Module):
    """x Wᵀ + b with the quantized weights of a trained `nn.Linear`: (…, in) → (…, out).

    Attributes:
        weight: q, (out, in) int8.
        scale: s, (out,).
        bias: (out,) or None.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = bias  # the float layer's own nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """Raises UserError if a gradient is needed: the float blocks that it would need are not kept."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise UserError("the model is quantized to int8 and has no gradients; load it without quantize.")
        blocks = self.weight.split(rows_per_block(self.weight))
        floats = x.new_empty(blocks[0].shape)  # reused for all blocks: allocating each is up to ten times slower
        parts = [F.linear(x, floats[: len(q)].copy_(q)) for q in blocks]
        y = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]  # (…, out)
        scale = self.scale.to(y.dtype)
        return y * scale if self.bias is None else torch.addcmul(self.bias.to(y.dtype), y, scale)

    def train(self, mode: bool = True) -> "Int8Linear":
        """Do nothing in evaluation mode; raise UserError for training mode."""
        if mode:
            raise UserError(
                "the model is quantized to int8, and rounded weights cannot be trained: a small step rounds to zero. "
                "Load the model without quantize, train that, and quantize the result."
            )
        return super().train(False)

    def extra_repr(self) -> str:
        n_out, n_in = self.weight.shape
        return f"in_features={n_in}, out_features={n_out}, bias={self.bias is not None}"


class Int8Embedding(nn.Module):
    """Rows of a quantized table, looked up and converted to floats: ids (…) → (…, C).

    Attributes:
        table: (V, C). If it is tied to the output layer, both are the same module.
    """

    def __init__(self, table: Int8Linear):
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> Tensor:
        scale = self.table.scale[ids][..., None]  # (…, 1)
        return self.table.weight[ids].to(scale.dtype) * scale


def quantized_layers(model: nn.Module) -> list[Int8Linear]:
    """The layers quantized to int8, each once, even if it is tied to another."""
    return [module for module in model.modules() if isinstance(module, Int8Linear)]
