"""Imports inside `serving` go one way: the engine does not depend on HTTP, and HTTP does not depend on routes."""

import ast
from pathlib import Path

import pytest

SERVING = Path(__file__).resolve().parents[2] / "llmasos" / "serving"
LAYERS = ["metrics", "requests", "engine", "served_model", "http", "api", "app", "service"]


def imported_layers(file: Path) -> set[str]:
    """The parts of `serving` that a file imports."""
    modules = [node.module for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[2] for name in modules if name and name.startswith("llmasos.serving.")}


def test_every_part_has_a_layer():
    parts = {path.stem for path in SERVING.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert parts - {"__init__"} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_from_those_before_it(layer):
    files = sorted((SERVING / layer).rglob("*.py")) or [SERVING / f"{layer}.py"]
    allowed = set(LAYERS[: LAYERS.index(layer) + 1])
    assert {str(file): sorted(extra) for file in files if (extra := imported_layers(file) - allowed)} == {}
