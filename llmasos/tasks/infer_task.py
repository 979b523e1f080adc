"""Infer a recipe from a model and data of any form: a task that fits both, and training settings.

`LLMTrainer.train` and `LLMTrainer.evaluate` accept data of any form: a text, a list, a table, a path, the name of a
dataset. `datasets/infer.py` determines the possible formats, and `llmasos/capabilities.py` what the model can learn.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from llmasos.arguments import as_python
from llmasos.capabilities import TASKS, describe_model, tasks_to_learn
from llmasos.datasets.in_memory import materialize, split_by_name
from llmasos.datasets.infer import TEXT_PAIRS, DataSpec, infer_format
from llmasos.errors import UserError, check_number
from llmasos.hub import find_model_folder
from llmasos.models import ModelConfig
from llmasos.settings import check_choice
from llmasos.tasks.reinforcement_learning import register_reward
from llmasos.tasks.task import columns_of, task_class
from llmasos.training.recipe import Recipe, check_names, make_recipe, refuse_set_by_init, without_aliases

ROLES_OF = {"labeled_text": ("text", "label"), "pairs": ("source", "target"), "summaries": ("source", "target"),
            "conversations": ("prompt", "answer"), "questions": ("context", "question", "answer"),
            "queries": ("query", "passage"), "scored_text": ("text", "score")}  # fmt: skip
PAIR_NAMES = {format: roles for format, roles in ROLES_OF.items() if len(roles) == 2}  # the roles of a pair's two parts
DEFAULT_EPOCHS, MIN_STEPS = 3, 100  # of fine-tuning, if neither epochs nor steps are given


def as_settings(arguments: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of `LLMTrainer.train` as settings of a recipe; a reward function is registered by name.

    >>> as_settings({"max_steps": 5, "out_dir": Path("runs"), "columns": {"text": "review", "label": "stars"}})
    {'max_steps': 5, 'out_dir': 'runs', 'columns': 'text=review,label=stars'}

    Raises:
        UserError: there is no such setting.
    """
    settings = {name: as_setting(value) for name, value in without_aliases(arguments).items()}
    check_names(settings, "eval_data", "epochs", "verbose")
    if callable(settings.get("reward")):
        settings["reward"] = register_reward(settings["reward"])
    return settings


def as_setting(value: Any) -> Any:
    """Convert a setting for a recipe: a path, a device and the names of columns become text, and numbers Python's.

    >>> as_setting(Path("runs")), as_setting(torch.device("cpu")), as_setting({"text": "review", "label": "stars"})
    ('runs', 'cpu', 'text=review,label=stars')
    """
    if isinstance(value, Path | torch.device):
        return str(value)
    if isinstance(value, Mapping):
        return ",".join(f"{role}={name}" for role, name in value.items())
    return as_python(value)


def as_prompts(data: Any) -> Any:
    """Turn a list of texts into rows with one prompt each; return anything else unchanged.

    >>> as_prompts(["17+25="]), as_prompts("sums")
    ([{'prompt': '17+25='}], 'sums')
    """
    is_texts = isinstance(data, list) and data and all(isinstance(item, str) for item in data)
    return [{"prompt": text} for text in data] if is_texts else data


def fine_tuning_recipe(
    name: str, config: ModelConfig, train_data: Any, eval_data: Any, task: str | None, settings: dict[str, Any]
) -> Recipe:
    """Return the recipe for training a model on data of any form. It has 1 step, unless `settings` say otherwise.

    Args:
        name, config: the name and the config of the model.
        train_data, eval_data, task: as for `LLMTrainer.train`.
        settings: the recipe's settings, from `as_settings`.

    Raises:
        UserError: the data does not fit the model or the task, or a setting is out of range.
    """
    if settings.get("reward") is not None:
        task = task or "reinforcement-learning"
    train_data, held_out = split_by_name(train_data)
    if held_out is not None and eval_data is not None:
        raise UserError("the data has a part to validate on, and there is eval_data, too; leave one of them out.")
    eval_data = held_out if eval_data is None else eval_data
    train_data, eval_data = materialize(train_data), None if eval_data is None else materialize(eval_data)
    if task == "reinforcement-learning":
        train_data, eval_data = as_prompts(train_data), as_prompts(eval_data)
    roles = tuple(columns_of(settings.get("columns")) or ())
    task = task or infer_task(infer_format(train_data, roles=roles), config, name)
    data, val_data = (None if d is None else spec_for(d, task, roles).data for d in (train_data, eval_data))
    fixed = {"task": task, "data": data, "val_data": val_data, "init_from": str(find_model_folder(name))}
    is_adapted = settings.get("lora_rank") is not None
    recipe = make_recipe(**{"max_steps": 1, **default_settings(config, is_adapted), **settings, **fixed})
    refuse_set_by_init(recipe, settings)
    return recipe


