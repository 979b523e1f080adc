"""What the bodies of several routes have in common, and warnings about texts that are longer than the context."""

from llmasos.serving.api.validators import AnyOf, Field, Integer, ListOf, ModelName, Text
from llmasos.serving.served_model import ServedModel

MAX_IDS = 100_000  # of a text that is sent as token ids


def model_field(served: ServedModel) -> Field:
    """The model; a field of every body."""
    return Field("model", ModelName(served.name), "the model; there is only one, so it may be left out")


def max_tokens_field(served: ServedModel, name: str, default: int | None) -> Field:
    """The length limit of a generated text."""
    return Field(name, Integer(1, served.max_tokens), "how many tokens to generate at most", default)


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


def n_tokens(served: ServedModel, text: str) -> int:
    """How many tokens a text has, including the special tokens around it."""
    return len(served.tokenizer.encode(text)) + served.tokenizer.n_special_tokens(1)


def truncation_warnings(served: ServedModel, n: int, what_is_read: str) -> dict[str, list[str]]:
    """The field `warnings` for a text of n tokens; empty if the model reads all of it."""
    context_length = served.config.context_length
    if n <= context_length:
        return {}
    length = f"the text has {n} tokens, special tokens included, and the model's context has {context_length}"
    return {"warnings": [f"{length}: only {what_is_read} read."]}
