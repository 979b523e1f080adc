"""The README's Python and its requests with curl run as they are written, in the order in which they stand there."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llmasos import LLMServing, sdk
from llmasos.datasets import infer

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CURLS = re.findall(r"^curl (?:.*\\\n)*.*", README, re.MULTILINE)


@pytest.mark.filterwarnings("ignore:the text is too small for a vocabulary")
def test_every_snippet_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    """With few steps, and with a shipped GPT in the place of gpt2, which would have to be fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(infer, "cache_folder", lambda: tmp_path / "cache")
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
def test_every_curl_is_answered():
    answers = []
    with LLMServing.from_pretrained("storyworld-chat").create_service() as service:
        for command in CURLS:
            command = command.replace("http://127.0.0.1:8000", service.url)
            done = subprocess.run([*"sh -c".split(), f"{command} --silent --fail"], capture_output=True, text=True)
            assert done.returncode == 0, command
            answers.append(done.stdout)
    models, story, stream, metrics, chat = answers
    assert json.loads(models)["data"][0]["id"] == "storyworld-chat"
    assert json.loads(story)["usage"]["completion_tokens"] <= 40
    assert stream.count("data: ") > 1 and stream.endswith("data: [DONE]\n\n")
    assert "llmasos_generated_tokens_total" in metrics
    assert json.loads(chat)["choices"][0]["message"]["role"] == "assistant"