def default_settings(config: ModelConfig, is_adapted: bool = False) -> dict[str, Any]:
    """Settings for careful fine-tuning: a small learning rate, and a smaller one for wide models.

    An adapter takes steps ten times as large (Schulman et al. 2025, "LoRA Without Regret").
    """
    rate = 0.04 / config.d_model  # 5e-5 at 768, as in Devlin et al. 2019, appendix A.3
    return {
        "learning_rate": 10 * rate if is_adapted else rate,
        "weight_decay": 0.01,
        "beta2": 0.999,
        "batch_size": 16,
    }


def schedule(recipe: Recipe, epochs: float | None) -> dict[str, int]:
    """The number of steps for some epochs of a recipe's data, and the settings that follow from it."""
    if epochs is not None:
        check_number("epochs", epochs, above=0)
    per_epoch = task_class(recipe.task).setup(recipe).train.examples_per_epoch
    steps = round((epochs or DEFAULT_EPOCHS) * per_epoch / recipe.training.batch_size)
    steps = max(steps, 1 if epochs else MIN_STEPS)
    return {"max_steps": steps, "warmup_steps": steps // 10, "eval_interval": max(1, -(-steps // 4))}


def recipe_to_evaluate(
    name: str, config: ModelConfig, data: Any, task: str | None, columns: str | Mapping | None, rows: str
) -> tuple[Recipe, bool]:
    """Return the recipe for evaluating a model on data of any form, and whether all of the data is for evaluation.

    Args:
        name, config: the name and the config of the model.
        data, task, columns: as for `LLMTrainer.evaluate`.
        rows: "windows" or "documents".
    """
    data, named = materialize(data), as_setting(columns)
    roles = tuple(columns_of(named) or ())
    task = task or infer_task(infer_format(data, roles=roles), config, name)
    source = spec_for(data, task, roles).data
    return make_recipe(task=task, data=source, columns=named, rows=rows), Path(source.split(",")[0]).exists()


def infer_task(spec: DataSpec, config: ModelConfig, name: str) -> str:
    """The first task that fits the model and the data. Raises UserError if none does."""
    model = f"{name} ({describe_model(config.family, config.head)})"
    candidates = tasks_to_learn(config.family, config.head)
    formats = set(spec.formats)
    if TEXT_PAIRS in formats:
        if "translation" in candidates:
            formats.add("pairs")
        elif spec.labels_repeat or candidates == ["text-classification"]:
            formats.add("labeled_text")
        else:
            formats.add("conversations")
    fitting = [task for task in candidates if TASKS[task].data_format in formats]
    if TEXT_PAIRS in formats and not fitting:
        raise UserError(
            "the second of the two texts is different in most examples, so they are not labels; "
            f"{model} learns from labels, for which task='text-classification' chooses, or from texts."
        )
    if not fitting:
        raise UserError(
            f"{model} can learn {', '.join(candidates)}, and the data is of the format "
            f"{' or '.join(spec.formats)}; give other data, or another model."
        )
    return fitting[0]


def spec_for(data: Any, task: str, roles: tuple[str, ...] = ()) -> DataSpec:
    """The data as the task reads it. Raises UserError if it has another format."""
    check_choice("task", task, TASKS)
    needed = TASKS[task].data_format
    spec = infer_format(data, PAIR_NAMES.get(needed), roles or ROLES_OF.get(needed, ()))
    if needed not in spec.formats and not (TEXT_PAIRS in spec.formats and needed in PAIR_NAMES):
        raise UserError(
            f"the task {task} learns from {needed}, and this data is of the format "
            f"{' or '.join(spec.formats)}; give other data or choose another task."
        )
    return spec
