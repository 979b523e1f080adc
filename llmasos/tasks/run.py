"""Runs: carry out a recipe in a folder, from the data to the result.

    data → tokenizer → examples → model → training loop → report

The task-specific parts are in the other files of this folder, and the training loop is in `llmasos/training`; this file
combines them. `train.py` and `LLMTrainer.train` both call `run_recipe`.
"""

import hashlib
import math
import platform
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmasos import console
from llmasos.console import Say
from llmasos.errors import UserError
from llmasos.models import Model, ModelConfig, load_weights, n_active_parameters_of, n_parameters, weights_of
from llmasos.models.adapter import weights_sha256
from llmasos.objectives import Distillation, ModelTeacher
from llmasos.signals import Terminated
from llmasos.storage import read_json
from llmasos.tasks import Task, task_class
from llmasos.training.checkpoints import all_checkpoints, best_checkpoint, checkpoint_step
from llmasos.training.device import pick_device, pick_precision
from llmasos.training.distributed import DistributedContext, init_distributed, lost_connection, shutdown_distributed
from llmasos.training.optimizers import freeze
from llmasos.training.recipe import Recipe
from llmasos.training.run_folder import (
    BASELINE,
    RESULTS,
    check_same_start,
    find_origin,
    has_finished,
    holds_run,
    make_run_folder,
    new_origin,
    run_lock,
    update_origin,
    write_results,
)
from llmasos.training.trainer import Result, Trainer


def run_recipe(recipe: Recipe, run: Path, resume: bool = False) -> Result:
    """Carry out a recipe, in all processes that torchrun has started; with `compare`, also its baseline.

    Args:
        recipe: all settings.
        run: the run's folder, locked meanwhile.
        resume: continue from the newest checkpoint in the folder.

    Raises:
        UserError: something in the recipe, the data or the folder cannot be used. Nothing is lost.
    """
    context = init_distributed(pick_device(recipe.training.device).type)
    try:
        with lost_connection(run, context), run_lock(run) if context.is_main else nullcontext():
            if recipe.compare:
                return run_and_compare(recipe, run, context, resume)
            result = run_once(recipe, run, context, resume)
            if context.is_main and run.name == BASELINE and holds_run(run.parent):
                say_comparison(run, result)
            return result
    except (KeyboardInterrupt, Terminated):
        if context.is_main and (checkpoints := all_checkpoints(run)):
            console.say(how_to_continue(run, checkpoint_step(checkpoints[-1])))
        raise
    finally:
        shutdown_distributed()


def run_once(recipe: Recipe, run: Path, context: DistributedContext, resume: bool) -> Result:
    """Carry out a recipe in one process of several, or in the only one."""
    say: Say = console.say if context.is_main else lambda text: None
    device = pick_device(recipe.training.device, context.local_rank)
    pick_precision(recipe.training.precision, device)  # report bad settings before the work begins
    context.shard(recipe.training.batch_size)  # likewise
    torch.set_float32_matmul_precision("high")  # lets a GPU multiply fp32 matrices on its tensor cores (TF32)

    task, origin = setup_task(recipe, run, context, resume, say)
    torch.manual_seed(recipe.training.seed)
    resumed = resume and bool(all_checkpoints(run))  # otherwise weights come from --init-from, even with --resume
    model = task.build_model(with_weights=not resumed)
    if resume and (not resumed or task.needs_reference):
        check_same_start(run, "the weights of --init-from have", origin["initial_weights"], initial_weights(task))
    model = model.to(device)
    if recipe.training.freeze_layers is not None:
        freeze(model, recipe.training.freeze_layers)
    say(f"model    {describe_model(recipe, task.config)}: {describe_size(model)}, on {device.type}")

    task.start_training(model, say)
    trainer = make_trainer(task, model, run, origin, context, say)
    if resume:
        resume_trainer(trainer)
    first, last = trainer.state.step, recipe.training.max_steps
    steps = f"from step {first:,} to {last:,}" if resumed else f"{last:,} steps"
    say(f"run      {run}: {steps}, each of {recipe.training.batch_size} {task.batch_unit}\n")
    result = trainer.train()

    if context.is_main and result.interrupted:
        say(how_to_continue(run, result.state.step))
    elif context.is_main:
        finish(task, model, run, result, say)
    return result


