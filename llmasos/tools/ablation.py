"""Ablation of the default recipe: add each part to a plain model, and remove each part from the full one.

    python -m llmasos.tools.ablation --seeds 1 --seconds 60

Every model learns storyworld for the same processor time, whatever its steps cost: a part that makes each step better
but slower must be worth the time. The time of a step is measured first, for all models in turns; it decides how many
steps each of them takes, so what else the machine does later changes nothing. Then the model predicts each held-out
story as a whole. The table shows the loss in nats per token, the mean over the seeds, and the gain from each part.

Each result is one line of JSON in --out. An existing result is not computed again, so the script can be stopped at any
time; more seeds only add lines.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from llmasos.console import say
from llmasos.datasets import TextSource
from llmasos.models import Model, ModelConfig, build_model, preset
from llmasos.tasks.language_modeling import LanguageModeling
from llmasos.tokenizers import Tokenizer
from llmasos.training.recipe import Recipe, make_recipe
from llmasos.training.trainer import Trainer

TIMED_BLOCKS, TIMED_STEPS = 8, 5  # to time a step: the fastest of a few blocks, the one that was disturbed least
PLAIN: dict[str, dict[str, Any]] = {  # the settings of the plain model, a GPT-2 with the context of the full one
    "recipe": {"optimizer": "muon", "learning_rate": 6e-3, "batch_size": 8, "rows": "windows", "schedule": "cosine"},
    "config": {"context_length": 256},
}
# name → what it changes in the recipe and in the model's config; together they are the default recipe
PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "rows begin with a document": {"recipe": {"rows": "documents"}, "config": {}},
    "rate falls in a line from 0.015 to 0": {
        "recipe": {"learning_rate": 1.5e-2, "schedule": "linear", "min_lr_ratio": 0.0, "warmup_steps": 20},
        "config": {},
    },
    "two layers instead of four": {"recipe": {}, "config": {"n_layers": 2}},
    "rotary positions, no biases": {"recipe": {}, "config": {"positions": "rotary", "bias": False}},
    "two heads, q and k normalized": {"recipe": {}, "config": {"n_heads": 2, "qk_norm": True}},
    "squared ReLU": {"recipe": {}, "config": {"activation": "relu2"}},
    "blocks start as the identity": {"recipe": {}, "config": {"zero_init_residual": True}},
    "an output layer of its own": {"recipe": {}, "config": {"tie_embeddings": False}},
    "value embeddings": {"recipe": {}, "config": {"value_embeddings": True}},
    "embeddings of 2- and 3-grams": {"recipe": {}, "config": {"max_ngram": 3}},
}


def variants() -> Iterator[tuple[str, str, list[str]]]:
    """Yield (table, row, parts): the plain model and the full one, then each part alone, and all but each part."""
    yield "full", "everything", list(PARTS)
    for part in PARTS:
        yield "full", f"- {part}", [other for other in PARTS if other != part]
    yield "plain", "nothing", []
    for part in PARTS:
        yield "plain", f"+ {part}", [part]


def settings_of(parts: list[str]) -> tuple[Recipe, ModelConfig]:
    """The recipe and the config of the plain model with some parts added."""
    changes = [PLAIN, *(PARTS[part] for part in parts)]
    recipe = make_recipe(**{key: value for change in changes for key, value in change["recipe"].items()})
    fields = {key: value for change in changes for key, value in change["config"].items()}
    return recipe, preset("gpt-laptop", vocab_size=recipe.data.vocab_size, **fields)


@cache
def storyworld() -> tuple[TextSource, Tokenizer]:
    """The stories, and the tokenizer of all models."""
    recipe, _ = settings_of([])
    data = LanguageModeling.open_data(recipe)
    return data, LanguageModeling.make_tokenizer(recipe, data)


def make_trainer(parts: list[str], seed: int, steps: int, folder: Path) -> tuple[Model, Trainer]:
    """A model with random weights, and what trains it for this many steps."""
    recipe, config = settings_of(parts)
    recipe = recipe.replace(seed=seed)
    task = LanguageModeling.setup(recipe, *storyworld(), config)
    torch.manual_seed(seed)
    model = build_model(config)
    settings = replace(recipe.training, max_steps=steps)
    whole_stories = task.document_rows(task.tokens.val.tokens).by_length()
    return model, Trainer(model, task.objective, task.train, whole_stories, settings, folder)


def step_times() -> dict[tuple[str, str], float]:
    """The processor time of a step of each variant, in seconds: the fastest of a few blocks of steps.

    The variants take turns, block by block, so a busy moment of the machine slows all of them and favors none.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            (kind, name): make_trainer(parts, 0, TIMED_BLOCKS * TIMED_STEPS, Path(folder))
            for kind, name, parts in variants()
        }
        blocks: dict[tuple[str, str], list[float]] = {key: [] for key in trainers}
        for _ in range(TIMED_BLOCKS):
            for key, (model, trainer) in trainers.items():
                start = time.process_time()
                for _ in range(TIMED_STEPS):
                    trainer.step(model)
                    trainer.state.step += 1
                blocks[key].append((time.process_time() - start) / TIMED_STEPS)
    return {key: min(values) for key, values in blocks.items()}


