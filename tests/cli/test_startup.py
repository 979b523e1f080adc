"""Commands without a model start at once: no help text or list waits for torch. Packages import names on first use."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import llmasos
from llmasos.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [
    f"llmasos.{path.parent.name}"
    for path in sorted(Path(llmasos.__file__).parent.glob("*/__init__.py"))
    if "lazy_exports(__name__)" in path.read_text(encoding="utf-8")
]
CALLS = [
    *(["llmasos", name, "--help"] for name in COMMANDS),
    *(["llmasos", *words] for words in ([], ["--version"], ["no-such-command"], ["models"], ["doctor", "--no-flag"])),
    *(["llmasos", "train", word] for word in ("--list", "no-such-recipe", "--no-such-flag")),
    ["llmasos", "sample", "storyworld-gpt", "--temperature", "-1"],
    *(["lessons", *words] for words in ([], ["--help"], ["check", "--help"], ["check", "99"])),
]
ALL_IN_ONE_PROCESS = """
import contextlib, io, json, sys
from lessons.__main__ import main as lessons
from llmasos.__main__ import dispatch as llmasos
from llmasos.cli.cli import run

answers = []
for program, *words in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            status = run(llmasos if program == "llmasos" else lessons, words)
        except SystemExit as end:
            status = end.code
    heavy = [name for name in ("torch", "numpy", "tiktoken", "regex", "jinja2") if name in sys.modules]
    answers.append([status, out.getvalue(), heavy])
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers():
    """For each call, in a single process: the exit status, the output, and the heavy packages imported by then."""
    command = [sys.executable, "-c", ALL_IN_ONE_PROCESS, json.dumps(CALLS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True)
    return dict(zip(map(tuple, CALLS), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_what_needs_no_model_does_not_wait_for_torch(answers, call):
    status, output, heavy = answers[tuple(call)]
    is_wrong = any("no-" in word or word in ("99", "-1") for word in call)
    assert (status, bool(output), heavy) == (2 if is_wrong else 0, True, [])


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_the_names_it_lists(name):
    package = importlib.import_module(name)
    assert set(package.__all__) == set(package._module_of) <= set(dir(package))
    for exported in package.__all__:
        assert not isinstance(getattr(package, exported), ModuleType), exported
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = package.no_such_name


def test_a_name_shared_by_a_package_and_its_file_is_what_the_file_defines():
    module = importlib.import_module("llmasos.evaluation.bleu")
    assert importlib.import_module("llmasos.evaluation").bleu is module.bleu