def how_to_continue(run: Path, step: int) -> str:
    """The line for the user of a run that was stopped. A baseline continues with the comparison it belongs to."""
    command = console.command("train", "--resume", "--out", without_baseline(run))
    return f"stopped at step {step:,}, everything is saved; to continue: {command}"


def without_baseline(run: Path) -> Path:
    """The run that a baseline is compared with, and which is the one to use; any other run itself."""
    return run.parent if run.name == BASELINE and holds_run(run.parent) else run


def setup_task(
    recipe: Recipe, run: Path, context: DistributedContext, resume: bool, say: Say
) -> tuple[Task, dict[str, Any]]:
    """Prepare the examples, and make the folder of a new run. The main process goes first.

    Returns:
        The task, and the origin of the run (see `run_folder`).
    """
    cls = task_class(recipe.task)
    data = cls.open_data(recipe)
    say(f"data     {data.name}: {data.description}")
    if not context.is_main:
        context.barrier()
        if not run.is_dir():
            raise UserError(
                f"{run.absolute()} does not exist on {platform.node()}, though the main process has made it: all "
                "machines need one shared folder; name it with --out."
            )
    if is_new := context.is_main and not resume:
        task = cls.setup(recipe, data)
    else:
        from llmasos.hub.tokenizers import load_any_tokenizer  # it may be that of a pretrained model

        origin, tokenizer_folder = find_origin(run, say)
        task = cls.setup(recipe, data, load_any_tokenizer(tokenizer_folder), ModelConfig.from_dict(origin["config"]))
        check_same_start(run, "the data has", origin["data_fingerprint"], task.fingerprint)
        check_same_start(run, "the weights of --teacher have", origin.get("teacher"), teacher_weights(task))
    for line in task.summary:
        say(line)
    if is_new:
        teacher = teacher_weights(task)
        origin = new_origin(task.saved_recipe, task.config, task.fingerprint, initial_weights(task), teacher)
        make_run_folder(run, origin, task.tokenizer)
    elif context.is_main:
        origin = update_origin(run, origin, task.saved_recipe, task.tokenizer, say)
    if context.is_main:
        context.barrier()
    return task, origin


def initial_weights(task: Task) -> str | None:
    """A checksum of the weights of `--init-from`. Raises UserError if they do not fit."""
    if task.recipe.model.init_from is None or not task.recipe.model.init_weights:
        task.build_model()
        return None
    torch.manual_seed(task.recipe.training.seed)  # for weights that the pretrained model lacks, such as a new head
    digest = hashlib.sha256()
    for tensor in weights_of(task.build_model()).values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def teacher_weights(task: Task) -> str | None:
    """A checksum of the teacher's weights; None without one. Raises UserError if it cannot teach the model."""
    return None if task.teacher is None else weights_sha256(task.teacher)


def make_trainer(
    task: Task, model: Model, run: Path, origin: dict[str, Any], context: DistributedContext, say: Say
) -> Trainer:
    """The training loop for a task, which writes a sample after each validation."""

    def after_validation(step: int, val_loss: float) -> dict[str, float]:
        say("         " + in_one_line(task.sample(model)) + "\n")
        return task.metrics(val_loss)

    settings = task.recipe.training
    objective: Any = task.objective  # has `predictions` if there is a teacher
    if task.teacher is not None:
        teacher = ModelTeacher(task.teacher.to(next(model.parameters()).device), objective)
        objective = Distillation(objective, teacher, settings.distillation_temperature, settings.distillation_weight)
    return Trainer(
        model,
        objective,
        task.train,
        task.val,
        settings,
        run,
        save_tokenizer=task.tokenizer.save,
        origin=origin,
        context=context,
        flops_per_token=task.flops_per_token if model.adapter is None else None,  # the formula counts all gradients
        unit=task.unit,
        after_validation=after_validation,
        say=say,
    )


def resume_trainer(trainer: Trainer) -> None:
    """Load the run's newest checkpoint. Raises UserError if the run has already taken all its steps."""
    trainer.resume()
    step = trainer.state.step
    if has_finished(trainer.run, step) and step >= trainer.settings.max_steps:
        raise UserError(
            f"the run in {trainer.run} has taken all its {step:,} steps; to train it further, ask for more, for "
            f"example --steps {2 * step}."
        )


