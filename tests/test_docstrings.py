"""Every example in a docstring of the library is run."""

import doctest
import importlib
import pkgutil

import pytest

import llmasos
from llmasos.datasets import infer

MODULES = sorted(module.name for module in pkgutil.walk_packages(llmasos.__path__, "llmasos."))
WITH_EXAMPLES = ["nn", "models", "tokenizers", "datasets", "objectives", "training", "evaluation",
                 "retrieval"]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where some save a model
    monkeypatch.setattr(infer, "cache_folder", lambda: tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0, f"run  python -m doctest -v  on {name}"


@pytest.mark.parametrize("room", WITH_EXAMPLES)
def test_there_are_examples_to_run_in(room):
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(name) for name in MODULES if name.startswith(f"llmasos.{room}.")]
    assert any(test.examples for module in modules for test in finder.find(module))
