"""Generation: the cached decoder against a plain loop, against no cache, and against reading the weights.

Then what else a generated token may pay for: quantized weights, a JSON schema that the text must match, and what
reinforcement learning needs of its rollouts (log-probabilities of the reference, rewards, advantages).
"""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from llmasos import hub
from llmasos.datasets.storyworld import stories
from llmasos.evaluation.perplexity import evaluate_documents
from llmasos.generation import Decoder, SamplingOptions, SequenceState, generate, generate_naive, json_schema
from llmasos.generation.continuous_batching import ContinuousBatch
from llmasos.generation.token_grammar import grammar_of
from llmasos.models import GPT, Model, ModelConfig, preset, weight_bytes
from llmasos.nn import eval_mode
from llmasos.objectives import frozen
from llmasos.rewards import PromptToAnswer, TrainingRollouts, reward_of
from llmasos.tokenizers import train_tokenizer
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.tools.bench.training import SIZES, TINY, BaselineGPT

BATCHES = (1, 16)
N_PROMPTS = 8
N_TEXTS = 8  # with and without a JSON schema
GROUP = 32  # rollouts of one prompt
STORY_MODEL, FORMATS = "storyworld-gpt", ("float", "int8", "int4")
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


def bench_quantization(settings: Settings) -> Iterator[Measurement]:
    """The shipped story model in three formats, on the same stories of the validation split."""
    models = {}
    for name in FORMATS:
        quantize = None if name == "float" else name
        models[name], tokenizer = hub.load_pretrained(STORY_MODEL, settings.device, quantize=quantize)
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
    setup = f"{STORY_MODEL}, {n_stories} held-out stories, {batch_size} texts of {n_tokens} tokens"
    for name in FORMATS:
        yield summarize(f"quantization.{name}_bytes", setup, f"memory of the weights, {name}", "bytes", [sizes[name]])
        yield summarize(f"quantization.{name}_loss", setup, f"loss, {name}", "nats", [losses[name]], min)
        yield summarize(f"quantization.{name}_tokens_per_second", setup, f"speed, {name}", "tokens/s", rates[name])
    for name in FORMATS[1:]:
        yield ratio(f"quantization.{name}_memory", setup, f"memory: {name} over float", [sizes[name]], [sizes["float"]])
        yield ratio(f"quantization.{name}_speed", setup, f"speed: {name} over float", rates[name], rates["float"])


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


def bench_rollouts(settings: Settings) -> Iterator[Measurement]:
    """A group of 32 answers as rollouts, and the same texts by `generate`."""
    tokenizer, n_tokens = train_tokenizer("byte", []), 128
    config = preset("gpt-laptop", vocab_size=tokenizer.vocab_size, context_length=n_tokens + 1)
    if settings.quick:
        n_tokens = 8
        config = ModelConfig(vocab_size=tokenizer.vocab_size, n_layers=1, n_heads=2, d_model=32, context_length=9)
    model = GPT(config).to(settings.device)
    rollouts = TrainingRollouts(
        [PromptToAnswer("a", (97,))], tokenizer, reward_of(lambda prompt, text: float(len(text))), n_tokens, 0.1,
        group_size=GROUP,
    )  # fmt: skip
    rollouts.policy, rollouts.reference = model, frozen(copy.deepcopy(model))
    n = sum(len(rollout.ids) for rollout in rollouts.examples(0, range(GROUP)))  # of both, by the same random numbers
    functions = {
        "rollouts": lambda: rollouts.examples(0, range(GROUP)),
        "generate": lambda: generate(model, tokenizer, [[97]], SamplingOptions(n_tokens), GROUP),
    }
    measures = {name: timed(function, settings.device, 0.0) for name, function in functions.items()}
    seconds = interleave(measures, settings.repetitions(5))
    rates = {name: [n / x for x in values] for name, values in seconds.items()}
    setup = f"{config.n_layers} layers, width {config.d_model}, {GROUP} texts of at most {n_tokens} tokens"
    for name in functions:
        yield summarize(f"rollouts.{name}_tokens_per_second", setup, name, "tokens/s", rates[name])
    yield ratio("rollouts.efficiency", setup, "rollouts over generate", rates["rollouts"], rates["generate"])
