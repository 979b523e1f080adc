"""How much the key/value cache speeds up generation, and prompts with a common prefix."""

from collections.abc import Iterator

import torch

from llmasos.generation import Decoder, SamplingOptions, SequenceState, generate_naive
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.models import GPT, ModelConfig, preset
from llmasos.nn import eval_mode
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

N_PROMPTS = 8
PREFILL_BUDGET = 256  # prompt tokens computed in one step, as in the server


def bench_generation(settings: Settings) -> Iterator[Measurement]:
    """One text of 200 tokens, greedy, with and without a cache; then the prefill of eight prompts of 200 tokens."""
    config, n_tokens = preset("gpt-small", vocab_size=65), 200
    if settings.quick:
        config = ModelConfig(vocab_size=65, n_layers=1, n_heads=2, d_model=32, context_length=32)
        n_tokens = 20
    model = GPT(config).to(settings.device)
    options = SamplingOptions(max_new_tokens=n_tokens, temperature=0.0)

    @torch.inference_mode()
    def cached() -> None:
        decoder = Decoder(model, [SequenceState((0,), options)])
        decoder.sample()
        for _ in range(n_tokens - 1):
            decoder.step()
            decoder.sample()

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
