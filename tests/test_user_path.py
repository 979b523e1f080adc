"""~ means the home folder in every path; a name that only begins with ~ is an ordinary name."""

import json
from pathlib import Path

import pytest
from task_helpers import workplace

from llmasos import LLMTrainer
from llmasos.__main__ import main
from llmasos.datasets import open_examples, open_text
from llmasos.datasets.cleaning import clean
from llmasos.datasets.infer import infer_format
from llmasos.evaluation import run_suite
from llmasos.hub import save_pretrained

TEXT = "".join(f"The {n} little foxes ran over hill number {n * n}.\n\n" for n in range(60))

QUESTION = json.dumps({"question": "Once there was a brave", "choices": ["boy", "king"], "answer": "boy"})


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and an empty folder to work in."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (tmp_path / "work").mkdir()
    with workplace(tmp_path / "work"):
        yield home


def test_in_python(home):
    (home / "a.txt").write_text(TEXT)
    (home / "q.jsonl").write_text(QUESTION)
    model = LLMTrainer.from_pretrained("storyworld-gpt", device="cpu")
    assert run_suite("~/q.jsonl", model.model, model.tokenizer).metrics[0].n == 1
    assert clean("~/a.txt", "~/b.txt").n_kept and (home / "b.txt").is_file()
    save_pretrained("~/m", model.model, model.tokenizer)
    assert (home / "m/config.json").is_file() and not Path("~").exists()


def test_in_flags_and_arguments(home):
    (home / "a.txt").write_text(TEXT)
    (home / "q.jsonl").write_text(QUESTION)
    for arguments in (
        ["clean", "~/a.txt", "~/c.txt", "--report=~/report.json"],
        ["export", "storyworld-gpt", "~/m"],
        ["eval", "~/m", "--suite=~/q.jsonl", "--json=~/numbers.json"],
        ["sample", "~/m", "--prompt-file=~/a.txt", "--max-new-tokens", "1"],
    ):
        assert main(arguments) == 0
    assert {path.name for path in home.iterdir()} >= {"c.txt", "report.json", "numbers.json", "m"}
    assert not Path("~").exists()


def test_a_name_that_begins_with_a_tilde(home):
    Path("~backup.txt").write_text(TEXT)
    Path("~$rows.csv").write_text("text,label\n" + "".join(f"text {n},{n % 2}\n" for n in range(20)))
    assert open_text("~backup.txt").size() == len(TEXT) and infer_format("~backup.txt").data == "~backup.txt"
    assert len(open_examples("labeled_text", "~$rows.csv").train) > 10
    assert main(["clean", "~backup.txt", "~clean.txt"]) == 0 and Path("~clean.txt").is_file()
