"""What a task is: everything in a run that depends on what the model is *for*.

The training loop knows no task and no model family. A task brings it a model, an objective and examples, and says
afterwards how good the result is:

    Task(recipe)   opens the data that a recipe names
    use            a tokenizer, and with it the model's config and the objective
    prepare        the examples, as token ids
    build          the model, from random weights or from those of an earlier run
    sample         something to look at after each validation
    evaluate       scores with their intervals, and a handful of real mistakes

Each file of this room is one task, from its data to its result, on two pages.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from llmasos.errors import UserError
from llmasos.evaluation import Metric
from llmasos.hub import find, load_backbone, load_config, load_tokenizer
from llmasos.models import ModelConfig, build_model, preset
from llmasos.nn import eval_mode
from llmasos.objectives import Batch, Objective
from llmasos.tokenizers import Tokenizer, train_tokenizer
from llmasos.training.distributed import to_device
from llmasos.training.named_recipes import RECIPES
from llmasos.training.recipe import Recipe
from llmasos.training.trainer import TrainingData


@dataclass
class Report:
    """How good a model is at its task.

    Attributes:
        metrics: each with its interval; the first is the one that counts.
        tables: texts to print as they are (a confusion matrix, say).
        mistakes: a handful of what the model got wrong.
        outcomes: for the first score, what each example contributed (N,), so that two models can be compared example by
            example; None where examples do not add up to the score.
    """

    metrics: list[Metric]
    tables: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    outcomes: np.ndarray | None = None

    def lines(self) -> list[str]:
        """The report for a person."""
        mistakes = ["", "Some of its mistakes:", *self.mistakes] if self.mistakes else []
        return [*map(str, self.metrics), *(f"\n{table}" for table in self.tables), *mistakes]

    def to_dict(self) -> dict[str, Any]:
        """The scores and outcomes, for `results.json`; the ends of an interval that there is not are null."""
        metrics = [dataclasses.asdict(metric) for metric in self.metrics]
        metrics = [metric | {end: None for end in ("low", "high") if math.isnan(metric[end])} for metric in metrics]
        outcomes = None if self.outcomes is None else np.asarray(self.outcomes, dtype=float).tolist()
        return {"metrics": metrics, "outcomes": outcomes}


class Task(ABC):
    """One run's data, model and measure: `use` comes first, then `prepare` for training, then the rest.

    Attributes:
        families: of models that can learn this task.
        head: what sits on top of them.
        unit: what the loop predicts, in the plural, for its speed.
        examples: what a batch consists of.
        flops_per_token: what a prediction costs, where predictions are tokens.
        name, description, fingerprint: of the data; the fingerprint changes when the data does.
        tokenizer, config, objective: set by `use`.
        train, val: the examples, set by `prepare`.
        lines: what to tell the user about them.
    """

    families: tuple[str, ...] = ("gpt", "bert", "transformer")
    head = "lm"
    unit = "predictions"
    examples = "examples"
    flops_per_token: float | None = None

    recipe: Recipe
    name: str
    description: str
    fingerprint: str

    tokenizer: Tokenizer
    config: ModelConfig
    objective: Objective
    train: TrainingData
    val: Sequence[Any]
    lines: list[str]

    @abstractmethod
    def __init__(self, recipe: Recipe, whole: bool = False):
        """Open the data.

        Args:
            recipe: names it.
            whole: hold out all of a file of the user's own, which is only to be measured on. (Of running text nothing
                needs to be done for that: its splits together are all of it.)

        Raises:
            UserError: the data is not as it must be.
        """

    @abstractmethod
    def texts(self) -> Iterable[str]:
        """The training texts, from which a tokenizer may learn."""

    @abstractmethod
    def use(self, tokenizer: Tokenizer, config: ModelConfig | None = None) -> None:
        """Take the tokenizer and decide the model's config and the objective.

        Args:
            tokenizer: what makes ids of texts.
            config: of a model that there is already; None = the one that the recipe describes.
        """

    @abstractmethod
    def prepare(self) -> None:
        """Turn the data into examples to train on and to validate on."""

    @abstractmethod
    def sample(self, model: nn.Module) -> str:
        """A short text that shows what the model can do at this moment."""

    @abstractmethod
    def evaluate(self, model: nn.Module, split: str = "val") -> Report:
        """How good the model is on one split of the data.

        Args:
            model: of the task's config; its mode does not matter.
            split: "train", "val", "test" where there is one, or "all".

        Raises:
            UserError: the data has no such split.
        """

    def encoded(self, split: str) -> Sequence[Any]:
        """The examples of one split as the objective takes them; none of a task whose `evaluate` gives the loss."""
        return ()

    @property
    def has_test(self) -> bool:
        """Whether there is a split for final numbers only."""
        return False

    @property
    def left_out(self) -> list[str]:
        """For the user: how many examples were found unusable and left out, and the first of them."""
        return []

    def numbers(self, val_loss: float) -> dict[str, float]:
        """The validation loss in other units, for the log."""
        return {}

    def make_tokenizer(self, recipe: Recipe) -> Tokenizer:
        """The tokenizer of `--init-from`, or one that is trained on the task's training texts."""
        if recipe.init_from is not None:
            return load_tokenizer(init_folder(recipe))
        return train_tokenizer(recipe.tokenizer, self.texts(), recipe.vocab_size, lowercase=recipe.lowercase)

    def model_config(self, recipe: Recipe, tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
        """The config that a recipe describes: that of `--init-from` or the preset, with its changes and the task's own.

        Raises:
            UserError: the model is of a family that this task is not for.
        """
        changes = {**recipe.model_changes, **changes}
        if self.head not in ("lm", "pretraining"):  # these two follow from the family
            changes["head"] = self.head
        if recipe.init_from is None:
            config = preset(recipe.model, vocab_size=tokenizer.vocab_size, **changes)
            self.check_model(config, recipe.model)
            return config
        theirs = load_config(init_folder(recipe))
        if self.head in ("lm", "pretraining"):
            self.check_model(theirs, recipe.init_from)  # all of it is needed
        labels = changes.get("labels", ())
        if labels and set(labels) <= set(theirs.labels):  # a classifier that knows these labels goes on with its own
            changes["labels"] = theirs.labels
        return ModelConfig.from_dict({**theirs.to_dict(), "labels": (), **changes})

    def check_model(self, config: ModelConfig, name: str) -> None:
        """Raise UserError unless a model of this config, called so by the user, can do the task."""
        if config.family not in self.families:
            raise UserError(
                f"the task {self.recipe.task} is for models of the family {' or '.join(self.families)}, and {name} is "
                f"a {config.family}; choose another model."
            )
        if config.head != self.head:
            heads = {"classifier": "a classifier", "question_answering": "a span extractor"}
            raise UserError(
                f"the task {self.recipe.task} is for models with {heads.get(self.head, 'no head')} on top, and {name} has "
                f"{heads.get(config.head, 'no head')}; choose another model."
            )

    def build(self, recipe: Recipe, with_weights: bool = True) -> nn.Module:
        """A new model of the prepared config, with the weights of `--init-from` if the recipe says so.

        Args:
            with_weights: False leaves them out, for a run whose weights come from a checkpoint.
        """
        model = build_model(self.config)
        if recipe.init_from is not None and recipe.init_weights and with_weights:
            folder = init_folder(recipe)
            theirs = load_config(folder)
            same_head = (theirs.head, theirs.labels) == (self.config.head, self.config.labels)
            load_backbone(model, folder, with_head=same_head)
        return model

    def finish(self, model: nn.Module, say: Callable[[str], None]) -> Report:
        """Show what the finished model can do and how good it is on the held-out examples."""
        report = self.evaluate(model)
        say("\n" + "\n".join(report.lines()) + "\n")
        return report

    def describe_loss(self, val_loss: float) -> str:
        """The lowest validation loss, for a person."""
        return f"val_loss {val_loss:.4f} (nats per prediction over the whole validation split)"

    def next_command(self, run: Path) -> str:
        """What to do with the finished model."""
        return f"python sample.py {run} --prompt TEXT"


def init_folder(recipe: Recipe) -> Path:
    """The folder of the model that `--init-from` names. Raises UserError, if a recipe makes that model with its command."""
    try:
        return find(recipe.init_from)
    except UserError as error:
        path = Path(recipe.init_from)
        if path.parent.name == "runs" and path.name in RECIPES and not path.exists():
            raise UserError(
                f"this recipe starts from the model in {recipe.init_from}, which is not there yet; make it first: "
                f"python train.py {path.name}"
            ) from error
        raise


def batches(
    objective: Objective, examples: Sequence[Any], seed: int, model: nn.Module, batch_size: int = 64
) -> Iterator[tuple[Sequence[Any], Batch]]:
    """Examples as batches on the model's device, some at a time; while they are used the model is in eval mode.

    What is random in a batch (masks) depends on the seed and the example's number alone.
    """
    device = next(model.parameters()).device
    with eval_mode(model), torch.inference_mode():
        for start in range(0, len(examples), batch_size):
            some = examples[start : start + batch_size]
            rngs = [lambda row=start + i: np.random.default_rng([seed, row]) for i in range(len(some))]
            yield some, to_device(objective.collate(some, rngs), device)
