"""Linear probes: what information a linear function can read from a layer (Alain & Bengio 2016).

A probe is a logistic regression from activations to labels. Its success shows that the information is there, not that
the model uses it; two checks help:

- **A control** (Hewitt & Liang 2019): the same probe for labels that were assigned at random, or for a model with
  random weights. What it achieves there is due to the probe, not to the model.
- **An edit**: move the activation along the probe's direction, and see whether the model now behaves as if it had
  another label (`steering`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from llmasos.errors import UserError
from llmasos.evaluation.intervals import exact_interval


@dataclass(frozen=True)
class Probe:
    """A linear classifier of activations.

    Attributes:
        weight: (K, C), one direction for each of the K labels.
        bias: (K,), one for each label.
        mean, scale: (C,), used to standardize activations first.
        accuracy: on examples that it was not trained on.
        interval: the 95 % interval of the accuracy (Clopper & Pearson 1934).
        majority: the accuracy of always predicting the most frequent label.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    scale: Tensor
    accuracy: float
    interval: tuple[float, float]
    majority: float

    def __call__(self, activations: Tensor) -> Tensor:
        """The most probable label of each activation: (N, C) → (N,)."""
        return self.logits(activations).argmax(-1)

    def logits(self, activations: Tensor) -> Tensor:
        """The logit of each label: (N, C) → (N, K). Their softmax is the probe's probabilities."""
        return ((activations - self.mean) / self.scale) @ self.weight.T + self.bias

    def steering(self, old: int, new: int) -> Tensor:
        """The shortest vector (C,) that moves an activation across the boundary between two labels, per unit of logit.

        Adding `m · steering(old, new)` raises the logit of `new` over that of `old` by m.
        """
        direction = (self.weight[new] - self.weight[old]) / self.scale  # the gradient of the difference
        return direction / direction.pow(2).sum()


def train_probe(
    activations: Tensor, labels: Tensor, held_out: Tensor | None = None, l2: float = 1e-3, steps: int = 100
) -> Probe:
    """Fit a probe by L-BFGS; the loss is convex, so there is one best probe.

    Args:
        activations: (N, C), one per example.
        labels: (N,) integers from 0 to K - 1.
        held_out: (N,) booleans, the examples to test on (None = every fourth).
        l2: weight of the squared norm of the weights, against overfitting.
        steps: the maximum number of L-BFGS iterations.

    Raises:
        UserError: there are fewer than two labels among the examples to train on, or nothing to test on.
    """
    x, y = activations.detach().double(), labels.long()
    test = torch.arange(len(y)) % 4 == 3 if held_out is None else held_out.bool()
    if len(x) != len(y) or not test.any() or len(y[~test].unique()) < 2:
        raise UserError(
            f"a probe needs examples of at least two labels to train on and some to test on; here are {len(x)} "
            f"activations, {len(y)} labels, {int(test.sum())} of them held out."
        )
    n_labels = int(y.max()) + 1
    mean, scale = x[~test].mean(0), x[~test].std(0).clamp(min=1e-6)
    x = (x - mean) / scale
    weight = torch.zeros(n_labels, x.size(1), dtype=torch.double, requires_grad=True)
    bias = torch.zeros(n_labels, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(x[~test] @ weight.T + bias, y[~test]) + l2 * weight.pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    with torch.no_grad():
        right = int(((x[test] @ weight.T + bias).argmax(-1) == y[test]).sum())
    n, majority = int(test.sum()), y[~test].bincount().argmax()
    return Probe(
        weight.detach().float(), bias.detach().float(), mean.float(), scale.float(),
        right / n, exact_interval(right, n), float((y[test] == majority).double().mean()),
    )  # fmt: skip
