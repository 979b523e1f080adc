"""What a training run needs: operations, tokens, time, memory per device, traffic between devices.

Plain data parallelism (DDP) and the three ways to shard a model's state over n devices (Rajbhandari et al. 2020,
"ZeRO", section 5), in bytes per parameter with 16-bit training and AdamW (2 for the weight, 2 for its gradient, 12 for
the optimizer: a 32-bit copy of the weight and two moments):

    ddp                 2 + 2 + 12           every device has everything
    zero1               2 + 2 + 12/n         the optimizer's state is sharded
    zero2               2 + (2 + 12)/n       and the gradients
    zero3 (FSDP)        (2 + 2 + 12)/n       and the weights, which are gathered layer by layer when they are needed
"""

import math
from dataclasses import dataclass

from llmasos.errors import UserError, check_number
from llmasos.models.config import ModelConfig
from llmasos.models.flops import flops_per_token, n_active_parameters_of, n_parameters_of
from llmasos.planning.devices import Device

TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022: 70B parameters with 1.4T tokens
STATES = {  # bytes per parameter: weight, gradient, optimizer's state
    ("bf16", "adamw"): (2, 2, 12),
    ("bf16", "muon"): (2, 2, 8),  # one momentum instead of two moments
    ("fp32", "adamw"): (4, 4, 8),
    ("fp32", "muon"): (4, 4, 4),
}
SHARDINGS = {  # which of the three are sharded
    "ddp": (False, False, False),
    "zero1": (False, False, True),
    "zero2": (False, True, True),
    "zero3": (True, True, True),  # = FSDP
}


@dataclass(frozen=True)
class TrainingPlan:
    """A training run in numbers.

    Attributes:
        n_parameters: N.
        n_active: the number of parameters that a token uses; fewer than N in a mixture of experts.
        n_tokens: D, the number of training tokens.
        flops: FLOPs of the whole run.
        seconds: computing time of the whole run.
        steps: number of optimizer steps.
        state_bytes: weights, gradients and optimizer state per device, for each way of sharding.
        activation_bytes: what the backward pass needs per device, if every activation is kept.
        checkpointed_bytes: the same with activation checkpointing.
        checkpoint_bytes: size of a checkpoint that training can resume from.
        traffic_bytes: bytes that each device sends in a step, for each way of sharding.
        step_seconds: computing time of a step.
        traffic_seconds: time for the traffic of a step, if it does not overlap with computing.
    """

    n_parameters: int
    n_active: int
    n_tokens: float
    flops: float
    seconds: float
    steps: int
    state_bytes: dict[str, float]
    activation_bytes: float
    checkpointed_bytes: float
    checkpoint_bytes: float
    traffic_bytes: dict[str, float]
    step_seconds: float
    traffic_seconds: dict[str, float]


