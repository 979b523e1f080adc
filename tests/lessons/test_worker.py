"""A student's file in its own process: what it may not do, how it is stopped, and the feedback for it."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from lessons_helpers import tiny_lesson
from serving_http_helpers import wait_until

from lessons.machinery import confinement, runner
from lessons.machinery.check import check_source, explain
from lessons.machinery.discovery import ROOT, Lesson
from lessons.machinery.grading import NOT_CHECKED, NOT_DONE, RIGHT, WRONG

# What a function does: its body, how the mistake is called, and words of the explanation.
BODIES = {
    "exception": ("return x.nonsense()", "exception (AttributeError)", "mine.py:  return x.nonsense()"),
    "wrong type returned": ("pass", "wrong type", "return"),
    "endless loop": ("while True:\n    pass", "it does not terminate", "while True:"),
    "in place": ("x.mul_(2)\nreturn x", "inputs changed in place", "modified its input x"),
    "detached": ("return 2 * x.detach()", "gradient does not flow", "no gradient flows back"),
    "data": ("return 2 * x.data", "gradient does not flow", ""),
    "no_grad": ("with torch.no_grad():\n    return 2 * x", "gradient does not flow", ""),
    "numpy": ("return 2 * x.detach().numpy()", "wrong type", "NumPy"),
    "shape": ("return (2 * x)[None]", "wrong shape", "size 1"),
    "integers": ("return (2 * x).long()", "wrong dtype", "whole numbers"),
    "random": ("return 2 * x + torch.rand(1)", "uncontrolled randomness", ""),
    "exits": ("import os\nos._exit(0)", "it ends the process", "exit status 0"),
    "sys.exit": ("raise SystemExit", "exception (SystemExit)", ""),
    "forks": ("import os\nwhile True: os.fork()", "outside an exercise's limits", "another process"),
    "runs a program": ("import subprocess\nsubprocess.run(['ls'])", "outside an exercise's limits", "another program"),
    "reads elsewhere": ("return open('/etc/passwd').read()", "outside an exercise's limits", "/etc/passwd"),
    "writes elsewhere": ("open('/tmp/llmasos-was-here', 'w')", "outside an exercise's limits", "write"),
    "network": ("import socket\nsocket.socket()", "outside an exercise's limits", "network"),
    "too much memory": ("return torch.zeros(10**10)", "too much memory", ""),
    "forbidden, plainly": ("return F.scaled_dot_product_attention(x, x, x)", "not allowed", "too easy"),
    "forbidden, in disguise": (
        "f = getattr(F, 'scaled_dot' + '_product_attention')\nx = x[None]\nreturn f(x, x, x)",
        "not allowed", "too easy",
    ),
    "forbidden, by another name": ("return 2 * torch._C._VariableFunctions.roll(x, 0)", "not allowed", "too easy"),
    "the library": ("import llmasos.nn\nreturn 2 * x", "not allowed", "solution"),
    "the library, in disguise": ("return __import__('llma' + 'sos').nn.gelu(x)", "not allowed", "solution"),
    "the grader": ("from lessons.machinery import grading\nreturn 2 * x", "not allowed", "course"),
    "searches memory": ("import gc\nreturn gc.get_objects()", "outside an exercise's limits", "memory"),
    "writes to the channel": (
        "import os\nfor n in range(3, 30):\n    try: os.write(n, b'[[[\\n')\n    except OSError: pass\nreturn 2 * x",
        "it ends the process", "channel",
    ),
}  # fmt: skip
SLOW_BODIES = {  # each of them costs a worker
    "endless, deaf": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        "it does not terminate", "",
    ),
    "segfault": ("import faulthandler\nfaulthandler._read_null()", "it ends the process", "crashed"),
}  # fmt: skip


def check_bodies(bodies, folder):
    """Check a file with a function for each type of misbehavior, between right ones: lesson, name → verdict."""
    names = ["squared", *(f"f{i}" for i in range(len(bodies))), "prints", "last"]
    misbehaving = [body for body, _, _ in bodies.values()]
    code = ["return x * x", *misbehaving, "print('{}' * 100000)\nreturn x + x", "return x + x"]
    source = "import torch\nfrom torch.nn import functional as F\n\n"
    for name, body in zip(names, code, strict=True):
        source += f"def {name}(x):\n" + "".join(f"    {line}\n" for line in body.split("\n")) + "\n"
    lesson = Lesson(tiny_lesson(folder, names))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "GRACE_SECONDS", 1.0)
        patch.setattr(runner, "SUBMISSION_SECONDS", 2400)  # here are thirty exercises, and perhaps a busy machine
        return lesson, {verdict.task.name: verdict for verdict in check_source(lesson, source, "mine.py")}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    return check_bodies(BODIES, tmp_path_factory.mktemp("lesson"))


def test_right_is_right_whatever_came_before_and_whatever_is_printed(checked):
    _, verdicts = checked
    assert verdicts["prints"].status == verdicts["last"].status == RIGHT


def test_a_known_mistake_is_named_with_the_smallest_example(checked):
    lesson, verdicts = checked
    text = explain(lesson, verdicts["squared"])
    assert verdicts["squared"].mistake == "squared"
    for words in ("expected : [2 4]", "yours : [1 4]", "line 9: 1.1 Twice", "Hint: Add."):
        assert words in text


@pytest.mark.parametrize("number, name", list(enumerate(BODIES)), ids=list(BODIES))
def test_misbehaviour_is_recognised(checked, number, name):
    assert_recognized(*checked, number, *BODIES[name][1:])


@pytest.mark.slow
def test_misbehaviour_that_ends_a_worker_is_recognised(tmp_path):
    lesson, verdicts = check_bodies(SLOW_BODIES, tmp_path)
    for number, (_, mistake, words) in enumerate(SLOW_BODIES.values()):
        assert_recognized(lesson, verdicts, number, mistake, words)
    assert verdicts["last"].status == RIGHT


def assert_recognized(lesson, verdicts, number, mistake, words):
    verdict = verdicts[f"f{number}"]
    text = explain(lesson, verdict)
    assert verdict.status == WRONG and verdict.mistake == mistake, text
    assert words in text, text
    assert "lessons/machinery" not in text, "no traceback of ours"


def test_what_the_text_alone_tells(tmp_path):
    lesson = Lesson(tiny_lesson(tmp_path))

    def verdict(source):
        return check_source(lesson, source, "mine.py", only="double")[0]

    assert "line 3" in verdict("\n\ndef double(x:\n").why and "def double(x:" in verdict("\n\ndef double(x:\n").why
    assert "'doubled'" in verdict("def doubled(x): return 2 * x").why
    assert verdict("def double(): return 2").mistake == "wrong signature"
    assert verdict("def double(x):\n    raise NotImplementedError").status == NOT_DONE


def test_a_file_that_cannot_be_imported(tmp_path):
    lesson = Lesson(tiny_lesson(tmp_path))
    broken = check_source(lesson, "import nonsense_module\ndef double(x): return 2 * x", "mine.py")[0]
    assert "cannot be imported" in broken.why and "line 1" in broken.why


def test_a_machine_that_is_too_busy_is_no_mistake_of_the_student(tmp_path, monkeypatch):
    lesson = Lesson(tiny_lesson(tmp_path))
    monkeypatch.setattr(runner, "START_SECONDS", 0)
    late = check_source(lesson, "def double(x): return 2 * x", "mine.py")[0]
    assert late.status == NOT_CHECKED and "mine.py was not read" in late.why and "loop" not in late.hint


@pytest.mark.slow
def test_a_file_whose_import_does_not_end(tmp_path, monkeypatch):
    lesson = Lesson(tiny_lesson(tmp_path))
    monkeypatch.setattr(runner, "LOAD_SECONDS", 1)
    endless = check_source(lesson, "while True: pass\ndef double(x): return 2 * x", "mine.py")[0]
    assert endless.mistake == "it does not terminate"


@pytest.mark.skipif(bool(confinement.missing()), reason="only Linux lets a process die with its parent")
def test_no_worker_survives_a_grader_that_is_killed(tmp_path):
    lesson = tiny_lesson(tmp_path)
    code = f"""
