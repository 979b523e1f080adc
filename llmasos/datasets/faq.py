r"""Frequently asked questions from a file: questions with their answers.

    # Our shop                          a first heading, its title, and what follows it: no entry
    ## Renting                          a heading with others below it: no entry either
    ### How do I pay?                   any other heading is a question,
    In cash or by card.                 and the text below it is its answer

Or a table (`tables.py`): a `.csv`, `.tsv`, `.jsonl` or `.json` file with the columns question and answer.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmasos.datasets.paths import title_of
from llmasos.datasets.tables import TABLE_ENDINGS, Role, RowFormat, read_examples
from llmasos.datasets.text_io import ending_of, read_lines
from llmasos.datasets.values import BadRows, filled_text
from llmasos.errors import UserError

MARKDOWN_ENDINGS = (".md", ".markdown", ".txt")
HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*?)[ \t]*#*[ \t]*")
FENCE = re.compile(r" {0,3}(```+|~~~+)")  # around code, where "# …" is not a heading
QUESTION, ANSWER = ("question", "prompt", "q"), ("answer", "response", "completion", "a")


@dataclass(frozen=True)
class FAQEntry:
    """A question with its answer, and where it is in the file ("FILE, line N")."""

    question: str
    answer: str
    where: str = field(default="", compare=False, repr=False)


def read_faq(path: Path) -> list[FAQEntry]:
    """Read the questions and answers of a file.

    Raises:
        UserError: the file cannot be read or has another ending, a question has no answer, or there is no question.
            Names the file and the line.
    """
    ending = ending_of(path)
    if ending in MARKDOWN_ENDINGS:
        return _read_markdown(path)
    if ending in TABLE_ENDINGS:
        roles = {"question": Role(QUESTION), "answer": Role(ANSWER)}
        remedy = "; an FAQ has the columns question and answer, named in its first line"
        return read_examples(path, (RowFormat(roles, _make_entry, remedy),), None, _NoSkipping())
    raise UserError(
        f"{path} {'is a folder' if path.is_dir() else f'ends in {ending!r}'}, expected an FAQ: Markdown with a heading "
        f"for each question ({', '.join(MARKDOWN_ENDINGS)}), or a table with the columns question and answer "
        f"({', '.join(TABLE_ENDINGS)})."
    )


class _NoSkipping(BadRows):
    """Bad rows are errors, which no flag skips."""

    def __init__(self) -> None:
        super().__init__(skip=False)

    def add(self, where: str, problem: str) -> None:
        raise UserError(f"{where}: {problem.removesuffix('.')}; every row of an FAQ needs a question and its answer.")


def _make_entry(cells: dict[str, Any]) -> FAQEntry:
    return FAQEntry(filled_text(cells["question"], "question"), filled_text(cells["answer"], "answer"))


def _read_markdown(path: Path) -> list[FAQEntry]:
    sections: list[tuple[int, int, str, list[str]]] = []  # line, level, heading, the lines below it
    fence = ""
    for number, line in enumerate(read_lines(path), start=1):
        heading = None if fence else HEADING.fullmatch(line)
        if heading:
            sections.append((number, len(heading[1]), heading[2], []))
            continue
        if sections:
            sections[-1][3].append(line)
        if mark := FENCE.match(line):
            fence = mark[1] if not fence else "" if mark[1].startswith(fence) else fence
    entries = []
    for i, (number, level, question, lines) in enumerate(sections):
        answer = "\n".join(lines).strip()
        is_title = i == 0 and level == 1
        has_subsections = i + 1 < len(sections) and sections[i + 1][1] > level
        if is_title and (has_subsections or not answer):
            continue
        if not answer and not has_subsections:
            raise UserError(f"{title_of(path)}, line {number:,}: the question {question!r} has no answer; write one "
                            "below it, or remove the heading.")  # fmt: skip
        if not question:
            raise UserError(f"{title_of(path)}, line {number:,}: the heading is empty; write the question there.")
        if not has_subsections:
            entries.append(FAQEntry(question, answer, f"{title_of(path)}, line {number:,}"))
    if not entries:
        raise UserError(f"{title_of(path)} holds no question; write each as a heading (## …) with its answer below it.")
    return entries
