"""`/v1/completions`: go on with a text, in the shapes of OpenAI's API of that name."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.serving.kinds import Either, Integer, ListOf, Only, Text
from llmasos.serving.openapi import USAGE, WHOLE, WORDS, each, maybe, one_of, shape
from llmasos.serving.requests import Event, Written
from llmasos.serving.routes.sampling import (
    MAX_ALTERNATIVES,
    MAX_TEXTS,
    USUAL_TOKENS,
    alternatives_of,
    finish_all,
    logprob,
    model_field,
    options_of,
    sampling_fields,
    submit_all,
    tokens_field,
    usage_of,
)
from llmasos.serving.routes.streaming import stream
from llmasos.serving.schema import Field, Object
from llmasos.serving.served import Served
from llmasos.serving.web import Request, Response, Route, json_response

MAX_IDS = 100_000  # of a prompt that is given as token ids


def body(served: Served) -> Object:
    """What may be asked."""
    ids = ListOf(Integer(0, served.vocab_size - 1), 1, MAX_IDS)
    most = min(MAX_TEXTS, served.engine.max_waiting)
    prompt = Either((Text(), ListOf(Text(), 1, most), ids, ListOf(ids, 1, most)))
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
    values = request.values
    prompts, n, with_logprobs = prompts_of(values["prompt"]), values["n"], values["logprobs"] is not None
    options = options_of(values, values["max_tokens"])
    jobs = submit_all(request.served, prompts, options, n, values["logprobs"] or 0)
    whole = {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": request.served.name,
        "seed": options.seed,
    }
    if not values["stream"]:
        finish_all(request, jobs)
        choices = [
            choice(number, job.text, job.tokens, job.finish_reason, job.notices, with_logprobs, 0)
            for number, job in enumerate(jobs)
        ]
        return json_response(whole | {"choices": choices, "usage": usage_of(jobs, n)})

    counts = (values["stream_options"] or {}).get("include_usage", False)
    usage = {"usage": None} if counts else {}
    offsets = [0] * len(jobs)

    def chunks(number: int, event: Event) -> list[dict[str, Any]]:
        offset = offsets[number]
        offsets[number] += sum(len(token.text) for token in event.tokens)
        one = choice(number, event.text, event.tokens, event.finish_reason, event.notices, with_logprobs, offset)
        return [whole | {"choices": [one]} | usage]

    def last() -> list[dict[str, Any]]:
        return [whole | {"choices": [], "usage": usage_of(jobs, n)}] if counts else []

    return stream(request, jobs, chunks, last)


def prompts_of(prompt: str | list) -> list[str | list[int]]:
    """One prompt or several, as several."""
    several = isinstance(prompt, list) and not isinstance(prompt[0], int)
    return prompt if several else [prompt]


def choice(
    number: int,
    text: str,
    tokens: Sequence[Written],
    finish_reason: str | None,
    notices: Sequence[str],
    with_logprobs: bool,
    offset: int,
) -> dict[str, Any]:
    """One of the texts, or what is new of it. `notices` are there only if there is something to say."""
    one = {
        "index": number,
        "text": text,
        "logprobs": logprobs(tokens, offset) if with_logprobs else None,
        "finish_reason": finish_reason,
    }
    return one | ({"notices": list(notices)} if notices else {})


def logprobs(tokens: Sequence[Written], offset: int) -> dict[str, Any]:
    """How likely each token was: OpenAI's lists, and for each token its id and its alternatives with theirs.

    `offset` is where in the text the first token begins. OpenAI's `top_logprobs` has one number for each text, so of
    several tokens that read the same (pieces of characters do) it knows only the likeliest; `alternatives` has all.
    """
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [logprob(token.logprob) for token in tokens],
        "top_logprobs": [top_logprobs(token) for token in tokens],
        "text_offset": offsets,
        "token_ids": [token.id for token in tokens],
        "alternatives": [alternatives_of(token) for token in tokens],
    }


def top_logprobs(token: Written) -> dict[str, float]:
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
    alternatives=each(each(shape(id=WHOLE, token=WORDS, logprob={"type": "number"}))),
)
SHAPE = shape(
    id=WORDS,
    object=one_of("text_completion"),
    created=WHOLE,
    model=WORDS,
    seed=WHOLE,
    choices=each(
        shape(
            "notices",
            index=WHOLE,
            text=WORDS,
            logprobs=maybe(LOGPROBS),
            finish_reason=one_of("stop", "length"),
            notices=each(WORDS),
        )
    ),
    usage=USAGE,
)
ROUTES = [
    Route("POST", "/v1/completions", answer, "Go on with a text.", "complete", body, SHAPE, streams=True)
]