def train(parts: list[str], seed: int, steps: int) -> dict[str, float]:
    """Train a model for this many steps; return its loss per token of whole held-out stories."""
    with tempfile.TemporaryDirectory() as folder:
        model, trainer = make_trainer(parts, seed, steps, Path(folder))
        for _ in range(steps):
            trainer.step(model)
            trainer.state.step += 1
        loss = trainer.validate()
    assert loss is not None  # it was not asked to stop
    return {"loss": loss, "steps": steps}


def table(rows: list[dict[str, Any]], seconds: float) -> str:
    """The mean loss of each variant, and its gain over the plain model, or the full model's loss without the part."""
    losses: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.get("budget") == seconds:
            losses.setdefault((row["table"], row["row"]), []).append(row["loss"])
    means = {key: sum(values) / len(values) for key, values in losses.items()}
    lines = [f"{'':44} loss  gain (nats per token; {seconds:g} s of processor time each)"]
    for title, reference in (("plain", "nothing"), ("full", "everything")):
        for (kind, name), mean in means.items():
            if kind == title:
                gain = "" if name == reference or (title, reference) not in means else (
                    f"{(means[title, reference] - mean) * (1 if title == 'plain' else -1):+.3f}")  # fmt: skip
                spread = losses[kind, name]
                seeds = f"  ({min(spread):.3f} … {max(spread):.3f}, {len(spread)} seeds)" if len(spread) > 1 else ""
                lines.append(f"{title + ' ' + name if name == reference else '  ' + name:42} {mean:.3f} {gain}{seeds}")
    return "\n".join(lines)


def main() -> None:
    """Measure the missing results, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="models of each variant (default: 1)")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time for each model (default: 60)")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation.jsonl"), help="where the results are kept")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        with open(arguments.out, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    if not any("step_time" in row for row in rows):
        for (kind, name), step_time in step_times().items():
            keep({"table": kind, "row": name, "step_time": step_time})
    times = {(row["table"], row["row"]): row["step_time"] for row in rows if "step_time" in row}
    for seed in range(arguments.seeds):
        for kind, name, parts in variants():
            key = {"table": kind, "row": name, "seed": seed, "budget": arguments.seconds}
            if not any(key.items() <= row.items() for row in rows):
                keep({**key, **train(parts, seed, max(1, round(arguments.seconds / times[kind, name])))})
                say(f"{kind} {name}: {rows[-1]['loss']:.4f} after {rows[-1]['steps']} steps")
    print(table(rows, arguments.seconds))


if __name__ == "__main__":
    main()
