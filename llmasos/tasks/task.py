"""The interface of a task: everything in a run that depends on the purpose of the model.

The training loop depends on no task and no model family. `Task.setup(recipe)` prepares everything that it needs, and
the task evaluates the result:

    data        the opened data that the recipe names
    tokenizer   that of --init-from, or one that is trained on the data
    config      the config of the model
    objective   the training objective
    train, val  the examples, as token ids
    sample      a text to look at after each validation
    evaluate    metrics with their intervals, and a few real mistakes

Each task is one file of this folder, from its data to its result, and one row of `llmasos/capabilities.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from llmasos.capabilities import TASKS
from llmasos.console import Say, command, track
from llmasos.errors import UserError
from llmasos.evaluation.metric import Metric
from llmasos.evaluation.show_table import ShownAsTable
from llmasos.lazy import imported
from llmasos.models import Model, ModelConfig, build_model, preset
from llmasos.nn import eval_mode
from llmasos.objectives import Batch, Objective
from llmasos.settings import check_choice
from llmasos.tokenizers import Tokenizer, train_tokenizer
from llmasos.training.distributed import to_device
from llmasos.training.recipe import Recipe
from llmasos.training.trainer import TrainingData

AnyTask = TypeVar("AnyTask", bound="Task")
HEADS = {
    "classifier": "a classifier",
    "reward": "one number",
    "token_classifier": "a classifier of tokens",
    "question_answering": "a question-answering head",
}  # others: no head


@dataclass(repr=False)
class Report(ShownAsTable):
    """The evaluation of a model on its task.

    Attributes:
        metrics: the metrics with their intervals; the first is the headline.
        tables: texts to print as they are (a confusion matrix, say).
        mistakes: a few examples that the model got wrong.
        outcomes: for the first metric, what each example contributed (N,), so that two models can be compared example
            by example; None if the metric is not an average over examples.
        samples: texts by the model.
    """

    metrics: list[Metric]
    tables: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    outcomes: np.ndarray | None = None
    samples: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The report for the log."""
        return [*map(str, self.metrics), *self.notes()]

    def table(self) -> list[Sequence[str]]:
        return [("metric", "value", "95 % interval", "n", ""), *(metric.cells for metric in self.metrics)]

    def notes(self) -> list[str]:
        """Lines about what the metrics do not show, such as mistakes."""
        mistakes = ["", "Some of its mistakes:", *self.mistakes] if self.mistakes else []
        return [*(f"\n{table}" for table in self.tables), *mistakes, *self.samples]

    def to_dict(self) -> dict[str, Any]:
        """Metrics and outcomes, for `results.json`."""
        metrics = [metric.to_dict() for metric in self.metrics]
        outcomes = None if self.outcomes is None else np.asarray(self.outcomes, dtype=float).tolist()
        return {"metrics": metrics, "outcomes": outcomes}


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """A task that is ready to train or to evaluate, made by `setup`. Anything slow is computed on first use.

    Attributes:
        recipe: the settings.
        data: the opened data.
        tokenizer: the tokenizer.
        config: the config of the model.
        objective: the training objective.
        eval_only: whether the data is only to be evaluated on.
        unit: what a target is, in the plural ("tokens"), for the training loop's throughput.
        sample_arguments: how to try the trained model with `sample`.
    """

    recipe: Recipe
    data: Any
    tokenizer: Tokenizer
    config: ModelConfig
    objective: Objective
    eval_only: bool = False

    unit: ClassVar[str] = "targets"
    sample_arguments: ClassVar[tuple[str, ...]] = ("--prompt", "TEXT")

    @classmethod
    def setup(
        cls: type[AnyTask],
        recipe: Recipe,
        data: Any = None,
        tokenizer: Tokenizer | None = None,
        config: ModelConfig | None = None,
        eval_only: bool = False,
    ) -> AnyTask:
        """Prepare a task.

        Args:
            recipe: all settings.
            data: the result of `open_data`, if it is already open.
            tokenizer: the tokenizer of an existing run or model; None = that of `--init-from`, or a new one.
            config: the config of an existing run or model; None = as the recipe describes it.
            eval_only: use all of a user's own file as validation data.

        Raises:
            UserError: the data cannot be used, or the model cannot do the task.
        """
        data = cls.open_data(recipe, eval_only) if data is None else data
        tokenizer = tokenizer or cls.make_tokenizer(recipe, data)
        config = config or cls.make_config(recipe, data, tokenizer)
        return cls(recipe, data, tokenizer, config, cls.make_objective(recipe, tokenizer, config), eval_only)

    # What each task defines

    @classmethod
    @abstractmethod
    def open_data(cls, recipe: Recipe, eval_only: bool = False) -> Any:
        """Open the data that a recipe names. It has a `name` and a `description`.

        Raises:
            UserError: the data cannot be used.
        """

    @classmethod
    @abstractmethod
    def texts(cls, data: Any) -> Iterable[str]:
        """The training texts, from which a tokenizer may be trained."""

    @classmethod
    @abstractmethod
    def make_objective(cls, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig) -> Objective:
        """Make the objective. Raises UserError if the tokenizer lacks a special token that it needs."""

    @cached_property
    @abstractmethod
    def train(self) -> TrainingData:
        """The training examples."""

    @cached_property
    @abstractmethod
    def val(self) -> Sequence[Any]:
        """The validation examples."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A string that changes when the data does."""

    @abstractmethod
    def summarize_data(self) -> list[str]:
        """Lines for the user about the training and validation examples."""

    @abstractmethod
    def sample(self, model: Model) -> str:
        """A short text that shows what the model has learned so far."""

    @abstractmethod
    def evaluate(self, model: Model, split: str = "val") -> Report:
        """Evaluate the model on one split of the data.

        Args:
            model: a model of the task's config, in any mode.
            split: "train", "val", "test" where there is one, or "all".

        Raises:
            UserError: the data has no such split.
        """

    # What a task may define

    needs_reference: ClassVar[bool] = False  # whether training compares the model with that of `--init-from`

    def start_training(self, model: Model, say: Say) -> None:  # noqa: B027
        """Prepare what depends on the model (nothing, for most tasks).

        Args:
            model: the model to be trained, on its device.
            say: prints one line for the user.
        """

    def examples(self, split: str) -> Sequence[Any]:
        """The examples of one split for the objective; none if `evaluate` already measures the loss."""
        return ()

    @property
    def batch_unit(self) -> str:
        """The unit of a batch, in the plural, for the user."""
        return "examples"

    @property
    def flops_per_token(self) -> float | None:
        """The FLOPs per prediction, if predictions are tokens."""
        return None

    @property
    def has_test(self) -> bool:
        """Whether there is a split for final results only."""
        return False

    @property
    def skipped(self) -> list[str]:
        """The number of unusable examples so far, and the first of them, for the user."""
        return []

    def metrics(self, val_loss: float) -> dict[str, float]:
        """The validation loss in other units, for the log."""
        return {}

    def report(self, model: Model) -> Report:
        """The report at the end of a run: by default, the evaluation on the validation examples."""
        return self.evaluate(model)

    def describe_loss(self, val_loss: float) -> str:
        """The lowest validation loss, for the user."""
        return f"val_loss {val_loss:.4f} (nats per target over the whole validation split)"

    def next_command(self, run: Path) -> str:
        """A command to try the trained model with."""
        return command("sample", run, *self.sample_arguments)

    @property
    def saved_recipe(self) -> Recipe:
        """The recipe as it is saved with the run."""
        return self.recipe

    @classmethod
    def make_tokenizer(cls, recipe: Recipe, data: Any) -> Tokenizer:
        """The tokenizer of `--init-from` or of the teacher, or one that is trained on the task's training texts."""
        if (name := recipe.model.init_from or recipe.training.teacher) is not None:
            from llmasos.tasks.pretrained_models import pretrained_tokenizer  # loads the hub, which few runs need

            return pretrained_tokenizer(name)
        settings = recipe.data
        return train_tokenizer(settings.tokenizer, cls.texts(data), settings.vocab_size, lowercase=settings.lowercase)

    @classmethod
    def make_config(cls, recipe: Recipe, data: Any, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
        """The config that a recipe describes: that of `--init-from` or the preset, with some fields changed.

        Raises:
            UserError: the model is of a family that cannot do the task.
        """
        changes = {**recipe.model.overrides, **changes}
        head = TASKS[recipe.task].head
        if head not in ("lm", "pretraining"):  # these two follow from the family
            changes["head"] = head
        if recipe.model.init_from is None:
            config = preset(recipe.model.preset, vocab_size=tokenizer.vocab_size, **changes)
            check_model(recipe.task, config, recipe.model.preset)
            return config
        from llmasos.tasks.pretrained_models import longer_context, pretrained_config

        pretrained = pretrained_config(recipe.model.init_from)
        changes |= longer_context(recipe.model, pretrained)
        if head in ("lm", "pretraining"):
            check_model(recipe.task, pretrained, recipe.model.init_from)  # its own head is required
        labels = changes.get("labels", ())
        if labels and set(labels) <= set(pretrained.labels):  # a classifier that has these labels keeps its own
            changes["labels"] = pretrained.labels
        return ModelConfig.from_dict({**pretrained.to_dict(), "labels": (), **changes})

    # What all tasks share

    @cached_property
    def summary(self) -> list[str]:
        """Lines for the user about the examples, which are prepared first, so that errors in them appear here."""
        _ = self.train, self.val
        return [*self.summarize_data(), *self.skipped]

    @property
    def eval_split(self) -> str:
        """The split to evaluate on by default."""
        return "all" if self.eval_only else "test" if self.has_test else "val"

    @cached_property
    def teacher(self) -> Model | None:
        """The model of `--teacher`. Raises UserError if it cannot teach this task's model."""
        if self.recipe.training.teacher is None:
            return None
        from llmasos.tasks.pretrained_models import load_teacher

        return load_teacher(self)

    def build_model(self, with_weights: bool = True) -> Model:
        """A new model of the task's config, with the weights of `--init-from`, and an adapter, if the recipe says so.

        Args:
            with_weights: False leaves them out, for a run whose weights come from a checkpoint.
        """
        model = build_model(self.config)
        settings, training = self.recipe.model, self.recipe.training
        is_adapted = training.lora_rank is not None  # then the checkpoint holds only the adapter
        if settings.init_from is not None and settings.init_weights and (with_weights or is_adapted):
            from llmasos.tasks.pretrained_models import adapt, load_pretrained_weights

            new = load_pretrained_weights(model, settings.init_from)
            if is_adapted:
                adapt(model, settings.init_from, training, new)
        return model


def check_model(task: str, config: ModelConfig, name: str) -> None:
    """Raise UserError unless a model of this config can do the task.

    Args:
        task: the name of the task.
        config: the config of the model.
        name: the model's name, as the user wrote it.
    """
    info = TASKS[task]
    if config.family not in info.families:
        raise UserError(
            f"the task {task} is for models of the family {' or '.join(info.families)}, and {name} is a "
            f"{config.family}; choose another model."
        )
    if config.head != info.head:
        raise UserError(
            f"the task {task} is for models with {HEADS.get(info.head, 'no head')} on top, and {name} has "
            f"{HEADS.get(config.head, 'no head')}; choose another model."
        )


def batches(
    objective: Objective, examples: Sequence[Any], seed: int, model: Model, batch_size: int = 64
) -> Iterator[tuple[Sequence[Any], Batch]]:
    """Examples in batches on the model's device, with the model in eval mode while they are used.

    Anything random in a batch (masks) depends only on the seed and the example's number.

    Yields:
        Some of the examples, and the batch made of them.
    """
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode():
        for start in track(range(0, len(examples), batch_size), "scoring"):
            chunk = examples[start : start + batch_size]
            rngs = [lambda row=start + i: np.random.default_rng([seed, row]) for i in range(len(chunk))]
            yield chunk, to_device(objective.collate(chunk, rngs), device)


def task_class(name: str) -> type[Task]:
    """The class of a task. Raises UserError if there is no task of this name."""
    check_choice("task", name, TASKS)
    return imported(TASKS[name].implementation)


def columns_of(columns: str | None) -> dict[str, str] | None:
    """A recipe's columns as role → name.

    >>> columns_of("text=review,label=stars")
    {'text': 'review', 'label': 'stars'}
    """
    if columns is None:
        return None
    pairs = [part.partition("=") for part in columns.split(",")]
    roles = {role.strip() for role, _, _ in pairs}
    if len(roles) < len(pairs) or not all(role.strip() and name.strip() for role, _, name in pairs):
        raise UserError(f"columns is {columns!r}; write ROLE=NAME,…, for example text=review,label=stars.")
    return {role.strip(): name.strip() for role, _, name in pairs}
