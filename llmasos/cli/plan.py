"""`python -m llmasos plan`: compute what training and serving a model takes, by formula, in under half a second."""

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from llmasos.cli.cli import ArgumentParser
from llmasos.console import say, text_table
from llmasos.errors import UserError, check_number, nearest
from llmasos.hub.resolve import SHIPPED
from llmasos.models.config import ModelConfig
from llmasos.models.presets import PRESETS, preset
from llmasos.planning import SHARDINGS, Device, optimal_shape, plan_serving, plan_training, shape_with
from llmasos.planning.devices import DEVICES, find_device
from llmasos.planning.published import MODELS, PUBLISHED
from llmasos.planning.serving import WEIGHT_BYTES
from llmasos.planning.training import TOKENS_PER_PARAMETER, TrainingPlan

SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
LABELS = {"ddp": "DDP", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3 (FSDP)"}
UNITS = ("", "k", "M", "B", "T")
DAY = 86_400


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a plan. Returns the exit status."""
    args = make_parser().parse_args(arguments)
    if args.published:
        say(published_table())
        return 0
    if args.price is not None:
        check_number("--price", args.price, at_least=0)
    config, description = choose_model(args)
    device = choose_device(args)
    plan = plan_training(
        config, device, args.devices, args.tokens, args.batch_tokens, args.rows_per_device,
        args.tensor_parallel, args.mfu, args.precision, args.optimizer,
    )  # fmt: skip
    lines = [*training_lines(plan, config, description, args), "", *sharding_lines(plan, device, args.devices), ""]
    say("\n".join(lines + serving_lines(config, device, args)).rstrip())
    return 0


def make_parser() -> ArgumentParser:
    """The flags of the command."""
    parser = ArgumentParser(
        prog="python -m llmasos plan",
        description="Compute what a model needs: parameters, tokens, FLOPs, time, memory of each device, traffic "
        "between devices, checkpoints, serving and cost. Numbers can end in k, M, B or T.",
        epilog="Examples: plan gpt2 --device a100; plan --parameters 1T --devices 8192 --price 2; plan --compute 1e21. "
        f"Published shapes: {', '.join(MODELS)}.",
    )
    model = parser.add_argument_group("the model, specified in one of three ways")
    model.add_argument("model", nargs="?", help="a preset, a published shape, a folder, or a name on the hub")
    model.add_argument("--parameters", type=number, metavar="N", help="plan a modern decoder with this many parameters")
    model.add_argument(
        "--compute",
        type=number,
        metavar="FLOPS",
        help="plan a modern decoder of the compute-optimal size for this budget",
    )
    model.add_argument("--context-length", type=int, metavar="N", help="change the context length, in tokens")
    run = parser.add_argument_group("the run")
    run.add_argument("--tokens", type=number, metavar="N", help="training tokens (default: 20 per parameter)")
    run.add_argument(
        "--batch-tokens", type=number, metavar="N", help="tokens per step (default: one micro-batch per device)"
    )
    run.add_argument(
        "--rows-per-device", type=int, default=1, metavar="N", help="sequences per micro-batch (default: 1)"
    )
    run.add_argument(
        "--tensor-parallel", type=int, default=1, metavar="N", help="devices that each layer is split over (default: 1)"
    )
    run.add_argument(
        "--mfu",
        type=float,
        default=0.4,
        metavar="X",
        help="model FLOPs utilization, a fraction of the peak (default: 0.4)",
    )
    run.add_argument("--precision", choices=("bf16", "fp32"), default="bf16", help="training precision (default: bf16)")
    run.add_argument(
        "--optimizer",
        choices=("adamw", "muon"),
        default="adamw",
        help="determines the size of the optimizer state (default: adamw)",
    )
    run.add_argument(
        "--weights", choices=tuple(WEIGHT_BYTES), default="bf16", help="weight format for serving (default: bf16)"
    )
    run.add_argument(
        "--page-size", type=int, metavar="N", help="serve with a KV cache in pages of N tokens (default: slots)"
    )
    run.add_argument(
        "--text-length",
        type=int,
        metavar="N",
        help="length of a served sequence, in tokens (default: the context length)",
    )
    machine = parser.add_argument_group("the machines")
    machine.add_argument(
        "--device", default="h100", metavar="NAME", help=f"one of: {', '.join(DEVICES)} (default: h100)"
    )
    machine.add_argument("--devices", type=int, default=1, metavar="N", help="number of devices (default: 1)")
    machine.add_argument("--memory", type=number, metavar="BYTES", help="memory of another device")
    machine.add_argument("--peak-flops", type=number, metavar="X", help="peak FLOPs of another device, per second")
    machine.add_argument(
        "--memory-bandwidth", type=number, metavar="X", help="memory bandwidth of another device, bytes per second"
    )
    machine.add_argument(
        "--link-bandwidth", type=number, metavar="X", help="bandwidth between devices, bytes per second"
    )
    machine.add_argument("--price", type=float, metavar="X", help="price of one device for an hour, in your currency")
    parser.add_argument(
        "--published", action="store_true", help="compare the formulas with published numbers, and stop"
    )
    return parser


def number(text: str) -> float:
    """A number with an optional suffix.

    >>> number("1.4T"), number("2e9")
    (1400000000000.0, 2000000000.0)
    """
    scale = SUFFIXES.get(text[-1:].lower())
    try:
        return float(text[:-1]) * scale if scale else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write for example 124M, 1.4T or 1e21.") from None


def choose_model(args: argparse.Namespace) -> tuple[ModelConfig, str]:
    """Return the config of the model to plan for, and a name for it."""
    if sum(choice is not None for choice in (args.model, args.parameters, args.compute)) != 1:
        raise UserError("say which model: a name, or --parameters 7B, or --compute 1e21 (one of the three).")
    if args.model is None:
        config = optimal_shape(args.compute) if args.parameters is None else shape_with(args.parameters)
        description = "a modern decoder"
    elif args.model in MODELS:
        config, description = MODELS[args.model], args.model
    elif args.model in PRESETS:
        config, description = preset(args.model), args.model
    elif Path(args.model).exists() or "/" in args.model or (SHIPPED / args.model).exists():
        from llmasos.hub import load_config  # here, because it imports torch, which presets do not need

        config, description = load_config(args.model), args.model
    else:
        names = [*MODELS, *PRESETS]
        raise UserError(
            f"there is no model {args.model!r} (available: {', '.join(names)}, and folders)"
            f"{nearest(args.model, names) or '.'}"
        )
    if args.context_length is not None:
        config = dataclasses.replace(config, context_length=args.context_length)
    return config, description


def choose_device(args: argparse.Namespace) -> Device:
    """The named device, with what the flags change."""
    changes = {"memory": args.memory, "flops": args.peak_flops}
    changes |= {"bandwidth": args.memory_bandwidth, "link": args.link_bandwidth}
    for flag, value in changes.items():
        if value is not None and not 0 < value < 1e30:
            raise UserError(f"{flag} of a device is {value:g}; it must be a positive number.")
    return dataclasses.replace(find_device(args.device), **{k: v for k, v in changes.items() if v is not None})


def training_lines(plan: TrainingPlan, config: ModelConfig, description: str, args: argparse.Namespace) -> list[str]:
    """Model, tokens, time and cost."""
    hours = plan.seconds * args.devices / 3600
    active = f" ({count(plan.n_active)} active)" if plan.n_active < plan.n_parameters else ""
    cost = f", {count(hours * args.price)} at {args.price:g} an hour" if args.price else ""
    return [
        f"model       {description}: {count(plan.n_parameters)} parameters{active}, {config.n_layers} layers of width "
        f"{config.d_model:,}, {config.n_heads} heads, context {config.context_length:,}",
        f"training    {count(plan.n_tokens)} tokens, {plan.n_tokens / plan.n_active:.3g} per"
        f"{' active' if active else ''} parameter (compute-optimal: {TOKENS_PER_PARAMETER}); {plan.flops:.3g} FLOPs, "
        f"{plan.steps:,} steps",
        f"time        {duration(plan.seconds)} on {args.devices:,} × {args.device} at {args.mfu:.0%} of the peak; "
        f"{duration(plan.step_seconds)} a step",
        f"cost        {count(hours)} device hours{cost}",
        f"checkpoint  {size(plan.checkpoint_bytes)}: 32-bit weights and the state of {args.optimizer}",
    ]


def sharding_lines(plan: TrainingPlan, device: Device, n_devices: int) -> list[str]:
    """Memory and traffic of each device, for each way of sharding (with one device there is only one)."""
    heading = ("on each device", "states", "activations", "or checkpointed", f"fits {size(device.memory)}")
    rows = [(*heading, "sent per step", "of its time")]
    for name in SHARDINGS if n_devices > 1 else ("ddp",):
        states = plan.state_bytes[name]
        whole, kept = states + plan.activation_bytes, states + plan.checkpointed_bytes
        rows.append((
            LABELS[name] if n_devices > 1 else "one device",
            size(states),
            size(plan.activation_bytes),
            size(plan.checkpointed_bytes),
            "yes" if whole <= device.memory else "checkpointed" if kept <= device.memory else "no",
            size(plan.traffic_bytes[name]),
            f"{plan.traffic_seconds[name] / plan.step_seconds:.1%}",
        ))  # fmt: skip
    lines = text_table(rows).splitlines()
    if all(row[4] == "no" for row in rows[1:]):
        lines.append(f"Nothing fits: {remedy(plan, device, n_devices)}.")
    return lines


def remedy(plan: TrainingPlan, device: Device, n_devices: int) -> str:
    """Suggest what would make the run fit in the devices' memory."""
    free = device.memory - plan.checkpointed_bytes
    if free <= 0:
        return "a single micro-batch is too large; split the layers with --tensor-parallel 8, or shorten the context"
    needed = math.ceil(plan.state_bytes["zero3"] * n_devices / free)
    return f"ZeRO-3 with activation checkpointing needs {needed:,} or more of these devices"


def serving_lines(config: ModelConfig, device: Device, args: argparse.Namespace) -> list[str]:
    """Memory and speed of a server on the same devices."""
    if not config.generates:
        return []
    plan = plan_serving(config, device, args.devices, args.weights, args.text_length, args.page_size)
    whole = plan.cache_bytes_per_token * config.context_length
    lines = [
        f"serving     {size(plan.weight_bytes)} of {args.weights} weights; KV cache: "
        f"{size(plan.cache_bytes_per_token)} per token, {size(whole)} per full sequence"
    ]
    if plan.n_sequences == 0:
        needed = math.ceil((plan.weight_bytes + whole) / device.memory)
        return [*lines, f"            it does not fit; at least {needed:,} of these devices are needed"]
    what = "full sequences" if args.text_length is None else f"sequences of {args.text_length:,} tokens"
    what += "" if args.page_size is None else f" in pages of {args.page_size:,}"
    return [
        *lines,
        f"            {plan.n_sequences:,} {what} fit; limits: {plan.tokens_per_second:,.0f} tokens/s for one "
        f"sequence (memory), {duration(plan.prefill_seconds)} to read a full prompt (arithmetic)",
    ]


def published_table() -> str:
    """The formulas compared with published numbers."""
    rows = [("quantity", "published", "formula", "error", "source")]
    rows += [(p.what, f"{p.published:.4g}", f"{p.predict():.4g}", f"{p.error:+.1%}", p.source) for p in PUBLISHED]
    return text_table(rows)


def count(n: float) -> str:
    """A large number with three digits.

    >>> count(124_439_808), count(1e12)
    ('124M', '1T')
    """
    for unit in UNITS:
        if n < 999.5 or unit == UNITS[-1]:
            return f"{n:.3g}{unit}" if n < 999.5 else f"{n:,.0f}{unit}"
        n /= 1000
    raise AssertionError


def size(n_bytes: float) -> str:
    """Bytes with three digits, in powers of 1,000, as disks and data sheets count.

    >>> size(1.6e13), size(8e10)
    ('16 TB', '80 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if n_bytes < 999.5 or unit == "PB":
            return f"{n_bytes:,.3g} {unit}" if n_bytes < 999.5 else f"{n_bytes:,.0f} {unit}"
        n_bytes /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """A time in its natural unit.

    >>> duration(0.02), duration(90 * 86400)
    ('20 ms', '90 days')
    """
    for limit, scale, unit in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "minutes"), (2 * DAY, 3600, "hours")):
        if seconds < limit:
            return f"{seconds / scale:.3g} {unit}"
    days = seconds / DAY
    return f"{days:.3g} days" if days < 730 else f"{days / 365.25:,.3g} years"
