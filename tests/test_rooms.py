"""The order of the packages ("rooms"): each imports only from those above it, so a reader never needs later ones."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "llmasos"
ROOMS = ["lazy", "errors", "arguments", "settings", "capabilities", "console", "signals", "parallel", "storage", "nn",
         "models", "tokenizers", "datasets", "objectives", "training", "generation", "rewards", "evaluation",
         "retrieval", "prompting", "hub", "tasks", "interpret", "planning", "serving", "cli", "tools",
         "sdk"]  # fmt: skip


def imported_rooms(file: Path) -> set[str]:
    """The packages that a file imports from, anywhere in it, except imports only for type checkers.

    The names of a package are imported on first use (`llmasos/lazy.py`), so they count.
    """
    rooms: set[str] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    if file.name != "__init__.py":
        tree.body = [
            node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ]
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "llmasos":
            names = [f"llmasos.{alias.name}" for alias in node.names if alias.name != "__version__"]
        rooms |= {name.split(".")[1] for name in names if name.startswith("llmasos.")}
    return rooms


def test_every_room_has_its_place():
    names = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert names - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_the_rooms_above(room):
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").is_file() else sorted((PACKAGE / room).rglob("*.py"))
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    odd = {str(file.relative_to(PACKAGE)): sorted(rooms) for file in files if (rooms := imported_rooms(file) - allowed)}
    assert not odd


def test_nothing_in_the_library_imports_the_course():
    for file in PACKAGE.rglob("*.py"):
        lines = file.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.strip().startswith(("from lessons", "import lessons"))], file
