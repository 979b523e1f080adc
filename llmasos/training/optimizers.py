"""The optimizers: AdamW for everything, or Muon for matrices from features to features and AdamW for the rest.

AdamW (Loshchilov & Hutter 2019) keeps a running mean of each gradient and of its square. Muon (Jordan et al. 2024)
keeps a running mean of a matrix's gradient and steps along its nearest orthogonal matrix, so that no direction of the
matrix is favoured; it is meant for matrices that map features to features, not for embeddings, norms or biases. Its
step is scaled to the size of AdamW's, so one learning rate serves both.

Weight decay goes to matrices and embeddings only: shrinking a bias or a norm's weight towards zero makes no sense.
"""

import re

import torch
from torch import Tensor, nn

from llmasos.training.machine import pick_precision
from llmasos.training.muon import Muon
from llmasos.training.recipe import Recipe

# Matrices from features to features: those inside the blocks, BERT's pooler, and the first layer of its word head.
HIDDEN = re.compile(r"blocks\.|\bpooler\.|\bdense\.")


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The optimizers that together own every parameter of the model exactly once."""
    matrices, decayed, plain = split_parameters(model, recipe.optimizer)
    device = next(model.parameters()).device
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=recipe.learning_rate,
            betas=(recipe.beta1, recipe.beta2),
            fused=device.type in ("cpu", "cuda", "mps"),  # one kernel for all parameters
        )
    ]
    if matrices:
        optimizers.append(
            Muon(
                matrices,
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                dtype=torch.bfloat16 if pick_precision(recipe.precision, device) == "bf16" else torch.float32,
            )
        )
    return optimizers


def split_parameters(model: nn.Module, optimizer: str) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """(matrices for Muon, AdamW with weight decay, AdamW without); every parameter is in exactly one of them."""
    matrices, decayed, plain = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            plain.append(parameter)
        elif optimizer == "muon" and HIDDEN.search(name):
            matrices.append(parameter)
        else:
            decayed.append(parameter)
    return matrices, decayed, plain


def set_learning_rate(optimizers: list[torch.optim.Optimizer], learning_rate: float) -> None:
    """Give every group of every optimizer the learning rate of this step."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate


def optimizer_tensors(model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """What the optimizers remember, as named tensors: "exp_avg/blocks.0.attention.q_proj.weight" and the like."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}/{names[parameter]}": value
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """The reverse of `optimizer_tensors`, on the device of each parameter."""
    parameters = dict(model.named_parameters())
    owner = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for key_and_name, value in tensors.items():
        key, name = key_and_name.split("/", 1)
        parameter = parameters[name]
        owner[parameter].state[parameter][key] = value.to(parameter.device, copy=True)
