"""`/v1/translate`: write the text that belongs to a source, by beam search."""

from llmasos.generation import BeamOptions, beam_search
from llmasos.serving.api.fields import input_field, model_field, places, several, tokens_field
from llmasos.serving.api.openapi import USAGE, WHOLE, WORDS, each, one_of, shape
from llmasos.serving.api.sampling import usage
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Integer, Number, Text
from llmasos.serving.http.errors import Refused
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import Served

MAX_SOURCES = 64
MAX_BEAMS = 16
MAX_SOURCE = 10_000  # characters


def body(served: Served) -> Object:
    """What may be asked."""
    usual = BeamOptions()
    return Object(
        model_field(served),
        input_field(Text(longest=MAX_SOURCE, filled=True), MAX_SOURCES),
        Field("beams", Integer(1, MAX_BEAMS), "how many unfinished translations are followed at once", usual.beams),
        Field("length_penalty", Number(0, 10), "the larger, the more long texts are preferred", usual.length_penalty),
        tokens_field(served, "max_tokens", min(usual.max_new_tokens, served.max_tokens)),
    )


def answer(request: Request) -> Response:
    """The best translation of each text. One at a time, so that others come in between.

    Raises:
        Refused: a text is longer than the context; that is found out before the first of them is translated.
    """
    served, values = request.served, request.values
    sources = several(values["input"])
    n_read = sum(size(served, source, place) for source, place in zip(sources, places(values["input"]), strict=True))
    options = BeamOptions(values["beams"], values["length_penalty"], values["max_tokens"])
    found = request.run_in_pieces(
        lambda some: beam_search(served.model, served.tokenizer, some, options), sources, at_once=1
    )
    n_written = sum(len(best.ids) for best, *_ in found)
    data = [{"index": number, "text": best.text.strip()} for number, (best, *_) in enumerate(found)]
    return json_response({"object": "list", "model": served.name, "data": data, "usage": usage(n_read, n_written)})


def size(served: Served, source: str, place: str) -> int:
    """How many tokens the model reads of a source that stands at this place in the body. Raises Refused if too many."""
    n, context = len(served.tokenizer.encode(source)) + 1, served.config.context_length  # and the end of it
    if n > context:
        raise Refused(
            f"{place} is {n} tokens long, its end included, and the model's context is {context}: shorten it, or split "
            "it into several.",
            place, code="context_length_exceeded",
        )  # fmt: skip
    return n


SHAPE = shape(object=one_of("list"), model=WORDS, data=each(shape(index=WHOLE, text=WORDS)), usage=USAGE)
ROUTES = [Route("POST", "/v1/translate", answer, "Write the text that belongs to another.", "translate", body, SHAPE)]
