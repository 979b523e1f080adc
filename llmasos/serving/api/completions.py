"""`/v1/completions`: continue a text, or score one, in the format of OpenAI's API of that name.

With `echo` the prompt is part of the response and, with `logprobs`, how likely each of its tokens was. This is how a
program scores a text instead of generating one:

    {"prompt": "Paul lived by the river.", "echo": true, "logprobs": 1, "max_tokens": 0}

The sum of the log probabilities of an answer's tokens is what evaluation harnesses compare between several answers.
They also put `<|endoftext|>` before a text whose first token is to be scored. So a special token at the start of such
a prompt is read as that token; everywhere else in a text its name is ordinary text, so that nobody can inject one.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmasos.interpret import score_tokens
from llmasos.serving.api import ignored_openai_fields
from llmasos.serving.api.fields import as_list, max_tokens_field, model_field, token_ids
from llmasos.serving.api.generation_fields import (
    DEFAULT_TOKENS,
    MAX_ALTERNATIVES,
    MAX_TEXTS,
    TOKEN,
    alternatives_of,
    check_amount,
    generate,
    response_schema,
    rounded_logprob,
    sampling_fields,
    sampling_options,
)
from llmasos.serving.api.openapi import INTEGER, NUMBER, STRING, array_of, nullable, object_of
from llmasos.serving.api.validators import AnyOf, Boolean, Field, Integer, ListOf, Object, Text
from llmasos.serving.http.errors import RequestError
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
    echoes = echo_prompts(request, prompts, values["logprobs"]) if values["echo"] else [Echo()] * len(prompts)
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


@dataclass(frozen=True)
class Echo:
    """A prompt that is repeated before its continuation.

    Attributes:
        text: the prompt's text.
        tokens: the tokens that are part of the text; () if no log probabilities are requested. The first token has no
            log probability, unless the model's begin-of-text token is before it.
        offsets: the start of each token in the text, in characters.
    """

    text: str = ""
    tokens: tuple[GeneratedToken, ...] = ()
    offsets: tuple[int, ...] = ()


def echo_prompts(request: Request, prompts: Sequence[str | list[int]], alternatives: int | None) -> list[Echo]:
    """The echo of each prompt.

    Args:
        request: the request whose client is waiting.
        prompts: texts or token ids.
        alternatives: the number of most likely tokens to add at each position; None = no log probabilities at all.

    Raises:
        RequestError: a prompt to be scored does not fit the context, or there are too many tokens.
        QueueFull, ShuttingDown: as `Request.run`.
    """
    served = request.served
    if alternatives is None:
        return [Echo(text_and_offsets(served, prompt)[0]) for prompt in prompts]
    as_ids = [with_special_start(served.tokenizer, prompt) for prompt in prompts]
    lengths = [len(served.tokenizer.encode_prompt(p) if isinstance(p, str) else p) for p in as_ids]
    for index, length in enumerate(lengths):
        check_length(served, length, "prompt" if len(prompts) == 1 else f"prompt[{index}]")
    values = request.values
    check_amount(served, len(prompts), values["n"], max(lengths) + values["max_tokens"], alternatives)
    echoes = []
    for prompt, scored in zip(prompts, as_ids, strict=True):
        text, offsets = text_and_offsets(served, prompt)
        score = partial(score_tokens, served.model, served.tokenizer, scored, alternatives)
        tokens = [
            GeneratedToken(score.id, score.text, score.logprob, tuple(score.alternatives))
            for score in (request.run(score) if scored else [])
        ]
        echoes.append(Echo(text, tuple(tokens), offsets))
    return echoes


def special_start(tokenizer: Tokenizer, prompt: str) -> str:
    """The name of the special token that a text begins with, or "".

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> special_start(ByteTokenizer(), "<|endoftext|>Anna"), special_start(ByteTokenizer(), "Anna <|endoftext|>")
    ('<|endoftext|>', '')
    """
    return next((name for name in tokenizer.special_tokens if prompt.startswith(name)), "")


def with_special_start(tokenizer: Tokenizer, prompt: str | list[int]) -> str | list[int]:
    """Turn a prompt that begins with the name of a special token into token ids; return any other unchanged."""
    if not isinstance(prompt, str) or not (name := special_start(tokenizer, prompt)):
        return prompt
    return [tokenizer.special_tokens[name], *tokenizer.encode(prompt[len(name) :])]


def check_length(served: ServedModel, n_tokens: int, where: str) -> None:
    """Raise RequestError if a prompt does not fit the context: scoring only its end would not score the text."""
    if n_tokens > served.engine.context_length:
        raise RequestError(
            f"{where} has {n_tokens} tokens, and the model's context has {served.engine.context_length}; with echo and "
            "logprobs all of it is read, so shorten it.",
            where, code="context_length_exceeded",
        )  # fmt: skip


def text_and_offsets(served: ServedModel, prompt: str | list[int]) -> tuple[str, tuple[int, ...]]:
    """The text of a prompt, and where each of its tokens begins. Special tokens have no text."""
    if isinstance(prompt, str):
        n = len(special_start(served.tokenizer, prompt))
        starts = [n + start for start in served.tokenizer.encode_with_offsets(prompt[n:]).starts]
        return prompt, tuple([0, *starts] if n else starts)
    offsets = OffsetCounter(served.tokenizer).offsets_of(prompt)
    return served.tokenizer.decode(prompt, skip_special=True), tuple(offsets)


class OffsetCounter:
    """Where the tokens of a text begin, in characters. If a character has several tokens, all have its offset.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> OffsetCounter(ByteTokenizer()).offsets_of("aéb".encode())
    [0, 1, 1, 2]

    Args:
        tokenizer: the tokenizer of the ids.
        start: the offset of the first one.
        prompt: the text or the ids that they continue.
    """

    def __init__(self, tokenizer: Tokenizer, start: int = 0, prompt: str | Sequence[int] = ""):
        before = tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        self._detokenizer = IncrementalDetokenizer(
            tokenizer, skip_special=True, previous=before[-1] if before else None
        )
        self._n_characters = start

    def offsets_of(self, ids: Iterable[int]) -> list[int]:
        """The offsets of the next tokens of the text."""
        offsets = []
        for id in ids:
            offsets.append(self._n_characters)
            self._n_characters += len(self._detokenizer.push(id))
        return offsets


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
