"""From a prompt's text to the ids that the model reads, and what a person should be told about it."""

from dataclasses import dataclass

from llmasos.generation.options import SamplingOptions
from llmasos.tokenizers.base import Tokenizer

UNKNOWN = "<|unknown|>"  # the special token with which the character tokenizer stands in for what it has never seen


@dataclass(frozen=True)
class Prompt:
    """What the model reads before it writes.

    Attributes:
        ids: at least one token id, at most the model's context.
        notices: sentences for a person: what could not be read as it was written.
    """

    ids: tuple[int, ...]
    notices: tuple[str, ...] = ()


def prepare_prompt(tokenizer: Tokenizer, text: str, context_length: int, options: SamplingOptions) -> Prompt:
    """Encode a prompt and fit it into the context.

    - An empty prompt becomes `<|endoftext|>`, after which a document begins.
    - Of a prompt longer than the context the last tokens are kept: as many as leave room for `max_new_tokens`, but at
      least half of the context.
    - Special tokens spelled out in the text are plain text.
    """
    ids, notices = tokenizer.encode(text) or [tokenizer.end_of_text], []
    if unknown := unknown_characters(tokenizer, text):
        shown = ", ".join(repr(character) for character in unknown[:8]) + (", …" if len(unknown) > 8 else "")
        notices.append(f"the model has never seen the character {shown}: it reads {UNKNOWN} instead.")
    if len(ids) > context_length:
        n_kept = context_length - min(options.max_new_tokens, context_length // 2)
        notices.append(
            f"the prompt is {len(ids)} tokens long and the model's context {context_length}: "
            f"only the last {n_kept} are read."
        )
        ids = ids[-n_kept:]
    return Prompt(tuple(ids), tuple(notices))


def unknown_characters(tokenizer: Tokenizer, text: str) -> list[str]:
    """The different characters of `text` for which this tokenizer has no token, in order of appearance."""
    if UNKNOWN not in tokenizer.special_tokens:
        return []
    return [c for c in dict.fromkeys(text) if tokenizer.encode(c) == [tokenizer.special_tokens[UNKNOWN]]]
