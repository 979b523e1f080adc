"""Output: in any encoding, on streams that nobody reads any more, with progress bars only on terminals."""

import ast
import errno
import io
import os
import re
import sys
import types
import warnings
from contextlib import suppress
from pathlib import Path

import pytest

from llmasos import console
from llmasos.__main__ import main
from llmasos.cli.cli import run
from llmasos.console import Output, OutputLost, command, progress_bar, quiet, say, track
from llmasos.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


class Broken(io.RawIOBase):
    """A file that cannot be written."""

    def __init__(self, number: int):
        self.number = number

    def writable(self):
        return True

    def write(self, data):
        raise OSError(self.number, os.strerror(self.number))


def broken(number: int) -> io.TextIOWrapper:
    """A standard output whose reader is gone, or whose disk is full."""
    return io.TextIOWrapper(io.BufferedWriter(Broken(number)), encoding="utf-8")


def closed() -> io.StringIO:
    """A stream that somebody has closed."""
    stream = io.StringIO()
    stream.close()
    return stream


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize(
    "encoding, expected",
    [
        ("utf-8", "Füße → “gut” … █▒ Ω\n".encode()),
        ("cp1252", "Füße -> “gut” … #+ \\u03a9\n".encode("cp1252")),
        ("latin-1", 'Füße -> "gut" ... #+ \\u03a9\n'.encode("latin-1")),
        ("ascii", b'F\\xfc\\xdfe -> "gut" ... #+ \\u03a9\n'),
    ],
)
def test_what_an_encoding_lacks_is_spelled_out(encoding, expected, monkeypatch):
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding=encoding))
    assert run(lambda arguments: print("Füße → “gut” … █▒ Ω")) == 0
    say("Füße → “gut” … █▒ Ω")  # outside of a command, as in a notebook
    assert data.getvalue() == 2 * expected


def test_a_file_name_that_is_not_utf_8_can_be_named():
    data = io.BytesIO()
    out = Output(io.TextIOWrapper(data, encoding="utf-8"))
    out.write("x\udcfc.txt")
    out.flush()
    assert data.getvalue() == b"x\\udcfc.txt"


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC, errno.EIO])
def test_lost_output_raises_or_is_dropped(number):
    forgiving, strict = Output(broken(number), forgiving=True), Output(broken(number))
    assert forgiving.write("text") == 4
    forgiving.flush()
    with pytest.raises(OutputLost) as caught:
        strict.write("text")
        strict.flush()
    assert caught.value.errno == number


@pytest.mark.parametrize("stream", [closed, lambda: None, lambda: broken(errno.EIO)])
def test_say_and_bars_never_fail(stream, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream())
    monkeypatch.setattr(sys, "stderr", stream())
    say("a line")
    say("a line", error=True)
    assert list(track(range(3), "title")) == [0, 1, 2]
    with progress_bar(total=2, disable=False) as bar:  # as on a terminal that is then lost
        bar.update()
        say("a line")


@pytest.mark.parametrize(
    "number, status, message",
    [(errno.EPIPE, 0, ""), (errno.ENOSPC, 2, "cannot be written (No space left"), (errno.EIO, 2, "cannot be written")],
)
def test_a_command_whose_output_is_lost_ends(number, status, message, monkeypatch, capsys):
    printed = []

    def endless(arguments):
        for line in range(100_000):
            print("a line of text")
            printed.append(line)

    monkeypatch.setattr(sys, "stdout", broken(number))
    assert run(endless) == status and len(printed) < 10_000
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == (status > 0)
    monkeypatch.setattr(sys, "stdout", broken(number))
    assert run(lambda arguments: print("short")) == status, "what is still in the buffer counts, too"


def test_a_run_that_a_closed_terminal_has_stopped_ends_with_the_status_of_its_signal(monkeypatch):
    monkeypatch.setattr(sys, "stdout", broken(errno.EIO))

    def stopped(arguments):
        say("everything is saved")
        return 129

    assert run(stopped) == 129


def test_lost_notes_do_not_end_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", broken(errno.ENOSPC))

    def main(arguments):
        print("a note", file=sys.stderr, flush=True)
        say("another", error=True)
        print("the result")

    def wrong(arguments):
        raise UserError("nobody hears this.")

    assert run(main) == 0 and capsys.readouterr().out == "the result\n"
    assert run(wrong) == 2


def test_a_command_gives_the_streams_back(capsys):
    before = sys.stdout, sys.stderr
    assert run(lambda arguments: 3) == 3
    assert (sys.stdout, sys.stderr) == before and not isinstance(sys.stdout, Output)


def test_bars_are_for_terminals(monkeypatch):
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(sys, "stdout", stream)
        for _ in progress_bar(iterable=range(3), desc="title"):
            say("a line")
        assert ("title" in stream.getvalue()) is shown and ("\r" in stream.getvalue()) is shown
        assert stream.getvalue().count("a line\n") == 3


def test_quiet_prints_nothing_and_only_while_it_is_open(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    with quiet():
        with quiet(False):
            say("a line")
        assert list(progress_bar(iterable=range(3))) == list(track(range(3), "title")) == [0, 1, 2]
    assert terminal.getvalue() == ""
    say("a line")
    assert terminal.getvalue() == "a line\n"


def test_a_notebook_without_widgets_gets_a_bar_and_no_warning(monkeypatch):
    kernel = types.SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: kernel))
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", types.ModuleType("zmqshell"))  # so tqdm recognizes it
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # cannot be imported
    for name in ("tqdm.auto", "tqdm.autonotebook", "tqdm.notebook"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    stream = io.StringIO()  # the stream of a notebook is no terminal
    monkeypatch.setattr(sys, "stderr", stream)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(progress_bar(iterable=range(3), desc="title")) == [0, 1, 2]
    assert not caught and "title" in stream.getvalue()


def test_a_command_is_named_as_the_user_can_type_it(monkeypatch, tmp_path):
    monkeypatch.setattr(console.sys, "platform", "linux")
    monkeypatch.chdir(ROOT)
    assert command("train", "--out", "my run") == "python train.py --out 'my run'"
    assert command("eval", "runs/x") == "python -m llmasos eval runs/x"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("a program of the user's")
    assert command("train") == "python -m llmasos train"


def texts(module: Path) -> list[str]:
    """The strings in a module, without its docstrings."""
    nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [node.value for node in constants if isinstance(node.value, str)]


def test_no_text_names_a_script_that_only_a_clone_has():
    modules = sorted((ROOT / "llmasos").rglob("*.py"))
    named = [
        (module.name, text) for module in modules for text in texts(module) if re.search("(train|sample).py", text)
    ]
    assert len(modules) > 100 and not named, "`console.command` knows how the command is started here"


@pytest.mark.parametrize("arguments", [["train", "--help"], ["sample", "--help"], ["models"], ["train", "no-such"]])
def test_what_to_type_next_works_where_it_is_typed(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "500")
    for folder, start in ((ROOT, r"python (train|sample)\.py "), (tmp_path, "python -m llmasos (train|sample) ")):
        monkeypatch.chdir(folder)
        with suppress(SystemExit):
            main(arguments)
        printed = capsys.readouterr()
        assert re.search(start, printed.out + printed.err)


@pytest.mark.parametrize("write_through", [False, True])
def test_help_that_cannot_be_written_is_an_error(write_through, monkeypatch, capsys):
    out = broken(errno.ENOSPC)
    out.reconfigure(write_through=write_through)
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["export", "--help"]) == 2 and "the output cannot be written" in capsys.readouterr().err