def plan_training(
    config: ModelConfig,
    device: Device,
    n_devices: int = 1,
    n_tokens: float | None = None,
    batch_tokens: float | None = None,
    rows_per_device: int = 1,
    tensor_parallel: int = 1,
    mfu: float = 0.4,
    precision: str = "bf16",
    optimizer: str = "adamw",
) -> TrainingPlan:
    """Plan a training run.

    Args:
        config: the model.
        device: the type of all devices.
        n_devices: the number of devices; the batch is split among them.
        n_tokens: D (None = compute-optimal for the parameters that a token uses).
        batch_tokens: tokens in a step, on all devices (None = one micro-batch on each).
        rows_per_device: sequences of `context_length` tokens in a micro-batch, on one device or on each group of
            `tensor_parallel` devices.
        tensor_parallel: how many devices each layer is split over (Shoeybi et al. 2019), with its activations
            (Korthikanti et al. 2022); it must divide n_devices. Each group of these devices computes other rows.
        mfu: model FLOPs utilization, the fraction of the device's peak that a run reaches; 0.3 to 0.5 is usual.
        precision: "bf16" (mixed) or "fp32".
        optimizer: "adamw" or "muon".

    Raises:
        UserError: a number is out of range.
    """
    check_number("the number of devices", n_devices, whole=True, at_least=1, at_most=10**7)
    check_number("rows per device", rows_per_device, whole=True, at_least=1, at_most=10**6)
    check_number("mfu", mfu, above=0, at_most=1)
    check_number("tensor_parallel", tensor_parallel, whole=True, at_least=1, at_most=n_devices)
    if n_devices % tensor_parallel:
        raise UserError(f"{n_devices} devices cannot be split into groups of {tensor_parallel}; choose a divisor.")
    N, n_active = n_parameters_of(config), n_active_parameters_of(config)
    D = optimal_tokens(n_active) if n_tokens is None else n_tokens
    check_number("the number of tokens", D, at_least=1, at_most=1e18)
    n_replicas = n_devices // tensor_parallel
    smallest = n_replicas * rows_per_device * config.context_length
    if batch_tokens is not None:
        check_number("the number of tokens in a step", batch_tokens, at_least=1, at_most=1e18)
    batch = smallest if batch_tokens is None else int(batch_tokens)
    if batch < smallest:
        raise UserError(
            f"a step of {batch:,} tokens leaves some of {n_replicas:,} copies of the model without work: each takes "
            f"{rows_per_device} × {config.context_length:,} tokens at a time; choose at least {smallest:,} tokens, or "
            "fewer devices."
        )
    flops = D * flops_per_token(config)
    rate = n_devices * device.flops * mfu
    weight, gradient, state = STATES[precision, optimizer]
    tokens = rows_per_device * config.context_length
    value_bytes = 2 if precision == "bf16" else 4
    local, passes = N / tensor_parallel, max(1, batch // smallest)  # parameters of one device; micro-batches of a step
    shared = passes * tensor_parallel_bytes(config, tokens, value_bytes, tensor_parallel)
    traffic = {name: traffic_bytes(name, local, n_replicas, weight, gradient) + shared for name in SHARDINGS}
    return TrainingPlan(
        n_parameters=N,
        n_active=n_active,
        n_tokens=D,
        flops=flops,
        seconds=flops / rate,
        steps=math.ceil(D / batch),
        state_bytes={name: state_bytes(name, local, n_replicas, (weight, gradient, state)) for name in SHARDINGS},
        activation_bytes=activation_bytes(config, tokens, value_bytes) / tensor_parallel,
        checkpointed_bytes=checkpointed_bytes(config, tokens, value_bytes) / tensor_parallel,
        checkpoint_bytes=N * (state if weight == 2 else weight + state),  # the 32-bit weights and the optimizer
        traffic_bytes=traffic,
        step_seconds=batch * flops_per_token(config) / rate,
        traffic_seconds={name: n / device.link for name, n in traffic.items()},
    )


def optimal_tokens(n_parameters: float) -> float:
    """The compute-optimal number of training tokens for N parameters: 20·N (Hoffmann et al. 2022)."""
    return TOKENS_PER_PARAMETER * n_parameters


def optimal_size(flops: float) -> float:
    """The compute-optimal number of parameters for a budget C: C = 6·N·D and D = 20·N, so N = √(C / 120)."""
    check_number("the budget in FLOPs", flops, at_least=1e6, at_most=1e32)
    return math.sqrt(flops / (6 * TOKENS_PER_PARAMETER))


def state_bytes(sharding: str, n_parameters: float, n_devices: int, per_parameter: tuple[float, float, float]) -> float:
    """Bytes per device of weights, gradients and optimizer state: the table at the top of this file."""
    return sum(
        n_parameters * n_bytes / (n_devices if is_sharded else 1)
        for n_bytes, is_sharded in zip(per_parameter, SHARDINGS[sharding], strict=True)
    )


def activation_values(config: ModelConfig) -> float:
    """The number of values per token that the backward pass needs, summed over all layers.

    Korthikanti et al. 2022 (equation 1) count 34·C + 5·H·T bytes a layer for GPT-3's block in 16 bits, with the
    masks of dropout. This is their count, term by term, for any of our blocks: the input of each norm (C), of the
    projections to q, k and v (C), q, k and v themselves, the input of the output projection, the input of the
    feed-forward (C), and inside it what the activation and the last matrix read. The T × T weights of attention count
    only where the formula is computed: the fused kernel does not keep them (Dao et al. 2022).
    """
    if config.family == "transformer":
        return config.n_layers * layer_values(config) + config.n_decoder_layers * layer_values(config, n_attentions=2)
    return config.n_layers * layer_values(config)


def layer_values(config: ModelConfig, n_attentions: int = 1) -> float:
    """`activation_values` for one layer."""
    c = config
    queries, keys = c.n_heads * c.head_size, c.n_kv_heads * c.head_size
    attention: float = 2 * c.d_model + 2 * queries + 2 * keys  # with the norm before it
    attention += 0 if c.fused else c.n_heads * c.context_length * (2.5 if c.dropout else 1)
    hidden = (4 if c.gate else 1 if c.activation == "relu" else 2) * c.d_ff  # relu needs its output alone
    feed_forward: float = 2 * c.d_model + c.n_active_experts * hidden
    if c.n_experts > 1:  # each expert's input, its output and that times its weight; the router's probabilities
        feed_forward += 3 * c.n_active_experts * c.d_model + c.n_experts
    masks = (n_attentions + 1) * c.d_model / 2 if c.dropout else 0  # of dropout, one byte each
    return n_attentions * attention + feed_forward + masks


def activation_bytes(config: ModelConfig, n_tokens: int, value_bytes: int) -> float:
    """Bytes of everything that the backward pass needs for n_tokens tokens: all layers, and 32-bit logits."""
    return n_tokens * (value_bytes * activation_values(config) + 4 * config.vocab_size)


def checkpointed_bytes(config: ModelConfig, n_tokens: int, value_bytes: int) -> float:
    """`activation_bytes` if only each layer's input is kept and the rest is recomputed, by layer (Chen et al. 2016).

    The cost is a second forward pass: a third more operations.
    """
    n_layers = config.n_layers + (config.n_decoder_layers if config.family == "transformer" else 0)
    widest = layer_values(config, n_attentions=2 if config.family == "transformer" else 1)
    return n_tokens * (value_bytes * (n_layers * config.d_model + widest) + 4 * config.vocab_size)


def traffic_bytes(sharding: str, n_parameters: float, n_devices: int, weight: float, gradient: float) -> float:
    """Bytes that each device sends in a step.

    A ring passes a tensor's n shards around: n − 1 steps to sum them (reduce-scatter), n − 1 to distribute the sums
    (all-gather), each of 1/n of the tensor (Patarasuk & Yuan 2009). DDP does both with the gradients; ZeRO-1 and -2
    reduce-scatter gradients and all-gather weights, which is the same amount; ZeRO-3 gathers the weights twice, for the
    forward and the backward pass: half as much again (Rajbhandari et al. 2020, section 7).
    """
    share = (n_devices - 1) / n_devices * n_parameters
    return share * {"ddp": 2 * gradient, "zero3": gradient + 2 * weight}.get(sharding, gradient + weight)


def tensor_parallel_bytes(config: ModelConfig, n_tokens: int, value_bytes: int, n_devices: int) -> float:
    """Bytes that each device sends for a micro-batch if every layer is split over n devices.

    The output of each attention and each feed-forward is summed over the devices, forward and backward: four
    all-reduces of T × C values per layer (Shoeybi et al. 2019, section 3), each of which sends 2·(n − 1)/n of them.
    """
    n_layers = config.n_layers + (config.n_decoder_layers if config.family == "transformer" else 0)
    return 4 * n_layers * n_tokens * config.d_model * value_bytes * 2 * (n_devices - 1) / n_devices
