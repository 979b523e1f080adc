"""`python train.py`: from any data to a trained model.

The whole way stands in `train`: data → tokenizer → examples → model → loop → result. What depends on what the model is
for (`llmasos/tasks`) and how it learns (`llmasos/training`) have rooms of their own; here they meet.
"""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from llmasos.cli.cli import ArgumentParser
from llmasos.errors import UserError
from llmasos.evaluation import paired_bootstrap
from llmasos.hub.tokenizers import load_any_tokenizer
from llmasos.models import ModelConfig, load_weights, n_parameters
from llmasos.storage import read_json, write_json
from llmasos.tasks import Task, open_task
from llmasos.training.checkpoints import all_checkpoints, best_checkpoint
from llmasos.training.device import pick_device, pick_precision
from llmasos.training.distributed import DistributedContext, init_distributed, shutdown_distributed
from llmasos.training.named_recipes import RECIPES, named_recipe
from llmasos.training.optimizers import freeze
from llmasos.training.recipe import KINDS, Recipe, add_flags
from llmasos.training.run_folder import (
    BASELINE,
    RESULTS,
    check_same_data,
    has_finished,
    make_run_folder,
    only_one,
    resumed_recipe,
    run_folder,
    run_name,
)
from llmasos.training.trainer import Result, Trainer

