"""Prompts and answers as token ids, for the tasks that judge whole answers.

A chat model (one whose tokenizer has the special tokens of a chat template) gets the prompt as a user's message; any
other model continues it unchanged.
"""

from collections.abc import Sequence

from llmasos.prompting import Message, template_of
from llmasos.prompting.chat_template import PLAIN
from llmasos.tokenizers import Tokenizer


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """The ids of a prompt, at least one; an empty one begins a new text."""
    template = template_of(tokenizer)
    if template.name == PLAIN or not prompt:
        return tokenizer.encode_prompt(prompt)
    return list(template.encode(tokenizer, [Message("user", prompt)]).ids)


def encode_answer(tokenizer: Tokenizer, prompt: str, answer: str) -> list[int]:
    """The ids of an answer to that prompt, with the token that ends it."""
    template = template_of(tokenizer)
    if template.name == PLAIN or not prompt:
        return [*tokenizer.encode(answer), tokenizer.end_of_text]
    return [*tokenizer.encode(answer.strip()), tokenizer.special_tokens[template.end]]


def length_problem(prompt: Sequence[int], answers: Sequence[Sequence[int]], context_length: int) -> str:
    """Explain in a sentence why a model cannot read a prompt with these answers; "" if it can."""
    longest = max(map(len, answers), default=1)
    if len(prompt) + longest - 1 <= context_length:
        return ""
    if not answers:
        return (
            f"the prompt has {len(prompt)} tokens and the model's context {context_length}, so there is no room for an "
            "answer: shorten it, or use a model with a longer context."
        )
    return (
        f"the prompt with the longer answer has {len(prompt) + longest - 1} tokens and the model's context "
        f"{context_length}: shorten them, or use a model with a longer context."
    )
