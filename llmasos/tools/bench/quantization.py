"""Weights in eight and in four bits against float: memory, speed, and the loss on held-out stories."""

from collections.abc import Iterator

import numpy as np
import torch

from llmasos import hub
from llmasos.datasets.storyworld import stories
from llmasos.evaluation.perplexity import evaluate_documents
from llmasos.generation import SamplingOptions, SequenceState
from llmasos.models import weight_bytes
from llmasos.nn import eval_mode
from llmasos.tools.bench.generation import decode
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

MODEL, FORMATS = "storyworld-gpt", ("float", "int8", "int4")


def bench_quantization(settings: Settings) -> Iterator[Measurement]:
    """The shipped story model in three formats, on the same stories of the validation split."""
    models = {}
    for name in FORMATS:
        quantize = None if name == "float" else name
        models[name], tokenizer = hub.load_pretrained(MODEL, settings.device, quantize=quantize)
    n_stories, n_tokens, batch_size = (4, 8, 2) if settings.quick else (300, 100, 16)
    options = SamplingOptions(max_new_tokens=n_tokens)
    context = models["float"].config.context_length
    end = tokenizer.end_of_text
    texts = [[end, *tokenizer.encode(story.text), end][: context + 1] for story in stories("val", n_stories)]
    rows = [np.array(ids) for ids in sorted(texts, key=len)]

    @torch.inference_mode()
    def run(name: str) -> None:
        with eval_mode(models[name]):
            decode(models[name], [SequenceState((end,), options, i) for i in range(batch_size)])

    functions = {name: lambda name=name: run(name) for name in FORMATS}
    measures = {name: timed(function, settings.device, 0.0) for name, function in functions.items()}
    seconds = interleave(measures, settings.repetitions(7))
    rates = {name: [batch_size * n_tokens / x for x in values] for name, values in seconds.items()}
    losses = {name: evaluate_documents(models[name], rows).nats.value for name in FORMATS}
    sizes = {name: weight_bytes(models[name]) for name in FORMATS}
    setup = f"{MODEL}, {n_stories} held-out stories, {batch_size} texts of {n_tokens} tokens"
    for name in FORMATS:
        yield summarize(f"quantization.{name}_bytes", setup, f"memory of the weights, {name}", "bytes", [sizes[name]])
        yield summarize(f"quantization.{name}_loss", setup, f"loss, {name}", "nats", [losses[name]], min)
        yield summarize(f"quantization.{name}_tokens_per_second", setup, f"speed, {name}", "tokens/s", rates[name])
    for name in FORMATS[1:]:
        yield ratio(f"quantization.{name}_memory", setup, f"memory: {name} over float", [sizes[name]], [sizes["float"]])
        yield ratio(f"quantization.{name}_speed", setup, f"speed: {name} over float", rates[name], rates["float"])
