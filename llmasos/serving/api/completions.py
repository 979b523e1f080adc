"""`/v1/completions`: continue a text, in the format of OpenAI's API of that name."""

import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.serving.api.generation import (
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
from llmasos.serving.api.validators import (
    AnyOf,
    Const,
    Field,
    Integer,
    ListOf,
    Object,
    Text,
    as_list,
    max_tokens_field,
    model_field,
    token_ids,
)
from llmasos.serving.http.http_types import Request, Response, Route
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.incremental_detokenizer import IncrementalDetokenizer


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    ids = token_ids(served)
    max_prompts = min(MAX_TEXTS, served.engine.max_waiting)
    description = f"a string, token ids, or a list of up to {max_prompts} of them"
    prompt = AnyOf((Text(), ListOf(Text(), 1, max_prompts), ids, ListOf(ids, 1, max_prompts)), description)
    return Object(
        model_field(served),
        Field("prompt", prompt, "the text to continue, or several: as strings or token ids", required=True),
        max_tokens_field(served, "max_tokens", min(DEFAULT_TOKENS, served.max_tokens)),
        *sampling_fields(served),
        Field("logprobs", Integer(0, MAX_ALTERNATIVES), "return each token's log probability, and this many "
              "alternatives"),
        Field("echo", Const(False, "the prompt is not repeated here"), "not supported"),
        Field("suffix", Const(None, "the models here only continue a text"), "not supported"),
        Field("best_of", Const(1, "ask for n texts with logprobs and choose one"), "not supported"),
    )  # fmt: skip


def complete(request: Request) -> Response:
    """Continue each prompt, n times."""
    values, prompts = request.values, as_list(request.values["prompt"])
    tokenizer = request.served.tokenizer
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion"}
    counters = [OffsetCounter(tokenizer) for _ in range(len(prompts) * values["n"])]

    def render(index: int, result: GenerationRequest | Event, first: bool) -> dict[str, Any]:
        if values["logprobs"] is None:
            return {"text": result.text, "logprobs": None}
        offsets = counters[index].offsets_of(result.tokens)
        return {"text": result.text, "logprobs": logprobs_object(tokenizer, result.tokens, offsets)}

    options = sampling_options(values, values["max_tokens"])
    return generate(request, prompts, options, values["logprobs"] or 0, head, render)


class OffsetCounter:
    """Where the tokens of a text begin, in characters. If a character has several tokens, all have its offset.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> OffsetCounter(ByteTokenizer()).offsets_of([GeneratedToken(id, "", 0.0) for id in "aéb".encode()])
    [0, 1, 1, 2]
    """

    def __init__(self, tokenizer: Tokenizer):
        self._detokenizer, self._n_characters = IncrementalDetokenizer(tokenizer, skip_special=True), 0

    def offsets_of(self, tokens: Sequence[GeneratedToken]) -> list[int]:
        """The offsets of the next tokens of the text."""
        offsets = []
        for token in tokens:
            offsets.append(self._n_characters)
            self._n_characters += len(self._detokenizer.push(token.id))
        return offsets


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


def top_logprobs(token: GeneratedToken) -> dict[str, float]:
    """The most likely texts at a token's position with their log probabilities, and the token itself."""
    logprobs: dict[str, float] = {}
    for _, text, value in token.alternatives:
        logprobs.setdefault(text, rounded_logprob(value))
    logprobs.setdefault(token.text, rounded_logprob(token.logprob))
    return logprobs


LOGPROBS = object_of(
    tokens=array_of(STRING),
    token_logprobs=array_of(NUMBER),
    top_logprobs=array_of({"type": "object", "additionalProperties": NUMBER}),
    text_offset=array_of(INTEGER),
    token_ids=array_of(INTEGER),
    bytes=array_of(array_of(INTEGER)),
    alternatives=array_of(array_of(object_of(**TOKEN))),
)
RESPONSE = response_schema("text_completion", text=STRING, logprobs=nullable(LOGPROBS))
ROUTES = [
    Route("POST", "/v1/completions", complete, "Continue a text.", "completion", make_body, RESPONSE, streams=True)
]
