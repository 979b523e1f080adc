"""Requests to stop: Ctrl-C, SIGTERM and SIGHUP, at once or at the next safe point."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llmasos.cli.cli import run
from llmasos.signals import STOP_SIGNALS, Terminated, handlers, stop_requests

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_command_ends_with_the_status_of_the_signal(number, capsys):
    before = signal.getsignal(number)
    assert run(lambda arguments: signal.raise_signal(number)) == 128 + number
    assert capsys.readouterr().err == "stopped.\n" and signal.getsignal(number) is before


@pytest.mark.parametrize("number", [n for n in STOP_SIGNALS if n != signal.SIGINT])
def test_what_understands_ctrl_c_in_its_own_way_is_still_ended_by_the_others(number):
    def chat(arguments):
        while True:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                signal.raise_signal(number)

    assert run(chat) == 128 + number


def test_an_interrupt_that_a_package_turns_into_its_own_error_is_still_an_interrupt(capsys):
    def main(arguments):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("half of the package is missing") from None

    assert run(main) == 130 and capsys.readouterr().err == "stopped.\n"
    with pytest.raises(ZeroDivisionError):
        run(lambda arguments: 1 // 0)


def test_a_request_is_acknowledged_once_and_the_second_one_raises(capsys, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with pytest.raises(Terminated) as caught, stop_requests("stopping soon.") as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set() and stop.status == 130 and capsys.readouterr().err == "stopping soon.\n"
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.code == 143 and capsys.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt), stop_requests(None):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)


def test_what_torchrun_repeats_is_not_a_second_request(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    with stop_requests("stopping soon.") as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set() and capsys.readouterr().err == "stopping soon.\n"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_nohup_is_respected():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handlers(lambda number, frame: pytest.fail("it was to be ignored")):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


WHILE_IT_STARTS = """
import runpy, signal, sys

class Bell:
    def find_spec(self, name, path=None, target=None, moment=sys.argv[1]):
        if name == moment:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Bell())
sys.argv = sys.argv[2:]
start = runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module
start(sys.argv[0], run_name="__main__")
"""

SWALLOWED = """
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                pass
"""


@pytest.mark.parametrize("moment, said", [("llmasos.cli.cli", ""), ("torch", "stopped.\n")])
@pytest.mark.parametrize(
    "command", [["train.py"], ["sample.py", "storyworld-gpt"], ["llmasos", "bench"], ["lessons", "check", "1"]]
)
def test_ctrl_c_is_heard_while_it_starts(command, moment, said):
    assert start(WHILE_IT_STARTS, moment, *command) == (130, "", said)


@pytest.mark.parametrize("moment", ["torch", "torch._C", "llmasos.generation.sampling"])
def test_a_package_that_swallows_ctrl_c_does_not_stop_it(moment):
    swallowing = WHILE_IT_STARTS.replace("signal.raise_signal(signal.SIGINT)", SWALLOWED)
    assert start(swallowing, moment, "sample.py", "storyworld-gpt") == (130, "", "stopped.\n")


def start(program: str, *arguments: str) -> tuple[int, str, str]:
    """Run a program; returns its exit status and its output."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr
