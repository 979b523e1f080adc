"""`/v1/classify`, `/v1/token-classification`, `/v1/question-answering`, `/v1/fill-mask`: what a model predicts."""

import math
from collections.abc import Sequence
from typing import Any

from llmasos.datasets import QA
from llmasos.interpret import occlusion
from llmasos.objectives.question_answering import make_windows
from llmasos.serving.api.embeddings import MAX_INPUT, MAX_INPUTS
from llmasos.serving.api.fields import as_list, input_field, model_field
from llmasos.serving.api.openapi import INTEGER, NUMBER, STRING, array_of, enum, nullable, object_of
from llmasos.serving.api.validators import Boolean, Field, Integer, Object, Text
from llmasos.serving.http.errors import RequestError
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import ServedModel
from llmasos.tasks import answer_questions, classify, find_entities
from llmasos.tasks.bert_pretraining import MASK, fill_mask_ids
from llmasos.tasks.question_answering import stride_of

MAX_CONTEXT = 50_000  # characters of a context for question answering
MAX_CHOICES = 100
MAX_EVIDENCE = 8  # the most texts of a request with evidence for each word
DIGITS = 6


# Classification


def classify_body(served: ServedModel) -> Object:
    """The schema of a request to classify."""
    return Object(
        model_field(served),
        input_field(Text(max_length=MAX_INPUT), MAX_INPUTS),
        Field("evidence", Boolean(), "return how much the label's probability depends on each word, for up to "
              f"{MAX_EVIDENCE} texts", False),
    )  # fmt: skip


def classify_texts(request: Request) -> Response:
    """The probability of each label for each text, and the most likely label."""
    served, texts = request.served, as_list(request.values["input"])
    if request.values["evidence"] and len(texts) > MAX_EVIDENCE:
        raise RequestError(f"evidence for {len(texts)} texts is too much: the model reads each text again for every "
                           f"word; send at most {MAX_EVIDENCE} texts.", "input")  # fmt: skip
    labels, data = served.config.labels, []
    for index, (text, row) in enumerate(zip(texts, probabilities(request, texts), strict=True)):
        best = row.index(max(row))
        scores = {label: round(p, DIGITS) for label, p in zip(labels, row, strict=True)}
        warnings = served.truncation_warnings(served.n_tokens(text), "its beginning and its end are")
        entry = {"index": index, "label": labels[best], "scores": scores, **warnings}
        if request.values["evidence"]:
            entry["evidence"] = evidence(request, text, best)
        data.append(entry)
    return json_response({"object": "list", "model": served.name, "data": data})


def probabilities(request: Request, texts: Sequence[str]) -> list[list[float]]:
    """The probability of each label for each text."""
    served = request.served
    return request.run_in_chunks(lambda chunk: classify(served.model, served.tokenizer, chunk).tolist(), texts)


def evidence(request: Request, text: str, label: int) -> list[dict[str, Any]]:
    """How much the probability of a label (by its index) depends on each word of a text: occlusion."""

    def score(texts: list[str]) -> list[float]:
        return [row[label] for row in probabilities(request, texts)]

    words = occlusion(request.served.tokenizer, text, score)
    return [word._asdict() | {"influence": round(word.influence, DIGITS)} for word in words]


# Token classification


def entities_body(served: ServedModel) -> Object:
    """The schema of a request to find names."""
    return Object(model_field(served), input_field(Text(max_length=MAX_INPUT), MAX_INPUTS))


def entities_of_texts(request: Request) -> Response:
    """The names in each text, with their places in characters."""
    served, texts = request.served, as_list(request.values["input"])
    results = request.run_in_chunks(lambda chunk: find_entities(served.model, served.tokenizer, chunk), texts)
    data = [
        {
            "index": index,
            "entities": [entity._asdict() | {"score": round(entity.score, DIGITS)} for entity in entities],
        }
        for index, entities in enumerate(results)
    ]
    return json_response({"object": "list", "model": served.name, "data": data})


# Question answering


def question_body(served: ServedModel) -> Object:
    """The schema of a request with a question."""
    return Object(
        model_field(served),
        Field("question", Text(not_blank=True), "the question", required=True),
        Field("context", Text(1, MAX_CONTEXT), "the text to find the answer in", required=True),
    )


