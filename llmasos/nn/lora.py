"""LoRA: a linear layer that learns a change of low rank (Hu et al. 2021, section 4.1).

Fine-tuning turns a pretrained matrix W (out, in) into W + ΔW. LoRA freezes W and writes ΔW as the product of two thin
matrices; only these are trained:

    y = W x + b + (α / r) · B A x            A (r, in), B (out, r)

The rank r is at most min(in, out). An adapter of rank r has r · (in + out) weights instead of in · out, so its
gradients, its optimizer's state and its file are that much smaller. A is random and B is zero: at first ΔW = 0, and the
adapted layer computes what the pretrained one does. After training, W + (α / r) · B A is an ordinary matrix again
(`merged`).

The factor α / r keeps the size of the first steps the same for every rank, so the same learning rate works for all of
them.
"""

import torch
from torch import Tensor, nn

from llmasos.errors import UserError


class LoRALinear(nn.Linear):
    """A linear layer with an adapter: (…, in) → (…, out).

    It holds the weight and the bias of the layer that it replaces, under the same names.

    Attributes:
        weight, bias: W and b, shared with the original layer.
        lora_A, lora_B: the adapter, two layers without a bias whose weights are A (r, in) and B (out, r).
        alpha: α.

    Args:
        layer: the pretrained layer.
        rank: r, from 1 to min(in, out).
        alpha: α; the adapter's output is multiplied by α / r.

    Raises:
        UserError: the rank is larger than the layer's input or output.
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float):
        nn.Module.__init__(self)
        n_out, n_in = layer.weight.shape
        if not 1 <= rank <= min(n_in, n_out):
            raise UserError(
                f"lora_rank is {rank}, and a layer from {n_in} to {n_out} features has at most rank "
                f"{min(n_in, n_out)}: choose a smaller rank, or other lora_targets."
            )
        self.in_features, self.out_features = n_in, n_out
        self.weight = layer.weight
        self.register_parameter("bias", layer.bias)
        with layer.weight.device:
            self.lora_A = nn.Linear(n_in, rank, bias=False).to(layer.weight.dtype)  # uniform in ± 1 / √in
            self.lora_B = nn.Linear(rank, n_out, bias=False).to(layer.weight.dtype)
        if not self.lora_B.weight.is_meta:
            nn.init.zeros_(self.lora_B.weight)
        self.alpha = float(alpha)

    @property
    def rank(self) -> int:
        """r."""
        return self.lora_A.weight.size(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.lora_B(self.alpha / self.rank * self.lora_A(x))  # scaled where it is smallest

    @torch.no_grad()
    def delta(self) -> Tensor:
        """ΔW = (α / r) · B A: (out, in)."""
        return self.alpha / self.rank * (self.lora_B.weight @ self.lora_A.weight)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return an ordinary layer with the weight W + ΔW: the same outputs up to rounding, at no extra cost.

        W is changed in place, so that a large model needs no second copy.
        """
        self.weight.add_(self.delta())
        return self.original()

    def original(self) -> nn.Linear:
        """The layer without the adapter."""
        with torch.device("meta"):
            layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None)
        layer.weight = self.weight
        if self.bias is not None:
            layer.bias = self.bias
        return layer.train(self.training)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rank={self.rank}, alpha={self.alpha:g}"
