"""`/v1/translate`: write the text that belongs to a source, by beam search."""

from llmasos.generation import BeamOptions, beam_search
from llmasos.serving.kinds import Either, Integer, ListOf, Number, Text
from llmasos.serving.openapi import USAGE, WHOLE, WORDS, each, one_of, shape
from llmasos.serving.routes.sampling import model_field, tokens_field, usage
from llmasos.serving.schema import Field, Object
from llmasos.serving.served import Served
from llmasos.serving.web import Request, Response, Route, json_response

MAX_SOURCES = 64
MAX_BEAMS = 16
MAX_SOURCE = 10_000  # characters


def body(served: Served) -> Object:
    """What may be asked."""
    source, usual = Text(longest=MAX_SOURCE, filled=True), BeamOptions()
    return Object(
        model_field(served),
        Field("input", Either((source, ListOf(source, 1, MAX_SOURCES))), "a text, or several", required=True),
        Field("beams", Integer(1, MAX_BEAMS), "how many unfinished translations are followed at once", usual.beams),
        Field("length_penalty", Number(0, 10), "the larger, the more long texts are preferred", usual.length_penalty),
        tokens_field(served, "max_tokens", min(usual.max_new_tokens, served.max_tokens)),
    )


def answer(request: Request) -> Response:
    """The best translation of each text. One at a time, so that others come in between."""
    served, values = request.served, request.values
    sources = [values["input"]] if isinstance(values["input"], str) else values["input"]
    options = BeamOptions(values["beams"], values["length_penalty"], values["max_tokens"])
    texts, n_read, n_written = [], 0, 0
    for source in sources:
        request.check_client()
        [found] = served.engine.run(
            lambda source=source: beam_search(served.model, served.tokenizer, [source], options)
        )
        texts.append(found[0].text.strip())
        n_read += len(served.tokenizer.encode(source)) + 1  # and the end of it
        n_written += len(found[0].ids)
    data = [{"index": number, "text": text} for number, text in enumerate(texts)]
    return json_response({"object": "list", "model": served.name, "data": data, "usage": usage(n_read, n_written)})


SHAPE = shape(object=one_of("list"), model=WORDS, data=each(shape(index=WHOLE, text=WORDS)), usage=USAGE)
ROUTES = [Route("POST", "/v1/translate", answer, "Write the text that belongs to another.", "translate", body, SHAPE)]
