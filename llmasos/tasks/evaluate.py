"""Evaluating a trained model: on the held-out data of its own run, or on any other data."""

from pathlib import Path
from typing import Any

from llmasos.capabilities import default_task
from llmasos.datasets import is_dataset
from llmasos.errors import UserError
from llmasos.models import ModelConfig
from llmasos.prompting import template_of
from llmasos.prompting.chat_template import PLAIN
from llmasos.tasks import Task, check_model, task_class
from llmasos.tokenizers import Tokenizer
from llmasos.training.checkpoints import STATE, read_origin
from llmasos.training.recipe import Recipe, make_recipe, read_recipe

OF_THE_DATA = ("val_data", "columns", "languages", "train_examples")  # settings that do not apply to other data


def setup_evaluation(
    recipe: Recipe, config: ModelConfig, tokenizer: Tokenizer, name: str, eval_only: bool = False, data: Any = None
) -> Task:
    """Set up the task for evaluating a trained model.

    Args:
        recipe: names the task and the data.
        config, tokenizer: the config and the tokenizer of the model.
        name: the model's name, as the user wrote it.
        eval_only: use all of a user's own file.
        data: the result of the task's `open_data`, if it is already open.

    Raises:
        UserError: the model cannot do the task, or the data cannot be used.
    """
    check_model(recipe.task, config, name)
    return task_class(recipe.task).setup(recipe, data, tokenizer, config, eval_only)


def evaluation_recipe(
    model: Path, config: ModelConfig, tokenizer: Tokenizer, changes: dict[str, Any]
) -> tuple[Recipe, bool]:
    """Return the recipe for evaluating a model: that of its run, with some settings changed.

    Args:
        model: the folder of the model. If it belongs to no run, its config determines the task.
        config, tokenizer: the config and the tokenizer of the model.
        changes: settings by their flat names.

    Returns:
        The recipe, and whether its data is a user's own file, which is used as a whole.

    Raises:
        UserError: the model's head is not for any task, or a setting is out of range.
    """
    recipe = recipe_of(model, config, tokenizer)
    if "data" in changes:
        changes = {**dict.fromkeys(OF_THE_DATA), **changes}
    return recipe.replace(**changes), "data" in changes and not is_dataset(changes["data"])


def recipe_of(model: Path, config: ModelConfig, tokenizer: Tokenizer) -> Recipe:
    """Return the recipe of the run that a checkpoint belongs to; for other models, a recipe with their default task."""
    if (model / STATE).is_file():
        return read_recipe({**read_origin(model)["recipe"], "compare": False})
    chats = config.family == "gpt" and template_of(tokenizer).name != PLAIN  # has the special tokens of a chat
    task = default_task(config.family, config.head, chats)
    if task is None:
        raise UserError(f"{model} is a {config.family} with the head {config.head!r}, which no task evaluates.")
    return make_recipe(task=task, rows=rows_for(tokenizer))


def rows_for(tokenizer: Tokenizer) -> str:
    """The rows on which to evaluate a model without a run: documents if it expects a token before each text."""
    return "windows" if tokenizer.begin_of_text is None else "documents"
