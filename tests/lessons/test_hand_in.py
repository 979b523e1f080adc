"""Hand-ins in all forms: notebooks, zip files, encodings, names from learning platforms, helper modules."""

import io
import json
import zipfile

import pytest
from lessons_helpers import tiny_lesson

from lessons.machinery.discovery import Lesson, find_lesson
from lessons.machinery.grade import find_submissions, grade
from lessons.machinery.hand_in import MAX_FILE_SIZE
from llmasos.errors import UserError

CODE = "def f():\n    return 'é'\n"


def notebook(*cells: str) -> bytes:
    """A notebook with these code cells, and prose between them."""
    sources = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": "prose"}, *sources]}).encode()


def zipped(**files: bytes) -> bytes:
    """A zip file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


TEXTS = {
    "as usual": ("03_attention.py", CODE.encode()),
    "with a mark": ("03_attention.py", CODE.encode("utf-8-sig")),
    "UTF-16": ("03_attention.py", CODE.encode("utf-16")),
    "lines of Windows": ("03_attention.py", CODE.replace("\n", "\r\n").encode()),
    "lines of old Macs": ("03_attention.py", CODE.replace("\n", "\r").encode()),
    "upper case": ("03_ATTENTION.PY", CODE.encode()),
    "saved as text": ("03_attention.py.txt", CODE.encode()),
    "Moodle": ("Doe_Jane_123_assignsubmission_file_03_attention (1).py", CODE.encode()),
    "Canvas": ("doejane_LATE_123_4567_03_attention-2.py", CODE.encode()),
    "by name": ("jane_03_attention.py", CODE.encode()),
    "in a folder of its own": ("03_attention/exercise.py", CODE.encode()),
    "zip": ("work.zip", zipped(**{"jane/03_attention.py": CODE.encode(), "__MACOSX/._03_attention.py": b"junk"})),
    "zip that leads out": ("work.zip", zipped(**{"../../03_attention.py": CODE.encode()})),
    "notebook": ("03_attention.ipynb", notebook(CODE)),
}
SENTENCES = {
    "Latin-1 without saying so": ("03_attention.py", CODE.encode("latin-1"), "is not text that Python can read"),
    "an unknown encoding": ("03_attention.py", b"# coding: klingon\n", "is not text that Python can read"),
    "a broken notebook": ("03_attention.ipynb", b"{}", "is not a notebook that can be read"),
    "not a zip": ("work.zip", b"nothing", "work.zip cannot be unpacked"),
    "a bomb": ("work.zip", zipped(**{"03_attention.py": bytes(10 * MAX_FILE_SIZE)}), "is larger than"),
    "a document": ("homework.docx", b"x", "03_attention.py was not handed in; there are: homework.docx."),
    "too large": ("03_attention.py", bytes(MAX_FILE_SIZE + 1), "a solution has only a few thousand"),
}


def hand_in(tmp_path, files: dict[str, bytes]):
    """Find the hand-in in the folder of one student, jane, with these files."""
    for name, data in files.items():
        path = tmp_path / "class" / "jane" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    [(student, _, found)] = find_submissions(tmp_path / "class", find_lesson(3))
    assert student == "jane"
    return found


@pytest.mark.parametrize("form", TEXTS)
def test_what_python_reads_is_read(tmp_path, form):
    name, data = TEXTS[form]
    assert str(hand_in(tmp_path, {name: data}).source).rstrip("\n") == CODE.rstrip("\n")


@pytest.mark.parametrize("form", SENTENCES)
def test_what_cannot_be_read_is_a_sentence(tmp_path, form):
    name, data, words = SENTENCES[form]
    source = hand_in(tmp_path, {name: data}).source
    assert isinstance(source, UserError) and words in str(source), source


def test_latin_1_that_says_so_and_cells_with_magics(tmp_path):
    text = "# -*- coding: latin-1 -*-\n" + CODE
    assert hand_in(tmp_path / "1", {"03_attention.py": text.encode("latin-1")}).source == text
    cells = notebook("%matplotlib inline\nx = 1", "%%bash\nrm x", "if x:\n    !ls\nx?\ny = x % 2")
    source = hand_in(tmp_path / "2", {"03_attention.ipynb": cells}).source
    variables: dict = {}
    exec(source, variables)
    assert variables["y"] == 1 and "rm x" not in source


def test_two_for_one_lesson_are_both_named_and_a_script_is_preferred_to_a_notebook(tmp_path):
    both = {"a/jane_03_attention.py": b"x = 1", "b/03_attention (1).py": b"x = 2"}
    sentence = str(hand_in(tmp_path / "1", both).source)
    assert "a/jane_03_attention.py" in sentence and "b/03_attention (1).py" in sentence
    assert hand_in(tmp_path / "2", {name: b"x = 1" for name in both}).source == "x = 1"
    assert hand_in(tmp_path / "3", {"03_attention.py": b"x = 1", "03_attention.ipynb": notebook("y")}).source == "x = 1"


def test_names_of_platforms_are_students(tmp_path):
    names = {
        "Doe Jane_12345_assignsubmission_file_": "Doe Jane",
        "doe_LATE_123_456_03_attention.py": "doe",
        "poe_123_789_03_attention-1.py": "poe_123",
        "poe_124_790_03_attention.py": "poe_124",
        "submission_42": "submission_42",
        "roe.zip": "roe",
        "moe_03_attention.ipynb": "moe",
    }
    for name in names:
        if name.endswith((".py", ".zip", ".ipynb")):
            (tmp_path / name).write_bytes(b"")
        else:
            (tmp_path / name).mkdir()
    assert {student for student, _, _ in find_submissions(tmp_path, find_lesson(3))} == set(names.values())


def test_a_link_to_elsewhere_is_not_followed(tmp_path):
    (tmp_path / "class" / "jane").mkdir(parents=True)
    (tmp_path / "secret.py").write_text("secret")
    try:
        (tmp_path / "class" / "jane" / "03_attention.py").symlink_to(tmp_path / "secret.py")
    except OSError:
        pytest.skip("no links here")
    assert "is a link" in str(hand_in(tmp_path, {}).source)


def test_a_helper_module_beside_the_solution_is_found(tmp_path):
    lesson, jane = Lesson(tiny_lesson(tmp_path / "lesson", ["double"])), tmp_path / "class" / "jane"
    jane.mkdir(parents=True)
    (jane / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (jane / "90_tiny.py").write_text("from helper import twice\n\n\ndef double(x):\n    return twice(x)\n")
    assert [item.score for item in grade(tmp_path / "class", lesson)] == [1]
