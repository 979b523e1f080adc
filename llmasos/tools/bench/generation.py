"""What the key/value cache gains when text is generated, and when several texts begin alike."""

from collections.abc import Iterator

import torch

from llmasos.generation import Decoder, Row, SamplingOptions, eval_mode, generate_plain
from llmasos.generation.continuous_batching import SlotDecoder
from llmasos.models import ModelConfig, build_model, preset
from llmasos.tools.bench.measurement import Figure, figure, ratio, take_turns, timed
from llmasos.tools.bench.settings import Settings

PROMPT = (0,)
N_PROMPTS = 8
BUDGET = 256  # tokens of prompts that are read in one step, as a server does


def bench_generation(settings: Settings) -> Iterator[Figure]:
    """One text of 200 tokens, greedy, with the cached decoder and without any cache; then eight prompts as long."""
    config = preset("gpt-small", vocab_size=65)
    n_tokens = 200
    if settings.quick:
        config = ModelConfig(vocab_size=65, n_layers=1, n_heads=2, d_model=32, context_length=32)
        n_tokens = 20
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

    def read(prompts: list[tuple[int, ...]]) -> None:
        decoder = SlotDecoder(model, len(prompts))
        for prompt in prompts:
            decoder.join(Row(prompt, options))
        while decoder.joined:
            if decoder.step(BUDGET):
                decoder.choose()

    equal = [tuple(i % 65 for i in range(n_tokens))] * N_PROMPTS
    unequal = [tuple((i + j) % 65 for i in range(n_tokens)) for j in range(N_PROMPTS)]
    contestants = {
        "cached": cached, "uncached": uncached, "equal": lambda: read(equal), "unequal": lambda: read(unequal),
    }  # fmt: skip
    with eval_mode(model):
        seconds = take_turns(
            {name: timed(contestant, settings.device, 0.0) for name, contestant in contestants.items()},
            settings.repetitions(3),
        )
    rates = {name: [n_tokens / x for x in values] for name, values in seconds.items()}
    sizes = f"{config.n_layers} layers, width {config.d_model}"
    at = f"{sizes}, context {config.context_length}, {n_tokens} tokens"
    yield figure("generation.cached_tokens_per_second", at, "cached", "tokens/s", rates["cached"])
    yield figure("generation.uncached_tokens_per_second", at, "uncached", "tokens/s", rates["uncached"])
    yield ratio("generation.speedup", at, "cached over uncached", rates["cached"], rates["uncached"])
    at = f"{sizes}, to read {N_PROMPTS} prompts of {n_tokens} tokens"
    yield ratio("generation.shared", at, "equal over different ones", rates["equal"], rates["unequal"])
