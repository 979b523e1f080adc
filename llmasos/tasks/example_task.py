"""What the tasks with finished examples share: labelled texts, questions, pairs. Each example is encoded once."""

from collections.abc import Callable, Sequence
from typing import Any

from llmasos.datasets import Examples, Splits, by_length, open_examples
from llmasos.errors import UserError
from llmasos.tasks.task import Task
from llmasos.training.recipe import Recipe


class ExamplesTask(Task):
    """A task whose data is lists of examples: to train on, held out and perhaps to test on.

    Attributes:
        data: the examples as texts, some of which may turn out to be unusable; see `split`.
    """

    data: Splits
    _checked: dict[str, list]

    def set_data(self, recipe: Recipe, format: str, **options: Any) -> None:
        """Open the recipe's data as examples of a format (`datasets/formats.py`)."""
        self.recipe, self._checked = recipe, {}
        self.data = open_examples(
            format, recipe.data, columns=columns_of(recipe), val=recipe.val_data, skip_bad=recipe.skip_bad, **options
        )
        if recipe.train_examples is not None:
            self.data.train = [Examples(self.data.train).example(recipe.seed, i) for i in range(self.n_train(recipe))]
        self.name, self.description, self.fingerprint = self.data.name, self.data.description, self.data.fingerprint

    def n_train(self, recipe: Recipe) -> int:
        """How many examples are trained on."""
        return min(recipe.train_examples or len(self.data.train), len(self.data.train))

    def set_examples(self, train: Sequence[Any], val: Sequence[Any], lengths: Callable[[Any], int], what: str) -> None:
        """Take the encoded examples, sorted by length into batches, and say how many there are.

        Args:
            lengths: the number of tokens of an example.
            what: their name, in the plural.
        """
        self.train = Examples(train, [lengths(example) for example in train], self.recipe.batch_size)
        self.val = by_length(val, [lengths(example) for example in val])
        longest = max(lengths(example) for example in [*train, *val])
        self.lines = [
            f"tokens   {self.tokenizer.kind}, {self.tokenizer.vocab_size:,} kinds: {len(self.split('train')):,} {what} "
            f"to train on, {len(self.split('val')):,} held out, the longest of {longest} tokens",
            *self.left_out,
        ]

    def encoded(self, split: str) -> list:  # where one example becomes one thing to learn, which `encode` makes
        return [self.encode(example) for example in self.split(split)]

    @property
    def left_out(self) -> list[str]:
        skipped = self.data.skipped
        return [f"skipped  {len(skipped):,} unusable examples; the first: {skipped[0]}"] if skipped else []

    @property
    def has_test(self) -> bool:
        return bool(self.data.test)

    def split(self, name: str) -> list:
        """The texts of one split, without unusable ones if they are to be left out; "all" is everything there is.

        Raises:
            UserError: the data has no such split, or an example of it is unusable, or all are.
        """
        names = [one for one in ("train", "val", "test") if getattr(self.data, one)]
        if name == "all":
            return [example for one in names for example in self.split(one)]
        if name not in names:
            raise UserError(f"{self.data.name} has no split {name!r}; it has {' and '.join(names)}.")
        if name not in self._checked:
            self._checked[name] = self._usable(name)
        return self._checked[name]

    def _usable(self, name: str) -> list:
        """The usable texts of one split; each of the others is an error, or is left out if the recipe says so."""
        usable = []
        for number, example in enumerate(getattr(self.data, name), start=1):
            if not (problem := self.problem(example)):
                usable.append(example)
                continue
            sentence = f"{example.where or f'{self.data.name}, {name} example {number:,}'}: {problem}"
            if not self.recipe.skip_bad:
                raise UserError(f"{sentence} Or leave such examples out with --skip-bad.")
            self.data.skipped.append(sentence)
        if not usable:
            raise UserError(f"no example of the split {name} is usable; the last: {self.data.skipped[-1]}")
        return usable

    def problem(self, example: Any) -> str:
        """Why the model cannot take an example, in words; "" if it can."""
        return ""


def columns_of(recipe: Recipe) -> dict[str, str] | None:
    """The recipe's columns, as role → name: "text=review,label=stars" is {"text": "review", "label": "stars"}."""
    if recipe.columns is None:
        return None
    pairs = [part.partition("=") for part in recipe.columns.split(",")]
    roles = {role.strip() for role, _, _ in pairs}
    if len(roles) < len(pairs) or not all(role.strip() and name.strip() for role, _, name in pairs):
        raise UserError(f"columns is {recipe.columns!r}; write ROLE=NAME,…, for example text=review,label=stars")
    return {role.strip(): name.strip() for role, _, name in pairs}
