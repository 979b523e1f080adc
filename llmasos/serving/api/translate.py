"""`/v1/translate`: translate or summarize a text with an encoder–decoder, by beam search."""

import dataclasses

from llmasos.generation import BeamOptions, beam_search
from llmasos.generation.options import options_for
from llmasos.serving.api.fields import as_list, field_names, input_field, max_tokens_field, model_field, option_field
from llmasos.serving.api.generation_fields import usage
from llmasos.serving.api.openapi import INTEGER, STRING, USAGE, array_of, enum, object_of
from llmasos.serving.api.validators import Object, Text
from llmasos.serving.http.errors import RequestError
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import ServedModel

MAX_SOURCES = 64
MAX_BEAMS = 16
MAX_SOURCE = 10_000  # characters


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    recommended = options_for(served.model, BeamOptions)
    options = {field.name: field for field in dataclasses.fields(BeamOptions)}
    return Object(
        model_field(served),
        input_field(Text(max_length=MAX_SOURCE, not_blank=True), MAX_SOURCES),
        option_field(options["beams"], min(recommended.beams, MAX_BEAMS), MAX_BEAMS),
        option_field(options["length_penalty"], recommended.length_penalty),
        max_tokens_field(served, "max_tokens", min(recommended.max_new_tokens, served.max_tokens)),
    )


def translate(request: Request) -> Response:
    """The best translation of each text. One text per job, so that other requests can run in between.

    Raises:
        RequestError: a text is longer than the context; this is checked before the first one is translated.
    """
    served, values = request.served, request.values
    sources = as_list(values["input"])
    names = field_names(values["input"])
    n_source_tokens = sum(source_length(served, source, name) for source, name in zip(sources, names, strict=True))
    options = BeamOptions(values["beams"], values["length_penalty"], values["max_tokens"])
    results = request.run_in_chunks(
        lambda texts: beam_search(served.model, served.tokenizer, texts, options), sources, chunk_size=1
    )
    n_new_tokens = sum(len(best.ids) for best, *_ in results)
    data = [{"index": index, "text": best.text.strip()} for index, (best, *_) in enumerate(results)]
    counts = usage(n_source_tokens, n_new_tokens)
    return json_response({"object": "list", "model": served.name, "data": data, "usage": counts})


def source_length(served: ServedModel, source: str, name: str) -> int:
    """How many tokens the encoder reads of a source, with the one that ends it. Raises RequestError if too many."""
    n, context_length = len(served.tokenizer.encode(source)) + 1, served.config.context_length
    if n > context_length:
        raise RequestError(
            f"{name} has {n} tokens, its end included, and the model's context has {context_length}; shorten it, or "
            "split it into several texts.",
            name, code="context_length_exceeded",
        )  # fmt: skip
    return n


RESPONSE = object_of(
    object=enum("list"), model=STRING, data=array_of(object_of(index=INTEGER, text=STRING)), usage=USAGE
)
ROUTES = [Route("POST", "/v1/translate", translate, "Translate a text.", "translation", make_body, RESPONSE)]
