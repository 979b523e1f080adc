"""Fields of a body that several routes share, and how each is checked: the model, its input, one option."""

import dataclasses
from typing import Any

from llmasos.generation.options import api_name
from llmasos.serving.api.validators import AnyOf, Field, Integer, ListOf, ModelName, Number, Text, Validator
from llmasos.serving.served_model import ServedModel
from llmasos.settings import types_of

NO_LIMIT = -1
MAX_IDS = 100_000  # the most ids of a text that is sent as token ids


def model_field(served: ServedModel) -> Field:
    """The model; a field of every body."""
    return Field("model", ModelName(served.name), "the model; optional, since there is only one")


def max_tokens_field(served: ServedModel, name: str, default: int | None, low: int = 1) -> Field:
    """The length limit of a generated text."""
    help = f"maximum number of tokens to generate; {NO_LIMIT} is the same as none"
    return Field(name, TokenLimit(low, served.max_tokens, default), help, default)


@dataclasses.dataclass(frozen=True)
class TokenLimit(Integer):
    """A length limit, or -1 for the default, as programs for llama.cpp's server and LM Studio send it."""

    default: int | None

    def convert(self, value: Any, where: str) -> Any:
        return self.default if value == NO_LIMIT else super().convert(value, where)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [super().schema(), {"const": NO_LIMIT}]}


def option_field(option: dataclasses.Field, default: Any, at_most: int = 0) -> Field:
    """An option of generation (`generation/options.py`) as a field of a body, with the same name, help and range.

    Args:
        option: the option.
        default: the model's recommendation.
        at_most: the server's limit if the option has none.
    """
    limits = option.metadata
    low, high, off = limits["at_least"], limits["at_most"] or at_most, limits["off"]
    validator: Validator = Number(low, high, limits["or_value"])
    if types_of(option)[0] is int:
        validator = Integer(min(low, *off, low), high)
    help = limits["help"] + (f"; {off[0]} switches it off" if off else "")
    return Field(api_name(option), validator, help, default)


def input_field(text: Text, max_texts: int) -> Field:
    """One text or several."""
    return Field("input", AnyOf((text, ListOf(text, 1, max_texts))), "a text, or a list of texts", required=True)


def token_ids(served: ServedModel) -> ListOf:
    """A text as token ids."""
    return ListOf(Integer(0, served.vocab_size - 1), 1, MAX_IDS)


def as_list(value: str | list) -> list:
    """One text or several, as a list. A list of token ids is one text.

    >>> as_list("a"), as_list(["a", "b"]), as_list([1, 2]), as_list([[1], [2]])
    (['a'], ['a', 'b'], [[1, 2]], [[1], [2]])
    """
    return [value] if isinstance(value, str) or isinstance(value[0], int) else value


def field_names(value: str | list[str]) -> list[str]:
    """The names of the texts of `input_field` in the body, for error messages.

    >>> field_names("a"), field_names(["a", "b"])
    (['input'], ['input[0]', 'input[1]'])
    """
    return ["input"] if isinstance(value, str) else [f"input[{number}]" for number in range(len(value))]
