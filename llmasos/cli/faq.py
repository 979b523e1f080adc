"""`python -m llmasos faq FILE`: customer service, answered from your own file of frequently asked questions.

Answers go to standard output, word for word as in the file, with the number of their line. Questions that the file does
not answer are handed over to a person (`retrieval/faq.py` explains the decision).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos import hub, retrieval, tasks, training
from llmasos.arguments import user_path
from llmasos.cli.cli import ArgumentParser
from llmasos.cli.terminal import Screen, note, typed_lines
from llmasos.console import say
from llmasos.errors import UserError, check_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from llmasos.retrieval import FAQ, FAQAnswer

EXAMPLES = """examples:
  python -m llmasos faq data/faq/faq.md --question "Can I pay by credit card?"
  python -m llmasos faq my_faq.csv --contact "service@example.org" --handover questions.jsonl
  python -m llmasos faq my_faq.md --model sentence-transformers/all-MiniLM-L6-v2

FILE is Markdown with a heading for each question and its answer below, or a .csv, .tsv, .jsonl or .json table with the
columns question and answer. It needs no model and no network. With --model, questions in other words are found, too, if
the model was trained to embed sentences; the small ones that ship with llmasos know only their story world.
"""
UNKNOWN = "I do not know the answer to that."


def make_parser() -> argparse.ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos faq",
        description="Customer service from your own frequently asked questions: answers with an entry of the file and\n"
        "says which, or says that it does not know and hands the question over to a person.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag(
        "file", metavar="FILE", type=user_path, help="the questions and answers: .md, .txt, .csv, .tsv, .jsonl or .json"
    )
    flag("--question", action="append", metavar="TEXT", help="a question; repeatable (default: one per typed line)")
    flag("--model", metavar="MODEL", help="also compare embeddings of this model, such as a sentence embedder")
    flag("--threshold", type=float, default=None, metavar="P", help="minimum confidence of an answer, from 0 to 1 "
         "(default: 0.35)")  # fmt: skip
    flag("--contact", default="", metavar="TEXT", help="contact for unanswered questions, for example an email "
         "address")  # fmt: skip
    flag("--handover", metavar="FILE", type=user_path, help="append unanswered questions to this .jsonl file, "
         "for a person")  # fmt: skip
    flag("--json", action="store_true", help="print each answer as a line of JSON")
    flag("--device", default="auto", metavar="DEVICE", help="where the model runs: auto, cpu, cuda, cuda:1, mps")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the file, and answer the questions. Returns the exit status.

    Raises:
        UserError: the file is not an FAQ, a question is empty, there is no such model, or a flag is out of range.
    """
    args = make_parser().parse_args(arguments)
    if args.threshold is not None:
        check_number("--threshold", args.threshold, at_least=0, at_most=1)
    if any(not question.strip() for question in args.question or []):
        raise UserError("--question is empty; write it in a sentence or in a few words.")
    threshold = {} if args.threshold is None else {"threshold": args.threshold}
    faq = retrieval.FAQ.open(args.file, embedder(args.model, args.device) if args.model else None, **threshold)
    if args.handover:
        check_handover(args.handover, args.file)
    if not args.question:
        note(f"{len(faq.entries)} questions and answers; type a question, Ctrl-D ends")
    screen = Screen(sys.stdout)
    try:
        for question in args.question or typed_lines():
            if question.strip():
                respond(faq, question.strip(), args, screen)
    except KeyboardInterrupt:
        say("", error=True)
    return 0


def embedder(name: str, device: str) -> Callable[[list[str]], Tensor]:
    """Return a function that embeds texts with a model. Raises UserError if there is no such model."""
    model, tokenizer = hub.load_pretrained(name, training.pick_device(device), say=note)
    return lambda texts: tasks.embed(model, tokenizer, texts)


def check_handover(file: Path, faq: Path) -> None:
    """Raise UserError unless questions can be appended to the file: it is new, or has lines of that form, but not the
    FAQ's."""
    if file.exists() and file.samefile(faq):
        raise UserError(f"--handover {file} is the FAQ itself; choose another file, so that the FAQ stays as it is.")
    try:
        with file.open("a+", encoding="utf-8") as out:
            out.seek(0)
            lines = out.read().splitlines()
        if all("question" in json.loads(line) for line in lines):
            return
    except OSError as error:
        raise UserError(f"--handover {file} cannot be written ({error.strerror}); choose another file.") from error
    except (ValueError, TypeError):
        pass
    raise UserError(f"--handover {file}: there is another file of that name; choose another, so that it is not lost.")


def respond(faq: FAQ, question: str, args: argparse.Namespace, screen: Screen) -> None:
    """Answer a question on the screen, or hand it over."""
    result = faq.answer(question)
    if result.entry is None and args.handover:
        append_line(args.handover, {"question": question, "confidence": round(result.confidence, 3)})
    screen.text(as_json(question, result) if args.json else in_words(result, args.contact, bool(args.handover)))
    screen.end()


def append_line(file: Path, fields: dict[str, object]) -> None:
    """Append a line of JSON to a file, whose last line may lack a newline."""
    with file.open("ab+") as out:
        if out.seek(0, os.SEEK_END):
            out.seek(-1, os.SEEK_END)
            if out.read(1) != b"\n":
                out.write(b"\n")
        out.write(json.dumps(fields, ensure_ascii=False).encode() + b"\n")


def in_words(result: FAQAnswer, contact: str, is_noted: bool) -> str:
    """Format the answer with its source, or say what happens to the question if there is none."""
    if result.entry:
        return f"{result.entry.answer}\n[{result.entry.question} {result.entry.where}]"
    person = "A person will answer it." if is_noted else "Please ask a person."
    person += f" Contact: {contact}" if contact else ""
    similar = "".join(f"\n- {entry.question}" for entry in result.candidates)
    return f"{UNKNOWN} {person}" + (f"\nPerhaps one of these helps:{similar}" if similar else "")


def as_json(question: str, result: FAQAnswer) -> str:
    """Format the answer as a line of JSON; `answer` is null if there is none."""
    entry = result.entry
    fields = {"question": question, "answer": entry and entry.answer, "entry": entry and entry.question,
              "where": entry and entry.where, "confidence": round(result.confidence, 3)}  # fmt: skip
    return json.dumps(fields, ensure_ascii=False)
