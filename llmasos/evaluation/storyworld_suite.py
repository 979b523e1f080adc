"""The suite "storyworld": how well a model knows the story world, judged by its generator, which knows the truth.

bits per byte          of held-out stories, each predicted whole from its beginning
nats above the floor   per story: information under the model minus the true information, known from the generator
who, what, outcome     multiple choice in held-out stories: the hero's name, the thing, the last sentence. The
                       generator confirms that no other choice is possible.
allowed                the fraction of a sampled text, from its start, that a story of the world can begin with
whole stories          the fraction of sampled texts that are stories of the world
pass@k                 the same for continuations of the first sentence of held-out stories, in k attempts
"""

import math
import random
import re
from collections.abc import Iterator

import numpy as np

from llmasos.datasets.storyworld import Story, log_prob, stories, valid_prefix, valid_prefix_length
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.evaluation.intervals import bootstrap, mean, mean_of_column, proportion
from llmasos.evaluation.likelihood import log_likelihoods
from llmasos.evaluation.metric import Metric
from llmasos.evaluation.multiple_choice import Choice
from llmasos.evaluation.pass_at_k import pass_at_k_metric
from llmasos.evaluation.suite import SuiteResult
from llmasos.generation import SamplingOptions, generate
from llmasos.models import Model
from llmasos.tokenizers import Tokenizer

N_CHOICES = 4
N_ATTEMPTS = 5  # per prompt, for pass@k
N_ENDS = 60  # stories whose last sentences are offered
LONGEST = 400  # tokens of a sampled story
THINGS = {plot.name: [thing.en for thing in plot.things] for plot in PLOTS}


def storyworld_suite(model: Model, tokenizer: Tokenizer, n: int, seed: int = 0) -> SuiteResult:
    """Test a model on `n` held-out stories and `n` sampled ones, and on n / 5 beginnings with 5 attempts each."""
    held_out = list(stories("val", n))
    result = SuiteResult([], texts=[story.text for story in held_out])
    _predict(result, model, tokenizer, held_out)
    result.add_choices(model, tokenizer, list(questions(held_out)))
    options = SamplingOptions(LONGEST, temperature=1.0, seed=seed)
    texts = [generation.text for generation in generate(model, tokenizer, [""], options, n)]
    allowed = np.array([valid_prefix_length(text) / len(text) if text else 0.0 for text in texts])
    result.add(mean("allowed", allowed, "of sampled texts, temperature 1"), allowed)
    whole = np.array([is_story(text) for text in texts])
    result.add(proportion("whole stories", int(whole.sum()), n, "of sampled texts"), whole)
    prompts = [story.sentences[0] for story in held_out[: math.ceil(n / N_ATTEMPTS)]]
    told = [generation.text for generation in generate(model, tokenizer, prompts, options, N_ATTEMPTS)]
    right = [
        [is_story(prompt + text) for text in told[i * N_ATTEMPTS : (i + 1) * N_ATTEMPTS]]
        for i, prompt in enumerate(prompts)
    ]
    for k in (1, N_ATTEMPTS):
        result.add(*pass_at_k_metric(right, k))
    return result


def is_story(text: str) -> bool:
    """Whether a text is a story of the world. Space at its ends does not matter."""
    return log_prob(text.strip()) > -math.inf


def _predict(result: SuiteResult, model: Model, tokenizer: Tokenizer, held_out: list[Story]) -> None:
    """Add how well whole stories are predicted, including the end-of-text after each."""
    beginning, end = [tokenizer.end_of_text], [tokenizer.end_of_text]
    pairs = [(beginning, [*tokenizer.encode(story.text), *end]) for story in held_out]
    nats = np.array([-values.sum() for values in log_likelihoods(model, pairs)])
    sizes = np.array([len(story.text.encode()) for story in held_out])
    bits = nats / math.log(2)
    low, high = bootstrap(np.stack([bits, sizes], axis=1), mean_of_column)
    result.add(Metric("bits per byte", bits.sum() / sizes.sum(), low, high, len(held_out), "", 4), bits / sizes)
    above = nats - [story.nats for story in held_out]
    result.add(mean("nats above the floor", above, "per story", digits=1), above)


def questions(held_out: list[Story]) -> Iterator[Choice]:
    """Yield multiple-choice questions about some stories: those that have only one possible answer in the world."""
    ends = [other.sentences[-1] for other in stories("val", N_ENDS) if not names_anybody(other)]
    for story in held_out:
        rng = random.Random(f"suite {story.text}")
        hero, plot, thing = story.combination
        names = [child.en for child in story.world.children if child.en != hero]
        yield from _choose("who", story, hero, rng.sample(names, len(names)), rng)
        things = [other for other in THINGS[plot] if other != thing]
        yield from _choose("what", story, thing, rng.sample(things, len(things)), rng)
        if not names_anybody(story):
            yield from _choose("outcome", story, story.sentences[-1], rng.sample(ends, len(ends)), rng)


def names_anybody(story: Story) -> bool:
    """Whether the last sentence contains the hero's name or the thing, which would give away its story."""
    hero, _, thing = story.combination
    return hero in story.sentences[-1] or thing in story.sentences[-1]


def _choose(group: str, story: Story, right: str, others: list[str], rng: random.Random) -> Iterator[Choice]:
    """Yield the question for the last occurrence of some words, if enough other words are impossible there."""
    places = [match.start() for match in re.finditer(rf"(?<= ){re.escape(right)}(?!\w)", story.text)]
    if not places:
        return
    context = story.text[: places[-1] - 1]  # the space is part of the choice
    wrong: list[str] = []
    for other in dict.fromkeys(others):
        if other != right and len(wrong) < N_CHOICES - 1 and not valid_prefix(f"{context} {other}"):
            wrong.append(other)
    if len(wrong) == N_CHOICES - 1:
        choices = [right, *wrong]
        rng.shuffle(choices)
        yield Choice(context, tuple(f" {choice}" for choice in choices), choices.index(right), group)
