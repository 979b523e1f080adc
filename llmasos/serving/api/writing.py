"""Texts that are written, for completions and chat: handed to the engine, and shown at the end or on the way."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from llmasos.generation import SamplingOptions
from llmasos.serving.api.openapi import USAGE, WHOLE, WORDS, Shape, each, one_of, shape
from llmasos.serving.api.sampling import usage
from llmasos.serving.api.sse import GONE_SECONDS, cancel_all, stream
from llmasos.serving.http.errors import Refused
from llmasos.serving.http.http_types import Request, Response, json_response
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import Served
from llmasos.tokenizers import Tokenizer

MAX_HELD = 100_000  # tokens and alternatives that one answer may hold; each takes about a kilobyte while it is made
LEAST_LOGPROB = -9999.0  # in place of minus infinity, which JSON does not have; OpenAI uses the same


def answer_shape(object: str, **own: Shape) -> Shape:
    """The shape of an answer, for the OpenAPI document; `own` is what `say` shows of each text."""
    choice = {"index": WHOLE, **own, "finish_reason": one_of("stop", "length"), "warnings": each(WORDS)}
    return shape(
        id=WORDS,
        object=one_of(object),
        created=WHOLE,
        model=WORDS,
        seed=WHOLE,
        choices=each(shape("warnings", **choice)),
        usage=USAGE,
    )


Say = Callable[[int, GenerationRequest | Event, bool], dict[str, Any]]
"""What to say of the text with this number, or of what is new of it in a stream, and whether that is the first of it.
The number and the end of it are said here."""


def write(
    request: Request,
    prompts: Sequence[str | list[int]],
    options: SamplingOptions,
    alternatives: int,
    head: dict[str, Any],
    say: Say,
    warnings: Sequence[str] = (),
) -> Response:
    """Go on with each prompt, n times.

    Args:
        request: with `n`, `stream` and `stream_options` among its values.
        prompts: texts or token ids.
        options: how to choose tokens and when to stop.
        alternatives: how many to note for each token.
        head: what the answer, and each event of a stream, begins with.
        say: what to show of each text.
        warnings: sentences for a person that go with each text, before the engine's own.

    Raises:
        Refused: it is more than one request may ask for.
        as `Engine.submit_all` and `GenerationRequest.result`.
    """
    values, served, n = request.values, request.served, request.values["n"]
    check_amount(served, len(prompts), n, options.max_new_tokens, alternatives)
    writings = served.engine.submit_all(prompts, options, n, alternatives)
    head = head | {"created": int(time.time()), "model": served.name, "seed": options.seed}

    def choice(number: int, news: GenerationRequest | Event, first: bool = True) -> dict[str, Any]:
        one = {"index": number, **say(number, news, first), "finish_reason": news.finish_reason}
        told = [*(warnings if first else ()), *news.warnings]
        return one | ({"warnings": told} if told else {})

    if not values["stream"]:
        finish_all(request, writings)
        choices = [choice(number, writing) for number, writing in enumerate(writings)]
        return json_response(head | {"choices": choices, "usage": usage_of(writings, n)})

    counts = (values["stream_options"] or {}).get("include_usage", False)
    begun: set[int] = set()  # the numbers of the texts of which something has been sent

    def chunk(number: int, event: Event) -> dict[str, Any]:
        first = number not in begun
        begun.add(number)
        return head | {"choices": [choice(number, event, first)]} | ({"usage": None} if counts else {})

    def last() -> list[dict[str, Any]]:
        return [head | {"choices": [], "usage": usage_of(writings, n)}] if counts else []

    return stream(request, writings, chunk, last)


def check_amount(served: Served, n_prompts: int, n: int, max_tokens: int, alternatives: int) -> None:
    """Raise Refused if so many texts can never wait together, or the answer would take too much memory."""
    room, n_texts = served.engine.max_waiting, n_prompts * n
    if n_texts > room:
        raise Refused(
            f"{n_prompts} prompts with n = {n} are {n_texts} texts, and the server takes at most {room} together: send "
            f"fewer prompts at once, or an n of at most {room // n_prompts}.",
            "n",
        )
    held = n_texts * max_tokens * (1 + alternatives)
    if held > MAX_HELD:
        raise Refused(
            f"{n_texts} texts of up to {max_tokens} tokens, each with {alternatives} alternatives, are {held:,} tokens "
            f"to be told; one answer may hold {MAX_HELD:,}: ask for fewer texts, tokens or alternatives.",
            "max_tokens",
        )


def finish_all(request: Request, writings: Sequence[GenerationRequest]) -> None:
    """Wait for all, and give them up if the client goes away. Raises as `GenerationRequest.result` does."""
    try:
        for writing in writings:
            while not writing.wait(GONE_SECONDS):
                request.check_client()
            writing.result()
    finally:
        cancel_all(writings)


def usage_of(writings: Sequence[GenerationRequest], n: int) -> dict[str, int]:
    """Of n texts for each prompt. A prompt counts once, as OpenAI counts it."""
    n_tokens = sum(len(writing.tokens) for writing in writings)
    return usage(sum(writing.n_prompt_tokens for writing in writings[::n]), n_tokens)


def logprob(value: float) -> float:
    """A logarithm of a probability as JSON can hold it."""
    return round(max(value, LEAST_LOGPROB), 6)


def named(tokenizer: Tokenizer, id: int, text: str, value: float) -> dict[str, Any]:
    """A token as OpenAI's chat shows it, and its id. Its bytes are its own, also where they are half a character."""
    return {"id": id, "token": text, "logprob": logprob(value), "bytes": list(tokenizer.token_bytes(id))}


def alternatives_of(tokenizer: Tokenizer, token: GeneratedToken) -> list[dict[str, Any]]:
    """What else could have stood in a token's place."""
    return [named(tokenizer, *alternative) for alternative in token.alternatives]


TOKEN = {"id": WHOLE, "token": WORDS, "logprob": {"type": "number"}, "bytes": each(WHOLE)}
