"""`/v1/completions`: continue a text, in the format of OpenAI's API of that name."""

import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.serving.api import ignored_openai_fields
from llmasos.serving.api.echo import Echo, OffsetCounter, read_prompts, with_special_start
from llmasos.serving.api.fields import as_list, max_tokens_field, model_field, token_ids
from llmasos.serving.api.generation_fields import (
    DEFAULT_TOKENS,
    MAX_ALTERNATIVES,
    MAX_TEXTS,
    TOKEN,
    alternatives_of,
    generate,
    response_schema,
    rounded_logprob,
    sampling_fields,
    sampling_options,
)
from llmasos.serving.api.openapi import INTEGER, NUMBER, STRING, array_of, nullable, object_of
from llmasos.serving.api.validators import AnyOf, Boolean, Field, Integer, ListOf, Object, Text
from llmasos.serving.http.http_types import Request, Response, Route
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import Tokenizer


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    ids = token_ids(served)
    max_prompts = min(MAX_TEXTS, served.engine.max_waiting)
    description = f"a string, token ids, or a list of up to {max_prompts} of them"
    prompt = AnyOf((Text(), ListOf(Text(), 1, max_prompts), ids, ListOf(ids, 1, max_prompts)), description)
    return Object(
        model_field(served),
        Field("prompt", prompt, "the text to continue, or several: as strings or token ids; null begins a new text", "",
              required=True),
        max_tokens_field(served, "max_tokens", served.default_tokens(DEFAULT_TOKENS), low=0),
        *sampling_fields(served),
        Field("logprobs", Integer(0, MAX_ALTERNATIVES), "return each token's log probability, and this many "
              "alternatives"),
        Field("echo", Boolean(), "repeat the prompt before its continuation, with its log probabilities if there are "
              "logprobs", False),
        *ignored_openai_fields.COMPLETIONS,
    )  # fmt: skip


def complete(request: Request) -> Response:
    """Continue each prompt, n times."""
    values, prompts, served = request.values, as_list(request.values["prompt"]), request.served
    n = values["n"]
    echoes = read_prompts(request, prompts, values["logprobs"]) if values["echo"] else [Echo()] * len(prompts)
    if values["echo"] and values["logprobs"] is not None:
        prompts = [with_special_start(served.tokenizer, prompt) for prompt in prompts]
    counters = [
        OffsetCounter(served.tokenizer, len(echo.text), prompt)
        for prompt, echo in zip(prompts, echoes, strict=True)
        for _ in range(n if values["logprobs"] is not None else 0)
    ]
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion"}

    def render(index: int, result: GenerationRequest | Event, first: bool) -> dict[str, Any]:
        echo = echoes[index // n] if first else Echo()
        text = echo.text + result.text
        if values["logprobs"] is None:
            return {"text": text, "logprobs": None}
        offsets = [*echo.offsets, *counters[index].offsets_of(token.id for token in result.tokens)]
        return {"text": text, "logprobs": logprobs_object(served.tokenizer, [*echo.tokens, *result.tokens], offsets)}

    options = sampling_options(values, max(1, values["max_tokens"]))
    return generate(request, prompts, options, values["logprobs"] or 0, head, render)


def logprobs_object(tokenizer: Tokenizer, tokens: Sequence[GeneratedToken], offsets: list[int]) -> dict[str, Any]:
    """The field `logprobs`: OpenAI's lists, and each token's id, bytes and alternatives.

    OpenAI's `top_logprobs` has one number per text: of several tokens with the same text (pieces of characters often
    have) it keeps only the most likely one. `alternatives` has them all.
    """
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [rounded_logprob(token.logprob) for token in tokens],
        "top_logprobs": [top_logprobs(token) for token in tokens],
        "text_offset": offsets,
        "token_ids": [token.id for token in tokens],
        "bytes": [list(tokenizer.token_bytes(token.id)) for token in tokens],
        "alternatives": [alternatives_of(tokenizer, token) for token in tokens],
    }


def top_logprobs(token: GeneratedToken) -> dict[str, float | None] | None:
    """The most likely texts at a token's position with their log probabilities, and the token itself; None for a
    prompt's first token, which the model does not predict."""
    if token.logprob is None:
        return None
    logprobs: dict[str, float | None] = {}
    for _, text, value in token.alternatives:
        logprobs.setdefault(text, rounded_logprob(value))
    logprobs.setdefault(token.text, rounded_logprob(token.logprob))
    return logprobs


LOGPROBS = object_of(
    tokens=array_of(STRING),
    token_logprobs=array_of(nullable(NUMBER)),
    top_logprobs=array_of(nullable({"type": "object", "additionalProperties": NUMBER})),
    text_offset=array_of(INTEGER),
    token_ids=array_of(INTEGER),
    bytes=array_of(array_of(INTEGER)),
    alternatives=array_of(array_of(object_of(**TOKEN))),
)
RESPONSE = response_schema("text_completion", text=STRING, logprobs=nullable(LOGPROBS))
ROUTES = [
    Route("POST", "/v1/completions", complete, "Continue a text.", "completion", make_body, RESPONSE, streams=True)
]
