"""Text generation: prompts are encoded, the decoder runs, and its tokens are decoded to text, streamed or complete.

`generate` and `stream` continue prompts with a GPT; `generate_from` and `stream_from` generate from sources with an
encoder–decoder. Only the preparation of the inputs differs.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field

from llmasos.errors import UserError
from llmasos.generation.decoder import Decoder
from llmasos.generation.options import SamplingOptions, options_for
from llmasos.generation.prompts import Prompt, batches_by_length, check_sequences_fit, prepare
from llmasos.generation.sequence import SequenceState
from llmasos.generation.stop_strings import SequenceStream
from llmasos.generation.token_grammar import grammar_of
from llmasos.models import Model
from llmasos.nn import eval_mode
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class TokenEvent:
    """One new token of one continuation.

    Attributes:
        index: the continuation's index: sample s of prompt (or source) p has index p · n_samples + s.
        id: the token.
        text: the text that can be shown now; may be empty (half a character, or a possible start of a stop string), and
            may contain text that was held back before.
        logprob: the natural logarithm of the probability that the model gave this token.
        finish_reason: None while the text continues; "stop" (end of text or a stop string) or "length"
            (max_new_tokens).
        warnings: new sentences for the user about this continuation.
    """

    index: int
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
        ids: all ids that were sampled; the last ones may be end_of_text or belong to a stop string.
        logprobs: the natural logarithm of the probability that the model gave each of them.
        finish_reason: "stop" (end of text or a stop string) or "length" (max_new_tokens).
        warnings: sentences for the user, e.g. that the prompt was longer than the context.
        n_prompt_tokens: how many tokens of the prompt, or of the source, the model has read.
    """

    text: str = ""
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str = ""
    warnings: list[str] = field(default_factory=list)
    n_prompt_tokens: int = 0


def generate(
    model: Model,
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
        prompts: texts of any lengths, or their token ids; an empty one makes the model begin a new document.
        options: how to sample and when to stop (None = as the model recommends, see `options_for`).
        n_samples: the number of continuations of each prompt. They differ from each other unless temperature is 0, and
            do not depend on the other prompts (so two equal prompts get the same texts).

    Returns:
        len(prompts) · n_samples continuations: all of the first prompt, then all of the second, …

    Raises:
        UserError: the tokenizer does not fit the model, or the model's output is not a number.
    """
    prepared, options = _prepare(model, tokenizer, prompts, options, n_samples)
    return _gather(_run(model, tokenizer, prepared, options, n_samples), prepared, n_samples)


def generate_from(
    model: Model,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
    batch_size: int = 64,
) -> list[Generation]:
    """Generate `n_samples` texts from each source with an encoder–decoder: translations or summaries, for example.

        generate_from(model, tokenizer, ["ein Hund schläft ."], SamplingOptions(temperature=0))[0].text

    Args:
        model: an encoder–decoder trained as in `objectives/seq2seq.py`, on any device, in any mode.
        tokenizer: the one the model was trained with.
        sources: texts of any lengths that fit the context, any number of them.
        options, n_samples: as in `generate`. A text that fills the model's context also ends with "length".
        batch_size: how many sources to process at once; sources of similar length are batched together. It changes
            memory and time, not the texts.

    Returns:
        len(sources) · n_samples texts: all of the first source, then all of the second, …

    Raises:
        UserError: a source is empty or longer than the context, or as in `generate`.
    """
    prepared, options = _prepare(model, tokenizer, sources, options, n_samples, "transformer")
    results: list[list[Generation]] = [[] for _ in prepared]
    for indices in batches_by_length(prepared, batch_size):
        batch = [prepared[i] for i in indices]
        generations = _gather(_run(model, tokenizer, batch, options, n_samples), batch, n_samples)
        for place, i in enumerate(indices):
            results[i] = generations[place * n_samples : (place + 1) * n_samples]
    return [generation for samples in results for generation in samples]


def stream(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Sequence[int]],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
) -> Generator[TokenEvent, None, None]:
    """The same as `generate`, streamed: one `TokenEvent` for every token of every continuation.

    The arguments are checked at once; tokens are generated as the iterator is read. The model is in eval mode from the
    first event until the iterator is exhausted or closed.
    """
    prepared, options = _prepare(model, tokenizer, prompts, options, n_samples)
    return _run(model, tokenizer, prepared, options, n_samples)


def stream_from(
    model: Model,
    tokenizer: Tokenizer,
    sources: Sequence[str],
    options: SamplingOptions | None = None,
    n_samples: int = 1,
) -> Generator[TokenEvent, None, None]:
    """The same as `generate_from`, streamed, with all sources in one batch: see `stream`."""
    prepared, options = _prepare(model, tokenizer, sources, options, n_samples, "transformer")
    return _run(model, tokenizer, prepared, options, n_samples)


def _prepare(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[str | Sequence[int]],
    options: SamplingOptions | None,
    n_samples: int,
    family: str = "gpt",
) -> tuple[list[Prompt], SamplingOptions]:
    functions = {"gpt": "generate or stream", "transformer": "generate_from or stream_from"}
    config = model.config
    if config.family != family and config.family in functions:
        raise UserError(f"the model is a {config.family}: use {functions[config.family]}.")
    prompts, options = prepare(model, tokenizer, texts, options or options_for(model, SamplingOptions))
    check_sequences_fit(model, prompts, n_samples, "n")
    return prompts, options


def _gather(events: Iterable[TokenEvent], prompts: list[Prompt], n_samples: int) -> list[Generation]:
    generations = [Generation(n_prompt_tokens=prompt.n_tokens) for prompt in prompts for _ in range(n_samples)]
    for event in events:
        generation = generations[event.index]
        generation.text += event.text
        generation.ids.append(event.id)
        generation.logprobs.append(event.logprob)
        generation.finish_reason = event.finish_reason or ""
        generation.warnings += event.warnings
    return generations


def _run(
    model: Model, tokenizer: Tokenizer, prompts: list[Prompt], options: SamplingOptions, n_samples: int
) -> Generator[TokenEvent, None, None]:
    grammar = grammar_of(options, tokenizer)
    sequences = [
        SequenceState(p.ids, options, sample, source=p.source, grammar=grammar)
        for p in prompts
        for sample in range(n_samples)
    ]
    warnings = [prompt.warnings for prompt in prompts for _ in range(n_samples)]
    streams = [SequenceStream(tokenizer, options, sequence.prompt) for sequence in sequences]
    if not sequences:
        return
    with eval_mode(model):
        decoder = Decoder(model, sequences, tokenizer.vocab_size)
        active = list(range(len(sequences)))  # the indices of those in the decoder
        while active:
            unfinished = []
            for place, (index, id) in enumerate(zip(active, decoder.sample(), strict=True)):
                if (error := sequences[index].error) is not None:
                    raise error
                text, reason = streams[index].push(id)
                if reason is None:
                    unfinished.append(place)
                yield TokenEvent(index, id, text, sequences[index].logprobs[-1], reason, warnings[index])
                warnings[index] = ()
            decoder.keep(unfinished)
            active = [active[place] for place in unfinished]
            if active:
                for place in decoder.step():
                    if sequences[active[place]].n_context_shifts == 1:
                        warnings[active[place]] = (context_shift_warning(decoder.context_length),)


def context_shift_warning(context_length: int) -> str:
    """The warning when a text first exceeds the context."""
    return (
        f"the text has outgrown the model's context of {context_length} tokens: from here on the model sees only the "
        f"most recent {context_length // 2 + 1} to {context_length}."
    )
