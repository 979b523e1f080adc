"""`/v1/chat/completions`: say what the assistant says next, in the shapes of OpenAI's API of that name.

Whoever asks may begin the answer (`prefix`): the model goes on with it as if it had said that itself. Token ids are
read exactly as they are; a text is cut into tokens first, perhaps otherwise than the model would have cut it.

A conversation that has outgrown the context loses its oldest messages, but never the system message at its beginning or
what is said last; a warning says how many. Of a `prefix` that has outgrown it the end is read, as of any long prompt.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from llmasos.prompting import Conversation, Message
from llmasos.prompting.chat_template import ANSWERER, PLAIN
from llmasos.serving.api.completions import MAX_IDS
from llmasos.serving.api.fields import model_field, tokens_field
from llmasos.serving.api.messages import Messages
from llmasos.serving.api.openapi import WORDS, each, maybe, one_of, shape
from llmasos.serving.api.sampling import MAX_ALTERNATIVES, USUAL_TOKENS, options_of, sampling_fields
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Boolean, Choice, Either, Integer, ListOf, Only, Text
from llmasos.serving.api.writing import TOKEN, alternatives_of, answer_shape, named, write
from llmasos.serving.http.errors import Refused
from llmasos.serving.http.http_types import Request, Response, Route
from llmasos.serving.requests import Event, GeneratedToken, GenerationRequest
from llmasos.serving.served_model import Served
from llmasos.tokenizers import Tokenizer

UNLEARNED = "this model has not learned to answer: it goes on with the conversation as with any other text."
LONGEST_UNASKED = 1024  # tokens of an answer, if nothing else is said and the context has room; most end much sooner


def body(served: Served) -> Object:
    """What may be asked."""
    ids = ListOf(Integer(0, served.vocab_size - 1), 1, MAX_IDS)
    begun = Either((Text(shortest=1), ids), "a text or token ids, at least one")
    return Object(
        model_field(served),
        Field("messages", Messages(), "the conversation so far", required=True),
        Field("prefix", begun, "what the answer begins with; the model goes on from there, and only that is sent"),
        tokens_field(served, "max_tokens", None),
        tokens_field(served, "max_completion_tokens", None),
        *sampling_fields(served),
        Field("logprobs", Boolean(), "tell how likely each token was", False),
        Field("top_logprobs", Integer(0, MAX_ALTERNATIVES), "and so many alternatives (then logprobs are told, too)"),
        Field("response_format", Object(Field("type", Choice(("text",)), "the one that there is", required=True)),
              "what is written"),
        Field("tools", Only([], "the models here call none"), "not here"),
        Field("tool_choice", Choice(("none", "auto")), "there are no tools, so both are the same"),
        Field("store", Only(False, "no answer is kept here"), "not here"),
    )  # fmt: skip


def answer(request: Request) -> Response:
    """Let the assistant speak, n times."""
    values, served = request.values, request.served
    tokenizer, prefix = served.tokenizer, values["prefix"] or []
    begun = tokenizer.encode(prefix) if isinstance(prefix, str) else prefix
    limits = [values[name] for name in ("max_tokens", "max_completion_tokens") if values[name] is not None]
    said = [Message(**message) for message in values["messages"]]
    messages, warnings = kept(served, said, len(begun), min(limits, default=served.max_tokens))
    prompt = [*served.template.encode(tokenizer, messages).ids, *begun]
    left = max(USUAL_TOKENS, served.engine.context_length - len(prompt))
    options = options_of(values, min(limits, default=min(left, LONGEST_UNASKED, served.max_tokens)))
    options = served.template.ending(options, tokenizer)
    with_logprobs = values["logprobs"] or values["top_logprobs"] is not None
    kind, part = ("chat.completion.chunk", "delta") if values["stream"] else ("chat.completion", "message")
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind}

    def say(number: int, news: GenerationRequest | Event, first: bool) -> dict[str, Any]:
        said = message(news.text) if first else {"content": news.text}
        return {part: said, "logprobs": {"content": logprobs(tokenizer, news.tokens)} if with_logprobs else None}

    warnings += [UNLEARNED] if served.template.name == PLAIN else []
    return write(request, [prompt], options, values["top_logprobs"] or 0, head, say, warnings)


def kept(
    served: Served, messages: Sequence[Message], n_begun: int, max_new_tokens: int
) -> tuple[list[Message], list[str]]:
    """The messages that the model is given, and a warning if these are not all.

    If they fit into the context, all are. Otherwise the oldest go until there is room for the new tokens, too, but for
    half a context of them at most.

    Args:
        served: the model.
        messages: what has been said, at least one.
        n_begun: how many tokens of the answer are there already.
        max_new_tokens: how many are asked for.

    Raises:
        Refused: what is said last does not fit, even without those of the answer.
    """
    count, context = served.template.counter(served.tokenizer), served.engine.context_length
    n_tokens = count(messages) + n_begun
    if n_tokens <= context:
        return list(messages), []
    talk = Conversation.of(messages)
    room = context - n_begun - min(max_new_tokens, context // 2)
    n_forgotten = talk.fit(count, room, exact=False).messages  # what cannot fit is refused below
    if count(talk.messages) > context:
        with_system = " with the system message" if talk.system else ""
        raise Refused(
            f"the last message is {count(talk.messages)} tokens long{with_system}, and the model's context {context}: "
            "shorten it.",
            "messages", code="context_length_exceeded",
        )  # fmt: skip
    if n_forgotten == 0:
        return talk.messages, []
    return talk.messages, [
        f"the conversation is {n_tokens} tokens long and the model's context {context}: its first {n_forgotten} "
        f"messages{' after the system message' if talk.system else ''} are not read."
    ]


def message(text: str) -> dict[str, str]:
    """What the assistant says, or the beginning of it."""
    return {"role": ANSWERER, "content": text}


def logprobs(tokenizer: Tokenizer, tokens: Sequence[GeneratedToken]) -> list[dict[str, Any]]:
    """How likely each token was, and what else could have stood in its place."""
    return [
        {
            **named(tokenizer, token.id, token.text, token.logprob),
            "top_logprobs": alternatives_of(tokenizer, token),
        }
        for token in tokens
    ]


SHAPE = answer_shape(
    "chat.completion",
    message=shape(role=one_of(ANSWERER), content=WORDS),
    logprobs=maybe(shape(content=each(shape(**TOKEN, top_logprobs=each(shape(**TOKEN)))))),
)
ROUTES = [Route("POST", "/v1/chat/completions", answer, "Answer in a conversation.", "chat", body, SHAPE, streams=True)]
