"""Packages whose names are imported on first use, because `import torch` takes seconds and `--help` needs none of it.

    from typing import TYPE_CHECKING

    from llmasos.lazy import lazy_exports

    if TYPE_CHECKING:  # each on first use
        from llmasos.models.gpt import GPT

    __all__ = ["GPT"]
    lazy_exports(__name__)

For a reader, an editor and a type checker, this is a package like any other. When it runs, `TYPE_CHECKING` is False,
and `from llmasos.models import GPT` imports `llmasos/models/gpt.py` alone. (Scientific Python's SPEC 1 does the same.)

A command imports packages (`from llmasos import hub`) and then uses their names (`hub.load_pretrained(…)`), so that it
has read its flags before torch is imported.
"""

import ast
import importlib
import sys
from types import ModuleType
from typing import Any


def lazy_exports(package: str) -> None:
    """Let a package import each of its names on first use.

    Args:
        package: its `__name__`; its `__init__.py` has a block `if TYPE_CHECKING:` of imports.
    """
    module = sys.modules[package]
    source = module.__spec__.loader.get_source(package)  # type: ignore[union-attr]
    vars(module)["_module_of"] = {
        alias.name: node.module
        for block in ast.parse(source).body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    module.__class__ = _LazyPackage


def imported(path: str) -> Any:
    """Import what a table names as "module:name".

    >>> imported("math:floor")(1.5)
    1
    """
    module, name = path.split(":")
    return getattr(importlib.import_module(module), name)


class _LazyPackage(ModuleType):
    """A package whose `_module_of` says which module defines each of its names."""

    _module_of: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._module_of:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(self._module_of[name]), name)
        setattr(self, name, value)  # from now on Python finds it by itself
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and name in self._module_of:  # Python sets a package's modules, but `bleu` is
            value = getattr(value, name)  # a function of `evaluation/bleu.py`
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *self._module_of})
