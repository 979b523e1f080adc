"""Weight-only int4: the matrices of a trained model in about a sixth of their memory, for inference.

With 15 numbers, -7 … 7, one scale for a whole row is too coarse: its largest weight determines the resolution of all
others. So each row is cut into groups of 32 consecutive weights, and each group has its own scale (Shen et al. 2020,
"Q-BERT", section 3.3, for groups; 32 as in Dettmers & Zettlemoyer 2023, who compare group sizes at equal memory):

    s = max |group| / 7          one float for each group
    q = round(group / s)         four bits for each weight, two weights in a byte
    group ≈ q · s                off by at most s / 2

A weight takes 4 bits, plus 32 / group size for its part of a scale: 5 bits with float32 scales and groups of 32, 4.5
with 16-bit scales. Smaller groups have smaller errors and take more memory. `python -m llmasos quantize MODEL --kind
int4` measures both.

**Speed.** As in `int8.py`, the weights are converted back to floats just before the product, a few rows at a time, here
with a scale for each group. On a CPU this costs more time than the lower memory traffic saves. The benefit of int4 is
memory.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from llmasos.nn.int8 import BLOCK, QuantizedLinear

GROUP_SIZE = 32
Q_MAX = 7  # of four bits; -8 is not used, so that the range is symmetric


@torch.no_grad()
def quantize_groups(weight: Tensor, group_size: int = GROUP_SIZE) -> tuple[Tensor, Tensor]:
    """Absmax quantization of a matrix (out, in) by groups of each row.

    Args:
        weight: the matrix; its last group in a row may have fewer weights.
        group_size: g, an even number.

    Returns:
        The packed weights (out, G · g / 2) uint8, where G = in / g, rounded up; and the scales (out, G) of the matrix's
        dtype. A byte holds the weights 2i (its lower four bits) and 2i + 1, each plus 8.

    >>> packed, scale = quantize_groups(torch.tensor([[0.7, -0.1, 3.5, 0.0]]), group_size=2)
    >>> packed.tolist(), [round(s, 3) for s in scale[0].tolist()]
    ([[127, 143]], [0.1, 0.5])
    """
    n_out, n_in = weight.shape
    n_groups = -(-n_in // group_size)
    groups = F.pad(weight.detach(), (0, n_groups * group_size - n_in)).view(n_out, n_groups, group_size)
    scale = (groups.abs().amax(dim=2) / Q_MAX).clamp(min=torch.finfo(weight.dtype).tiny)  # avoids 0 / 0
    q = (groups.cpu().double() / scale.cpu().double()[..., None]).round().to(torch.int16).view(n_out, -1) + 8  # 1 … 15
    return (q[:, 0::2] | q[:, 1::2] << 4).to(weight.device, torch.uint8), scale


def dequantize_groups(packed: Tensor, scale: Tensor, n_in: int) -> Tensor:
    """Invert `quantize_groups`, up to rounding: packed weights (out, G · g / 2) and scales (out, G) → (out, in)."""
    q = torch.stack([packed & 15, packed >> 4], dim=2).view(*scale.shape, -1)  # (out, G, g)
    floats = (q.to(scale.dtype) - 8) * scale[..., None]
    return floats.view(len(packed), -1)[:, :n_in]


class Int4Linear(QuantizedLinear):
    """x Wᵀ + b with the quantized weights of a trained `nn.Linear`: (…, in) → (…, out).

    Attributes:
        weight: packed, see `quantize_groups`: (out, G · g / 2) uint8.
        scale: (out, G).
        n_in: the width of the input.
        bias: (out,) or None.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor, n_in: int, bias: Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.n_in = n_in
        self.bias = bias  # type: ignore[assignment]  # a Parameter

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.weight), self.n_in

    def forward(self, x: Tensor) -> Tensor:
        """Raises UserError if a gradient is needed."""
        self.check_no_gradient(x)
        rows = max(1, BLOCK // self.n_in)
        blocks = zip(self.weight.split(rows), self.scale.split(rows), strict=True)
        parts = [F.linear(x, dequantize_groups(q, s, self.n_in).to(x.dtype)) for q, s in blocks]
        y = torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]  # (…, out)
        return y if self.bias is None else y + self.bias.to(y.dtype)
