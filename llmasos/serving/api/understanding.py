"""`/v1/classify`, `/v1/answer`, `/v1/fill`: what models that read say about a text."""

import math
from collections.abc import Sequence
from typing import Any

from llmasos.datasets import QA
from llmasos.interpret import occlusion
from llmasos.objectives.question_answering import make_windows
from llmasos.serving.api.embeddings import MAX_INPUT, MAX_INPUTS
from llmasos.serving.api.fields import input_field, model_field, several
from llmasos.serving.api.lengths import truncation_warnings, n_tokens
from llmasos.serving.api.openapi import WHOLE, WORDS, each, maybe, one_of, shape
from llmasos.serving.api.schema import Field, Object
from llmasos.serving.api.validators import Boolean, Integer, Text
from llmasos.serving.http.errors import Refused
from llmasos.serving.http.http_types import Request, Response, Route, json_response
from llmasos.serving.served_model import Served
from llmasos.tasks import answer_questions, classify
from llmasos.tasks.bert_pretraining import MASK, masked_choices
from llmasos.tasks.extractive_qa import stride_of

NUMBER = {"type": "number"}
MAX_CONTEXT = 50_000  # characters in which an answer is looked for
MAX_CHOICES = 100
MAX_EVIDENCE = 8  # texts of one request that are taken apart word by word
DIGITS = 6


def classify_body(served: Served) -> Object:
    """What may be asked of a classifier."""
    return Object(
        model_field(served),
        input_field(Text(longest=MAX_INPUT), MAX_INPUTS),
        Field("evidence", Boolean(), f"tell how much the label hangs on each word, of up to {MAX_EVIDENCE} "
              "texts", False),
    )  # fmt: skip


def classify_answer(request: Request) -> Response:
    """The labels of each text with their probabilities; the likeliest is the answer."""
    served, texts = request.served, several(request.values["input"])
    if request.values["evidence"] and len(texts) > MAX_EVIDENCE:
        raise Refused(f"evidence is asked for {len(texts)} texts, each of which the model reads again for every word; "
                      f"ask for at most {MAX_EVIDENCE} at once.", "input")  # fmt: skip
    labels, found = served.config.labels, []
    for index, (text, row) in enumerate(zip(texts, probabilities(request, texts), strict=True)):
        best = row.index(max(row))
        scores = {label: round(p, DIGITS) for label, p in zip(labels, row, strict=True)}
        warnings = truncation_warnings(served, n_tokens(served, text), "its beginning and its end are")
        one = {"index": index, "label": labels[best], "scores": scores, **warnings}
        if request.values["evidence"]:
            one["evidence"] = evidence(request, text, best)
        found.append(one)
    return json_response({"object": "list", "model": served.name, "data": found})


def probabilities(request: Request, texts: Sequence[str]) -> list[list[float]]:
    """The probability of each label for each text."""
    served = request.served
    return request.run_in_pieces(lambda some: classify(served.model, served.tokenizer, some).tolist(), texts)


def evidence(request: Request, text: str, label: int) -> list[dict[str, Any]]:
    """How much the probability of a label, by its number, hangs on each word of a text."""

    def score(texts: list[str]) -> list[float]:
        return [row[label] for row in probabilities(request, texts)]

    words = occlusion(request.served.tokenizer, text, score)
    return [word._asdict() | {"influence": round(word.influence, DIGITS)} for word in words]


def answer_body(served: Served) -> Object:
    """What may be asked of a model that finds answers in texts."""
    return Object(
        model_field(served),
        Field("question", Text(filled=True), "what to look for", required=True),
        Field("context", Text(1, MAX_CONTEXT), "the text to look in", required=True),
    )


def answer_answer(request: Request) -> Response:
    """The piece of the context that answers the question, and where it stands; or that there is none."""
    served = request.served
    question = QA(request.values["context"], request.values["question"], ())
    warnings = question_warnings(served, question)
    [best] = request.run(lambda: answer_questions(served.model, served.tokenizer, [question]))
    found = {
        "object": "answer",
        "model": served.name,
        "answer": best.text,
        "start": best.start if best.text else None,
        "end": best.start + len(best.text) if best.text else None,
        "score": finite(best.score),
        "no_answer_score": finite(best.null_score),
        "answerable": bool(best.text),
        **warnings,
    }
    return json_response(found)


def question_warnings(served: Served, question: QA) -> dict[str, list[str]]:
    """What to say of a question that leaves too little room for its context; of a context all is read, in windows."""
    length = served.config.context_length
    n_cut = make_windows(QA("", question.question, ()), served.tokenizer, length, stride_of(length))[0].n_cut
    return {"warnings": [f"the question is too long: its last {n_cut} tokens are not read."]} if n_cut else {}


def finite(score: float) -> float | None:
    """A score as JSON can hold it; None where there was nothing to score."""
    return round(score, DIGITS) if math.isfinite(score) else None


def fill_body(served: Served) -> Object:
    """What may be asked of a model that fills in gaps."""
    return Object(
        model_field(served),
        Field("input", Text(holds=MASK), f"a text with {MASK} where something is missing", required=True),
        Field("n", Integer(1, min(MAX_CHOICES, served.vocab_size)), "how many tokens to name for each", 5),
    )


def fill_answer(request: Request) -> Response:
    """For each gap the likeliest tokens."""
    served = request.served
    text, n = request.values["input"], request.values["n"]
    masks = request.run(lambda: masked_choices(served.model, served.tokenizer, text, n))
    found: list[list[dict[str, Any]]] = [
        [
            {"id": id, "token": served.tokenizer.decode([id]).strip(), "probability": round(p, DIGITS)}
            for id, p in choices
        ]
        for choices in masks
    ]
    return json_response({"object": "fill", "model": served.name, "masks": found})


EVIDENCE = each(shape(start=WHOLE, end=WHOLE, text=WORDS, influence=NUMBER))
CLASSIFY = shape(
    object=one_of("list"),
    model=WORDS,
    data=each(
        shape(
            "evidence",
            "warnings",
            index=WHOLE,
            label=WORDS,
            scores={"type": "object", "additionalProperties": NUMBER},
            evidence=EVIDENCE,
            warnings=each(WORDS),
        )
    ),
)
ANSWER = shape(
    "warnings",
    object=one_of("answer"),
    model=WORDS,
    answer=WORDS,
    start=maybe(WHOLE),
    end=maybe(WHOLE),
    score=maybe(NUMBER),
    no_answer_score=maybe(NUMBER),
    answerable={"type": "boolean"},
    warnings=each(WORDS),
)
FILL = shape(object=one_of("fill"), model=WORDS, masks=each(each(shape(id=WHOLE, token=WORDS, probability=NUMBER))))
ROUTES = [
    Route("POST", "/v1/classify", classify_answer, "Which label a text has.", "classify", classify_body, CLASSIFY),
    Route("POST", "/v1/answer", answer_answer, "Find an answer in a text.", "answer", answer_body, ANSWER),
    Route("POST", "/v1/fill", fill_answer, f"What stands at each {MASK}.", "fill", fill_body, FILL),
]
