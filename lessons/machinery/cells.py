"""A lesson's text: cells of Python code, with prose in comments between them.

    # %% [markdown]
    # Prose with formulas, every line a comment.

    # %%
    print("code")

This is the "percent format" of VS Code, Spyder and Jupytext. One cell is marked `# %% [setup]`: it finds the
library when the file runs as a script, and is replaced in notebooks.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from llmasos.errors import UserError


@dataclass(frozen=True)
class Cell:
    """A cell: "markdown" (prose without the comment signs), "code" or "setup", and the number of its first line."""

    kind: str
    text: str
    line: int


def read_cells(path: Path) -> list[Cell]:
    """The cells of a file.

    Raises:
        UserError: a line of prose is not a comment, or the file does not begin with a cell.
    """
    cells: list[Cell] = []
    kind, lines, start = None, [], 1
    for number, line in enumerate([*path.read_text(encoding="utf-8").splitlines(), "# %%"], 1):
        marker = re.match(r"# %%\s*(?:\[(\w+)\])?", line)
        if marker is None:
            if kind is None and line.strip():
                raise UserError(f"{path}, line {number}: a lesson must begin with a cell, '# %% [markdown]'.")
            if kind == "markdown":
                if line.strip() and not re.match(r"#( |$)", line):
                    raise UserError(f"{path}, line {number}: prose must be a comment ('# …'), but this is {line!r}.")
                line = line[2:]
            lines.append(line)
            continue
        text = "\n".join(lines).strip("\n")
        if kind is not None and text:
            cells.append(Cell(kind, text, start))
        kind, lines, start = marker[1] or "code", [], number + 1
    return cells
