"""Typed input, on a real terminal (a pseudo-terminal)."""

import os
import select
import sys
import time
from pathlib import Path

import pytest

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
readline = pytest.importorskip("readline", reason="this Python has no readline")

PROGRAM = "from llmasos.cli.terminal import typed_lines; print('typed', repr(next(typed_lines())), flush=True)"


def read_until(terminal: int, wanted: bytes, seconds: float = 60.0) -> bytes:
    """Read a program's output up to the words that are waited for."""
    said, end = b"", time.monotonic() + seconds
    while wanted not in said:
        assert time.monotonic() < end, said
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 4096)
    return said


@pytest.mark.skipif("libedit" in (readline.__doc__ or ""), reason="libedit knows no bracketed paste")
def test_several_lines_that_are_pasted_are_one_message():
    """A terminal puts marks around pasted text if a program asks for them (bracketed paste)."""
    child, terminal = pty.fork()
    if child == 0:
        root = str(Path(__file__).parents[2])
        os.execve(sys.executable, [sys.executable, "-c", PROGRAM], {"TERM": "xterm", "PYTHONPATH": root})
    try:
        assert b"\x1b[?2004h" in read_until(terminal, b"> ")
        os.write(terminal, b"\x1b[200~Where?\n\nHere.\x1b[201~")
        read_until(terminal, b"Here.")
        os.write(terminal, b"\n")
        assert rb"typed 'Where?\n\nHere.'" in read_until(terminal, b"Here.'")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
