"""`python -m llmasos`: the overview, the dispatch to commands, and lazy imports."""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import pytest

import llmasos
from llmasos import __main__ as llmasos_main
from llmasos.cli.cli import ArgumentParser
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


def test_the_version_is_stated_once(capsys):
    assert llmasos_main.main(["--version"]) == 0
    assert capsys.readouterr().out == f"llmasos {llmasos.__version__}\n"
    assert 'version = { attr = "llmasos.__version__" }' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_every_parser_knows_the_version_and_the_nearest_flag(capsys):
    parser = ArgumentParser(prog="train.py")
    parser.add_argument("--learning-rate", type=float)
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"llmasos {llmasos.__version__}\n"
    with pytest.raises(UserError, match=r"unrecognized arguments: --learnig-rate=3; did you mean '--learning-rate'\?$"):
        parser.parse_args(["--learnig-rate=3"])
    with pytest.raises(UserError, match="unrecognized arguments: --xyzzy; see --help"):
        parser.parse_args(["--xyzzy"])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_without_a_command_it_lists_all_commands(arguments, capsys):
    assert llmasos_main.main(arguments) == 0
    out = capsys.readouterr().out
    for name, (_, what) in llmasos_main.COMMANDS.items():
        assert f"python -m llmasos {name}" in out and what in out
    for word in (
        "train",
        "generate",
        "evaluate",
        "chat",
        "serve",
        "list",
        "export",
        "int8",
        "benchmark",
        "fix problems",
    ):
        assert word in out, "a user must find what the library does"


@pytest.mark.parametrize("name", llmasos_main.COMMANDS)
def test_every_command_has_help(name, capsys):
    assert callable(importlib.import_module(llmasos_main.COMMANDS[name][0]).main)
    with pytest.raises(SystemExit) as caught:
        llmasos_main.main([name, "--help"])
    assert caught.value.code == 0 and "usage:" in capsys.readouterr().out


def test_a_command_receives_its_arguments_and_returns_the_exit_status(fake_command):
    assert llmasos_main.main(["fake", "--steps", "5"]) == 3
    assert fake_command.calls == [["--steps", "5"]]


def test_the_arguments_default_to_those_of_the_process(fake_command, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["llmasos", "fake", "x"])
    assert llmasos_main.main() == 3
    assert fake_command.calls == [["x"]]


def test_a_mistyped_command_gets_a_suggestion(capsys):
    assert llmasos_main.main(["trian"]) == 2
    error = capsys.readouterr().err
    assert "'trian'" in error and "did you mean 'train'?" in error and error.count("\n") == 1


def test_an_unknown_command_gets_the_list_of_commands(capsys):
    assert llmasos_main.main(["xyzzy"]) == 2
    error = capsys.readouterr().err
    assert ", ".join(llmasos_main.COMMANDS) in error and "did you mean" not in error


def test_a_user_error_is_one_sentence_and_status_2(fake_command, capsys):
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
        "import sys\nfrom llmasos.__main__ import COMMANDS, main\n"
        "try:\n    main(['doctor', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(*(name for name, (module, _) in COMMANDS.items() if module in sys.modules))"
    )
    assert done.stdout.splitlines()[-1] == "doctor"


def test_it_runs_as_a_module_and_its_main_is_the_console_script():
    done = subprocess.run([sys.executable, "-m", "llmasos"], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0 and "python -m llmasos train" in done.stdout
    assert 'llmasos = "llmasos.__main__:main"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove a folder that is in use")
def test_a_folder_that_was_removed_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert llmasos_main.main(["models"]) == 2
    finally:
        monkeypatch.chdir(tmp_path)
    assert capsys.readouterr().err == "error: the current folder does not exist any more; change to another one (cd).\n"


@pytest.mark.parametrize("command", [("quantize", "storyworld-gpt"), ("eval", "storyworld-gpt"), ("bench", "--quick")])
@pytest.mark.parametrize("content", ["my thesis", '{"mine": 1}', "[1]", None])
def test_json_never_replaces_another_file(command, content, tmp_path, capsys):
    file = tmp_path / "numbers.json"
    file.mkdir() if content is None else file.write_text(content)
    assert llmasos_main.main([*command, "--json", str(file)]) == 2
    assert "there is another file of that name" in capsys.readouterr().err
    assert file.is_dir() if content is None else file.read_text() == content
