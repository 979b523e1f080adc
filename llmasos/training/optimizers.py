"""Optimizers and learning-rate schedules: AdamW for everything, or Muon for the hidden matrices and AdamW for the rest.

AdamW (Loshchilov & Hutter 2019) keeps a moving average of each gradient and of its square. Muon (Jordan et al. 2024)
keeps a moving average of a matrix's gradient and steps along the nearest orthogonal matrix, so that no direction of the
matrix is favored; it is meant for matrices that map features to features, not for embeddings, norms or biases. Its
update is scaled to the size of AdamW's, so one learning rate serves both.

Weight decay applies to matrices and embeddings only: pulling a bias or a norm's weight towards zero makes no sense.

Muon is for whole matrices: the two factors of a LoRA adapter are thin, and their product is what has directions. AdamW
trains them.

**Depth.** Fine-tuning may leave the lower layers alone, whose features are common to all texts: `freeze` freezes the
embeddings and the first blocks, and with `layerwise_lr_decay` each layer learns more slowly than the one above it
(Howard & Ruder 2018, section 3.2).

**Width.** With `mup_base_width` in the model's config, the rates of matrices fall as the model becomes wider
(`models/mup.py`).
"""

import math
import re

import torch
from torch import Tensor
from torch.nn import Parameter

from llmasos.errors import UserError
from llmasos.models import Model, ModelConfig
from llmasos.models.mup import rate_factor, width_ratio
from llmasos.training.device import pick_precision
from llmasos.training.muon import Muon
from llmasos.training.recipe import SCHEDULES, TrainingSettings

DECAY_FRACTION = 0.2  # the last fraction of the steps, in which the "wsd" schedule decays
# Matrices from features to features: those inside the blocks, BERT's pooler, and the first layer of its masked-LM head.
HIDDEN = re.compile(r"blocks\.|\bpooler\.|\bdense\.")
NOT_HIDDEN = re.compile(r"\.lora_|\.router\.")  # thin factors; a matrix from features to a choice


def make_optimizers(model: Model, settings: TrainingSettings) -> list[torch.optim.Optimizer]:
    """The optimizers that together hold every trainable parameter exactly once."""
    device = next(model.parameters()).device
    lay_out_in_rows(model)
    by_depth = learning_rate_factors(model, settings.layerwise_lr_decay)
    names = {parameter: name for name, parameter in model.named_parameters()}
    m = width_ratio(model.config)

    def groups(parameters: list[Parameter], optimizer: str = "adamw", **options) -> list[dict]:
        """Parameter groups, one for each learning-rate factor."""
        by_factor: dict[float, list[Parameter]] = {}
        for parameter in parameters:
            factor = by_depth[parameter] * rate_factor(names[parameter], parameter.ndim, m, optimizer)
            by_factor.setdefault(factor, []).append(parameter)
        return [{"params": params, "factor": factor, **options} for factor, params in by_factor.items()]

    matrices, decayed, plain = split_parameters(model, settings.optimizer)
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            groups(decayed, weight_decay=settings.weight_decay) + groups(plain, weight_decay=0.0),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            fused=device.type in ("cpu", "cuda", "mps"),  # one kernel for all parameters
        )
    ]
    if matrices:
        optimizers.append(
            Muon(
                groups(matrices, "muon"),
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                dtype=torch.bfloat16 if pick_precision(settings.precision, device) == "bf16" else torch.float32,
            )
        )
    return optimizers


def lay_out_in_rows(model: Model) -> None:
    """Give every parameter its own contiguous memory.

    On a CPU, torch's fused AdamW processes numbers in memory order. It silently changes the wrong ones if a parameter
    is a view of a larger tensor with other numbers in between, such as GPT-2's published queries, keys and values.
    """
    for parameter in model.parameters():
        if not parameter.is_contiguous():
            parameter.data = parameter.data.contiguous()


