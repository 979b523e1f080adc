"""Shared by completions and chat: from a checked body to `SamplingOptions`, and from prompts to a response."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from llmasos.generation import SamplingOptions
from llmasos.generation.options import options_for, sampler_fields
from llmasos.serving.api import ignored_openai_fields
from llmasos.serving.api.fields import option_field
from llmasos.serving.api.openapi import INTEGER, NUMBER, STRING, USAGE, Schema, array_of, enum, object_of
from llmasos.serving.api.sse import CHECK_CLIENT_SECONDS, cancel_all, stream
from llmasos.serving.api.validators import AnyOf, Boolean, Field, Integer, ListOf, Object, Text
from llmasos.serving.http.errors import RequestError
from llmasos.serving.http.http_types import Request, Response, json_response
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import Tokenizer

MAX_STOPS, MAX_STOP_LENGTH = 16, 256
MAX_TEXTS = 16  # the most texts for each prompt of a request
MAX_ALTERNATIVES = 20
DEFAULT_TOKENS = 128
MAX_RECORDED = 100_000  # tokens and alternatives in one response; each takes about a kilobyte while it is built
MIN_LOGPROB = -9999.0  # in place of minus infinity, which JSON does not have; OpenAI uses the same


def sampling_fields(served: ServedModel) -> tuple[Field, ...]:
    """How to sample and when to stop: OpenAI's fields, and a few more. The defaults are the model's recommendations."""
    stop, recommended = Text(0, MAX_STOP_LENGTH), options_for(served.model, SamplingOptions)
    return (
        *(option_field(field, getattr(recommended, field.name)) for field in sampler_fields()),
        Field("n", Integer(1, min(MAX_TEXTS, served.engine.max_waiting)), "how many texts to generate", 1),
        Field("stop", AnyOf((stop, ListOf(stop, 0, MAX_STOPS))), "stop before the first of these strings; empty ones "
              "are ignored"),
        Field("seed", Integer(-(2**63), 2**63 - 1), "the same seed gives the same text; by default a random one"),
        Field("stream", Boolean(), "send the text while it is generated, as server-sent events", False),
        Field("stream_options", Object(
            Field("include_usage", Boolean(), "count the tokens at the end", False),
            *ignored_openai_fields.STREAM_OPTIONS,
        ), "of a stream"),
        *ignored_openai_fields.EVERY_TEXT,
    )  # fmt: skip


def sampling_options(values: dict[str, Any], max_tokens: int) -> SamplingOptions:
    """The options in a validated body."""
    stop = values["stop"] or ()
    return SamplingOptions(
        max_new_tokens=max_tokens,
        stop=tuple(filter(None, [stop] if isinstance(stop, str) else stop)),
        seed=secrets.randbits(31) if values["seed"] is None else values["seed"],
        **{field.name: values[field.name] for field in sampler_fields()},
    )


Render = Callable[[int, GenerationRequest | Event, bool], dict[str, Any]]
"""Makes the route's own fields of a choice: of a finished text, or of what is new in a stream; perhaps also another
`finish_reason` than the engine's. Its arguments are the number of the text, the text or the event, and whether this is
the first event of the text."""


def generate(
    request: Request,
    prompts: Sequence[str | list[int]],
    options: SamplingOptions,
    alternatives: int,
    head: dict[str, Any],
    render: Render,
    warnings: Sequence[str] = (),
) -> Response:
    """Continue each prompt n times.

    Args:
        request: a request with `n`, `stream` and `stream_options` among its values.
        prompts: texts or token ids.
        options: the sampling options.
        alternatives: the number of alternatives to record for each token.
        head: the first fields of the response, and of each event of a stream.
        render: the function that makes the route's own fields from each text.
        warnings: sentences for the user that precede the engine's own with each text.

    Raises:
        RequestError: the request asks for too much.
        QueueFull, ShuttingDown, RequestFailed: as `Engine.submit_all` and `GenerationRequest.result`.
    """
    values, served, n = request.values, request.served, request.values["n"]
    check_amount(served, len(prompts), n, options.max_new_tokens, alternatives)
    if values["max_tokens"] == 0:  # the request is only for the echoed prompt
        generations = served.engine.make_requests(prompts, options, n)
        for generation in generations:
            generation.finish("length")
    else:
        generations = served.engine.submit_all(prompts, options, n, alternatives)
    head = head | {"created": int(time.time()), "model": served.name, "seed": options.seed}

    def choice(index: int, result: GenerationRequest | Event, first: bool = True) -> dict[str, Any]:
        rendered = render(index, result, first)
        fields = {"index": index, **rendered, "finish_reason": rendered.get("finish_reason", result.finish_reason)}
        all_warnings = [*(warnings if first else ()), *result.warnings]
        return fields | ({"warnings": all_warnings} if all_warnings else {})

    if not values["stream"]:
        wait_for_all(request, generations)
        choices = [choice(index, generation) for index, generation in enumerate(generations)]
        return json_response(head | {"choices": choices, "usage": usage_of(generations, n)})

    include_usage = (values["stream_options"] or {}).get("include_usage", False)
    started: set[int] = set()  # the indices of texts for which an event has been sent

    def chunk(index: int, event: Event) -> dict[str, Any]:
        first = index not in started
        started.add(index)
        return head | {"choices": [choice(index, event, first)]} | ({"usage": None} if include_usage else {})

    def last_chunks() -> list[dict[str, Any]]:
        return [head | {"choices": [], "usage": usage_of(generations, n)}] if include_usage else []

    return stream(request, generations, chunk, last_chunks)


def check_amount(served: ServedModel, n_prompts: int, n: int, max_tokens: int, alternatives: int) -> None:
    """Raise RequestError if the texts can never fit in the queue together, or the response would need too much
    memory.
    """
    room, n_texts = served.engine.max_waiting, n_prompts * n
    if n_texts > room:
        raise RequestError(
            f"{n_prompts} prompts with n = {n} are {n_texts} texts, and the server accepts at most {room} at once; "
            f"send fewer prompts, or an n of at most {room // n_prompts}.",
            "n",
        )
    n_recorded = n_texts * max_tokens * (1 + alternatives)
    if n_recorded > MAX_RECORDED:
        raise RequestError(
            f"{n_texts} texts of up to {max_tokens} tokens with {alternatives} alternatives each are {n_recorded:,} "
            f"tokens, and a response may have {MAX_RECORDED:,}; ask for fewer texts, tokens or alternatives.",
            "max_tokens",
        )


def wait_for_all(request: Request, generations: Sequence[GenerationRequest]) -> None:
    """Wait until all have ended; cancel them if the client disconnects. Raises as `GenerationRequest.result` does."""
    try:
        for generation in generations:
            while not generation.wait(CHECK_CLIENT_SECONDS):
                request.check_client()
            generation.result()
    finally:
        cancel_all(generations)


def usage(n_prompt_tokens: int, n_new_tokens: int) -> dict[str, int]:
    """The field `usage`: how many tokens were read and generated."""
    return {
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": n_new_tokens,
        "total_tokens": n_prompt_tokens + n_new_tokens,
    }


def usage_of(generations: Sequence[GenerationRequest], n: int) -> dict[str, int]:
    """The usage of n texts for each prompt. A prompt counts once, as in OpenAI's API."""
    n_new_tokens = sum(len(generation.tokens) for generation in generations)
    return usage(sum(generation.n_prompt_tokens for generation in generations[::n]), n_new_tokens)


