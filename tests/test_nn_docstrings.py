"""Every example in a docstring of the library is run."""

import doctest
import importlib
import pkgutil

import pytest

import llmasos

MODULES = sorted(module.name for module in pkgutil.walk_packages(llmasos.__path__, "llmasos."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0, f"run  python -m doctest -v  on {name}"


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder()
    names = ["llmasos.nn.masks", "llmasos.models.size", "llmasos.models.presets"]
    assert all(any(t.examples for t in finder.find(importlib.import_module(name))) for name in names)
