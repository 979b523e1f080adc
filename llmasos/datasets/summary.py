"""What a data set holds, told to a person: the body of the scripts `data/*/prepare.py`."""

import sys
from collections.abc import Callable
from itertools import islice

from llmasos.datasets.examples import Splits
from llmasos.datasets.source import SPLITS, TextSource
from llmasos.datasets.text import open_text
from llmasos.errors import UserError

SAMPLE_CHARACTERS = 300


def summarize(source: TextSource) -> str:
    """Read a source through and return its description, the counts of both splits and the start of each."""
    lines = [f"{source.name}: {source.description}"]
    for split in SPLITS:
        n_bytes = n_characters = n_documents = 0
        for text, ends_document in source.pieces(split):
            n_bytes += len(text.encode("utf-8"))
            n_characters += len(text)
            n_documents += ends_document
        what = f"{n_documents:,} documents" if n_documents else "one text"
        lines.append(f"\n{split}: {what}, {n_characters:,} characters, {n_bytes:,} bytes. It starts:")
        start = "".join(text[:SAMPLE_CHARACTERS] for text in islice(source.documents(split), 1))
        lines += [f"    {line}".rstrip() for line in start.splitlines()]
    return "\n".join(lines)


def summarize_examples(splits: Splits) -> str:
    """Return the description of a data set of examples, the number of each split and its first example."""
    lines = [f"{splits.name}: {splits.description}"]
    for split, examples in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        if examples:
            lines.append(f"\n{split}: {len(examples):,} examples. The first:")
            lines += [f"    {part}: {str(value)[:SAMPLE_CHARACTERS]}" for part, value in vars(examples[0]).items()]
    return "\n".join(lines)


def main(name: str, open_data: Callable[[str], TextSource | Splits] = open_text) -> None:
    """Fetch a data set if need be, check it and print its summary; exit with 2 and one sentence if that fails.

    Arguments:
        open_data: `open_text` or another of the `open_*` functions.
    """
    try:
        data = open_data(name)
        print(summarize_examples(data) if isinstance(data, Splits) else summarize(data))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
