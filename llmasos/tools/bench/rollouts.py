"""The cost of rollouts over plain generation: reference log-probabilities, rewards and advantages."""

import copy
from collections.abc import Iterator

from llmasos.generation import SamplingOptions, generate
from llmasos.models import GPT, ModelConfig, preset
from llmasos.objectives import frozen
from llmasos.rewards import PromptToAnswer, TrainingRollouts, reward_of
from llmasos.tokenizers import train_tokenizer
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

GROUP = 32


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
