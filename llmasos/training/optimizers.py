"""The optimizers: AdamW for everything, or Muon for matrices from features to features and AdamW for the rest.

AdamW (Loshchilov & Hutter 2019) keeps a running mean of each gradient and of its square. Muon (Jordan et al. 2024)
keeps a running mean of a matrix's gradient and steps along its nearest orthogonal matrix, so that no direction of the
matrix is favoured; it is meant for matrices that map features to features, not for embeddings, norms or biases. Its
step is scaled to the size of AdamW's, so one learning rate serves both.

Weight decay goes to matrices and embeddings only: shrinking a bias or a norm's weight towards zero makes no sense.

**Depth.** Fine-tuning may leave the lower layers alone, which hold what is common to all texts: `freeze` keeps the
embeddings and the first blocks as they are, and `layerwise_lr_decay` lets each layer learn more slowly than the one above it
(Howard & Ruder 2018, section 3.2).
"""

import re

import torch
from torch import Tensor, nn

from llmasos.errors import UserError
from llmasos.models import ModelConfig
from llmasos.training.device import pick_precision
from llmasos.training.muon import Muon
from llmasos.training.recipe import Recipe

# Matrices from features to features: those inside the blocks, BERT's pooler, and the first layer of its word head.
HIDDEN = re.compile(r"blocks\.|\bpooler\.|\bdense\.")


def make_optimizers(model: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """The optimizers that together own every parameter that is to learn exactly once."""
    device = next(model.parameters()).device
    factors = learning_rate_factors(model, recipe.layerwise_lr_decay)

    def groups(parameters: list[Tensor], **options) -> list[dict]:
        """Parameters with equal factors together."""
        found: dict[float, list[Tensor]] = {}
        for parameter in parameters:
            found.setdefault(factors[parameter], []).append(parameter)
        return [{"params": some, "factor": factor, **options} for factor, some in found.items()]

    matrices, decayed, plain = split_parameters(model, recipe.optimizer)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            groups(decayed, weight_decay=recipe.weight_decay) + groups(plain, weight_decay=0.0),
            lr=recipe.learning_rate,
            betas=(recipe.beta1, recipe.beta2),
            fused=device.type in ("cpu", "cuda", "mps"),  # one kernel for all parameters
        )
    ]
    if matrices:
        optimizers.append(
            Muon(
                groups(matrices),
                lr=recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                dtype=torch.bfloat16 if pick_precision(recipe.precision, device) == "bf16" else torch.float32,
            )
        )
    return optimizers


def split_parameters(model: nn.Module, optimizer: str) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """(matrices for Muon, AdamW with weight decay, AdamW without); whatever is not frozen is in exactly one of them."""
    matrices, decayed, plain = [], [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            plain.append(parameter)
        elif optimizer == "muon" and HIDDEN.search(name):
            matrices.append(parameter)
        else:
            decayed.append(parameter)
    return matrices, decayed, plain


def learning_rate_factors(model: nn.Module, decay: float) -> dict[Tensor, float]:
    """For each parameter `decay` to the power of how many layers lie above it."""
    if decay == 1.0:
        return dict.fromkeys(model.parameters(), 1.0)
    top = n_blocks(model.config) + 1
    return {p: decay ** (top - depth_of(name, model.config)) for name, p in model.named_parameters()}


def n_blocks(config: ModelConfig) -> int:
    """How many blocks lie on each other; a Transformer's decoder on its encoder."""
    has_decoder = config.family == "transformer" and config.generates
    return config.n_layers + (config.n_decoder_layers if has_decoder else 0)


def depth_of(name: str, config: ModelConfig) -> int:
    """How high in the model a parameter lies: embeddings 0, the first block 1, …, what comes after the last one most.

    >>> names = ("token_embedding.weight", "backbone.blocks.3.attention.q_proj.weight", "lm_head.weight")
    >>> [depth_of(name, ModelConfig(n_layers=4)) for name in names]
    [0, 4, 5]
    """
    if "embedding" in name:
        return 0
    if found := re.search(r"(decoder_)?blocks\.(\d+)\.", name):
        return int(found[2]) + 1 + (config.n_layers if found[1] else 0)
    return config.n_layers if "encoder_norm" in name else n_blocks(config) + 1


def freeze(model: nn.Module, n_layers: int) -> None:
    """Keep the embeddings and the first blocks of a model with a `config` as they are; the rest learns.

    Raises:
        UserError: the model has fewer blocks.
    """
    there = n_blocks(model.config)
    if n_layers > there:
        raise UserError(f"freeze_layers is {n_layers}, and the model has {there} layers; freeze at most as many.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = depth_of(name, model.config) > n_layers


def set_learning_rate(optimizers: list[torch.optim.Optimizer], learning_rate: float) -> None:
    """Give every group of every optimizer the learning rate of this step, times the group's own factor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("factor", 1.0)


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
