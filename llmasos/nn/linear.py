"""The linear layer of every model: `nn.Linear`, with two additions that change none of its results."""

from torch import Tensor, nn
from torch.nn import functional as F

from llmasos.nn.cpu import matvec, prefers_matvec


class Linear(nn.Linear):
    """x Wᵀ + b, with the parameter names and shapes of `nn.Linear`: (…, in) → (…, out)."""

    def reset_parameters(self) -> None:
        """Skip the random values of a layer on the "meta" device: its weights are about to be read from a file."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        if prefers_matvec(x, self.weight):
            return matvec(x, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)
