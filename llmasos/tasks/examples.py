"""What the tasks with finished examples share: labelled texts, questions, pairs. Each example is encoded once."""

from collections.abc import Callable, Sequence
from typing import Any

from llmasos.datasets import Examples, Splits, by_length
from llmasos.errors import UserError
from llmasos.tasks.base import Task
from llmasos.training.recipe import Recipe


class ExamplesTask(Task):
    """A task whose data is lists of examples: to train on, held out and perhaps to test on.

    Attributes:
        data: the examples as texts.
    """

    data: Splits

    def set_data(self, recipe: Recipe, open_data: Callable[..., Splits], **options: Any) -> None:
        """Open the recipe's data with one of the `open_*` functions of the datasets."""
        self.recipe = recipe
        self.data = open_data(
            recipe.data, columns=columns_of(recipe), val=recipe.val_data, skip_bad=recipe.skip_bad, **options
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
            f"tokens   {self.tokenizer.kind}, {self.tokenizer.vocab_size:,} kinds: {len(self.data.train):,} {what} to "
            f"train on, {len(self.data.val):,} held out, the longest of {longest} tokens"
        ]
        if self.data.skipped:
            self.lines.append(f"skipped  {len(self.data.skipped):,} unusable rows; the first: {self.data.skipped[0]}")

    @property
    def has_test(self) -> bool:
        return bool(self.data.test)

    def split(self, name: str) -> list:
        """The texts of one split; "all" is everything there is. Raises UserError if the data has no such split."""
        if name == "all":
            return [*self.data.train, *self.data.val, *(self.data.test or [])]
        examples = getattr(self.data, name, None)
        if not examples:
            names = "train, val and test" if self.has_test else "train and val"
            raise UserError(f"{self.data.name} has no split {name!r}; it has {names}.")
        return examples


def columns_of(recipe: Recipe) -> dict[str, str] | None:
    """The recipe's columns, as role → name: "text=review,label=stars" is {"text": "review", "label": "stars"}."""
    if recipe.columns is None:
        return None
    pairs = [part.partition("=") for part in recipe.columns.split(",")]
    if not all(role.strip() and name.strip() for role, _, name in pairs):
        raise UserError(f"columns is {recipe.columns!r}; write ROLE=NAME,…, for example text=review,label=stars")
    return {role.strip(): name.strip() for role, _, name in pairs}
