"""The pretrained models of a run: the one that it starts from, and the one that it learns from.

- `--init-from` brings a tokenizer, a config and weights, to which an adapter may be added.
- `--teacher` brings probabilities, which the student learns (`objectives/distillation.py`).
"""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llmasos.console import command
from llmasos.errors import UserError
from llmasos.hub import find_model_folder, load_backbone, load_config, load_pretrained, load_tokenizer
from llmasos.hub.resolve import name_of
from llmasos.models import Model, ModelConfig, build_model, weights_of
from llmasos.models.adapter import add_adapter
from llmasos.models.config import is_adapter
from llmasos.nn.rope_scaling import RopeScaling
from llmasos.tasks.task import Task, check_model
from llmasos.tokenizers import Tokenizer
from llmasos.training.named_recipes import RECIPES
from llmasos.training.recipe import ModelSettings, TrainingSettings


def pretrained_tokenizer(init_from: str) -> Tokenizer:
    """The tokenizer of the model that `--init-from` names."""
    return load_tokenizer(find_pretrained(init_from))


def pretrained_config(init_from: str) -> ModelConfig:
    """The config of the model that `--init-from` names."""
    return load_config(find_pretrained(init_from))


def longer_context(settings: ModelSettings, pretrained: ModelConfig) -> dict[str, Any]:
    """The changes that give a pretrained config another context length (see `models.extend_context`).

    Raises:
        UserError: the model has learned positions, or `--rope-scaling` has nothing to scale.
    """
    old, name = pretrained.context_length, settings.init_from
    new = settings.context_length or old
    if new != old and pretrained.positions == "learned":
        raise UserError(
            f"{name} has learned {old} positions, and there are no others: leave --context-length out, or start "
            "from a model with other positions."
        )
    if settings.rope_scaling is None:
        return {}
    if pretrained.positions != "rotary" or pretrained.rope_scaling is not None:
        has = "are scaled already" if pretrained.rope_scaling else f"are {pretrained.positions!r}"
        raise UserError(f"--rope-scaling is for rotary positions, and those of {name} {has}: leave it out.")
    factor = settings.rope_factor or new / old
    if factor <= 1:
        raise UserError(f"--rope-scaling is for texts that are longer than the {old} tokens of {name}: add "
                        f"--context-length, above {old}, or leave it out.")  # fmt: skip
    return {"rope_scaling": RopeScaling(factor, original_context_length=old, type=settings.rope_scaling)}


def load_pretrained_weights(model: Model, init_from: str) -> list[str]:
    """Load the weights of the model that `--init-from` names: all of them, or the backbone's if the head is another.

    If the new model has more tokens, its embedding gets rows for them (see `more_rows`).

    Returns:
        The names of the weights that are new.
    """
    folder = find_pretrained(init_from)
    pretrained = load_config(folder)
    same_head = (pretrained.head, pretrained.labels) == (model.config.head, model.config.labels)
    if model.config.vocab_size <= pretrained.vocab_size:
        return load_backbone(model, folder, with_head=same_head)
    smaller = build_model(replace(model.config, vocab_size=pretrained.vocab_size))
    new = load_backbone(smaller, folder, with_head=same_head)
    end_of_text = load_tokenizer(folder).end_of_text
    for weight, old in zip(weights_of(model).values(), weights_of(smaller).values(), strict=True):
        weight.copy_(old if len(old) == len(weight) else more_rows(old, len(weight), end_of_text))
    model.generation_config = smaller.generation_config
    return new


def more_rows(weight: Tensor, n_rows: int, like: int) -> Tensor:
    """Add rows to a weight, (V, …) → (n_rows, …): copies of one of its rows, so that their scale is right.

    The tokens of a chat template begin and end messages, as the end-of-text token begins and ends texts: theirs start
    as copies of its row.
    """
    return torch.cat([weight, weight[like].expand(n_rows - len(weight), *weight.shape[1:])])


def adapt(model: Model, init_from: str, settings: TrainingSettings, new: Iterable[str]) -> None:
    """Add an adapter to a model with the weights of `--init-from`; its head and other new parts are trained completely.

    Args:
        model: the model with these weights.
        init_from: the name of the model that they come from.
        settings: rank, α and target layers.
        new: names of the weights that the pretrained model does not have.

    Raises:
        UserError: the rank or the layers do not fit the model, or that model has an adapter already.
    """
    folder = find_pretrained(init_from)
    if is_adapter(folder):
        raise UserError(
            f"{init_from} is an adapter, and --lora-rank would put another one on top: merge it first with "
            f"{command('export', init_from, 'FOLDER', '--merge')}, or continue its run with --resume."
        )
    base = name_of(folder)
    base = os.path.abspath(base) if os.path.isdir(base) else base
    parts = dict.fromkeys(name.rpartition(".")[0] for name in new)
    if hasattr(model, "head"):
        parts["head"] = None
    assert settings.lora_rank is not None
    add_adapter(model, base, settings.lora_rank, settings.lora_alpha, settings.lora_targets, tuple(parts))


def load_teacher(task: Task) -> Model:
    """The teacher of a task's model, on the CPU.

    Raises:
        UserError: there is no such model, it is for another task, or it has another vocabulary, other labels or a
            shorter context than the student.
    """
    name = task.recipe.training.teacher
    assert name is not None
    if not hasattr(task.objective, "predictions"):
        raise UserError(
            f"--teacher is for tasks with one prediction for each token or text, and {task.recipe.task} has another "
            "objective: leave it out."
        )
    model, tokenizer = load_pretrained(find_pretrained(name), say=lambda text: None)
    student, teacher = task.config, model.config
    check_model(task.recipe.task, teacher, name)
    if (tokenizer.fingerprint(), teacher.vocab_size) != (task.tokenizer.fingerprint(), student.vocab_size):
        raise UserError(
            f"the teacher {name} has another vocabulary than the student, so its probabilities are about other tokens: "
            "choose a teacher with the same, or leave out --init-from."
        )
    if teacher.labels != student.labels:
        raise UserError(
            f"the teacher {name} knows the labels {', '.join(teacher.labels)}, and the data has "
            f"{', '.join(student.labels)}: choose a teacher with the same."
        )
    if teacher.context_length < student.context_length:
        raise UserError(
            f"the teacher {name} reads at most {teacher.context_length} tokens, and the student "
            f"{student.context_length}: give the student --context-length {teacher.context_length}, or choose another "
            "teacher."
        )
    return model


def find_pretrained(init_from: str) -> Path:
    """The folder of the model that `--init-from` or `--teacher` names.

    Raises:
        UserError: there is no such model; if it is that of a named recipe, the message says how to train it.
    """
    try:
        return find_model_folder(init_from)
    except UserError as error:
        path = Path(init_from)
        if path.parent.name == "runs" and path.name in RECIPES and not path.exists():
            raise UserError(
                f"this recipe starts from the model in {init_from}, which is not there yet; make it first: "
                + command("train", path.name)
            ) from error
        raise
