"""What a data set holds, told to a person: the body of the scripts `data/*/prepare.py`."""

import sys
from itertools import islice

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


def main(name: str) -> None:
    """Fetch a data set if need be, check it and print its summary; exit with 2 and one sentence if that fails."""
    try:
        print(summarize(open_text(name)))
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
