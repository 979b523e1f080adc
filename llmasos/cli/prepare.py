"""The scripts `data/*/prepare.py`: download a dataset if necessary, check it and print its summary."""

import sys
from itertools import islice

from llmasos.cli.cli import run
from llmasos.datasets.examples import Splits
from llmasos.datasets.formats import open_examples
from llmasos.datasets.source import SPLITS, TextSource
from llmasos.datasets.text import open_text

SAMPLE_CHARACTERS = 300


def prepare(name: str, format: str = "text") -> None:
    """Print the summary of a dataset (see `summarize`), and end the process if that is not possible."""
    if status := run(lambda arguments: print(summarize(name, format)), []):
        sys.exit(status)


def summarize(name: str, format: str = "text") -> str:
    """Download a dataset if necessary, check it and return its summary.

    Args:
        name: the dataset's name.
        format: "text", or one of `formats.FORMATS`.
    """
    return summarize_text(open_text(name)) if format == "text" else summarize_examples(open_examples(format, name))


def summarize_text(source: TextSource) -> str:
    """Read a source of text and return its description, the counts of both splits and the start of each."""
    lines = [f"{source.name}: {source.description}"]
    for split in SPLITS:
        n_bytes = n_characters = n_documents = 0
        for text, ends_document in source.pieces(split):
            n_bytes += len(text.encode("utf-8"))
            n_characters += len(text)
            n_documents += ends_document
        documents = f"{n_documents:,} documents" if n_documents else "one text"
        lines.append(f"\n{split}: {documents}, {n_characters:,} characters, {n_bytes:,} bytes. It starts:")
        start = "".join(text[:SAMPLE_CHARACTERS] for text in islice(source.documents(split), 1))
        lines += [f"    {line}".rstrip() for line in start.removesuffix("\n").split("\n")]
    return "\n".join(lines)


def summarize_examples(splits: Splits) -> str:
    """Return the description of a dataset of examples, the size of each split and its first example."""
    lines = [f"{splits.name}: {splits.description}"]
    for split, examples in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if examples:
            lines.append(f"\n{split}: {len(examples):,} examples. The first:")
            lines += [f"    {part}: {str(value)[:SAMPLE_CHARACTERS]}" for part, value in vars(examples[0]).items()]
    return "\n".join(lines)
