"""The rules one after another, over a corpus of any size, with several processes.

    pass 1    count lines                                            (only if boilerplate is to be removed)
    pass 2    boilerplate, personal data, language, perplexity       what remains is written to a temporary file,
              then the key and the signature                         with 256 bytes per document for its signature
    pass 3    find the duplicates and the least likely fraction, and copy everything else to the output

Each pass reads the documents in order, in portions of about a megabyte that are divided among the processes, and uses
the results in the same order. So the output is the same for any number of processes. It gets its name when it is
complete. This process only reads, counts and writes, about a sixth of all the work; the rules (`judging.py`) run in the
others, which are started once for both passes.

Memory grows with the number of documents, not with their length: 100 MB of text took 129 MB in one process, and 100 MB
in 1.5 million documents of one line 458 MB, without the file of the signatures, which is mapped and can be paged out.
"""

import json
import math
import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, tee
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llmasos.arguments import user_path
from llmasos.console import progress_bar, text_table
from llmasos.datasets.cleaning.boilerplate import LineCounter
from llmasos.datasets.cleaning.duplicates import SIGNATURE, find_exact, find_near
from llmasos.datasets.cleaning.judging import Judge, Judgment, Portion, count_lines, measure
from llmasos.datasets.cleaning.perplexity_filter import NgramModel, Score
from llmasos.datasets.cleaning.settings import CleaningSettings
from llmasos.datasets.source import END_OF_TEXT, PlainText, TextSource
from llmasos.datasets.text import open_text
from llmasos.datasets.text_io import read_blocks
from llmasos.errors import UserError
from llmasos.parallel import in_batches, map_processes, usable_cores
from llmasos.storage.atomic import write_error, write_file, write_json

PORTION = 1 << 20  # characters of text that a process works on at a time
SMALL = 4 << 20  # bytes; starting processes takes longer than cleaning a smaller corpus
SHOWN = 60  # characters of an example
N_EXAMPLES = 3
MOST_REFERENCES = 100_000  # documents
ENDINGS = (".jsonl", ".txt")

Result = TypeVar("Result")


