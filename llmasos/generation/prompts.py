"""From a prompt's or a source's text to the ids that the model reads, and what a person should be told about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import nn

from llmasos.errors import UserError
from llmasos.generation.options import BeamOptions, SamplingOptions
from llmasos.tokenizers.tokenizer import Tokenizer

Options = TypeVar("Options", SamplingOptions, BeamOptions)


@dataclass(frozen=True)
class Prompt:
    """What the model reads before it writes.

    Attributes:
        ids: at least one token id, at most the model's context.
        warnings: sentences for a person: what could not be read as it was written.
        source: of an encoder–decoder, what the encoder reads; `ids` then is the start token alone.
    """

    ids: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    source: tuple[int, ...] | None = None

    @property
    def n_read(self) -> int:
        """How many tokens of the given text are read."""
        return len(self.ids if self.source is None else self.source)


def prepare(
    model: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str | Sequence[int]],
    options: Options,
    context_length: int | None = None,
) -> tuple[list[Prompt], Options]:
    """What the model reads for each text, and the options as far as it can follow them.

    For a GPT the texts are prompts (or the ids of prompts), for an encoder–decoder sources. The latter cannot write
    beyond its context, which limits max_new_tokens: its first token is chosen at position 0, so it can write as many
    as there are positions. A context_length that is shorter than the model's makes a GPT's context shorter.

    Raises:
        UserError: the model cannot write, the tokenizer does not fit it, or a source is empty or too long.
    """
    config = model.config
    if not config.generates:
        kind = config.family if config.is_pretraining else f"{config.family} with the head {config.head!r}"
        raise UserError(f"the model is a {kind}: it reads texts but cannot write; use a gpt or a transformer.")
    if isinstance(texts, str):
        raise UserError("the texts are one string; they must be a list of strings, for example [text].")
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model knows {config.vocab_size}: they do not "
            "belong together; use the tokenizer that was saved with the model."
        )
    if config.family == "gpt":
        room = context_length or config.context_length
        return [prepare_prompt(tokenizer, text, room, options) for text in texts], options
    options = replace(options, max_new_tokens=min(options.max_new_tokens, config.context_length))
    return prepare_sources(tokenizer, texts, config.context_length), options


def by_length(prompts: Sequence[Prompt], batch_size: int) -> Iterator[list[int]]:
    """Numbers of prompts in batches of similar length, so that little padding is read; the longest come first.

    (A batch too large for the memory then fails at once, and not after an hour.)
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size is {batch_size!r}; it must be a whole number of at least 1.")
    order = sorted(range(len(prompts)), key=lambda number: -prompts[number].n_read)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def prepare_prompt(tokenizer: Tokenizer, text: str | Sequence[int], context_length: int, options: Options) -> Prompt:
    """Encode a prompt and fit it into the context.

    - A text is encoded by `Tokenizer.encode_prompt`. No ids at all become `<|endoftext|>`, as an empty text does.
    - Of a prompt longer than the context the last tokens are kept: as many as leave room for `max_new_tokens`, but at
      least half of the context.

    Raises:
        UserError: ids were given, and one is not in the vocabulary.
    """
    if isinstance(text, str):
        ids, warnings = tokenizer.encode_prompt(text), _unknown_warnings(tokenizer, text)
    else:  # ids already
        ids, warnings = list(text) or [tokenizer.end_of_text], []
        strange = [id for id in ids if not 0 <= id < tokenizer.vocab_size]
        if strange:
            raise UserError(
                f"the prompt holds the token id {strange[0]}; the model's ids go from 0 to {tokenizer.vocab_size - 1}."
            )
    if len(ids) > context_length:
        n_kept = context_length - min(options.max_new_tokens, context_length // 2)
        warnings.append(
            f"the prompt is {len(ids)} tokens long and the model's context {context_length}: "
            f"only the last {n_kept} are read."
        )
        ids = ids[-n_kept:]
    return Prompt(tuple(ids), tuple(warnings))


def prepare_sources(tokenizer: Tokenizer, texts: Sequence[str], context_length: int) -> list[Prompt]:
    """Encode what an encoder–decoder shall read, as in training: source and end_of_text; it writes after its start.

    Raises:
        UserError: a source is empty, or longer than the context: what a text says cannot be told from a part of it.
    """
    start, end, prompts = tokenizer.start_of_target, tokenizer.end_of_text, []
    for line, text in enumerate(texts, start=1):
        if not text.strip():
            raise UserError(f"source line {line} is empty; every line must hold a text for the model to read.")
        source = (*tokenizer.encode(text), end)
        if len(source) > context_length:
            raise UserError(
                f"source line {line} is {len(source)} tokens long, its end included, and the model's context is "
                f"{context_length}: shorten it, or split it into several lines."
            )
        prompts.append(Prompt((start,), tuple(_unknown_warnings(tokenizer, text)), source))
    return prompts


def _unknown_warnings(tokenizer: Tokenizer, text: str) -> list[str]:
    unknown = unknown_pieces(tokenizer, text)
    if not unknown:
        return []
    shown = [repr(piece if len(piece) <= 30 else piece[:29] + "…") for piece in unknown[:8]]
    instead = tokenizer.token_bytes(tokenizer.unknown_id).decode()
    return [f"the model does not know {', '.join(shown)}{', …' * (len(unknown) > 8)}: it reads {instead} instead."]


def unknown_pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    """The different pieces of `text` that this tokenizer cannot spell, in order of appearance.

    They are characters for a character tokenizer and words for WordPiece; the others can spell everything.

    >>> from llmasos.tokenizers import CharTokenizer
    >>> unknown_pieces(CharTokenizer("abc"), "a cab, Bob?")
    [' ', ',', 'B', 'o', '?']
    """
    if tokenizer.unknown_id is None:
        return []
    spans = tokenizer.encode_with_offsets(text)
    pieces = zip(spans.ids, spans.starts, spans.ends, strict=True)
    return list(dict.fromkeys(text[start:end] for id, start, end in pieces if id == tokenizer.unknown_id))
