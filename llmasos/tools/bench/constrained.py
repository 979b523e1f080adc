"""Constrained decoding: eight texts that must match a JSON schema against eight unconstrained texts."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from llmasos.generation import SamplingOptions, SequenceState, json_schema
from llmasos.generation.token_grammar import grammar_of
from llmasos.models import GPT
from llmasos.nn import eval_mode
from llmasos.tokenizers import train_tokenizer
from llmasos.tools.bench.generation import decode
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.tools.bench.training import SIZES, TINY

N_TEXTS = 8


def bench_constrained(settings: Settings) -> Iterator[Measurement]:
    """Measure both. The grammar is used for many texts, so its masks are cached after the first run, as in a server."""
    tokenizer = train_tokenizer("byte", [])
    for size in SIZES:
        config, n_tokens = replace(SIZES[size][0], vocab_size=tokenizer.vocab_size, context_length=256), 200
        if settings.quick:
            config, n_tokens = replace(TINY, vocab_size=tokenizer.vocab_size, context_length=32), 20
        model = GPT(config).to(settings.device)
        free = SamplingOptions(max_new_tokens=n_tokens)
        schema = {"type": "array", "items": {"type": "string"}, "minItems": 2}
        bound = replace(free, grammar=json_schema(schema), stop_token_ids=tokenizer.stop_ids)

        @torch.inference_mode()
        def run(options: SamplingOptions, model: GPT = model) -> None:
            grammar = grammar_of(options, tokenizer)
            decode(model, [SequenceState((0,), options, sample, grammar=grammar) for sample in range(N_TEXTS)])

        functions = {"free": lambda: run(free), "constrained": lambda: run(bound)}  # noqa: B023
        with eval_mode(model):
            measures = {name: timed(function, settings.device, 0.0) for name, function in functions.items()}
            seconds = interleave(measures, settings.repetitions(7))
        setup = f"{config.n_layers} layers, width {config.d_model}, batch {N_TEXTS}, {n_tokens} tokens"
        for name, values in seconds.items():
            rates = [N_TEXTS * n_tokens / x for x in values]
            yield summarize(f"constrained.{size}.{name}_tokens_per_second", setup, name, "tokens/s", rates)
        times = seconds["constrained"], seconds["free"]
        yield ratio(f"constrained.{size}.time", setup, "time for JSON over time for free text", *times, min)
