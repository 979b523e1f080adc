"""Weight-only int8: the large matrices of a trained model in a quarter of their memory, for using it.

A row of a matrix holds numbers of similar size, most of them between −0.1 and 0.1. Divided by one number of its own,
the *scale*, the row fits the whole numbers from −127 to 127, and is kept so (Dettmers et al. 2022, section 2.1,
"absmax"; here for every row, that is for every output channel):

    s = max |row| / 127          one float for each row
    q = round(row / s)           one byte for each weight
    row ≈ q · s                  off by at most s / 2

A matrix times a vector needs no float matrix: y = (q x) · s, since s is the same for a whole row and may wait until the
row's sum is known. Only weights are rounded. Activations stay as they are (their outliers would not survive it, as the
same paper shows), and so do

- norms, biases and tables of positions and segments: together they are a hundredth of a model;
- the small heads that judge a whole text or a position (`KEPT`): a few rows, whose rounding nothing could even out.

A token embedding that is also the output layer stays one table: its rows are the output channels of that layer, so one
table and one scale serve both.

**Speed.** torch's matrix products are for floats, so the bytes become floats again just before they are multiplied, a
block of rows at a time, which stay in the processor's cache meanwhile. On a CPU this work costs about what reading less
memory saves; in small models, which are in the cache anyway, it costs more. `python -m llmasos quantize` measures both.
What int8 gives is memory.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError

LARGEST = 127  # of a signed byte; -128 is not used, so that the numbers lie evenly about zero
BLOCK = 2**20  # weights that are floats at a time: 4 MB, the fastest of 2^17 … 2^21 for one row and for sixteen
KEPT = ("head", "next_sentence_head")  # small heads: of a classifier, of a span extractor, and BERT's second one
QUANTIZE = ("int8",)  # what `quantize=` may be, beside None


def quantize(model: nn.Module) -> nn.Module:
    """Round the matrices of a model to int8, in place, and leave the rest as it is.

    Every `nn.Linear` but the small heads becomes an `Int8Linear`, and the token embedding an `Int8Embedding`. From then
    on the model is for using: it is in evaluation mode and cannot be trained or saved.

    Returns:
        The same model.
    """
    tables = {}  # id of a float matrix → the layer that has taken its place
    for owner, name, layer in children(model):
        if isinstance(layer, nn.Linear) and name not in KEPT:
            tables[id(layer.weight)] = Int8Linear(*round_rows(layer.weight), layer.bias)
            setattr(owner, name, tables[id(layer.weight)])
    for owner, name, layer in children(model):
        if name == "token_embedding" and isinstance(layer, nn.Embedding):
            table = tables.get(id(layer.weight)) or Int8Linear(*round_rows(layer.weight))
            setattr(owner, name, Int8Embedding(table))
    return model.eval().requires_grad_(False)


def children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every module below a model, with the module it is part of and its name there."""
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            yield owner, name, child


def is_quantized(model: nn.Module) -> bool:
    """Whether `quantize` has been here."""
    return any(isinstance(module, Int8Linear) for module in model.modules())


def check_quantize(quantize: str | None) -> None:
    """Raise UserError unless this is a way to load a model: "int8", or None for its floats."""
    if quantize is not None and quantize not in QUANTIZE:
        raise UserError(
            f"quantize is {quantize!r}; it must be {' or '.join(map(repr, QUANTIZE))}, or None for the weights as they "
            "are."
        )


@torch.no_grad()
def round_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (out, in) as whole numbers and one scale for each row: (out, in) int8, (out,) of the matrix's own dtype.

    |w − q·s| ≤ s/2 for every weight w. In float32 that holds exactly: the quotient is taken in float64, which never
    lands on the wrong side of a half.

    >>> q, s = round_rows(torch.tensor([[0.5, -1.27, 0.0], [0.0, 0.0, 0.0]]))
    >>> q.tolist()
    [[50, -127, 0], [0, 0, 0]]
    """
    weight = weight.detach()
    largest = torch.maximum(weight.amax(dim=1), -weight.amin(dim=1))  # (out,): max |w|
    scale = (largest / LARGEST).clamp(min=torch.finfo(weight.dtype).tiny)  # a row of zeros has a scale, too
    q = torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
    rows = rows_in_a_block(weight)
    for part, floats, s in zip(q.split(rows), weight.split(rows), scale.split(rows), strict=True):
        part.copy_((floats.cpu().double() / s.cpu().double()[:, None]).round())
    return q, scale


def rows_in_a_block(matrix: Tensor) -> int:
    """How many of its rows are floats at the same time."""
    return max(1, BLOCK // matrix.size(1))


class Int8Linear(nn.Module):
    """x Wᵀ + b with the rounded weights of a trained `nn.Linear`: (…, in) → (…, out).

    Attributes:
        weight: q, (out, in) int8.
        scale: s, (out,).
        bias: (out,) or None.
    """

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.bias = bias  # the float layer's own nn.Parameter

    def forward(self, x: Tensor) -> Tensor:
        """Raises UserError if gradients shall flow through: the blocks that they would need are not kept."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise UserError("the model is quantised to int8 and gives no gradients; load it without quantize.")
        blocks = self.weight.split(rows_in_a_block(self.weight))
        floats = x.new_empty(blocks[0].shape)  # the same memory for all blocks: new one is up to ten times slower
        parts = [F.linear(x, floats[: len(q)].copy_(q)) for q in blocks]
        y = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]  # (…, out)
        scale = self.scale.to(y.dtype)
        return y * scale if self.bias is None else torch.addcmul(self.bias.to(y.dtype), y, scale)

    def train(self, mode: bool = True) -> "Int8Linear":
        """Evaluation mode is all there is. Raises UserError for training mode."""
        if mode:
            raise UserError(
                "the model is quantised to int8, and rounded weights cannot learn: a small step rounds to none. Load "
                "the model without quantize, train that, and quantise the result."
            )
        return super().train(False)

    def extra_repr(self) -> str:
        n_out, n_in = self.weight.shape
        return f"in_features={n_in}, out_features={n_out}, bias={self.bias is not None}"


class Int8Embedding(nn.Module):
    """Rows of a rounded table, looked up and made floats: ids (…) → (…, C).

    Attributes:
        table: (V, C). If it is the output layer as well, the same module stands in both places.
    """

    def __init__(self, table: Int8Linear):
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> Tensor:
        scale = self.table.scale[ids][..., None]  # (…, 1)
        return self.table.weight[ids].to(scale.dtype) * scale
