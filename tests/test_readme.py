"""The README's Python runs as it is written, in the order in which it stands there."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_there_is_python_in_the_readme():
    assert len(BLOCKS) >= 2


def test_every_snippet_runs(tmp_path, monkeypatch, capsys):
    """With few steps; and with gpt2 as whatever model the machine can get without a network."""
    from llmasos import hub, sdk
    from llmasos.datasets import given

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(given, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sdk, "MIN_STEPS", 2)
    (tmp_path / "my_book.txt").write_text("Once there was a book. " * 200)
    here = {}
    for block in BLOCKS:
        if 'from_pretrained("gpt2")' in block:
            block = block.replace('"gpt2"', '"storyworld-gpt"') if "storyworld-gpt" in names(hub) else ""
        exec(compile(block, "README.md", "exec"), here)
    for printed in re.findall(r"print\(.*\)\s+# (.+)", "\n".join(BLOCKS)):
        assert printed in capsys.readouterr().out or "…" in printed or pytest.fail(f"not printed: {printed}")


def names(hub) -> list[str]:
    from llmasos.hub.names import shipped_models

    return shipped_models()
