"""`/v1/tokenize` and `/v1/tokenizers`: a text split into tokens by the model's tokenizer, or by any other available
one.
"""

from collections.abc import Iterator
from functools import cache

from llmasos import hub
from llmasos.datasets.storyworld import stories
from llmasos.errors import UserError
from llmasos.hub.resolve import shipped_models
from llmasos.serving.api.fields import model_field
from llmasos.serving.api.openapi import INTEGER, STRING, array_of, enum, nullable, object_of
from llmasos.serving.api.validators import Boolean, Choice, Field, Object, Text
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import ServedModel
from llmasos.tokenizers import OPENAI_ENCODINGS, Tokenizer, train_tokenizer
from llmasos.tokenizers.openai import cache_folder, missing_files

MAX_LENGTH = 10_000  # characters
CHARACTER_STORIES = 100  # stories of Storyworld, in English and German, whose characters are the vocabulary of `char`


def tokenizer_names(served: ServedModel) -> list[str]:
    """The available tokenizers: the model's own under the model's name, the simple ones, those of the shipped models,
    and OpenAI's encodings whose files are on this machine.
    """
    encodings = [kind for kind in OPENAI_ENCODINGS if not missing_files(kind, cache_folder())]
    return list(dict.fromkeys((served.name, "byte", "char", *shipped_models(), *encodings)))


def open_tokenizer(served: ServedModel, name: str) -> Tokenizer:
    """The tokenizer of this name, one of `tokenizer_names`."""
    return served.tokenizer if name == served.name else open_other(name)


@cache
def open_other(name: str) -> Tokenizer:
    """A tokenizer that is not the model's. It is kept: the largest vocabulary has 100,000 tokens."""
    if name == "char":
        texts = (text for story in stories("train", CHARACTER_STORIES) for text in (story.text, story.german))
        return train_tokenizer("char", texts)
    if name in ("byte", *OPENAI_ENCODINGS):
        return train_tokenizer(name, [])  # these are not trained
    return hub.load_tokenizer(name)


def make_body(served: ServedModel) -> Object:
    """The schema of a request."""
    return Object(
        model_field(served),
        Field("input", Text(max_length=MAX_LENGTH), "the text", required=True, example="Once there was a shy girl"),
        Field("tokenizer", Choice(tuple(tokenizer_names(served))), "which tokenizer; by default the model's"),
        Field("allow_special", Boolean(), "parse the names of special tokens in the text as special tokens", False),
    )


def tokenize(request: Request) -> Response:
    """The tokens of a text, with their offsets in characters."""
    served, text = request.served, request.values["input"]
    name = request.values["tokenizer"] or served.name
    tokenizer = open_tokenizer(served, name)
    tokens = [
        {
            "id": id, "text": tokenizer.token_text(id), "bytes": list(tokenizer.token_bytes(id)), "start": start,
            "end": end, "special": bool(tokenizer.special_mask[id]),
        }
        for id, start, end in ids_with_offsets(tokenizer, text, request.values["allow_special"])
    ]  # fmt: skip
    return json_response({
        "object": "tokenization", "tokenizer": name, "vocab_size": tokenizer.vocab_size, "n_tokens": len(tokens),
        "n_characters": len(text), "n_bytes": len(text.encode()), "tokens": tokens,
    })  # fmt: skip


def ids_with_offsets(
    tokenizer: Tokenizer, text: str, allow_special: bool
) -> Iterator[tuple[int, int | None, int | None]]:
    """Each token with its offsets; None if the tokenizer has none."""
    try:
        encoding = tokenizer.encode_with_offsets(text, allow_special)
    except UserError:
        return ((id, None, None) for id in tokenizer.encode(text, allow_special))
    return zip(encoding.ids, encoding.starts, encoding.ends, strict=True)


def list_tokenizers(request: Request) -> Response:
    """The tokenizers that `/v1/tokenize` knows, the model's first."""
    data = [{"id": name, "object": "tokenizer"} for name in tokenizer_names(request.served)]
    return json_response({"object": "list", "data": data})


OFFSET = nullable(INTEGER)
TOKEN = object_of(
    id=INTEGER, text=STRING, bytes=array_of(INTEGER), start=OFFSET, end=OFFSET, special={"type": "boolean"}
)
TOKENIZATION = object_of(
    object=enum("tokenization"), tokenizer=STRING, vocab_size=INTEGER, n_tokens=INTEGER, n_characters=INTEGER,
    n_bytes=INTEGER, tokens=array_of(TOKEN),
)  # fmt: skip
TOKENIZERS = object_of(object=enum("list"), data=array_of(object_of(id=STRING, object=enum("tokenizer"))))
ROUTES = [
    Route("POST", "/v1/tokenize", tokenize, "Split a text into tokens.", None, make_body, TOKENIZATION),
    Route("GET", "/v1/tokenizers", list_tokenizers, "The tokenizers at hand.", response_schema=TOKENIZERS),
]
