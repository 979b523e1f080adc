"""Submissions that use excessive resources: each ends within its limits, with one sentence, without hurting others."""

import json
import time

import pytest
from lessons_helpers import tiny_lesson

from lessons.machinery import confinement, runner
from lessons.machinery.discovery import Lesson
from lessons.machinery.grade import as_json, grade
from lessons.machinery.grading import RIGHT, WRONG

LIMITS, TIME = "outside an exercise's limits", "it does not terminate"
MEMORY, ENDED = "too much memory", "it ends the process"
FLOODS = {  # the excessive resource → (the body of an exercise, the possible names of the mistake)
    "memory of torch": ("rows = []\nwhile True: rows.append(torch.empty(2**26))", (MEMORY, TIME)),
    "memory of Python": ("rows = []\nwhile True: rows.append(bytearray(2**27))", (MEMORY, TIME)),
    "memory in one piece": ("return b'x' * 2**34", (MEMORY,)),
    "a text without end": ("return 'x' * 2**28", ("wrong type",)),
    "a message without end": ("raise ValueError('x' * 2**26)", ("exception (ValueError)",)),
    "processor time": ("while True: pass", (TIME,)),
    "time": ("import time\ntime.sleep(10**6)", (TIME,)),
    "open files": ("files = [open('f', 'w')]\nwhile True: files.append(open('f'))", (LIMITS,)),
    "pipes": ("import os\nwhile True: os.pipe()", (LIMITS,)),
    "output": ("while True: print('x' * 10**6)", (TIME,)),
    "output below Python": ("import os\nwhile True: os.write(1, b'x' * 10**6)", (TIME,)),
    "one large file": ("file = open('large', 'w')\nwhile True: file.write('x' * 10**6)", (LIMITS,)),
    "many files": ("for i in range(10**9): open(f'file {i}', 'w').close()", (LIMITS,)),
    "many folders": ("import os\nfor i in range(10**9): os.mkdir(f'folder {i}')", (LIMITS,)),
    "the disk": ("for i in range(10**9): open(f'part {i}', 'w').write('x' * 10**6)", (LIMITS,)),
    "threads": ("import threading\nwhile True: threading.Thread(target=input).start()", (LIMITS,)),
    "processes": ("import os\nwhile True: os.fork()", (LIMITS,)),
    "the stack": ("def down(): return down()\nreturn down()", ("exception (RecursionError)",)),
    "the grader's channel": (
        "import os\nwhile True:\n    for n in range(3, 30):\n        try: os.write(n, b'x' * 10**6)\n"
        "        except OSError: pass", (ENDED, TIME),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("layers", ["kernel python", "python"])
def test_a_flood_ends_within_its_limits_and_costs_nobody_else_anything(layers, tmp_path, monkeypatch):
    if "kernel" in layers and confinement.missing():
        pytest.skip(f"this kernel lacks {confinement.missing()}")
    monkeypatch.setenv("LLMASOS_LESSONS_LAYERS", layers)
    names = [f"f{i}" for i in range(len(FLOODS) + 1)]
    lesson = Lesson(tiny_lesson(tmp_path / "course", names))
    right = {name: "return x + x" for name in names}
    flooding = {**right, **dict(zip(names, (body for body, _ in FLOODS.values()), strict=False))}
    students = {"anna": right, "flood": flooding, "zoe": {**right, "f0": "return x**2"}}
    for student, bodies in students.items():
        text = "import torch\n"
        for name, body in bodies.items():
            text += f"\n\ndef {name}(x):\n" + "".join(f"    {line}\n" for line in body.split("\n"))
        (tmp_path / "class" / student).mkdir(parents=True)
        (tmp_path / "class" / student / "90_tiny.py").write_text(text)
    start = time.monotonic()
    graded = grade(tmp_path / "class", lesson, jobs=2)
    with_flood = {one["student"]: one for one in json.loads(as_json(graded))}
    assert time.monotonic() - start < 3 * runner.SUBMISSION_SECONDS
    (tmp_path / "class" / "flood" / "90_tiny.py").unlink()
    (tmp_path / "class" / "flood").rmdir()
    alone = {one["student"]: one for one in json.loads(as_json(grade(tmp_path / "class", lesson, jobs=1)))}
    assert {name: with_flood[name] for name in ("anna", "zoe")} == alone, "nobody else's grade depends on the flood"
    verdicts = graded[1].verdicts
    assert verdicts[-1].status == RIGHT, "after all of them, a right exercise is right"
    for verdict, (name, (_, mistakes)) in zip(verdicts[:-1], FLOODS.items(), strict=True):
        assert verdict.status == WRONG and verdict.mistake in mistakes, f"{name}: {verdict.mistake}: {verdict.why}"
        assert len(verdict.why) < 700 and "Traceback" not in verdict.why, name
