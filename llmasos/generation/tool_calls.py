"""Tool calls during generation: generation stops at a call, the result is inserted, and generation continues.

    prompt → "… <tool_call>{…}</tool_call>"   stop (where a call is a whole message: at its end)
           + what the caller of `generate_with_tools` inserts, such as the result   → "so the answer is 425."

All texts are generated together: in each round those that have called a tool continue, the others are finished.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from llmasos.datasets.tool_call_format import HERMES, CallFormat
from llmasos.errors import check_number
from llmasos.generation.generate import generate
from llmasos.generation.grammar import Grammar
from llmasos.generation.options import SamplingOptions
from llmasos.models import Model
from llmasos.tokenizers.tokenizer import Tokenizer


@dataclass
class ToolGeneration:
    """One finished continuation.

    Attributes:
        texts: the generated pieces, without inserted results; all except the last end with a call.
        calls: the JSON of each answered call; one fewer than `texts`.
        finish_reason: the finish reason of the last piece: "stop", "length" (including a call that never ends), or
            "calls" (the model tried to make more calls than allowed).
        warnings: sentences for the user.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    finish_reason: str = ""
    warnings: list[str] = field(default_factory=list)


def generate_with_tools(
    model: Model,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    options: SamplingOptions,
    respond: Callable[[int, str], Sequence[int]],
    max_calls: int = 8,
    forced: Grammar | None = None,
    call_format: CallFormat = HERMES,
) -> list[ToolGeneration]:
    """Continue each prompt; whenever the model has made a call, insert the result of `respond` and continue.

    Args:
        model: a causal language model.
        tokenizer: the one it was trained with.
        prompts: token ids.
        options: how to sample; `max_new_tokens` limits each piece between two calls.
        respond: maps the index of a prompt and the JSON of a call to the token ids that follow the call.
        max_calls: the maximum number of calls in each text.
        forced: the grammar of the call that each text must begin with (`call_grammar`); None = it may write anything.
        call_format: how the model writes a call.

    Returns:
        A continuation of each prompt. Without a call it is that of `generate`.

    Raises:
        UserError: as `generate`, or max_calls is negative.
    """
    check_number("max_calls", max_calls, whole=True, at_least=0)
    end = call_format.end
    contexts, results = [list(prompt) for prompt in prompts], [ToolGeneration() for _ in prompts]
    active, round = list(range(len(prompts))), 0
    while active:
        settings = replace(options, stop=(*options.stop, *filter(None, [end])), seed=options.seed + round)
        is_forced = forced is not None and round == 0
        if is_forced:
            settings = replace(settings, stop=(), grammar=forced)  # an argument may contain any text
        generations = generate(model, tokenizer, [contexts[i] for i in active], settings)
        calling = []
        for i, generation in zip(active, generations, strict=True):
            result, text = results[i], generation.text
            result.warnings += generation.warnings
            result.finish_reason = generation.finish_reason
            call = call_format.find(text, last=not is_forced)[1]
            is_whole = is_forced or not end or ending_stop(tokenizer, generation.ids, settings.stop) == end
            if call is None or not is_whole:
                result.texts.append(text)
                continue
            result.texts.append(text + end)
            if len(result.calls) == max_calls:
                result.finish_reason = "calls"
                continue
            result.calls.append(call)
            contexts[i] += [*tokenizer.encode(text + end), *respond(i, result.calls[-1])]
            calling.append(i)
        active, round = calling, round + 1
    return results


def ending_stop(tokenizer: Tokenizer, ids: Sequence[int], stops: Sequence[str]) -> str:
    """The stop string that ended a text of these ids, as `TextStream` decides: the one that is complete first.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> ending_stop(ByteTokenizer(), list(b"a} END"), ("END", "}")), ending_stop(ByteTokenizer(), list(b"a"), ("END",))
    ('}', '')

    Returns:
        One of the stop strings; "" if the text has another end.
    """
    text = tokenizer.decode(list(ids), skip_special=True)
    places = [(start + len(stop), start, stop) for stop in stops if (start := text.find(stop)) >= 0]
    return min(places)[2] if places else ""
