"""`python -m llmasos`: what it shows, what it calls, and that it imports no more than it must."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

from llmasos import __main__ as llmasos_main
from llmasos.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture
def fake_command(monkeypatch):
    """A command `fake` whose `main` records its arguments and returns 3."""
    module = types.ModuleType("a_fake_command")
    module.calls = []
    module.main = lambda arguments: module.calls.append(arguments) or 3
    monkeypatch.setitem(sys.modules, "a_fake_command", module)
    monkeypatch.setitem(llmasos_main.COMMANDS, "fake", ("a_fake_command", "does nothing"))
    return module


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_it_shows_what_there_is(arguments, capsys):
    assert llmasos_main.main(arguments) == 0
    out = capsys.readouterr().out
    for name, (_, what) in llmasos_main.COMMANDS.items():
        assert f"python -m llmasos {name}" in out and what in out


@pytest.mark.parametrize("name", ["train", "sample", "serve", "doctor", "bench"])
def test_every_command_is_there_and_has_help(name, capsys):
    assert callable(importlib.import_module(llmasos_main.COMMANDS[name][0]).main)
    with pytest.raises(SystemExit) as caught:
        llmasos_main.main([name, "--help"])
    assert caught.value.code == 0 and "usage:" in capsys.readouterr().out


def test_a_command_gets_the_other_arguments_and_gives_the_exit_status(fake_command):
    assert llmasos_main.main(["fake", "--steps", "5"]) == 3
    assert fake_command.calls == [["--steps", "5"]]


def test_without_arguments_given_it_takes_those_of_the_process(fake_command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llmasos", "fake", "x"])
    assert llmasos_main.main() == 3
    assert fake_command.calls == [["x"]]


def test_a_mistyped_command_is_answered_with_the_nearest_one(capsys):
    assert llmasos_main.main(["trian"]) == 2
    error = capsys.readouterr().err
    assert "'trian'" in error and "did you mean 'train'?" in error and error.count("\n") == 1


def test_an_unknown_command_is_answered_with_all_there_are(capsys):
    assert llmasos_main.main(["xyzzy"]) == 2
    error = capsys.readouterr().err
    assert ", ".join(llmasos_main.COMMANDS) in error and "did you mean" not in error


def test_a_user_error_of_a_command_is_one_sentence_and_status_2(fake_command, capsys):
    def main(arguments):
        raise UserError("the moon is not full; wait.")

    fake_command.main = main
    assert llmasos_main.main(["fake"]) == 2
    assert capsys.readouterr().err == "error: the moon is not full; wait.\n"


def test_the_list_of_commands_needs_no_torch():
    done = run_python("import sys\nfrom llmasos.__main__ import main\nmain([])\nsys.exit('torch' in sys.modules)")
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_module_of_the_command_is_imported():
    done = run_python(
        "import sys\nfrom llmasos.__main__ import main\n"
        "try:\n    main(['doctor', '--help'])\nexcept SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.startswith('llmasos.cli.')])"
    )
    imported = done.stdout.splitlines()[-1]
    assert "llmasos.tools.doctor" in imported
    assert not any(f"llmasos.cli.{other}'" in imported for other in ("train", "sample", "bench"))


def test_it_runs_as_a_module_and_its_main_is_the_console_script():
    done = subprocess.run([sys.executable, "-m", "llmasos"], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0 and "python -m llmasos train" in done.stdout
    assert 'llmasos = "llmasos.__main__:main"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