DEFAULT_RECIPE = "storyworld"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the flags, find the run's folder, train. Returns the exit status."""
    parser = ArgumentParser(
        prog="train.py",
        usage="train.py [RECIPE] [--data PATH|NAME] [--steps N] [--resume] … (every setting below is a flag)",
        description="Train a language model, a classifier, a translator, … "
        "Without arguments: a small GPT on embedded stories.",
        epilog="Example: python train.py shakespeare --n-layers 6 --optimizer muon",
    )
    parser.add_argument("recipe", nargs="?", help=f"a recipe's name (default: {DEFAULT_RECIPE})")
    parser.add_argument("--list", action="store_true", help="show the recipes with expected results and time, and exit")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out (or the recipe's last run)")
    add_flags(parser)
    given = vars(parser.parse_args(arguments))
    named, resume = given.pop("recipe"), given.pop("resume")
    name = named or DEFAULT_RECIPE
    if given.pop("list"):
        print_recipes()
        return 0

    named_recipe(name)  # speaks up about an unknown name before anything else happens
    run = run_folder(run_name(named, given.get("data"), DEFAULT_RECIPE), given.get("out_dir"), resume)
    recipe = resumed_recipe(run, given) if resume else named_recipe(name, **given)
    refuse_what_init_brings(recipe, given)
    world = init_distributed(pick_device(recipe.device).type)
    try:
        with only_one(run) if world.is_main else nullcontext():
            carry_out = train_and_compare if recipe.compare else train
            interrupted = carry_out(recipe, run, world, resume).interrupted
    finally:
        shutdown_distributed()
    return 130 if interrupted else 0


def refuse_what_init_brings(recipe: Recipe, given: Collection[str]) -> None:
    """Raise UserError if a flag asks for a model or a tokenizer where `--init-from` brings both."""
    for name in KINDS:
        if recipe.init_from is not None and name in given:
            raise UserError(
                f"--init-from {recipe.init_from} brings its own model and tokenizer: leave --{name.replace('_', '-')} out, or "
                "leave out --init-from."
            )


def print_recipes() -> None:
    """Show what there is to train, what to expect, and how long it takes."""
    for name, recipe in RECIPES.items():
        print(f"{name}\n    {recipe.what}\n    {recipe.expect}")


def train(recipe: Recipe, run: Path, world: DistributedContext | None = None, resume: bool = False) -> Result:
    """Carry out a recipe in a folder, from the data to the result.

    Args:
        recipe: all settings.
        run: the run's folder; made here.
        world: this process's place among others (None: it is alone).
        resume: go on from the newest checkpoint in the folder.

    Raises:
        UserError: something in the recipe, the data or the folder is not as it must be. Nothing is lost.
    """
    world = world or DistributedContext()
    say = tqdm.write if world.is_main else lambda text: None
    device = pick_device(recipe.device, world.local_rank)
    pick_precision(recipe.precision, device)  # these two speak up about bad settings before there is work to lose
    world.shard(recipe.batch_size)
    torch.set_float32_matmul_precision("high")  # lets a GPU multiply fp32 matrices on its tensor cores (TF32)

    # Data to examples. The main process prepares everything and makes the folder; the others find it all done.
    task = open_task(recipe)
    say(f"data     {task.name}: {task.description}")
    if world.is_main:
        prepare(task, run, resume)
    world.barrier()
    if not world.is_main:
        prepare_again(task, run)
    for line in task.lines:
        say(line)

    # The model and what it sees.
    torch.manual_seed(recipe.seed)
    begun = resume and bool(all_checkpoints(run))  # else weights come from --init-from, for a resumed run too
    model = task.build(recipe, with_weights=not begun).to(device)
    size = f"{n_parameters(model) / 1e6:.2f}M parameters"
    if recipe.freeze_layers is not None:
        freeze(model, recipe.freeze_layers)
        size += f", {sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6:.2f}M of them learning"
    say(f"model    {describe_model(task.config, recipe)}: {size}, on {device.type}")

    def after_validation(step: int, val_loss: float) -> dict[str, float]:
        say("         " + in_one_line(task.sample(model)) + "\n")
        return task.numbers(val_loss)

    # The loop.
    trainer = Trainer(
        model,
        task.objective,
        task.train,
        task.val,
        recipe,
        run,
        save_tokenizer=task.tokenizer.save,
        world=world,
        flops_per_token=task.flops_per_token,
        unit=task.unit,
        after_validation=after_validation,
        say=say,
    )
    if resume:
        trainer.resume()
        if has_finished(run, trainer.state.step) and trainer.state.step >= recipe.max_steps:
            raise UserError(
                f"the run in {run} has taken all its {trainer.state.step:,} steps; to train it further, ask for more, "
                f"for example --steps {2 * trainer.state.step}."
            )
    first = f"from step {trainer.state.step:,} to {recipe.max_steps:,}" if begun else f"{recipe.max_steps:,} steps"
    say(f"run      {run}: {first}, each of {recipe.batch_size} {task.examples}\n")
    result = trainer.train()

    # What came of it.
    if world.is_main:
        if result.interrupted:
            say(
                f"stopped at step {result.state.step:,}, everything is saved; to go on: "
                f"python train.py --resume --out {run}"
            )
        else:
            best = best_checkpoint(run, say)
            load_weights(model, best / "model.safetensors")
            report = task.finish(model, say)
            write_json(run / RESULTS, {"step": result.state.step, **report.to_dict()})
            say(f"best checkpoint: step {result.state.best_step:,} of {result.state.step:,}, in {best}")
            say(task.describe_loss(result.state.best_loss))
            say(f"Next: {task.next_command(run)}")
    return result


def prepare(task: Task, run: Path, resume: bool) -> None:
    """Prepare the task, and for a new run make its folder (last, when nothing can go wrong any more)."""
    if resume:
        check_same_data(run, task.fingerprint)
        prepare_again(task, run)
        write_json(run / "recipe.json", task.recipe.to_dict())  # with what was changed now, for the next time
    else:
        task.use(task.make_tokenizer(task.recipe))
        task.prepare()
        if task.recipe.init_from is not None:
            task.build(task.recipe)  # speaks up about weights that do not fit
        make_run_folder(run, task.recipe, task.tokenizer, task.config, task.fingerprint)


def prepare_again(task: Task, run: Path) -> None:
    """Prepare the task with the tokenizer and the sizes that a run already has."""
    config = ModelConfig.from_dict(read_json(run / "origin.json")["config"])
    task.use(load_any_tokenizer(run / "tokenizer"), config)
    task.prepare()


def train_and_compare(recipe: Recipe, run: Path, world: DistributedContext, resume: bool) -> Result:
    """Train with the weights of --init-from, then the same without them, and print what they were worth."""
    baseline = run / BASELINE
    both = [(run, recipe), (baseline, replace(recipe, init_weights=False, compare=False, out_dir=None))]
    if resume and has_finished(run, recipe.max_steps) and not has_finished(baseline, recipe.max_steps):
        both = both[1:]
    for folder, one in both:
        if folder == baseline and world.is_main:
            tqdm.write(f"\nNow the same from random weights, for comparison, in {baseline}\n")
        result = train(one, folder, world, resume and (folder / "recipe.json").is_file())
        if result.interrupted:
            return result
    if world.is_main:
        tqdm.write(compare(read_json(run / RESULTS), read_json(baseline / RESULTS)))
    return result


def compare(ours: dict, theirs: dict) -> str:
    """What pre-training was worth, by the first score: both figures and their difference with its interval.

    Args:
        ours, theirs: the `results.json` of a run from pre-trained weights, and of one from random weights.
    """
    (a, b) = (results["metrics"][0] for results in (ours, theirs))
    if a["n"] < 2:
        return "What pre-training was worth cannot be told from a single held-out example."
    difference = paired_bootstrap(np.array(ours["outcomes"]), np.array(theirs["outcomes"]))
    digits = a["digits"]
    figures = [f"{s['value']:.{digits}f} ({s['low']:.{digits}f}–{s['high']:.{digits}f})" for s in (a, b)]
    gain = f"{difference.value:+.{digits}f} ({difference.low:+.{digits}f} to {difference.high:+.{digits}f})"
    return (
        f"What pre-training was worth: {a['name']} {figures[0]} from pre-trained weights, {figures[1]} from random "
        f"weights at equal steps: {gain} on the same {a['n']:,} examples, with 95 % intervals."
    )


def describe_model(config: ModelConfig, recipe: Recipe) -> str:
    """The model's name and sizes."""
    name = recipe.init_from or recipe.model
    weights = (
        "" if recipe.init_from is None else " (its weights)" if recipe.init_weights else " (its sizes, random weights)"
    )
    decoder = f" and {config.n_decoder_layers}" if config.family == "transformer" else ""
    sizes = f"{config.n_layers}{decoder} layers of width {config.d_model}, context {config.context_length}"
    return f"{name}{weights}, {sizes}"


def in_one_line(text: str) -> str:
    """A text with its line breaks shown, for the log."""
    return text.strip().replace("\n", " / ")
