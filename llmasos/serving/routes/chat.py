"""`/v1/chat/completions`: say what the assistant says next, in the shapes of OpenAI's API of that name."""

import time
import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.prompting.chat import ANSWERER, ROLES
from llmasos.serving.kinds import Boolean, Choice, Either, Integer, ListOf, Text
from llmasos.serving.openapi import USAGE, WHOLE, WORDS, each, maybe, one_of, shape
from llmasos.serving.requests import Event, Written
from llmasos.serving.requests import Request as Job
from llmasos.serving.routes.sampling import (
    MAX_ALTERNATIVES,
    USUAL_TOKENS,
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

MAX_MESSAGES = 1000
SAID = Text(filled=True)
PART = Object(
    Field("type", Choice(("text",)), "what kind of part; only text can be read", required=True),
    Field("text", SAID, "the text", required=True),
)
MESSAGE = Object(
    Field("role", Choice(ROLES), "who speaks", required=True),
    Field("content", Either((SAID, ListOf(PART, 1, 100))), "what is said, as a text or in parts", required=True),
)


def body(served: Served) -> Object:
    """What may be asked."""
    return Object(
        model_field(served),
        Field("messages", ListOf(MESSAGE, 1, MAX_MESSAGES), "the conversation so far", required=True),
        tokens_field(served, "max_tokens", None),
        tokens_field(served, "max_completion_tokens", None),
        *sampling_fields(served),
        Field("logprobs", Boolean(), "tell how likely each token was", False),
        Field("top_logprobs", Integer(0, MAX_ALTERNATIVES), "and so many alternatives (then logprobs are told, too)"),
    )


def answer(request: Request) -> Response:
    """Let the assistant speak, n times."""
    values, served = request.values, request.served
    messages = [{"role": message["role"], "content": text_of(message["content"])} for message in values["messages"]]
    prompt = served.template.encode(served.tokenizer, messages).ids
    limits = [values[name] for name in ("max_tokens", "max_completion_tokens") if values[name] is not None]
    options = options_of(values, min(limits, default=min(USUAL_TOKENS, served.max_tokens)))
    options = options.stopping_at(served.template.stop_id(served.tokenizer))
    n, with_logprobs = values["n"], values["logprobs"] or values["top_logprobs"] is not None
    jobs = submit_all(served, [prompt], options, n, values["top_logprobs"] or 0)
    whole = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": served.name,
        "seed": options.seed,
    }
    if not values["stream"]:
        finish_all(request, jobs)
        choices = [
            choice(number, "message", message(job.text), job, with_logprobs) for number, job in enumerate(jobs)
        ]
        return json_response(whole | {"choices": choices, "usage": usage_of(jobs, n)})

    whole["object"] = "chat.completion.chunk"
    counts = (values["stream_options"] or {}).get("include_usage", False)
    usage = {"usage": None} if counts else {}
    begun: set[int] = set()

    def chunks(number: int, event: Event) -> list[dict[str, Any]]:
        delta = {"content": event.text} if number in begun else message(event.text)
        begun.add(number)
        return [whole | {"choices": [choice(number, "delta", delta, event, with_logprobs)]} | usage]

    def last() -> list[dict[str, Any]]:
        return [whole | {"choices": [], "usage": usage_of(jobs, n)}] if counts else []

    return stream(request, jobs, chunks, last)


def text_of(content: str | list[dict[str, str]]) -> str:
    """What is said, also if it comes in parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def message(text: str) -> dict[str, str]:
    """What the assistant says, or the beginning of it."""
    return {"role": ANSWERER, "content": text}


def choice(number: int, name: str, said: dict[str, str], news: Job | Event, with_logprobs: bool) -> dict[str, Any]:
    """One of the answers, or what is new of it. `notices` are there only if there is something to say."""
    one = {
        "index": number,
        name: said,
        "logprobs": {"content": logprobs(news.tokens)} if with_logprobs else None,
        "finish_reason": news.finish_reason,
    }
    return one | ({"notices": list(news.notices)} if news.notices else {})


def logprobs(tokens: Sequence[Written]) -> list[dict[str, Any]]:
    """How likely each token was, and what else could have stood in its place."""
    return [
        {
            **named(token.id, token.text, token.logprob),
            "top_logprobs": [named(*alternative) for alternative in token.alternatives],
        }
        for token in tokens
    ]


def named(id: int, text: str, value: float) -> dict[str, Any]:
    """A token as OpenAI's chat shows it, and its id."""
    return {"id": id, "token": text, "logprob": logprob(value), "bytes": list(text.encode())}


TOKEN = {"id": WHOLE, "token": WORDS, "logprob": {"type": "number"}, "bytes": each(WHOLE)}
SHAPE = shape(
    id=WORDS,
    object=one_of("chat.completion"),
    created=WHOLE,
    model=WORDS,
    seed=WHOLE,
    choices=each(
        shape(
            "notices",
            index=WHOLE,
            message=shape(role=one_of(ANSWERER), content=WORDS),
            logprobs=maybe(shape(content=each(shape(**TOKEN, top_logprobs=each(shape(**TOKEN)))))),
            finish_reason=one_of("stop", "length"),
            notices=each(WORDS),
        )
    ),
    usage=USAGE,
)
ROUTES = [
    Route("POST", "/v1/chat/completions", answer, "Answer in a conversation.", "chat", body, SHAPE, streams=True)
]
