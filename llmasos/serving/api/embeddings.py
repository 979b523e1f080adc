"""`/v1/embeddings`: texts as vectors, one long each, so that the scalar product of two is their cosine."""

import base64
from functools import partial

from torch import Tensor

from llmasos.serving.api.fields import input_field, model_field, several
from llmasos.serving.api.lengths import truncation_warnings, n_tokens
from llmasos.serving.api.openapi import WHOLE, WORDS, each, one_of, shape
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Choice, Only, Text
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import Served
from llmasos.tasks.embedding import embed

MAX_INPUTS = 256
MAX_INPUT = 100_000  # characters; turning them into tokens takes time, too


def body(served: Served) -> Object:
    """What may be asked."""
    return Object(
        model_field(served),
        input_field(Text(longest=MAX_INPUT), MAX_INPUTS),
        Field("encoding_format", Choice(("float", "base64")), "numbers, or bytes of little-endian float32", "float"),
        Field("dimensions", Only(None, "the vectors have as many as the model is wide"), "not here"),
        Field("user", Text(), "taken and not looked at"),
    )


def answer(request: Request) -> Response:
    """A vector for each text."""
    served, texts = request.served, several(request.values["input"])
    vectors = request.run_in_pieces(partial(embed, served.model, served.tokenizer), texts)
    written = in_base64 if request.values["encoding_format"] == "base64" else Tensor.tolist
    sizes = [n_tokens(served, text) for text in texts]
    n_read = sum(min(size, served.config.context_length) for size in sizes)
    found = {
        "object": "list",
        "model": served.name,
        "data": [
            {"object": "embedding", "index": number, "embedding": written(vector),
             **truncation_warnings(served, size, "its beginning is")}
            for number, (vector, size) in enumerate(zip(vectors, sizes, strict=True))
        ],
        "usage": {"prompt_tokens": n_read, "total_tokens": n_read},
    }  # fmt: skip
    return json_response(found)


def in_base64(vector: Tensor) -> str:
    """A vector as the bytes of little-endian float32: a third of the size of its digits."""
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode("ascii")


SHAPE = shape(
    object=one_of("list"),
    model=WORDS,
    data=each(
        shape(
            "warnings",
            object=one_of("embedding"),
            index=WHOLE,
            embedding={"anyOf": [each({"type": "number"}), WORDS]},
            warnings=each(WORDS),
        )
    ),
    usage=shape(prompt_tokens=WHOLE, total_tokens=WHOLE),
)
ROUTES = [Route("POST", "/v1/embeddings", answer, "Texts as vectors.", "embed", body, SHAPE)]
