"""Base class of tasks whose data are separate examples: labeled texts, questions, pairs, conversations."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from llmasos.capabilities import TASKS
from llmasos.datasets import Examples, Splits, by_length, open_examples
from llmasos.errors import UserError
from llmasos.tasks.task import Task, columns_of
from llmasos.training.recipe import Recipe


class ExampleTask(Task):
    """A task whose data are lists of examples: to train on, to validate on and perhaps to test on.

    Attributes:
        data: the examples as texts, some of which may turn out to be unusable; see `split`.
        example_name: the name of an example, in the plural.
    """

    data: Splits
    example_name: ClassVar[str] = "examples"

    @classmethod
    def open_data(cls, recipe: Recipe, eval_only: bool = False) -> Splits:
        settings = recipe.data
        data = open_examples(
            TASKS[recipe.task].data_format,
            settings.source,
            columns=columns_of(settings.columns),
            val=settings.val_data,
            skip_bad=settings.skip_bad,
            eval_only=eval_only,
            languages=settings.languages,
        )
        if settings.train_examples is not None:
            n, shuffled = min(settings.train_examples, len(data.train)), Examples(data.train)
            data.train = [shuffled.example(recipe.training.seed, i) for i in range(n)]
        return data

    @abstractmethod
    def encode(self, example: Any) -> Any:
        """An example as token ids."""

    @abstractmethod
    def length(self, encoded: Any) -> int:
        """The number of tokens of an encoded example."""

    def problem(self, example: Any) -> str:
        """Explain in words why the model cannot use an example; "" if it can."""
        return ""

    def examples(self, split: str) -> list[Any]:
        """The encoded examples of one split. Each is one target, unless a task encodes them otherwise."""
        return [self.encode(example) for example in self.split(split)]

    @cached_property
    def train(self) -> Examples:
        examples = self.examples("train")
        return Examples(examples, [self.length(example) for example in examples], self.recipe.training.batch_size)

    @cached_property
    def val(self) -> Sequence[Any]:
        examples = self.examples("val")
        return by_length(examples, [self.length(example) for example in examples])

    @property
    def fingerprint(self) -> str:
        return self.data.fingerprint

    def summarize_data(self) -> list[str]:
        longest = max(self.length(example) for example in [*self.train.items, *self.val])
        return [
            f"tokens   {self.tokenizer.kind}, vocabulary of {self.tokenizer.vocab_size:,}: "
            f"{len(self.split('train')):,} {self.example_name} to train on, {len(self.split('val')):,} held out, the "
            f"longest of {longest} tokens"
        ]

    @property
    def skipped(self) -> list[str]:
        skipped = self.data.skipped
        return [f"skipped  {len(skipped):,} unusable examples; the first: {skipped[0]}"] if skipped else []

    @property
    def has_test(self) -> bool:
        return bool(self.data.test)

    def split(self, name: str) -> list[Any]:
        """The usable texts of one split; "all" is all splits together.

        Raises:
            UserError: the data has no such split, or all of its examples are unusable, or one is and they are not to be
                skipped.
        """
        names = [split for split in ("train", "val", "test") if getattr(self.data, split)]
        if name == "all":
            return [example for split in names for example in self.split(split)]
        if name not in names:
            raise UserError(f"{self.data.name} has no split {name!r}; it has {' and '.join(names)}.")
        if name not in self._usable:
            self._usable[name] = self._check_examples(name)
        return self._usable[name]

    @cached_property
    def _usable(self) -> dict[str, list[Any]]:
        """The usable examples of the splits that have been checked."""
        return {}

    def _check_examples(self, split: str) -> list[Any]:
        """The usable texts of one split; others raise an error, or are skipped if the recipe says so."""
        usable = []
        for number, example in enumerate(getattr(self.data, split), start=1):
            if not (problem := self.problem(example)):
                usable.append(example)
                continue
            sentence = f"{example.where or f'{self.data.name}, {split} example {number:,}'}: {problem}"
            if not self.recipe.data.skip_bad:
                raise UserError(f"{sentence} Or skip such examples with --skip-bad.")
            self.data.skipped.append(sentence)
        if not usable:
            where = self.data.name if self.eval_only else f"the split {split} of {self.data.name}"
            raise UserError(f"no example of {where} is usable; the last: {self.data.skipped[-1]}")
        return usable
