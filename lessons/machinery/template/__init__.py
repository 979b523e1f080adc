"""Start a new lesson: the files in this folder are a small but complete one, to be replaced piece by piece."""

import re
from pathlib import Path

from lessons.machinery import discovery
from lessons.machinery.cells import read_cells
from llmasos.errors import UserError

FILES = ("lesson.py", "exercise.py", "checks.py", "equivalent_mutants.json")


def write_template(number: str, name: str) -> Path:
    """Write `lessons/NN_name/` with every part that a lesson has, and return the folder.

    Args:
        number: the lesson's number, 1 to 99.
        name: the rest of the folder's name: lowercase letters, digits and underscores.

    Raises:
        UserError: the number or the name cannot be used, or the number is taken.
    """
    if not (number.isdecimal() and 1 <= int(number) <= 99):
        raise UserError(f"the number of a lesson is {number}; it must be from 1 to 99.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"the name of a lesson is {name!r}; it must be lower-case letters, digits and underscores.")
    taken = [lesson.name for lesson in discovery.lessons() if lesson.number == int(number)]
    folder = discovery.LESSONS / f"{int(number):02d}_{name}"
    if taken or folder.exists():
        raise UserError(f"lessons/{taken[0] if taken else folder.name} exists; choose another number.")
    example = Path(__file__).resolve().parents[2] / "03_attention" / "lesson.py"
    setup = next(cell.text for cell in read_cells(example) if cell.kind == "setup")
    title = name.replace("_", " ").capitalize()
    folder.mkdir(parents=True)
    for file in FILES:
        text = (Path(__file__).parent / file).read_text(encoding="utf-8")
        text = text.replace("NN.", f"{int(number)}.").replace("NN", f"{int(number):02d}").replace("TITLE", title)
        text = text.replace("# %% [setup]\n", f"# %% [setup]\n{setup}\n")
        (folder / file).write_text(text, encoding="utf-8")
    return folder
