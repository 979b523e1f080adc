"""Fields that the bodies of several routes have."""

from llmasos.serving.api.schema import Field
from llmasos.serving.api.validators import Either, Integer, ListOf, ModelName, Text
from llmasos.serving.served_model import Served


def model_field(served: Served) -> Field:
    """Every body may say which model it means."""
    return Field("model", ModelName(served.name), "the model; there is one, so it may be left out")


def tokens_field(served: Served, name: str, default: int | None) -> Field:
    """How long a text may become."""
    return Field(name, Integer(1, served.max_tokens), "how many tokens to write at most", default)


def input_field(text: Text, most: int) -> Field:
    """One text or several."""
    return Field("input", Either((text, ListOf(text, 1, most))), "a text, or several", required=True)


def several(value: str | list) -> list:
    """One text or several, as several. The token ids of a text are one, too.

    >>> several("a"), several(["a", "b"]), several([1, 2]), several([[1], [2]])
    (['a'], ['a', 'b'], [[1, 2]], [[1], [2]])
    """
    is_one = isinstance(value, str) or isinstance(value[0], int)
    return [value] if is_one else value


def places(value: str | list[str]) -> list[str]:
    """Where the texts of `input_field` stand in the body.

    >>> places("a"), places(["a", "b"])
    (['input'], ['input[0]', 'input[1]'])
    """
    return ["input"] if isinstance(value, str) else [f"input[{number}]" for number in range(len(value))]
