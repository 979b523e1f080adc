"""`/v1/look`: the numbers inside the model while it reads a text (see `serving/api/inspect.py`)."""

from llmasos.serving.api.completions import MAX_IDS
from llmasos.serving.api.fields import model_field
from llmasos.serving.api.inspect import ATTENTIONS, MAX_ALTERNATIVES, SHOWS, look
from llmasos.serving.api.messages import Messages
from llmasos.serving.api.openapi import WORDS, one_of
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Choice, Either, Integer, ListOf, Text
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import Served


def body(served: Served) -> Object:
    """What may be asked."""
    ids = ListOf(Integer(0, served.vocab_size - 1), 1, MAX_IDS)
    inputs = (Text(), ids, Messages()) if "chat" in served.abilities else (Text(), ids)
    target, shows, kinds = [], SHOWS, ATTENTIONS[:1]
    if "translate" in served.abilities:
        target = [Field("target", Either((Text(), ids)), "the translation", required=True)]
        shows, kinds = ("tokens", "attention"), ATTENTIONS
    most = max(served.config.n_layers, served.config.n_decoder_layers) - 1
    return Object(
        model_field(served),
        Field("input", Either(inputs), "what to read: a text or token ids", required=True),
        *target,
        Field("show", Choice(shows), "how likely each token was, who attends to whom, or what each layer would say",
              "tokens"),
        Field("layer", Integer(0, most), "whose attention", 0),
        Field("kind", Choice(kinds), "which attention, where there is more than one"),
        Field("n", Integer(0, MAX_ALTERNATIVES), "how many alternatives to name for each token", 10),
    )  # fmt: skip


def answer(request: Request) -> Response:
    """Look."""
    served = request.served
    asked = {name: value for name, value in request.values.items() if name != "model"}
    return json_response(look(served.model, served.tokenizer, **asked, run=request.run))


SHAPE = {"type": "object", "properties": {"object": one_of("look"), "show": WORDS}, "required": ["object", "show"]}
ROUTES = [Route("POST", "/v1/look", answer, "See what happens inside the model.", "look", body, SHAPE)]