def finish(task: Task, model: Model, run: Path, result: Result, say: Say) -> None:
    """Load the best weights, evaluate them, and write the results."""
    best = best_checkpoint(run, say)
    load_weights(model, best)
    report = task.report(model)
    say("\n" + "\n".join(report.lines()) + "\n")
    write_results(run, {"step": result.state.step, **report.to_dict()}, say)
    say(f"best checkpoint: step {result.state.best_step:,} of {result.state.step:,}, in {best}")
    if result.state.best_loss is not None:
        say(task.describe_loss(result.state.best_loss))
    say(f"Next: {task.next_command(without_baseline(run))}")


def run_and_compare(recipe: Recipe, run: Path, context: DistributedContext, resume: bool) -> Result:
    """Train with the weights of `--init-from`, then without them, and print the gain."""
    baseline, steps = run / BASELINE, recipe.training.max_steps
    runs = {run: recipe, baseline: recipe.replace(init_weights=False, compare=False, out_dir=None, lora_rank=None)}
    if resume and has_finished(run, steps) and not has_finished(baseline, steps):
        del runs[run]
    for folder, settings in runs.items():
        if folder == baseline and context.is_main:
            console.say(f"\nNow the same from random weights, for comparison, in {baseline}\n")
        result = run_once(settings, folder, context, resume and holds_run(folder))
        if result.interrupted:
            return result
    if context.is_main:
        console.say(compare(read_json(run / RESULTS), read_json(baseline / RESULTS)))
    return result


def say_comparison(baseline: Path, result: Result) -> None:
    """Print, after a baseline that was continued alone, the comparison it belongs to, or how to get it."""
    run = baseline.parent
    pretrained = read_json(run / RESULTS) if (run / RESULTS).is_file() else {"step": None}
    if result.interrupted:
        return  # its last line names the comparison
    if pretrained["step"] == result.state.step:
        console.say(compare(pretrained, read_json(baseline / RESULTS)))
    else:
        remedy = console.command("train", "--resume", "--out", run, "--steps", result.state.step)
        console.say(f"{run}, to compare it with, has not taken {result.state.step:,} steps; to continue it: {remedy}")


def compare(pretrained: dict[str, Any], baseline: dict[str, Any]) -> str:
    """Describe the gain from pretraining by the first metric: both values and their difference with its interval.

    Args:
        pretrained, baseline: the `results.json` of a run from pretrained weights, and of one from random weights.
    """
    from llmasos.evaluation import paired_bootstrap  # only for comparisons

    a, b = (results["metrics"][0] for results in (pretrained, baseline))
    if a["n"] < 2:
        return "What pretraining gained cannot be measured on a single held-out example."
    gain = paired_bootstrap(np.array(pretrained["outcomes"]), np.array(baseline["outcomes"]))
    digits = a["digits"]
    values = [f"{m['value']:.{digits}f} ({m['low']:.{digits}f}–{m['high']:.{digits}f})" for m in (a, b)]
    interval = f"{gain.low:+.{digits}f} to {gain.high:+.{digits}f}"
    difference = f"{gain.value:+.{digits}f} ({'too few for an interval' if math.isnan(gain.low) else interval})"
    return (
        f"What pretraining gained: {a['name']} {values[0]} from pretrained weights, {values[1]} from random weights "
        f"at equal steps: {difference} on the same {a['n']:,} examples, with 95 % intervals."
    )


def describe_model(recipe: Recipe, config: ModelConfig) -> str:
    """The model's name and sizes."""
    settings, name, source = recipe.model, recipe.model.preset, ""
    if settings.init_from is not None:
        from llmasos.hub.resolve import name_of  # loads the hub, which few runs need

        name = name_of(settings.init_from)
        source = " (its weights)" if settings.init_weights else " (its sizes, random weights)"
    decoder = f" and {config.n_decoder_layers}" if config.family == "transformer" else ""
    sizes = f"{config.n_layers}{decoder} layers of width {config.d_model}, context {config.context_length}"
    return f"{name}{source}, {sizes}"


def describe_size(model: Model) -> str:
    """The number of parameters; how many are active per token, if there are experts; how many are trained, if not
    all.
    """
    size = f"{n_parameters(model) / 1e6:.2f}M parameters"
    if model.config.n_experts > 1:
        size += f", {n_active_parameters_of(model.config) / 1e6:.2f}M of them active for each token"
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = any(not p.requires_grad for p in model.parameters())
    return f"{size}, {trained / 1e6:.2f}M of them trained" if frozen else size


def in_one_line(text: str) -> str:
    """A text with its line breaks shown, for the log."""
    return text.strip().replace("\n", " / ")
