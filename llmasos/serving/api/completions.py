"""`/v1/completions`: go on with a text, in the shapes of OpenAI's API of that name."""

import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.serving.api.fields import model_field, several, tokens_field
from llmasos.serving.api.openapi import WHOLE, WORDS, each, maybe, shape
from llmasos.serving.api.sampling import MAX_ALTERNATIVES, MAX_TEXTS, USUAL_TOKENS, options_of, sampling_fields
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Either, Integer, ListOf, Only, Text
from llmasos.serving.api.writing import TOKEN, alternatives_of, answer_shape, logprob, write
from llmasos.serving.http.http_types import Request, Response, Route
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import Served
from llmasos.tokenizers import Tokenizer
from llmasos.tokenizers.incremental_detokenizer import IncrementalDetokenizer

MAX_IDS = 100_000  # of a prompt that is given as token ids


def body(served: Served) -> Object:
    """What may be asked."""
    ids = ListOf(Integer(0, served.vocab_size - 1), 1, MAX_IDS)
    most = min(MAX_TEXTS, served.engine.max_waiting)
    words = f"a text, token ids, or a list of up to {most} of them"
    prompt = Either((Text(), ListOf(Text(), 1, most), ids, ListOf(ids, 1, most)), words)
    return Object(
        model_field(served),
        Field("prompt", prompt, "what to go on with: a text, several, or token ids", required=True),
        tokens_field(served, "max_tokens", min(USUAL_TOKENS, served.max_tokens)),
        *sampling_fields(served),
        Field("logprobs", Integer(0, MAX_ALTERNATIVES), "tell how likely each token was, and so many alternatives"),
        Field("echo", Only(False, "the prompt is not repeated here"), "not here"),
        Field("suffix", Only(None, "the models here write forwards only"), "not here"),
        Field("best_of", Only(1, "ask for n texts with logprobs, and choose"), "not here"),
    )


def answer(request: Request) -> Response:
    """Go on with each prompt, n times."""
    values, prompts = request.values, several(request.values["prompt"])
    tokenizer = request.served.tokenizer
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion"}
    offsets = [Offsets(tokenizer) for _ in range(len(prompts) * values["n"])]

    def say(number: int, news: GenerationRequest | Event, first: bool) -> dict[str, Any]:
        told = None if values["logprobs"] is None else logprobs(tokenizer, news.tokens, offsets[number].of(news.tokens))
        return {"text": news.text, "logprobs": told}

    options = options_of(values, values["max_tokens"])
    return write(request, prompts, options, values["logprobs"] or 0, head, say)


class Offsets:
    """Where in one text its tokens begin, in characters. A character of several tokens has them all at its place.

    >>> from llmasos.tokenizers import ByteTokenizer
    >>> Offsets(ByteTokenizer()).of([GeneratedToken(id, "", 0.0) for id in "aéb".encode()])
    [0, 1, 1, 2]
    """

    def __init__(self, tokenizer: Tokenizer):
        self._decoder, self._n_characters = IncrementalDetokenizer(tokenizer, skip_special=True), 0

    def of(self, tokens: Sequence[GeneratedToken]) -> list[int]:
        """Those of the next tokens of the text."""
        found = []
        for token in tokens:
            found.append(self._n_characters)
            self._n_characters += len(self._decoder.push(token.id))
        return found


def logprobs(tokenizer: Tokenizer, tokens: Sequence[GeneratedToken], offsets: list[int]) -> dict[str, Any]:
    """How likely each token was: OpenAI's lists, and for each token its id, its bytes and its alternatives with theirs.

    OpenAI's `top_logprobs` has one number for each text, so of several tokens that read the same (pieces of characters
    do) it knows only the likeliest; `alternatives` has all.
    """
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [logprob(token.logprob) for token in tokens],
        "top_logprobs": [top_logprobs(token) for token in tokens],
        "text_offset": offsets,
        "token_ids": [token.id for token in tokens],
        "bytes": [list(tokenizer.token_bytes(token.id)) for token in tokens],
        "alternatives": [alternatives_of(tokenizer, token) for token in tokens],
    }


def top_logprobs(token: GeneratedToken) -> dict[str, float]:
    """The likeliest texts with their logprobs, and the one that was chosen."""
    found: dict[str, float] = {}
    for _, text, value in token.alternatives:
        found.setdefault(text, logprob(value))
    found.setdefault(token.text, logprob(token.logprob))
    return found


LOGPROBS = shape(
    tokens=each(WORDS),
    token_logprobs=each({"type": "number"}),
    top_logprobs=each({"type": "object", "additionalProperties": {"type": "number"}}),
    text_offset=each(WHOLE),
    token_ids=each(WHOLE),
    bytes=each(each(WHOLE)),
    alternatives=each(each(shape(**TOKEN))),
)
SHAPE = answer_shape("text_completion", text=WORDS, logprobs=maybe(LOGPROBS))
ROUTES = [Route("POST", "/v1/completions", answer, "Go on with a text.", "complete", body, SHAPE, streams=True)]
