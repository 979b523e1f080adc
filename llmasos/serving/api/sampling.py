"""How to write: the fields that completions and chat have in common, and the options that they become."""

import secrets
from typing import Any

from llmasos.generation import SamplingOptions
from llmasos.generation.options import LOWEST_TEMPERATURE
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Boolean, Either, Integer, ListOf, Number, Only, Text
from llmasos.serving.served_model import Served

MAX_STOPS, MAX_STOP_LENGTH = 16, 256
MAX_TEXTS = 16  # that one request may ask for of one prompt
MAX_ALTERNATIVES = 20
USUAL_TOKENS = 128


def sampling_fields(served: Served) -> tuple[Field, ...]:
    """How to choose tokens and when to stop: OpenAI's names, and some more."""
    stop = Text(1, MAX_STOP_LENGTH)
    return (
        Field("temperature", Number(LOWEST_TEMPERATURE, 10, also=0), "1 is the model's own distribution, less is "
              "safer, more is wilder, 0 always takes the likeliest token", 1.0),
        Field("top_p", Number(0, 1), "choose among the fewest tokens that hold this much probability; 0 always takes "
              "the likeliest"),
        Field("top_k", Integer(0, 1_000_000), "choose among this many of the likeliest tokens; 0 is off"),
        Field("min_p", Number(0, 1), "choose among tokens at least so many times as likely as the likeliest; 0 is off"),
        Field("repetition_penalty", Number(0.1, 10), "above 1, tokens that have occurred become less likely", 1.0),
        Field("presence_penalty", Number(-2, 2), "above 0, tokens that the new text holds become less likely", 0.0),
        Field("frequency_penalty", Number(-2, 2), "the same, times how often it holds them", 0.0),
        Field("n", Integer(1, min(MAX_TEXTS, served.engine.max_waiting)), "how many texts", 1),
        Field("stop", Either((stop, ListOf(stop, 0, MAX_STOPS))), "end before the first of these texts"),
        Field("seed", Integer(-(2**63), 2**63 - 1), "the same seed gives the same text; none given: another each time"),
        Field("stream", Boolean(), "send the text while it is written, as server-sent events", False),
        Field("stream_options", Object(
            Field("include_usage", Boolean(), "count the tokens at the end", False),
            Field("include_obfuscation", Only(False, "events are not padded here"), "not here"),
        ), "of a stream"),
        Field("logit_bias", Only({}, "no token is made likelier or less likely by itself here"), "not here"),
        Field("user", Text(), "taken and not looked at"),
    )  # fmt: skip


def options_of(values: dict[str, Any], max_tokens: int) -> SamplingOptions:
    """The options that a body asks for."""
    stop, top_p = values["stop"] or (), values["top_p"]
    return SamplingOptions(
        max_new_tokens=max_tokens,
        temperature=0.0 if top_p == 0 else values["temperature"],
        top_k=values["top_k"] or None,
        top_p=top_p or None,
        min_p=values["min_p"] or None,
        repetition_penalty=values["repetition_penalty"],
        presence_penalty=values["presence_penalty"],
        frequency_penalty=values["frequency_penalty"],
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        seed=secrets.randbits(31) if values["seed"] is None else values["seed"],
    )


def usage(n_prompt_tokens: int, n_tokens: int) -> dict[str, int]:
    """How many tokens were read and written."""
    return {
        "prompt_tokens": n_prompt_tokens,
        "completion_tokens": n_tokens,
        "total_tokens": n_prompt_tokens + n_tokens,
    }
