"""Text in, text out: prompts are encoded, the decoder runs, its tokens come back as text, piece by piece or whole.

`generate` and `stream` continue prompts with a GPT, `generate_from` and `stream_from` write from sources with an
encoder–decoder. What is read first is prepared in two ways (`_prepare`); everything after that is the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from torch import nn

from llmasos.errors import UserError
from llmasos.generation.decoder import Decoder
from llmasos.generation.options import SamplingOptions
from llmasos.generation.prompts import Prompt, by_length, prepare
from llmasos.generation.sequence import SequenceState
from llmasos.generation.stop_strings import RowStream
from llmasos.nn import eval_mode
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Event:
    """One new token of one row.

    Attributes:
        row: which continuation: sample s of prompt (or source) p is row p · n_samples + s.
        id: the token.
        text: what can be shown now; may be empty (half a character, perhaps the beginning of a stop string) and may
            hold what was kept back before.
        logprob: ln of the probability that the model gave this token.
        finish_reason: None while the row goes on; "stop" (end of text or a stop string) or "length" (max_new_tokens).
        warnings: sentences for a person about this row that have become true now.
    """

    row: int
    id: int
    text: str
    logprob: float
    finish_reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class Generation:
    """One finished continuation.

    Attributes:
        text: the new text, without the prompt and without the stop string.
        ids: all ids that were chosen; the last ones may be end_of_text or belong to a stop string.
        logprobs: ln of the probability that the model gave each of them.
        finish_reason: "stop" (end of text or a stop string) or "length" (max_new_tokens).
        warnings: sentences for a person, e.g. that the prompt was longer than the context.
        n_prompt_tokens: how many tokens of the prompt, or of the source, the model has read.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""
    warnings: list[str] = field(default_factory=list)
    n_prompt_tokens: int = 0


def generate(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Sequence[int]],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
) -> list[Generation]:
    """Continue each prompt `n_samples` times, all in one batch.

        generate(model, tokenizer, ["Once there was"], SamplingOptions(max_new_tokens=50))[0].text

    Args:
        model: a causal language model, on any device, in any mode (dropout is off while this runs).
        tokenizer: the one the model was trained with.
        prompts: texts of any lengths, or their token ids; an empty one lets the model begin a document of its own.
        options: how to choose tokens and when to stop (None = the defaults of `SamplingOptions`).
        n_samples: how many continuations of each prompt. They differ from each other unless temperature is 0; what a
            prompt gets does not depend on the other prompts (so the same prompt given twice gets the same texts twice).

    Returns:
        len(prompts) · n_samples continuations: all of the first prompt, then all of the second, …

    Raises:
        UserError: the tokenizer does not fit the model, or the model's output is not a number.
    """
    prepared, options = _prepare(model, tokenizer, prompts, options)
    return _gather(_run(model, tokenizer, prepared, options, n_samples), prepared, n_samples)


def generate_from(
    model: nn.Module,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
    batch_size: int = 64,
) -> list[Generation]:
    """Write `n_samples` texts from each source with an encoder–decoder: translate it, say, or summarise it.

        generate_from(model, tokenizer, ["ein Hund schläft ."], SamplingOptions(temperature=0))[0].text

    Args:
        model: an encoder–decoder trained as in `objectives/seq2seq.py`, on any device, in any mode.
        tokenizer: the one the model was trained with.
        sources: texts of any lengths that fit the context, as many as you like.
        options, n_samples: as in `generate`. A text ends with "length" when it fills the model's context, too.
        batch_size: how many sources are worked on at once; sources of similar length go together. It changes the
            memory needed and the time, not the texts.

    Returns:
        len(sources) · n_samples texts: all of the first source, then all of the second, …

    Raises:
        UserError: a source is empty or longer than the context, or as in `generate`.
    """
    prepared, options = _prepare(model, tokenizer, sources, options, "transformer")
    results: list[list[Generation]] = [[] for _ in prepared]
    for numbers in by_length(prepared, batch_size):
        chunk = [prepared[number] for number in numbers]
        written = _gather(_run(model, tokenizer, chunk, options, n_samples), chunk, n_samples)
        for place, number in enumerate(numbers):
            results[number] = written[place * n_samples : (place + 1) * n_samples]
    return [generation for own in results for generation in own]


def stream(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Sequence[int]],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
) -> Iterator[Event]:
    """The same as `generate`, as it happens: one `Event` for every token of every row.

    The arguments are checked at once, the work is done as the events are asked for. The model is in eval mode from the
    first event until the iterator is exhausted or closed.
    """
    prepared, options = _prepare(model, tokenizer, prompts, options)
    return _run(model, tokenizer, prepared, options, n_samples)


def stream_from(
    model: nn.Module,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
) -> Iterator[Event]:
    """The same as `generate_from`, as it happens, all sources in one batch: see `stream`."""
    prepared, options = _prepare(model, tokenizer, sources, options, "transformer")
    return _run(model, tokenizer, prepared, options, n_samples)


def _prepare(
    model: nn.Module,
    tokenizer: Tokenizer,
    texts: Sequence[str | Sequence[int]],
    options: SamplingOptions | None,
    family: str = "gpt",
) -> tuple[list[Prompt], SamplingOptions]:
    right = {"gpt": "generate and stream", "transformer": "generate_from and stream_from"}
    if model.config.family != family and model.config.family in right:
        raise UserError(f"the model is a {model.config.family}: for it there are {right[model.config.family]}.")
    return prepare(model, tokenizer, texts, options or SamplingOptions())


def _gather(events: Iterable[Event], prompts: list[Prompt], n_samples: int) -> list[Generation]:
    generations = [Generation(n_prompt_tokens=prompt.n_read) for prompt in prompts for _ in range(n_samples)]
    for event in events:
        generation = generations[event.row]
        generation.text += event.text
        generation.ids.append(event.id)
        generation.logprobs.append(event.logprob)
        generation.finish_reason = event.finish_reason or ""
        generation.warnings += event.warnings
    return generations


def _run(
    model: nn.Module, tokenizer: Tokenizer, prompts: list[Prompt], options: SamplingOptions, n_samples: int
) -> Iterator[Event]:
    rows = [
        SequenceState(prompt.ids, options, sample, source=prompt.source)
        for prompt in prompts
        for sample in range(n_samples)
    ]
    warnings = [prompt.warnings for prompt in prompts for _ in range(n_samples)]
    texts = [RowStream(tokenizer, options) for _ in rows]
    if not rows:
        return
    with eval_mode(model):
        decoder, alive = Decoder(model, rows, tokenizer.vocab_size), list(range(len(rows)))
        while alive:
            unfinished = []
            for place, (number, id) in enumerate(zip(alive, decoder.sample(), strict=True)):
                piece, reason = texts[number].push(id)
                if reason is None:
                    unfinished.append(place)
                yield Event(number, id, piece, rows[number].logprobs[-1], reason, warnings[number])
                warnings[number] = ()
            decoder.keep(unfinished)
            alive = [alive[place] for place in unfinished]
            if alive:
                for place in decoder.step():
                    if rows[alive[place]].n_context_shifts == 1:
                        warnings[alive[place]] = (context_shift_warning(model.config.context_length),)


def context_shift_warning(context_length: int) -> str:
    """What a person is told when a text first outgrows the context."""
    return (
        f"the text has outgrown the model's context of {context_length} tokens: from here on the model sees only the "
        f"most recent {context_length // 2 + 1} to {context_length}."
    )
