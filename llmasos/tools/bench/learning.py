"""Time to a loss: how long until a model is good, with our recipe and with a plain eager loop."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from llmasos.console import command
from llmasos.datasets import TextSource
from llmasos.models import build_model
from llmasos.tasks.language_modeling import LanguageModeling
from llmasos.tokenizers import Tokenizer
from llmasos.tools.bench.bpe import find_text
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed
from llmasos.tools.bench.training import SIZES, baseline_step, random_tokens
from llmasos.tools.training_step import step_of
from llmasos.training.device import synchronize
from llmasos.training.named_recipes import named_recipe
from llmasos.training.recipe import Recipe
from llmasos.training.trainer import Trainer

GOAL = 1.864  # nats per character of the whole validation split: what nanoGPT's CPU recipe reaches with BASELINE_STEPS
BASELINE_STEPS, TIMED_STEPS = 2000, 100  # of the plain loop, which has the same size; so many of them are timed
OUR_STEPS = 230


def bench_learning(settings: Settings) -> Iterator[Measurement | str]:
    """Train on Tiny Shakespeare with five seeds, and time the plain loop for as many steps as it needs."""
    config, batch_size = SIZES["small"]
    if find_text()[0] != "shakespeare":
        yield f"Tiny Shakespeare is not on this machine ({command('train', 'shakespeare')} downloads it): not measured"
        return
    our_steps, timed_steps = (2, 1) if settings.quick else (OUR_STEPS, TIMED_STEPS)
    recipe = named_recipe(
        "shakespeare", max_steps=our_steps, context_length=config.context_length, eval_interval=10_000
    )
    data = LanguageModeling.open_data(recipe)
    tokenizer = LanguageModeling.make_tokenizer(recipe, data)
    baseline = baseline_step(config, batch_size, random_tokens(config.vocab_size), settings.device)
    losses: list[float] = []

    def ours() -> float:
        seconds, loss = learn(recipe.replace(seed=len(losses)), data, tokenizer, settings)
        losses.append(loss)
        return seconds

    def plain() -> float:
        take = timed(lambda: [baseline() for _ in range(timed_steps)], settings.device, 0.0)
        return take() * BASELINE_STEPS / timed_steps

    seconds = interleave({"ours": ours, "plain": plain}, settings.repetitions(5))
    setup = f"Tiny Shakespeare by characters, context {config.context_length}, {our_steps} steps; the goal is {GOAL}"
    yield summarize("learning.loss", setup, "our loss on the whole validation split", "nats", losses, best=min)
    yield summarize("learning.seconds", setup, "our recipe", "s", seconds["ours"], best=min)
    what = f"plain eager loop, {BASELINE_STEPS:,} steps (from {timed_steps})"
    yield summarize("learning.plain_seconds", setup, what, "s", seconds["plain"], best=min)
    what = "time of the plain loop over ours"
    yield ratio("learning.speedup", setup, what, seconds["plain"], seconds["ours"], best=min)


def learn(recipe: Recipe, data: TextSource, tokenizer: Tokenizer, settings: Settings) -> tuple[float, float]:
    """Train a new model. Returns the seconds that the steps took, and the loss on the whole validation split."""
    task = LanguageModeling.setup(recipe, data, tokenizer)
    torch.manual_seed(recipe.training.seed)
    model = build_model(task.config).to(settings.device)
    val = [task.val[i] for i in range(8)] if settings.quick else task.val
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, task.objective, task.train, val, recipe.training, Path(folder))
        step = step_of(trainer)
        start = time.perf_counter()
        for _ in range(recipe.training.max_steps):
            step()
        synchronize(settings.device)
        seconds = time.perf_counter() - start
        loss = trainer.validate()
    assert loss is not None  # nobody asked it to stop
    return seconds, loss
