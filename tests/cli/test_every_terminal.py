"""Every help text and quick command as a real process: in poor encodings, in twenty columns, and with no reader left.

python tests/cli/test_every_terminal.py     tries every command in each of these and prints a table
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmasos.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
CALLS = [
    *([program, "--help"] for program in ("train.py", "sample.py")),
    *(["-m", "llmasos", name, "--help"] for name in COMMANDS),
    *(["-m", "llmasos", *words] for words in ([], ["--version"], ["models"], ["train", "--list"], ["no-such-command"])),
    *(["-m", "lessons", *words] for words in ([], ["--help"], ["check", "--help"], ["check", "99"])),
]
TERMINALS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "narrow": {"COLUMNS": "20"},
    "head -1": {},
}
SOME = [("train.py --help", "ascii"), ("-m llmasos serve --help", "narrow"), ("-m lessons", "head -1")]


def find_problem(call: list[str], terminal: str) -> str | None:
    """Run a command in a terminal. Returns what is wrong, or None."""
    environment = {**os.environ, **TERMINALS[terminal]}
    command = [sys.executable, *call]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if terminal == "head -1":
            out = process.stdout.readline()
            process.stdout.close()
        else:
            out = process.stdout.read()
        error = process.stderr.read()
    is_wrong = "no-such-command" in call or "99" in call
    expected = 2 if is_wrong else 0
    if process.returncode != expected or b"Traceback" in error:
        return f"status {process.returncode}: {error.decode(errors='replace')[-300:]}"
    (error if is_wrong else out).decode(TERMINALS[terminal].get("PYTHONIOENCODING", "utf-8"))
    return None if (error if is_wrong else out).strip() else "nothing is printed"


@pytest.mark.parametrize("call, terminal", SOME)
def test_a_command_prints_in_any_terminal(call, terminal):
    assert find_problem(call.split(), terminal) is None


@pytest.mark.slow
@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_every_command_prints_in_every_terminal(call, terminal):
    assert find_problem(call, terminal) is None


if __name__ == "__main__":
    print(f"{'terminal':<10} tried right wrong")
    for name in TERMINALS:
        problems = {" ".join(call): problem for call in CALLS if (problem := find_problem(call, name))}
        print(f"{name:<10} {len(CALLS):>5} {len(CALLS) - len(problems):>5} {len(problems):>5}", flush=True)
        for call, problem in problems.items():
            print(f"    {call}: {problem}")
