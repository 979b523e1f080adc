"""The load-balancing loss of a mixture of experts (Fedus et al. 2021, "Switch Transformers", equations 4 to 6).

Without such a loss, a router soon sends most tokens to a few experts (see `nn/experts.py`). In each layer, let

    f_i = the fraction of all choices that fall on expert i          P_i = the mean probability of expert i

    loss = E · Σ f_i · P_i

over all tokens of the global batch, without padding. It is 1 if all experts are used equally, and E if only one is
used. f cannot be differentiated; P can, and its gradient lowers the probability of experts that are used too often.
The layers are averaged, weighted by their numbers of tokens (Fedus et al. add them up), so the weight
`router_aux_loss_coef` means the same in a deep model as in a shallow one.

The loss is a product of two means over the *whole* batch, so it is not the sum of the losses of its parts: with half of
a batch in German and half in English, each half by itself may use half of the experts (Qiu et al. 2025, "Demons in the
Detail"). If a batch is computed in several parts, the training loop therefore first counts the choices of all of them,
in a forward pass without gradients. With f known, what remains is a sum over tokens, and neither gradient accumulation
nor the number of processes changes it.

A batch also contains its padding mask. A GPT does not need it, but its experts do: padding is not sent to any of them
and does not use up capacity.

`Trainer` wraps any objective in this if the model has experts. Nothing else in the library adds a term to a loss.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from llmasos.models.config import ModelConfig
from llmasos.nn import MixtureOfExperts, Routing
from llmasos.objectives.objective import IGNORE_INDEX, Batch, MakeRng, Objective

LOAD_BALANCING = "load_balancing"  # the name of the term


class LoadBalancing:
    """Wraps an objective and adds this term. The validation loss is that of the wrapped objective alone.

    Args:
        objective: any objective.
        config: the config of a model with experts.

    Attributes:
        n_chosen: (layers, E), how often each expert is chosen in the whole global batch; None = the next batch is the
            whole global batch.
    """

    n_chosen: Tensor | None = None

    def __init__(self, objective: Objective, config: ModelConfig):
        self.objective, self.config = objective, config
        weights: Mapping[str, float] = getattr(objective, "weights", {})
        val_weights: Mapping[str, float] = getattr(objective, "val_weights", weights)
        coef = config.router_aux_loss_coef
        self.weights = defaultdict(lambda: 1.0, {**weights, LOAD_BALANCING: coef})  # without weights, all are 1
        self.val_weights = defaultdict(lambda: 1.0, {**val_weights, LOAD_BALANCING: 0.0})

    def collate(self, examples: Sequence[Any], rngs: Sequence[MakeRng] = ()) -> Batch:
        """The batch of the objective."""
        return self.objective.collate(examples, rngs)

    def n_targets(self, batch: Batch) -> dict[str, int]:
        """The targets of the objective; for the new term, the tokens that pass each layer, over all layers."""
        c = self.config
        n_tokens = c.n_layers * int(real_tokens(batch, c.family == "transformer").sum())
        if c.family == "transformer" and c.generates:
            n_tokens += c.n_decoder_layers * int(real_tokens(batch).sum())
        return {**self.objective.n_targets(batch), LOAD_BALANCING: n_tokens}

    def loss_sums(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The sums of the objective, and E · Σ f_i · P_i times the number of tokens, summed over all layers."""
        with recorded_routing(model, batch) as routings:
            sums = self.objective.loss_sums(model, batch)
        probs, n_chosen = self.totals(routings, batch)
        if model.training and self.n_chosen is not None:
            n_chosen = self.n_chosen
        f = n_chosen / n_chosen.sum(dim=-1, keepdim=True).clamp(min=1)  # (layers, E)
        return {**sums, LOAD_BALANCING: self.config.n_experts * (f * probs).sum()}

    @torch.no_grad()
    def count_choices(self, model: nn.Module, batch: Batch) -> Tensor:
        """How often each expert is chosen for the tokens of a batch: (layers, E)."""
        with recorded_routing(model, batch) as routings:
            self.objective.loss_sums(model, batch)
        return self.totals(routings, batch)[1]

    def totals(self, routings: Mapping[str, Sequence[Routing]], batch: Batch) -> tuple[Tensor, Tensor]:
        """For each layer and expert, summed over real tokens: the probability, and the choices. Both (layers, E)."""
        probs, choices = [], []
        for name, calls in routings.items():
            is_real = real_tokens(batch, in_source=is_in_encoder(name))
            probs.append(torch.stack([call.probs[is_real].sum(dim=0) for call in calls]).sum(dim=0))
            chosen = torch.cat([call.chosen[is_real].flatten() for call in calls])
            choices.append(torch.bincount(chosen, minlength=self.config.n_experts))
        return torch.stack(probs), torch.stack(choices).to(probs[0].dtype)


def real_tokens(batch: Batch, in_source: bool = False) -> Tensor:
    """Which tokens of a batch are not padding: (B, T) booleans.

    A causal objective needs no attention mask; there, everything after the last target of a row is padding.

    Args:
        batch: a batch of any objective.
        in_source: whether the tokens are those of the source, if the batch has one.
    """
    mask = batch.get("source_attention_mask") if in_source else None
    mask = batch.get("attention_mask") if mask is None else mask
    if mask is not None:
        return mask.bool()
    return (batch["targets"] != IGNORE_INDEX).flip(1).cumsum(dim=1).flip(1) > 0


def is_in_encoder(name: str) -> bool:
    """Whether a layer of this name reads the source of an encoder–decoder."""
    return "encoder_blocks." in name


@contextmanager
def recorded_routing(model: nn.Module, batch: Batch | None = None) -> Iterator[dict[str, list[Routing]]]:
    """Collect the routing of each mixture of experts during the `with`, by the layer's name.

    Args:
        model: a model with experts.
        batch: what the model reads during the `with`; its padding is then sent to no expert. None = there is none.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, MixtureOfExperts)}
    routings: dict[str, list[Routing]] = {name: [] for name in layers}
    for name, layer in layers.items():
        layer.recorded_routing = routings[name]
        layer.is_real = None if batch is None else real_tokens(batch, in_source=is_in_encoder(name))
    try:
        yield routings
    finally:
        for layer in layers.values():
            layer.recorded_routing = layer.is_real = None
