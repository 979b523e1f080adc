"""CoNLL files: a word and its label in each line, a blank line between sentences (Tjong Kim Sang & De Meulder 2003).

    Anna NNP B-NP B-PER
    ran VBD B-VP O
    . . O O

The first column is the word and the last one its label; columns between them are ignored. Columns are separated by
white space, or only by tabs in a line that has any. Lines with `-DOCSTART-` and comments before a sentence do not count
as words.
"""

from pathlib import Path

from llmasos.datasets.examples import TaggedText
from llmasos.datasets.paths import title_of
from llmasos.datasets.tagging import LABEL, tagged_words
from llmasos.datasets.text_io import ending_of, read_lines
from llmasos.datasets.values import BadRow, BadRows
from llmasos.errors import UserError, shown

CONLL_ENDINGS = (".conll", ".bio", ".iob", ".iob2", ".bioes", ".tags")
DOCUMENT_START = "-DOCSTART-"
N_LOOKED_AT = 50  # this many lines are inspected to recognize a file with another ending

Line = tuple[int, list[str]]  # number and columns of a line


def read_conll(path: Path, bad_rows: BadRows) -> list[TaggedText]:
    """Return the sentences of a CoNLL file. One with a bad line is an error, or is skipped as a whole.

    Raises:
        UserError: the file cannot be read; a bad line, which is named; no usable sentence.
    """
    sentences = []
    for number, lines in enumerate(read_sentences(path), start=1):
        where = f"{title_of(path)}, sentence {number:,}, line {lines[0][0]:,}"
        try:
            sentences.append(make_sentence(lines, where))
        except BadLine as problem:
            bad_rows.add(f"{title_of(path)}, sentence {number:,}, line {problem.number:,}", str(problem))
    if not sentences:
        first = f" ({bad_rows.sentences[0].removesuffix('.')})" if bad_rows.sentences else ""
        raise UserError(
            f"{path} has no usable sentence{first}; write a word and its label in each line, and a blank line after "
            "each sentence."
        )
    return sentences


class BadLine(BadRow):
    """A line that is not a word with a label; the message says why."""

    def __init__(self, number: int, problem: str):
        super().__init__(problem)
        self.number = number


def read_sentences(path: Path) -> list[list[Line]]:
    """Return the lines of each sentence as columns, without comments and document starts."""
    sentences: list[list[Line]] = [[]]
    for number, line in enumerate(read_lines(path), start=1):
        line = line.strip("\r\n\ufeff")
        columns = [cell.strip() for cell in line.rstrip().split("\t")] if "\t" in line.strip() else line.split()
        if not columns:
            sentences.append([])
        elif columns[0] != DOCUMENT_START and not (is_comment(columns) and not sentences[-1]):
            sentences[-1].append((number, columns))
    return [sentence for sentence in sentences if sentence]


def is_comment(columns: list[str]) -> bool:
    """Whether a line, the first of its sentence, is a comment rather than the word "#"."""
    return columns[0].startswith("#") and not LABEL.fullmatch(columns[-1])


def make_sentence(lines: list[Line], where: str) -> TaggedText:
    """Make a text from the lines of a sentence. Raises BadLine."""
    for number, columns in lines:
        if len(columns) < 2:
            raise BadLine(number, f"the line has one column, {shown(columns[0])}, expected a word and its label.")
        if not columns[0]:
            raise BadLine(number, "the line has no word before its label.")
        if not LABEL.fullmatch(columns[-1]):
            raise BadLine(
                number,
                f"the label {shown(columns[-1])} of the word {shown(columns[0])} is neither O nor B- or I- with a "
                "type, such as B-PER.",
            )
    return tagged_words([columns[0] for _, columns in lines], [columns[-1] for _, columns in lines], where)


def is_conll(path: Path) -> bool:
    """Whether a file holds words with labels: by its ending, or by its first lines."""
    if ending_of(path) in CONLL_ENDINGS:
        return True
    n_words, is_first = 0, True  # whether the line is the first of its sentence
    for number, line in enumerate(read_lines(path)):
        columns = line.split()
        if number >= N_LOOKED_AT:
            break
        if not columns:
            is_first = True
        elif columns[0] != DOCUMENT_START and not (is_first and is_comment(columns)):
            if len(columns) < 2 or not LABEL.fullmatch(columns[-1]):
                return False
            n_words, is_first = n_words + 1, False
    return n_words > 0