from pathlib import Path
from lessons.machinery import runner
from lessons.machinery.check import check_source
from lessons.machinery.discovery import Lesson
runner.LOAD_SECONDS = 300
check_source(Lesson(Path({str(lesson)!r})), "while True: pass\\ndef double(x): return 2 * x", "mine.py")
"""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def workers(state: str = "") -> list[str]:
        """The processes that work in the folder of this test, and are in this state."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if str(temporary) in (path / "cmdline").read_text() and state in (path / "status").read_text():
                    found.append(path.name)
        return found

    grader = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "TMPDIR": str(temporary)})
    try:
        wait_until(lambda: workers("Seccomp:\t2"))  # the code runs
    finally:
        grader.kill()
        grader.wait()
    wait_until(lambda: not workers())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="process trees are Linux's")
def test_a_grandchild_with_a_session_of_its_own_does_not_survive():
    code = """
import os, time
from lessons.machinery.sandbox import enter_namespaces
enter_namespaces()
alone = os.getpid() == 1
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
print("alone" if alone else "shared", flush=True)
time.sleep(600)
"""
    marker = f"grandchild-{time.time_ns()}"
    tool = shutil.which("unshare")
    trial = [tool, "-Upni", "--fork", "true"]

    def possible() -> bool:
        return tool is not None and subprocess.run(trial, capture_output=True).returncode == 0

    for _ in range(10 if possible() else 1):  # after many of them, the system may have none left for a while
        worker = subprocess.Popen(
            [sys.executable, "-c", code, marker], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
        )
        alone = worker.stdout.readline().strip() == "alone"
        runner.kill_worker(worker)
        worker.stdout.close()
        if alone:
            break
        time.sleep(2.0)
    if not alone and not possible():
        pytest.skip("this system gives ordinary users no process trees of their own, or has no more now")
    assert alone, "this system would give us a process tree"
    wait_until(lambda: not any(marker in read(path) for path in Path("/proc").glob("[0-9]*/cmdline")))


def read(path: Path) -> str:
    """Read a file that may vanish meanwhile."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
