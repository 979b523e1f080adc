"""Cache folders, and the scripts and cards in data/."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmasos.cli.prepare import prepare, summarize_text
from llmasos.datasets import dataset_names, open_text, paths

DATA = Path(__file__).resolve().parents[2] / "data"


def _pretend_to_run_from(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "__file__", str(root / "llmasos" / "datasets" / "paths.py"))


def test_from_a_clone_caches_go_to_its_data_folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "pyproject.toml").touch()
    _pretend_to_run_from(tmp_path, monkeypatch)
    assert paths.cache_folder() == tmp_path / "data" / "cache"


@pytest.mark.parametrize("case", ["installed", "read-only clone"])
def test_without_a_clone_to_write_to_caches_go_home(tmp_path, monkeypatch, case):
    if case == "read-only clone":
        (tmp_path / "data").mkdir()
        (tmp_path / "pyproject.toml").touch()
        monkeypatch.setattr(paths.os, "access", lambda path, mode: False)
    _pretend_to_run_from(tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert paths.cache_folder() == tmp_path / "home" / ".cache" / "llmasos"


def test_every_data_set_has_a_card_and_a_script_that_prepares_it():
    for name in dataset_names():
        assert (DATA / name / "README.md").is_file(), name
        assert name in (DATA / name / "README.md").read_text(encoding="utf-8").lower(), name
        assert (DATA / name / "prepare.py").is_file(), name
    for name in ("shakespeare", "wikitext2", "python-reference", "python-source"):
        assert f'prepare("{name}")' in (DATA / name / "prepare.py").read_text(encoding="utf-8")


def test_a_prepare_script_runs_from_anywhere_without_installation(tmp_path):
    script = DATA / "python-reference" / "prepare.py"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, script]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "python-reference: the language reference" in result.stdout and "val: " in result.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize("name, flags", [("python-reference", []), ("storyworld", ["--train", "2", "--val", "2"])])
def test_a_summary_that_cannot_be_printed_is_one_sentence(tmp_path, name, flags):
    out = ["--out", tmp_path] if flags else []
    with open("/dev/full", "w") as full:
        command = [sys.executable, DATA / name / "prepare.py", *flags, *out]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300)
    assert result.returncode == 2 and result.stderr.startswith("error: the output cannot be written")
    assert result.stderr.count("\n") == 1


def test_the_summary_counts_what_is_there(tmp_path):
    (tmp_path / "a.txt").write_text("ä" * 9 + "\n", encoding="utf-8")
    summary = summarize_text(open_text(tmp_path / "a.txt"))
    assert "train: one text, 9 characters, 18 bytes" in summary and "val: one text, 1 characters, 1 bytes" in summary


def test_a_summary_of_an_unknown_name_exits_with_2_and_one_sentence(capsys):
    with pytest.raises(SystemExit) as caught:
        prepare("no-such-thing")
    assert caught.value.code == 2 and capsys.readouterr().err.startswith("error: there is no file, folder or dataset")
