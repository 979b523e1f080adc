"""The README's Python runs as it is written, in the order in which it stands there."""

import re
from pathlib import Path

import pytest

from llmasos import sdk
from llmasos.datasets import given

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.filterwarnings("ignore:the text is too small for a vocabulary")
def test_every_snippet_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    """With few steps, and with a shipped GPT in the place of gpt2, which would have to be fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(given, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sdk, "MIN_STEPS", 2)
    (tmp_path / "my_book.txt").write_text("Once there was a book. " * 200)
    assert len(BLOCKS) >= 2
    names: dict = {}
    for block in BLOCKS:
        exec(compile(block.replace('"gpt2"', '"storyworld-gpt"'), "README.md", "exec"), names)
    out = capsys.readouterr().out
    stated = re.findall(r"print\(.*\)\s+# ([^…\n]+)$", "\n".join(BLOCKS), re.MULTILINE)
    assert stated and all(text in out for text in stated), stated
    assert (tmp_path / "my_llm" / "model.safetensors").is_file()