@dataclass
class Report:
    """What was dropped and why.

    Attributes:
        n_documents, n_characters: the numbers of documents and characters read.
        n_kept, n_kept_characters: the numbers of documents and characters written.
        rules: reason → how many documents were dropped or changed for it.
        examples: reason → the beginnings of the first few.
        max_perplexity: the perplexity of a character above which documents were dropped; None = none was.
    """

    n_documents: int = 0
    n_characters: int = 0
    n_kept: int = 0
    n_kept_characters: int = 0
    rules: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    max_perplexity: float | None = None

    def count(self, reason: str, example: str, times: int = 1) -> None:
        """Record that a document was dropped or changed."""
        self.rules[reason] = self.rules.get(reason, 0) + times
        examples = self.examples.setdefault(reason, [])
        if len(examples) < N_EXAMPLES:
            line = " ".join(example[: 2 * SHOWN].split())
            examples.append(line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…")

    def __str__(self) -> str:
        rows = [("rule", "documents", "for example")]
        for reason, n in self.rules.items():
            first, *others = self.examples[reason]
            rows += [(reason, f"{n:,}", first), *(("", "", example) for example in others)]
        lines = [text_table(rows)] if self.rules else []
        if self.max_perplexity is not None:
            lines.append(f"perplexity of a character: at most {self.max_perplexity:.3f}")
        kept = f"{self.n_kept:,} of {self.n_documents:,} documents kept, {self.n_kept_characters:,} of "
        return "\n".join([*lines, f"{kept}{self.n_characters:,} characters"])


def clean(
    source: Path | str | TextSource,
    output: Path | str,
    settings: CleaningSettings | None = None,
    processes: int | None = None,
    progress: bool = True,
    score: Score | None = None,
) -> Report:
    """Clean a corpus, and return a report of what was dropped and changed.

    Args:
        source: a file, a folder or a dataset (see `open_text`). The documents of a plain text file are its paragraphs,
            with blank lines between them.
        output: a new file, `.jsonl` ({"text": …} on each line) or `.txt` (a line `<|endoftext|>` after each document).
        settings: the rules.
        processes: the number of processes (None = one per core; one for a small corpus).
        progress: show a progress bar.
        score: texts → nats per character of each, the model of `perplexity_model`; it runs in this process alone.

    Raises:
        UserError: the output exists or has another ending, or the source cannot be read. Nothing is written then.
    """
    settings, output = settings or CleaningSettings(), user_path(output)
    check_output(output)
    corpus = source if isinstance(source, TextSource) else open_text(source)
    size = corpus.size()
    if processes is None:
        processes = 1 if size is not None and size < SMALL else max(1, int(usable_cores()))
    report = Report()
    with map_processes(processes) if processes > 1 else nullcontext(map) as map_portions:
        run = partial(each_portion, corpus, map_portions, progress)
        boilerplate = frequent_lines(run, settings.boilerplate) if settings.boilerplate else frozenset()
        reference, limit = fit_reference(settings, score)
        judge = Judge(settings, boilerplate, reference)
        with write_file(output) as temporary, Candidates(output.parent) as candidates:
            for texts, judgments in run(judge, "judging documents"):
                if score is not None:
                    measure(score, texts, judgments)
                for text, judgment in zip(texts, judgments, strict=True):
                    if not judgment.dropped and judgment.nats > limit:
                        judgment.dropped = "perplexity"
                    report.n_documents += 1
                    report.n_characters += len(text)
                    for reason in (*judgment.changed, *filter(None, [judgment.dropped])):
                        report.count(reason, text)
                    if not judgment.dropped:
                        candidates.add(judgment, text)
            report.max_perplexity = math.exp(limit) if limit < math.inf else None
            write_unique(candidates, temporary, output.suffix, settings, report)
            if not report.n_kept:
                raise UserError(f"nothing is left of {corpus.name}, so {output} is not written:\n{report}")
    return report


def check_output(output: Path) -> None:
    """Raise UserError if the output cannot be a new file."""
    if output.suffix not in ENDINGS:
        raise UserError(f"{output} has no known ending; name the output {' or '.join('NAME' + e for e in ENDINGS)}.")
    if os.path.lexists(output):
        raise UserError(f"{output} exists already; choose another name, so that it is not lost.")
    if not output.parent.is_dir():
        raise UserError(f"there is no folder {output.parent} for the output; make it, or choose another.")


def documents(corpus: TextSource) -> Iterator[str]:
    """The documents of a corpus, in order."""
    if isinstance(corpus, PlainText):
        yield from paragraphs(read_blocks(corpus.path))
        return
    parts: list[str] = []
    for piece in corpus.all_pieces():
        parts.append(piece.text)
        if piece.ends_document:
            yield "".join(parts)
            parts = []
    if parts:
        yield "".join(parts)


def paragraphs(blocks: Iterable[str]) -> Iterator[str]:
    """The paragraphs of a text, separated by blank lines.

    >>> list(paragraphs(["One.\\n", "\\nTwo", ".\\n\\n\\n"]))
    ['One.', 'Two.']
    """
    pending: list[str] = []
    tail = ""
    for block in blocks:
        *ended, rest = (tail + block).split("\n\n")
        for text in ended:
            if paragraph := "".join([*pending, text]).strip("\n"):
                yield paragraph
            pending = []
        tail = rest[-1:] if rest.endswith("\n") else ""  # may be the first half of a separator
        pending.append(rest[: len(rest) - len(tail)])
    if paragraph := "".join([*pending, tail]).strip("\n"):
        yield paragraph


def each_portion(
    corpus: TextSource, map_portions: Callable, progress: bool, work: Callable[[Portion], Result], title: str
) -> Iterator[tuple[Portion, Result]]:
    """Yield each portion of a corpus with a function's result for it, in order, with a progress bar."""
    portions, to_do = tee(in_batches(documents(corpus), len, PORTION))
    results = map_portions(work, to_do)
    settings = {"total": corpus.size(), "unit": "B", "unit_scale": True, "leave": False, "delay": 1.0}
    with progress_bar(desc=title, disable=None if progress else True, **settings) as bar:
        for result, portion in zip(results, portions, strict=False):
            yield portion, result
            bar.update(sum(map(len, portion)))


def frequent_lines(run: Callable[..., Iterable[tuple[Portion, Any]]], fraction: float) -> frozenset[bytes]:
    """Pass 1: the keys of the lines that occur in at least this fraction of the documents."""
    counter, n_documents = LineCounter(), 0
    for _, keys in run(count_lines, "counting lines"):
        n_documents += len(keys)
        for lines in keys:
            counter.add(lines)
    return counter.frequent(n_documents, fraction)


def fit_reference(settings: CleaningSettings, score: Score | None) -> tuple[NgramModel | None, float]:
    """A model of the reference text, if there is no other, and the limit in nats per character (inf = none).

    Nine of ten documents train the model; the mean and standard deviation are those of the others, which are held out.

    Args:
        settings: the reference and the limit.
        score: another model.
    """
    limit = math.inf if settings.max_perplexity is None else math.log(settings.max_perplexity)
    if not settings.reference:
        return None, limit
    texts = [text for text in islice(documents(open_text(settings.reference)), MOST_REFERENCES) if len(text) > 20]
    if len(texts) < 20:
        raise UserError(f"--reference {settings.reference} has {len(texts)} documents; give a text with at least 20.")
    model = NgramModel(text for i, text in enumerate(texts) if i % 10) if score is None else None
    if settings.max_perplexity is None and settings.keep_fraction == 1:
        nats = np.asarray((model or score)(texts[::10][:1000]))  # type: ignore[misc]
        limit = float(nats.mean() + settings.reference_margin * max(float(nats.std()), 0.01))
    return model, limit


class Candidates:
    """The documents that pass 2 keeps, in temporary files that vanish when this is closed.

    Args:
        folder: where the files are: that of the output, which needs about as much space.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.keys, self.nats, self.sizes = array("Q"), array("f"), array("Q")  # sizes: of the texts, in bytes

    def __enter__(self) -> "Candidates":
        try:
            self.texts = tempfile.TemporaryFile(dir=self.folder)
            self.signatures = tempfile.TemporaryFile(dir=self.folder)
        except OSError as error:
            raise write_error(self.folder, error) from error
        return self

    def __exit__(self, *exception: object) -> None:
        self.texts.close()
        self.signatures.close()

    def add(self, judgment: Judgment, text: str) -> None:
        """Keep a document for pass 3; `text` is what it was before pass 2."""
        self.keys.append(judgment.key)
        self.nats.append(judgment.nats)
        content = (text if judgment.text is None else judgment.text).encode("utf-8", "surrogatepass")
        self.texts.write(content)
        self.sizes.append(len(content))
        self.signatures.write(judgment.signature)

    def read(self) -> Iterator[str]:
        """The documents, in order."""
        self.texts.seek(0)
        return (self.texts.read(size).decode("utf-8", "surrogatepass") for size in self.sizes)

    def duplicates(self, settings: CleaningSettings) -> tuple[np.ndarray, np.ndarray]:
        """Which documents are exact copies of an earlier one, and which are near copies; (N,) bool each."""
        n = len(self.keys)
        exact, near = np.zeros(n, bool), np.zeros(n, bool)
        if settings.exact_duplicates:
            exact = find_exact(np.array(self.keys, np.uint64))
        if settings.near_duplicates < 1 and n:
            self.signatures.flush()
            signatures = np.memmap(self.signatures, np.uint32, "r", shape=(n, SIGNATURE))
            near = find_near(signatures, settings.near_duplicates) >= 0
            del signatures
        return exact, near & ~exact

    def unlikely(self, dropped: np.ndarray, fraction: float) -> tuple[np.ndarray, float]:
        """Which documents to drop to keep this fraction of the others, (N,) bool, and the most nats of a kept one."""
        nats = np.where(dropped, np.inf, np.frombuffer(self.nats, np.float32)) if len(self.nats) else np.zeros(0)
        n_kept = math.ceil(fraction * int((~dropped).sum()))
        order = np.argsort(nats, kind="stable")  # of equal ones, the earlier stays
        is_unlikely = np.ones(len(nats), bool)
        is_unlikely[order[:n_kept]] = False
        return is_unlikely & ~dropped, float(nats[order[n_kept - 1]]) if n_kept else 0.0


def write_unique(candidates: Candidates, file: Path, ending: str, settings: CleaningSettings, report: Report) -> None:
    """Pass 3: write the documents that are not duplicates or unlikely, and count the others."""
    exact, near = candidates.duplicates(settings)
    unlikely = np.zeros(len(exact), bool)
    if settings.keep_fraction < 1:
        unlikely, nats = candidates.unlikely(exact | near, settings.keep_fraction)
        report.max_perplexity = math.exp(nats)
    with open(file, "w", encoding="utf-8", newline="\n") as out:
        for i, text in enumerate(candidates.read()):
            if exact[i] or near[i] or unlikely[i]:
                reason = "exact duplicate" if exact[i] else "near duplicate" if near[i] else "perplexity"
                report.count(reason, text)
                continue
            if ending == ".jsonl":
                out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            else:
                out.write(text.rstrip("\n") + f"\n{END_OF_TEXT}\n")
            report.n_kept += 1
            report.n_kept_characters += len(text)


def write_report(report: Report, file: Path) -> None:
    """Write a report as JSON."""
    write_json(file, vars(report))
