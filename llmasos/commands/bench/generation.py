"""What the key/value cache gains when text is generated."""

from collections.abc import Iterator

import torch

from llmasos.commands.bench.measure import Figure, figure, ratio, take_turns, timed
from llmasos.commands.bench.settings import Settings
from llmasos.generation import Decoder, Row, SamplingOptions, eval_mode, generate_plain
from llmasos.models import ModelConfig, build_model, preset

PROMPT = (0,)


def bench_generation(settings: Settings) -> Iterator[Figure]:
    """One text of 200 tokens, greedy, with the cached decoder and without any cache."""
    config = preset("gpt-small", vocab_size=65)
    n_tokens = 200
    if settings.quick:
        config = ModelConfig(vocab_size=65, n_layers=1, n_heads=2, d_model=32, context_length=16)
        n_tokens = 10
    model = build_model(config).to(settings.device)
    options = SamplingOptions(max_new_tokens=n_tokens, temperature=0.0)

    @torch.inference_mode()
    def cached() -> list[int]:
        row = Row(PROMPT, options)
        decoder = Decoder(model, [row])
        decoder.choose()
        for _ in range(n_tokens - 1):
            decoder.advance()
            decoder.choose()
        return row.ids

    def uncached() -> list[int]:
        return generate_plain(model, PROMPT, options)

    with eval_mode(model):
        seconds = take_turns(
            {"cached": timed(cached, settings.device, 0.0), "uncached": timed(uncached, settings.device, 0.0)},
            settings.repetitions(3),
        )
    rates = {name: [n_tokens / x for x in values] for name, values in seconds.items()}
    at = f"{config.n_layers} layers, width {config.d_model}, context {config.context_length}, {n_tokens} tokens"
    yield figure("generation.cached_tokens_per_second", at, "cached", "tokens/s", rates["cached"])
    yield figure("generation.uncached_tokens_per_second", at, "uncached", "tokens/s", rates["uncached"])
    yield ratio("generation.speedup", at, "cached over uncached", rates["cached"], rates["uncached"])
