"""Texts that are longer than the model's context. What is not read is said, in a warning beside the answer."""

from llmasos.serving.served_model import Served


def n_tokens(served: Served, text: str) -> int:
    """How many tokens a text has, with those that frame it."""
    return len(served.tokenizer.encode(text)) + served.tokenizer.n_special_tokens(1)


def truncation_warnings(served: Served, n: int, what_is_read: str) -> dict[str, list[str]]:
    """What to say of a text of n tokens, as a field of what is said about it; nothing if all of it is read."""
    context = served.config.context_length
    if n <= context:
        return {}
    long = f"the text is {n} tokens long, its frame included, and the model's context {context}"
    return {"warnings": [f"{long}: only {what_is_read} read."]}
