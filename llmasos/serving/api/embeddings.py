"""`/v1/embeddings`: texts as vectors of unit length, so that the dot product of two is their cosine similarity."""

import base64
from functools import partial

from torch import Tensor

from llmasos.serving.api.fields import as_list, model_field, token_ids
from llmasos.serving.api.ignored_openai_fields import embeddings_fields
from llmasos.serving.api.openapi import INTEGER, NUMBER, STRING, array_of, enum, object_of
from llmasos.serving.api.validators import AnyOf, Choice, Field, ListOf, Object, Text
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import ServedModel
from llmasos.tasks.text_embedding import embed, longest_text

MAX_INPUTS = 256
MAX_INPUT = 100_000  # characters; tokenization takes time, too


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    text, ids = Text(max_length=MAX_INPUT), token_ids(served)
    description = f"a string, token ids, or a list of up to {MAX_INPUTS} of them"
    inputs = AnyOf((text, ListOf(text, 1, MAX_INPUTS), ids, ListOf(ids, 1, MAX_INPUTS)), description)
    return Object(
        model_field(served),
        Field("input", inputs, "a text or several, as strings or token ids", required=True),
        Field(
            "encoding_format", Choice(("float", "base64")), "numbers, or the bytes of little-endian float32", "float"
        ),
        *embeddings_fields(served.config.d_model),
    )


def embed_texts(request: Request) -> Response:
    """A vector for each text."""
    served, texts = request.served, as_list(request.values["input"])
    vectors = request.run_in_chunks(partial(embed, served.model, served.tokenizer), texts)
    encode = to_base64 if request.values["encoding_format"] == "base64" else Tensor.tolist
    lengths = [served.n_tokens(text) for text in texts]
    longest = longest_text(served.model)
    n_read = sum(min(length, longest) for length in lengths)
    response = {
        "object": "list",
        "model": served.name,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector),
             **served.truncation_warnings(length, "its beginning is", longest)}
            for index, (vector, length) in enumerate(zip(vectors, lengths, strict=True))
        ],
        "usage": {"prompt_tokens": n_read, "total_tokens": n_read},
    }  # fmt: skip
    return json_response(response)


def to_base64(vector: Tensor) -> str:
    """A vector as the bytes of little-endian float32, a third of the size of its digits."""
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode("ascii")


RESPONSE = object_of(
    object=enum("list"),
    model=STRING,
    data=array_of(
        object_of(
            "warnings",
            object=enum("embedding"),
            index=INTEGER,
            embedding={"anyOf": [array_of(NUMBER), STRING]},
            warnings=array_of(STRING),
        )
    ),
    usage=object_of(prompt_tokens=INTEGER, total_tokens=INTEGER),
)
ROUTES = [Route("POST", "/v1/embeddings", embed_texts, "Turn texts into vectors.", "embedding", make_body, RESPONSE)]
