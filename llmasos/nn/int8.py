"""Weight-only int8: the large matrices of a trained model in a quarter of their memory, for inference.

The weights in a row of a matrix have similar sizes, most of them between −0.1 and 0.1. Divided by one number for the
whole row, its *scale*, they fit the integers from −127 to 127 ("absmax" quantization, Dettmers et al. 2022, section
2.1; here per channel: one scale for each row, that is for each output channel):

    s = max |row| / 127          one float for each row
    q = round(row / s)           one byte for each weight
    row ≈ q · s                  off by at most s / 2

A matrix-vector product needs no float matrix: y = (q x) · s, since s is the same for a whole row and can be applied to
the row's sum. Only weights are quantized; activations are not (because of their outliers, as the same paper shows).
`quantization.py` decides which matrices are quantized.

**Speed.** torch's matrix products are for floats, so the bytes are converted back to floats just before the product,
one block of rows at a time, which stays in the processor's cache. On a CPU this costs about as much time as the lower
memory traffic saves; for small models, which are in the cache anyway, it costs more. `python -m llmasos quantize`
measures both. The benefit of int8 is memory.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.errors import UserError

Q_MAX = 127  # of a signed byte; -128 is not used, so that the range is symmetric
BLOCK = 2**20  # weights converted to floats at a time: 4 MB, the fastest of 2^17 … 2^21 for one row and for sixteen


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


class QuantizedLinear(nn.Module):
    """Base class of layers with quantized weights, which are for inference only.

    Attributes:
        bias: (out,) or None; the float layer's own nn.Parameter.
    """

    bias: nn.Parameter | None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in), of the float matrix."""
        raise NotImplementedError

    def check_no_gradient(self, x: Tensor) -> None:
        """Raise UserError if a gradient is needed: it would require the float weights, which are not kept."""
        if torch.is_grad_enabled() and x.requires_grad:
            raise UserError("the model is quantized and has no gradients; load it without quantize.")

    def train(self, mode: bool = True) -> "QuantizedLinear":
        """Do nothing in evaluation mode; raise UserError for training mode."""
        if mode:
            raise UserError(
                "the model is quantized, and rounded weights cannot be trained: a small step rounds to zero. "
                "Load the model without quantize, train that, and quantize the result."
            )
        return super().train(False)

    def extra_repr(self) -> str:
        n_out, n_in = self.shape
        return f"in_features={n_in}, out_features={n_out}, bias={self.bias is not None}"


class Int8Linear(QuantizedLinear):
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
        self.bias = bias  # type: ignore[assignment]  # a Parameter

    @property
    def shape(self) -> tuple[int, int]:
        n_out, n_in = self.weight.shape
        return n_out, n_in

    def forward(self, x: Tensor) -> Tensor:
        """Raises UserError if a gradient is needed."""
        self.check_no_gradient(x)
        blocks = self.weight.split(rows_per_block(self.weight))
        floats = x.new_empty(blocks[0].shape)  # reused for all blocks: allocating each is up to ten times slower
        parts = [F.linear(x, floats[: len(q)].copy_(q)) for q in blocks]
        y = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]  # (…, out)
        scale = self.scale.to(y.dtype)
        return y * scale if self.bias is None else torch.addcmul(self.bias.to(y.dtype), y, scale)


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
