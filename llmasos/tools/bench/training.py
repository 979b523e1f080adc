"""How much of the machine a training step uses, and how it compares with the usual loop."""

from collections.abc import Iterator

from llmasos.models import ModelConfig, flops_per_token
from llmasos.tools.bench.measurement import SHARE, Figure, figure, ratio, take_turns, timed
from llmasos.tools.bench.settings import Settings
from llmasos.tools.bench.training_step import make_step, random_tokens
from llmasos.tools.bench.usual_gpt import usual_step
from llmasos.training.device import matmul_peak, pick_precision


def bench_training(settings: Settings) -> Iterator[Figure]:
    """Two sizes: a small model, where the overhead of each operation shows, and one where matrices decide."""
    for size, (config, batch_size) in workloads(settings.quick).items():
        yield from compare(size, config, batch_size, settings)


def workloads(quick: bool) -> dict[str, tuple[ModelConfig, int]]:
    """The sizes: name → (model, batch size). No dropout; 65 characters, as in Tiny Shakespeare."""
    if quick:
        tiny = ModelConfig(vocab_size=65, n_layers=1, n_heads=2, d_model=32, context_length=16)
        return {"small": (tiny, 2), "large": (tiny, 4)}
    small = ModelConfig(vocab_size=65, n_layers=4, n_heads=4, d_model=128, context_length=64, activation="gelu")
    large = ModelConfig(vocab_size=65, n_layers=6, n_heads=6, d_model=384, context_length=256, activation="gelu")
    return {"small": (small, 12), "large": (large, 8)}


def compare(size: str, config: ModelConfig, batch_size: int, settings: Settings) -> Iterator[Figure]:
    """Our loop as it runs by default, the same in fp32, the usual loop, and the matmul peak of fp32, in turns."""
    device = settings.device
    precision = pick_precision("auto", device)
    usual = usual_step(config, batch_size, random_tokens(config.vocab_size), device)
    measured = take_turns(
        {
            "ours": timed(make_step(config, batch_size, device), device, settings.seconds(0.3)),
            "fp32": timed(make_step(config, batch_size, device, "fp32"), device, settings.seconds(0.3)),
            "usual": timed(usual, device, settings.seconds(0.3)),
            "peak": lambda: matmul_peak(device, "fp32", seconds=settings.seconds(0.1)),
        },
        settings.repetitions(6),
    )
    n_tokens = batch_size * config.context_length
    rates = {name: [n_tokens / seconds for seconds in measured[name]] for name in ("ours", "fp32", "usual")}
    flops = [rate * flops_per_token(config) for rate in rates["fp32"]]
    at = f"{config.n_layers} layers, width {config.d_model}, context {config.context_length}, batch {batch_size}"
    name, peak = f"training.{size}", measured["peak"]
    yield figure(f"{name}.tokens_per_second", at, f"our loop ({precision}, auto)", "tokens/s", rates["ours"])
    yield figure(f"{name}.fp32_tokens_per_second", at, "our loop in fp32", "tokens/s", rates["fp32"])
    yield figure(f"{name}.usual_tokens_per_second", at, "the usual eager loop", "tokens/s", rates["usual"])
    yield ratio(f"{name}.against_usual", at, "ours over the usual", rates["ours"], rates["usual"])
    yield ratio(f"{name}.fp32_against_usual", at, "ours in fp32 over the usual", rates["fp32"], rates["usual"])
    yield ratio(f"{name}.share_of_peak", at, "ours in fp32 over the matmul peak", flops, peak, unit=SHARE)