def split_parameters(model: Model, optimizer: str) -> tuple[list[Parameter], list[Parameter], list[Parameter]]:
    """(matrices for Muon, AdamW with weight decay, AdamW without): each trainable parameter is in one of them."""
    matrices: list[Parameter] = []
    decayed: list[Parameter] = []
    plain: list[Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2:
            plain.append(parameter)
        elif optimizer == "muon" and HIDDEN.search(name) and not NOT_HIDDEN.search(name):
            matrices.append(parameter)
        else:
            decayed.append(parameter)
    return matrices, decayed, plain


def learning_rate_factors(model: Model, decay: float) -> dict[Parameter, float]:
    """For each parameter, `decay` to the power of the number of layers above it."""
    if decay == 1.0:
        return dict.fromkeys(model.parameters(), 1.0)
    top = n_blocks(model.config) + 1
    return {p: decay ** (top - depth_of(name, model.config)) for name, p in model.named_parameters()}


def n_blocks(config: ModelConfig) -> int:
    """The number of blocks on top of each other; a Transformer's decoder comes on top of its encoder."""
    has_decoder = config.family == "transformer" and config.generates
    return config.n_layers + (config.n_decoder_layers if has_decoder else 0)


def depth_of(name: str, config: ModelConfig) -> int:
    """The layer of a parameter: 0 for embeddings, 1 for the first block, …, and one more than the last for the output.

    >>> names = ("token_embedding.weight", "backbone.blocks.3.attention.q_proj.weight", "lm_head.weight")
    >>> [depth_of(name, ModelConfig(n_layers=4)) for name in names]
    [0, 4, 5]
    """
    if "embedding" in name:
        return 0
    if block := re.search(r"(decoder_)?blocks\.(\d+)\.", name):
        return int(block[2]) + 1 + (config.n_layers if block[1] else 0)
    return config.n_layers if "encoder_norm" in name else n_blocks(config) + 1


def freeze(model: Model, n_layers: int) -> None:
    """Freeze the embeddings and the first blocks of a model; the rest is trained.

    Raises:
        UserError: the model has fewer blocks.
    """
    depth = n_blocks(model.config)
    if n_layers > depth:
        raise UserError(f"freeze_layers is {n_layers}, and the model has {depth} layers; freeze at most {depth}.")
    for name, parameter in model.named_parameters():
        parameter.requires_grad = depth_of(name, model.config) > n_layers


def learning_rate_factor(step: int, max_steps: int, warmup_steps: int, schedule: str, min_lr_ratio: float) -> float:
    """The factor by which the peak learning rate is multiplied at a step.

    The warmup rises linearly to 1. After that:

    - cosine: half a cosine wave from 1 to `min_lr_ratio` (Loshchilov & Hutter 2017).
    - linear: a straight line from 1 to `min_lr_ratio`.
    - wsd: 1 until the last fifth of the run, then a straight line to `min_lr_ratio` ("warmup-stable-decay", Hu et
      al. 2024); such a run can be extended without having planned its length.

    Args:
        step: counted from 0; the last is max_steps - 1.
        max_steps: the length of the run.
        warmup_steps: the length of the warmup.
        schedule: one of SCHEDULES.
        min_lr_ratio: the factor at the end, 0 … 1.

    >>> [round(learning_rate_factor(s, 10, 2, "linear", 0.0), 2) for s in range(10)]
    [0.5, 1.0, 1.0, 0.86, 0.71, 0.57, 0.43, 0.29, 0.14, 0.0]

    Raises:
        UserError: there is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise UserError(f"there is no schedule {schedule!r}; choose one of: {', '.join(SCHEDULES)}.")
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    start = warmup_steps if schedule != "wsd" else max(warmup_steps, round((1.0 - DECAY_FRACTION) * max_steps))
    progress = min(1.0, max(0.0, (step - start) / max(1, max_steps - 1 - start)))
    if schedule == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return 1.0 + (min_lr_ratio - 1.0) * progress


def set_learning_rate(optimizers: list[torch.optim.Optimizer], learning_rate: float) -> None:
    """Set the learning rate of this step in every parameter group, times the group's own factor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * group.get("factor", 1.0)


def optimizer_tensors(model: Model, optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The optimizers' state as named tensors: "exp_avg/blocks.0.attention.q_proj.weight" and the like."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{key}/{names[parameter]}": value
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer_tensors(model: Model, optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`, on the device of each parameter."""
    parameters = dict(model.named_parameters())
    owner = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    for key_and_name, value in tensors.items():
        key, name = key_and_name.split("/", 1)
        parameter = parameters[name]
        owner[parameter].state[parameter][key] = value.to(parameter.device, copy=True)
