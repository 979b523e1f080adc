"""A lesson as a Jupyter notebook (nbformat 4): prose and formulas rendered, code ready to run, also in Colab."""

import json
from pathlib import Path
from typing import Any

from lessons.machinery.discovery import Lesson
from llmasos.errors import UserError
from llmasos.storage import write_text

SETUP = """# Finds the project. In Colab, it is cloned first: put the URL of your course's git repository here.
REPOSITORY = ""

import os, subprocess, sys
from pathlib import Path

if "google.colab" in sys.modules:
    if not Path("llmasos-course").exists():
        if not REPOSITORY:
            raise SystemExit("Set REPOSITORY above to the URL of your course's git repository, and rerun this cell.")
        subprocess.run(["git", "clone", "--depth", "1", REPOSITORY, "llmasos-course"], check=True)
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "tiktoken", "tqdm"], check=True)
    os.chdir("llmasos-course")

folders = [Path.cwd(), *Path.cwd().parents]
root = next((folder for folder in folders if (folder / "lessons" / "machinery").is_dir()), None)
if root is None:
    raise SystemExit("Open this notebook from inside the project folder.")
sys.path.insert(0, str(root))
print("The project is in", root)"""


def notebook(lesson: Lesson) -> dict[str, Any]:
    """The lesson as a notebook in nbformat 4.5."""
    cells = [make_cell("setup", "code", SETUP)]
    for number, cell in enumerate(lesson.cells):
        if cell.kind != "setup":
            kind = "markdown" if cell.kind == "markdown" else "code"
            cells.append(make_cell(f"cell-{number:03d}", kind, cell.text))
    number = lesson.number
    exercises = f"""## Exercises

Solve them in `lessons/mine/{lesson.name}.py`, which the cell below creates on its first run; then rerun it."""
    cells.append(make_cell("exercises", "markdown", exercises))
    check = f'subprocess.run([sys.executable, "-m", "lessons", "check", "{number}"], cwd=root)'
    captured = check[:-1] + ", capture_output=True, text=True).stdout"
    cells.append(make_cell("check", "code", f"import subprocess, sys\n\nprint({captured})"))
    return {
        "cells": cells,
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def make_cell(id: str, kind: str, text: str) -> dict[str, Any]:
    """One cell; every line except the last keeps its line break."""
    cell = {"cell_type": kind, "id": id, "metadata": {}, "source": text.splitlines(keepends=True)}
    return cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []}


def write_notebook(lesson: Lesson, path: Path) -> None:
    """Write the lesson's notebook, without overwriting a changed file.

    Raises:
        UserError: the name does not end in .ipynb, or the file exists with different content.
    """
    if path.suffix != ".ipynb":
        raise UserError(f"A notebook's name ends in .ipynb, not {path.name!r}.")
    text = json.dumps(notebook(lesson), indent=1, ensure_ascii=False) + "\n"
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise UserError(
            f"{path} already exists and may contain your work; choose another name with --out, or delete it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
