"""`python -m llmasos faq`: answers with their source, and what happens to a question without an answer."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from llmasos.__main__ import main
from llmasos.retrieval import FAQ

FILE = str(Path(__file__).resolve().parents[2] / "data" / "faq" / "faq.md")


def test_an_answer_is_the_text_of_the_file_with_its_place(capsys):
    assert main(["faq", FILE, "--question", "Can I pay by credit card?"]) == 0
    out = capsys.readouterr().out
    answer, source = out.splitlines()
    assert answer in Path(FILE).read_text(encoding="utf-8") and "[How can I pay? " in source
    number = int(source.rstrip("]").split("line ")[1])
    assert Path(FILE).read_text(encoding="utf-8").splitlines()[number - 1] == "### How can I pay?"


def test_an_unknown_question_is_handed_over(tmp_path, capsys):
    file = tmp_path / "questions.jsonl"
    flags = ["--handover", str(file), "--contact", "a@example.org"]
    assert main(["faq", FILE, "--question", "Are dogs allowed?", "--question", "Who are you?", *flags]) == 0
    assert (
        "I do not know the answer to that. A person will answer it. Contact: a@example.org" in capsys.readouterr().out
    )
    lines = [json.loads(line)["question"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines == ["Are dogs allowed?", "Who are you?"]
    assert main(["faq", FILE, "--question", "Ça va ?", *flags]) == 0  # is appended
    assert "Ça va ?" in file.read_text(encoding="utf-8") and file.read_text(encoding="utf-8").count("\n") == 3


def test_the_faq_itself_is_no_handover_file(tmp_path, capsys):
    faq = tmp_path / "faq.jsonl"
    faq.write_text('{"question": "When?", "answer": "Now."}')
    (tmp_path / "link.jsonl").hardlink_to(faq)
    for name in ("faq.jsonl", "link.jsonl"):
        assert main(["faq", str(faq), "--question", "Who?", "--handover", str(tmp_path / name)]) == 2
        assert "is the FAQ itself; choose another file" in capsys.readouterr().err
    assert faq.read_text() == '{"question": "When?", "answer": "Now."}'


def test_a_handover_file_without_a_newline_at_its_end_is_continued_on_a_new_line(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "é"}', encoding="utf-8")
    assert main(["faq", FILE, "--question", "Are dogs allowed?", "--handover", str(file)]) == 0
    first, second = file.read_text(encoding="utf-8").splitlines()
    assert first == '{"question": "é"}' and json.loads(second)["question"] == "Are dogs allowed?"


def test_without_an_faq_there_is_no_handover_file(tmp_path):
    assert main(["faq", str(tmp_path / "no.md"), "--handover", str(tmp_path / "questions.jsonl")]) == 2
    assert list(tmp_path.iterdir()) == []


def test_the_home_folder_may_be_a_tilde(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "faq.md").write_text("## When?\nNow.\n")
    assert main(["faq", "~/faq.md", "--question", "When?", "--question", "Who?", "--handover", "~/new.jsonl"]) == 0
    assert "Now." in capsys.readouterr().out and "Who?" in (tmp_path / "new.jsonl").read_text()
    assert FAQ.open("~/faq.md").answer("When?").entry.answer == "Now."


def test_typed_questions_and_json(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Is there a minimum age?\n\nhow tall is mount everest\n"))
    assert main(["faq", FILE, "--json"]) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["entry"] == "Is there a minimum age?" and first["confidence"] == 1
    assert second["answer"] is None


@pytest.mark.parametrize("flags, message", [
    (["--question", " "], "--question is empty"),
    (["--threshold", "2"], "--threshold is 2.0"),
    (["--handover", str(Path(FILE).with_name("README.md"))], "there is another file of that name"),
    (["--handover", "no/such/folder/x.jsonl"], "cannot be written"),
    (["--model", "storyworld-brt", "--question", "Hi"], "did you mean 'storyworld-bert'?"),
])  # fmt: skip
def test_wrong_flags_are_one_sentence(flags, message, capsys):
    before = Path(FILE).read_bytes()
    assert main(["faq", FILE, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1] and Path(FILE).read_bytes() == before


def test_it_answers_without_torch():
    code = (
        f"import sys\nfrom llmasos.__main__ import main\nmain(['faq', {FILE!r}, '--question', 'When are you open?'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], capture_output=True,
                          text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0 and "From Tuesday to Saturday" in done.stdout, done.stderr