def rounded_logprob(value: float | None) -> float | None:
    """A log probability as JSON can hold it; None where the model predicts nothing."""
    return None if value is None else round(max(value, MIN_LOGPROB), 6)


def token_object(tokenizer: Tokenizer, id: int, text: str, logprob: float | None) -> dict[str, Any]:
    """A token as in OpenAI's chat API, with its id. Its bytes are its own, even if they are half a character."""
    return {
        "id": id,
        "token": text,
        "logprob": rounded_logprob(logprob),
        "bytes": list(tokenizer.token_bytes(id)),
    }


def alternatives_of(tokenizer: Tokenizer, token: GeneratedToken) -> list[dict[str, Any]]:
    """The most likely tokens at a token's position."""
    return [token_object(tokenizer, *alternative) for alternative in token.alternatives]


TOKEN = {"id": INTEGER, "token": STRING, "logprob": NUMBER, "bytes": array_of(INTEGER)}


def response_schema(object: str, finish_reasons: tuple[str, ...] = ("stop", "length"), **fields: Schema) -> Schema:
    """The schema of a response, for the OpenAPI document; `fields` is what `render` makes of each text."""
    choice = {"index": INTEGER, **fields, "finish_reason": enum(*finish_reasons), "warnings": array_of(STRING)}
    return object_of(
        id=STRING,
        object=enum(object),
        created=INTEGER,
        model=STRING,
        seed=INTEGER,
        choices=array_of(object_of("warnings", **choice)),
        usage=USAGE,
    )