def answer_question(request: Request) -> Response:
    """The span of the context that answers the question, and its position; or that there is no answer."""
    served = request.served
    qa = QA(request.values["context"], request.values["question"], ())
    warnings = question_warnings(served, qa)
    [answer] = request.run(lambda: answer_questions(served.model, served.tokenizer, [qa]))
    response = {
        "object": "answer",
        "model": served.name,
        "answer": answer.text,
        "start": answer.start if answer.text else None,
        "end": answer.start + len(answer.text) if answer.text else None,
        "score": finite(answer.score),
        "no_answer_score": finite(answer.null_score),
        "answerable": bool(answer.text),
        **warnings,
    }
    return json_response(response)


def question_warnings(served: ServedModel, qa: QA) -> dict[str, list[str]]:
    """The field `warnings`, if part of the question is not read."""
    length = served.config.context_length
    n_cut = make_windows(QA("", qa.question, ()), served.tokenizer, length, stride_of(length))[0].n_cut
    return {"warnings": [f"the question is too long: its last {n_cut} tokens are not read."]} if n_cut else {}


def finite(score: float) -> float | None:
    """A score as JSON can hold it; None if nothing was scored."""
    return round(score, DIGITS) if math.isfinite(score) else None


# Masked language modeling


def fill_mask_body(served: ServedModel) -> Object:
    """The schema of a request to fill in masks."""
    return Object(
        model_field(served),
        Field("input", Text(contains=MASK), f"a text with {MASK} in place of the masked words", required=True),
        Field("n", Integer(1, min(MAX_CHOICES, served.vocab_size)), f"how many tokens to return for each {MASK}", 5),
    )


def fill_mask(request: Request) -> Response:
    """The most likely tokens for each [MASK]."""
    served = request.served
    text, n = request.values["input"], request.values["n"]
    masks: list[list[dict[str, Any]]] = [
        [
            {"id": id, "token": served.tokenizer.decode([id]).strip(), "probability": round(p, DIGITS)}
            for id, p in choices
        ]
        for choices in request.run(lambda: fill_mask_ids(served.model, served.tokenizer, text, n))
    ]
    return json_response({"object": "fill_mask", "model": served.name, "masks": masks})


# The schemas of the responses, for the OpenAPI document

CLASSIFICATION = object_of(
    object=enum("list"),
    model=STRING,
    data=array_of(
        object_of(
            "evidence",
            "warnings",
            index=INTEGER,
            label=STRING,
            scores={"type": "object", "additionalProperties": NUMBER},
            evidence=array_of(object_of(start=INTEGER, end=INTEGER, text=STRING, influence=NUMBER)),
            warnings=array_of(STRING),
        )
    ),
)
ENTITY = object_of(text=STRING, label=STRING, start=INTEGER, end=INTEGER, score=NUMBER)
ENTITIES = object_of(
    object=enum("list"), model=STRING, data=array_of(object_of(index=INTEGER, entities=array_of(ENTITY)))
)
ANSWER = object_of(
    "warnings",
    object=enum("answer"),
    model=STRING,
    answer=STRING,
    start=nullable(INTEGER),
    end=nullable(INTEGER),
    score=nullable(NUMBER),
    no_answer_score=nullable(NUMBER),
    answerable={"type": "boolean"},
    warnings=array_of(STRING),
)
CHOICE = object_of(id=INTEGER, token=STRING, probability=NUMBER)
FILLED_MASKS = object_of(object=enum("fill_mask"), model=STRING, masks=array_of(array_of(CHOICE)))
ROUTES = [
    Route("POST", "/v1/classify", classify_texts, "Predict the label of a text.", "classification", classify_body,
          CLASSIFICATION),
    Route("POST", "/v1/token-classification", entities_of_texts, "Find the names in a text.", "token-classification",
          entities_body, ENTITIES),
    Route("POST", "/v1/question-answering", answer_question, "Find the answer to a question in a text.",
          "question-answering", question_body, ANSWER),
    Route("POST", "/v1/fill-mask", fill_mask, f"Predict the word at each {MASK}.", "fill-mask", fill_mask_body,
          FILLED_MASKS),
]  # fmt: skip
