"""Examples from the rows of a table: the names of each format's columns, and the conversion of their cells.

The first name of each role in `ROLES` is its own, the others are used by published files. The table of formats is in
`formats.py`, and the code that reads the rows in `tables.py`.
"""

from typing import Any

from llmasos.datasets.examples import (
    QA,
    Conversation,
    LabeledText,
    Pair,
    Preference,
    Prompt,
    Query,
    ScoredText,
    TaggedText,
)
from llmasos.datasets.readers import find_answer, make_conversation, to_context
from llmasos.datasets.tables import Role
from llmasos.datasets.tagging import tagged_words
from llmasos.datasets.values import BadRow, filled_text, is_missing, to_number, to_plain, to_text, to_whole_number
from llmasos.errors import shown

ROLES = {  # role → common names of its column in files, the role's own name first
    "text": ("text", "sentence", "sentence1", "premise", "review"),
    "second": ("second", "sentence2", "hypothesis"),
    "label": ("label", "gold_label", "class", "sentiment"),
    "score": ("score", "similarity", "similarity_score", "rating"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels"),
    "source": ("source", "article", "document", "dialogue"),
    "target": ("target", "highlights", "summary"),
    "context": ("context",),
    "question": ("question",),
    "answer": ("answer", "output", "completion", "response"),
    "answer_start": ("answer_start",),
    "answers": ("answers",),
    "messages": ("messages", "conversations", "conversation"),
    "prompt": ("prompt", "instruction", "question", "input"),
    "input": ("input", "context"),
    "system": ("system",),
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "query": ("query", "anchor", "question"),
    "passage": ("passage", "positive", "context", "answer"),
}


def roles(*required: str, optional: tuple[str, ...] = ()) -> dict[str, Role]:
    """Return the roles of a row."""
    return {role: Role(ROLES[role], role not in optional) for role in (*required, *optional)}


def make_labeled_text(cells: dict[str, Any]) -> LabeledText:
    """Make a labeled text of the cells of a row."""
    second = to_text(cells["second"], "second").strip()
    return LabeledText(filled_text(cells["text"], "text"), filled_text(cells["label"], "label"), second or None)


def make_scored_text(cells: dict[str, Any]) -> ScoredText:
    """Make a text with its score of the cells of a row."""
    second = to_text(cells["second"], "second").strip()
    return ScoredText(filled_text(cells["text"], "text"), to_number(cells["score"], "score"), second or None)


def make_tagged_text(cells: dict[str, Any]) -> TaggedText:
    """Make a text of the words of a row, with their labels."""
    words, labels = cells["tokens"], cells["tags"]
    if not isinstance(words, list) or not isinstance(labels, list):
        raise BadRow('tokens and tags are not two lists, such as ["Anna", "ran"] and ["B-PER", "O"].')
    if any(not isinstance(to_plain(label), str) for label in labels):
        raise BadRow("the tags are not all text; write the names of the labels, such as B-PER, instead of numbers.")
    return tagged_words([to_text(word, "word") for word in words], [to_text(label, "label") for label in labels])


def make_pair(cells: dict[str, Any]) -> Pair:
    """Make a pair of the cells of a row."""
    return Pair(filled_text(cells["source"], "source"), filled_text(cells["target"], "target"))


def make_question(cells: dict[str, Any]) -> QA:
    """Make a question of the cells of a row."""
    context, text = to_context(cells["context"]), to_text(cells["answer"], "answer")
    start = None if is_missing(cells["answer_start"]) else to_whole_number(cells["answer_start"], "answer_start")
    has_none = not text and start in (None, -1)
    answers = () if has_none else (find_answer(context, text if start is not None else text.strip(), start),)
    return QA(context, filled_text(cells["question"], "question"), answers)


def make_question_with_answers(cells: dict[str, Any]) -> QA:
    """Make a question from a row in the form of SQuAD in `datasets`: answers is {"text": […], "answer_start": […]}."""
    context, answers = to_context(cells["context"]), cells["answers"]
    if not isinstance(answers, dict) or not all(isinstance(answers.get(key), list) for key in ("text", "answer_start")):
        raise BadRow('answers is not an object with two lists, "text" and "answer_start".')
    if len(answers["text"]) != len(answers["answer_start"]):
        raise BadRow("answers has a different number of texts and of answer_starts.")
    spans = [
        find_answer(context, to_text(text, "answer"), to_whole_number(start, "answer_start"))
        for text, start in zip(answers["text"], answers["answer_start"], strict=True)
    ]
    return QA(context, filled_text(cells["question"], "question"), tuple(dict.fromkeys(spans)))


def make_instruction(cells: dict[str, Any]) -> Conversation:
    """Make a conversation of one question and its answer of the cells of a row; an input follows the instruction.

    Both may be lists of messages, as TRL writes them.
    """
    if isinstance(cells["prompt"], list) and isinstance(cells["answer"], list):
        return make_conversation({"messages": cells["prompt"] + cells["answer"], "system": cells["system"]})
    system, text = (to_text(cells[role], role).strip() for role in ("system", "input"))
    prompt = "\n\n".join(filter(None, (filled_text(cells["prompt"], "prompt"), text)))
    opening = (("system", system),) if system else ()
    return Conversation((*opening, ("user", prompt), ("assistant", filled_text(cells["answer"], "answer"))))


def make_preference(cells: dict[str, Any]) -> Preference:
    """Make a preference of the cells of a row."""
    prompt = to_text(cells["prompt"], "prompt")
    chosen, rejected = (filled_text(cells[role], f"{role} text") for role in ("chosen", "rejected"))
    if chosen == rejected:
        raise BadRow(f"chosen and rejected are the same text ({shown(chosen[:60])}), so there is nothing to prefer.")
    return Preference(prompt, chosen, rejected)


def make_query(cells: dict[str, Any]) -> Query:
    """Make a query of the cells of a row."""
    return Query(filled_text(cells["query"], "query"), filled_text(cells["passage"], "passage"))


def make_prompt(cells: dict[str, Any]) -> Prompt:
    """Make a prompt of the cell of a row."""
    return Prompt(filled_text(cells["prompt"], "prompt"))
