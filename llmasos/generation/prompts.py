"""Prepare prompts and sources: convert text to the ids that the model reads, with warnings for the user."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from llmasos.console import track
from llmasos.errors import UserError, check_number
from llmasos.generation.options import Options, SamplingOptions
from llmasos.models import Model
from llmasos.models.memory_checks import BYTES, check_fits
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prompt:
    """What the model reads before it generates.

    Attributes:
        ids: at least one token id, at most the model's context.
        warnings: sentences for the user about parts that the model cannot read as written.
        source: for an encoder–decoder, what the encoder reads; `ids` then is the start token alone.
    """

    ids: tuple[int, ...]
    warnings: tuple[str, ...] = ()
    source: tuple[int, ...] | None = None

    @property
    def n_tokens(self) -> int:
        """The number of tokens read of the prompt or the source."""
        return len(self.ids if self.source is None else self.source)


def prepare(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str | Sequence[int]],
    options: Options,
    context_length: int | None = None,
) -> tuple[list[Prompt], Options]:
    """Turn each text into what the model reads, and fit the options to the model.

    The options get the tokens that end the model's texts: those that its tokenizer and its `generation_config` name.

    For a GPT the texts are prompts (or the ids of prompts), for an encoder–decoder sources. An encoder–decoder cannot
    generate beyond its context, which limits max_new_tokens: its first token is generated at position 0, so it can
    generate as many as there are positions.

    Args:
        model, tokenizer: a GPT or a Transformer, and its tokenizer.
        texts: prompts or sources.
        options: how to sample or search.
        context_length: a context for a GPT that is shorter than the model's (None = the model's).

    Raises:
        UserError: the model cannot generate, the tokenizer does not fit it, or a source is empty or too long.
    """
    config = model.config
    if not config.generates:
        name = config.family if config.is_pretraining else f"{config.family} with the head {config.head!r}"
        raise UserError(f"the model is a {name}: it cannot generate text; use a gpt or a transformer.")
    if isinstance(texts, str):
        raise UserError("the texts are one string; they must be a list of strings, for example [text].")
    if tokenizer.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model only {config.vocab_size}: they do not belong "
            "together; use the tokenizer that was saved with the model."
        )
    if not isinstance(options, SamplingOptions) or options.stop_at_end_of_text:
        options = replace(options, stop_token_ids=stop_ids(model, tokenizer, options))
    if config.family == "gpt":
        length = context_length or config.context_length
        return [prepare_prompt(tokenizer, text, length, options) for text in texts], options
    options = replace(options, max_new_tokens=min(options.max_new_tokens, config.context_length))
    return prepare_sources(tokenizer, texts, config.context_length), options


def stop_ids(model: Model, tokenizer: Tokenizer, options: Options) -> tuple[int, ...]:
    """The tokens that end a text: those of the tokenizer, the model and the options, each once."""
    ids = (*tokenizer.stop_ids, *model.generation_config.stop_token_ids, *options.stop_token_ids)
    return tuple(dict.fromkeys(ids))


def check_sequences_fit(model: Model, prompts: Sequence[Prompt], n_each: int, name: str) -> None:
    """Raise UserError if the keys, values and logits of the prompts' sequences alone exceed the memory.

    Args:
        model: the model that continues the prompts.
        prompts: the prompts of one batch.
        n_each: the number of sequences for each prompt.
        name: the name of this number, for the message.
    """
    check_number(name, n_each, whole=True, at_least=1)
    c = model.config
    n_layers = c.n_decoder_layers if c.family == "transformer" else c.n_layers
    per_token = 2 * n_layers * c.n_kv_heads * c.head_size  # keys and values
    n_values = n_each * sum(len(prompt.ids) * per_token + c.vocab_size for prompt in prompts)
    device = next(model.parameters()).device
    check_fits(f"a batch of {name} {n_each:,}", BYTES * n_values, f"choose a smaller {name}, or fewer prompts", device)


def batches_by_length(prompts: Sequence[Prompt], batch_size: int) -> Iterator[list[int]]:
    """Indices of prompts in batches of similar length, so that there is little padding; the longest come first.

    (A batch that is too large for the memory then fails at once, not after an hour.)
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size is {batch_size!r}; it must be a whole number of at least 1.")
    order = sorted(range(len(prompts)), key=lambda i: -prompts[i].n_tokens)
    for start in track(range(0, len(order), batch_size), "generating"):
        yield order[start : start + batch_size]


def prepare_prompt(tokenizer: Tokenizer, text: str | Sequence[int], context_length: int, options: Options) -> Prompt:
    """Encode a prompt and fit it into the context.

    - A text is encoded by `Tokenizer.encode_prompt`. An empty list of ids becomes `<|endoftext|>`, like an empty text.
    - A prompt longer than the context is truncated at its beginning, to leave room for `max_new_tokens`, but at least
      half of the context is kept.

    Raises:
        UserError: the prompt is a list of ids, and one of them is not in the vocabulary.
    """
    if isinstance(text, str):
        ids, warnings = tokenizer.encode_prompt(text), _unknown_warnings(tokenizer, text)
    else:
        ids, warnings = list(text) or [tokenizer.end_of_text], []
        unknown = [id for id in ids if not 0 <= id < tokenizer.vocab_size]
        if unknown:
            raise UserError(
                f"the prompt has the token id {unknown[0]}; the model's ids are 0 to {tokenizer.vocab_size - 1}."
            )
    if len(ids) > context_length:
        n_kept = context_length - min(options.max_new_tokens, context_length // 2)
        warnings.append(
            f"the prompt is {len(ids)} tokens long and the model's context {context_length}: "
            f"only the last {n_kept} are read."
        )
        ids = ids[-n_kept:]
    return Prompt(tuple(ids), tuple(warnings))


def prepare_sources(tokenizer: Tokenizer, texts: Sequence[str | Sequence[int]], context_length: int) -> list[Prompt]:
    """Encode sources for an encoder–decoder as in training: the source and end_of_text; the prompt is its start token.

    Raises:
        UserError: a source is not a text, or empty, or longer than the context (a part of it would mean something
            else).
    """
    prompts = []
    for line, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"source line {line} is empty; every line must be a text for the model to read.")
        source = (*tokenizer.encode(text), tokenizer.end_of_text)
        if len(source) > context_length:
            raise UserError(
                f"source line {line} is {len(source)} tokens long, its end included, and the model's context is "
                f"{context_length}: shorten it, or split it into several lines."
            )
        prompts.append(Prompt((tokenizer.start_of_target,), tuple(_unknown_warnings(tokenizer, text)), source))
    return prompts


def _unknown_warnings(tokenizer: Tokenizer, text: str) -> list[str]:
    pieces = tokenizer.unknown_pieces(text)
    if not pieces or tokenizer.unknown_id is None:
        return []
    shown = [repr(piece if len(piece) <= 30 else piece[:29] + "…") for piece in pieces[:8]] + ["…"] * (len(pieces) > 8)
    unknown_token = tokenizer.token_bytes(tokenizer.unknown_id).decode()
    return [f"the vocabulary does not contain {', '.join(shown)}: the model reads {unknown_token} instead."]
