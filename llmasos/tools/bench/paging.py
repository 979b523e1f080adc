"""Paged against slotted key/value cache: memory and speed for the same requests.

Texts of very different lengths, as in a server: most prompts begin alike, few use the whole context. Memory is what the
batch has allocated when all texts have ended, so at its largest.
"""

import random
from collections.abc import Callable, Iterator

import torch

from llmasos.generation import SamplingOptions, SequenceState
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.generation.paged_batching import PagedBatch
from llmasos.models import GPT, ModelConfig
from llmasos.nn import eval_mode
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

PAGE_SIZE, N_SLOTS = 16, 16
PREFILL_BUDGET = 256  # prompt tokens computed in one step, as in the server


def bench_paging(settings: Settings) -> Iterator[Measurement]:
    """Sixteen texts at a time, each by slots of a whole context and by pages."""
    config = ModelConfig(vocab_size=256, n_layers=6, n_heads=6, d_model=384, context_length=1024)
    n_texts = 32
    if settings.quick:
        config, n_texts = ModelConfig(vocab_size=256, n_layers=1, n_heads=2, d_model=32, context_length=64), 6
    model = GPT(config).to(settings.device)
    n_pages = N_SLOTS * config.context_length // PAGE_SIZE
    batches: dict[str, Callable[[], ContinuousBatch]] = {
        "slots": lambda: ContinuousBatch(model, N_SLOTS),
        "pages": lambda: PagedBatch(model, N_SLOTS, page_size=PAGE_SIZE, n_pages=n_pages),
    }
    memory: dict[str, int] = {}
    n_tokens = sum(sequence.options.max_new_tokens for sequence in requests(n_texts, config.context_length))

    def run(name: str) -> None:
        batch = batches[name]()
        serve(batch, requests(n_texts, config.context_length))
        memory[name] = (batch.memory if isinstance(batch, PagedBatch) else batch.slots).n_bytes

    with eval_mode(model):
        functions = {"slots": lambda: run("slots"), "pages": lambda: run("pages")}
        measures = {name: timed(function, settings.device, 0.0) for name, function in functions.items()}
        seconds = interleave(measures, settings.repetitions(5))
    setup = (
        f"{config.n_layers} layers, width {config.d_model}, context {config.context_length:,}, {n_texts} texts, "
        f"{N_SLOTS} at a time, pages of {PAGE_SIZE}"
    )
    for name, values in seconds.items():
        yield summarize(f"paging.{name}_bytes", setup, f"memory of the cache, {name}", "bytes", [memory[name]])
        rates = [n_tokens / x for x in values]
        yield summarize(f"paging.{name}_tokens_per_second", setup, f"new tokens, {name}", "tokens/s", rates)
    yield ratio("paging.memory", setup, "memory: pages over slots", [memory["pages"]], [memory["slots"]])
    rates_of = {name: [n_tokens / x for x in values] for name, values in seconds.items()}
    yield ratio("paging.speed", setup, "speed: pages over slots", rates_of["pages"], rates_of["slots"])


def requests(n: int, context_length: int) -> list[SequenceState]:
    """Prompts, of which three in four begin with the same eighth of a context, and texts of very different lengths."""
    draw = random.Random(0)
    common = [draw.randrange(256) for _ in range(context_length // 8)]
    sequences = []
    for seed in range(n):
        own = [draw.randrange(256) for _ in range(draw.randint(1, context_length // 16))]
        prompt = (*(common if draw.random() < 0.75 else common[:4]), *own)
        n_new = min(int(draw.expovariate(16 / context_length)) + 1, context_length // 2)
        sequences.append(SequenceState(prompt, SamplingOptions(max_new_tokens=n_new, seed=seed)))
    return sequences


@torch.inference_mode()
def serve(batch: ContinuousBatch, sequences: list[SequenceState]) -> None:
    """Continue all sequences to their full lengths; each joins the batch as soon as there is room."""
    waiting = list(reversed(sequences))
    while waiting or batch.sequences or batch.prefilling:
        while waiting and batch.n_free:
            batch.add(waiting.pop())
        if batch.step(PREFILL_BUDGET):
            batch.sample()
            batch.remove([s for s in batch.sequences if len(s.ids) == s.options.max_new_tokens])
