"""Generation: with and without a cache, compared with a plain loop and with reading the weights; common prefixes."""

from collections.abc import Iterator

import torch

from llmasos.generation import Decoder, SamplingOptions, SequenceState, generate_naive
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.models import GPT, Model, ModelConfig, preset
from llmasos.nn import eval_mode
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.tools.bench.training import SIZES, TINY, BaselineGPT

BATCHES = (1, 16)
N_PROMPTS = 8
PREFILL_BUDGET = 256  # prompt tokens computed in one step, as in the server


def bench_generation(settings: Settings) -> Iterator[Measurement]:
    """Small and large models against a plain loop, then what the cache and common prefixes save."""
    for size in SIZES:
        for batch_size in BATCHES:
            yield from compare_with_plain_loop(size, batch_size, settings)
    yield from compare_with_uncached(settings)


def compare_with_plain_loop(size: str, batch_size: int, settings: Settings) -> Iterator[Measurement]:
    """Sample texts with the decoder and with a loop that has no cache; and read all weights once for each token."""
    config, n_tokens = SIZES[size][0], 100
    if settings.quick:
        config, n_tokens = TINY, 8
    device, options = settings.device, SamplingOptions(max_new_tokens=n_tokens)
    model, baseline = GPT(config).to(device), BaselineGPT(config).to(device)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])

    @torch.inference_mode()
    def ours() -> None:
        decode(model, [SequenceState((0,), options, sample) for sample in range(batch_size)])

    @torch.inference_mode()
    def plain() -> None:
        baseline.generate(torch.zeros(batch_size, 1, dtype=torch.long, device=device), n_tokens)

    def read() -> None:
        for _ in range(n_tokens):
            weights.sum()

    with eval_mode(model):
        functions = {"ours": ours, "plain": plain, "read": read}
        measures = {name: timed(function, device, settings.seconds(0.3)) for name, function in functions.items()}
        seconds = interleave(measures, settings.repetitions(5))
    rates = {name: [batch_size * n_tokens / x for x in values] for name, values in seconds.items()}
    setup = f"{config.n_layers} layers, width {config.d_model}, context {config.context_length}, batch {batch_size}"
    key = f"generation.{size}.batch{batch_size}"
    yield summarize(f"{key}.tokens_per_second", setup, "our decoder", "tokens/s", rates["ours"])
    yield summarize(f"{key}.plain_tokens_per_second", setup, "plain loop without a cache", "tokens/s", rates["plain"])
    yield ratio(f"{key}.speedup", setup, "ours over the plain loop", rates["ours"], rates["plain"])
    used = [100 * rate for rate in rates["ours"]]
    yield ratio(f"{key}.bandwidth", setup, "of the rate at which weights can be read", used, rates["read"], unit="%")


def decode(model: Model, sequences: list[SequenceState]) -> None:
    """Continue sequences to their full length, which is the same for all."""
    decoder = Decoder(model, sequences)
    decoder.sample()
    for _ in range(sequences[0].options.max_new_tokens - 1):
        decoder.step()
        decoder.sample()


def compare_with_uncached(settings: Settings) -> Iterator[Measurement]:
    """One text of 200 tokens, greedy, with and without a cache; then the prefill of eight prompts of 200 tokens."""
    config, n_tokens = preset("gpt-small", vocab_size=65), 200
    if settings.quick:
        config = ModelConfig(vocab_size=65, n_layers=1, n_heads=2, d_model=32, context_length=32)
        n_tokens = 20
    model = GPT(config).to(settings.device)
    options = SamplingOptions(max_new_tokens=n_tokens, temperature=0.0)

    @torch.inference_mode()
    def cached() -> None:
        decode(model, [SequenceState((0,), options)])

    def prefill(prompts: list[tuple[int, ...]]) -> None:
        batch = ContinuousBatch(model, len(prompts))
        for prompt in prompts:
            batch.add(SequenceState(prompt, options))
        while batch.prefilling:
            if batch.step(PREFILL_BUDGET):
                batch.sample()

    equal = [tuple(i % 65 for i in range(n_tokens))] * N_PROMPTS
    different = [tuple((i + j) % 65 for i in range(n_tokens)) for j in range(N_PROMPTS)]
    functions = {
        "cached": cached,
        "uncached": lambda: generate_naive(model, (0,), options),
        "equal": lambda: prefill(equal),
        "different": lambda: prefill(different),
    }
    with eval_mode(model):
        measures = {name: timed(function, settings.device, 0.0) for name, function in functions.items()}
        seconds = interleave(measures, settings.repetitions(3))
    rates = {name: [n_tokens / x for x in values] for name, values in seconds.items()}
    sizes = f"{config.n_layers} layers, width {config.d_model}"
    setup = f"{sizes}, context {config.context_length}, {n_tokens} tokens"
    for name in ("cached", "uncached"):
        yield summarize(f"generation.{name}_tokens_per_second", setup, name, "tokens/s", rates[name])
    yield ratio("generation.speedup", setup, "cached over uncached", rates["cached"], rates["uncached"])
    setup = f"{sizes}, prefill of {N_PROMPTS} prompts of {n_tokens} tokens"
    yield ratio("generation.shared_prefix", setup, "equal over different prompts", rates["equal"], rates["different"])
