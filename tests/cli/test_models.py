"""`models` and `export`, and that `sample` and `eval` take a model's name."""

import json

import pytest
import torch
from hub_helpers import published
from task_helpers import RUNS, train, workplace

from llmasos import LLMTrainer
from llmasos.__main__ import main as llmasos
from llmasos.cli.models import count, license_of
from llmasos.hub.resolve import shipped_models
from llmasos.tokenizers import train_tokenizer


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, without a hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with workplace(tmp_path):
        yield tmp_path


def test_models_lists_all_sources(place, capsys):
    assert train(*RUNS["text"], "--steps", "3", "--out", "runs/mine") == 0
    (place / "runs" / "broken" / "checkpoints" / "step-00000003").mkdir(parents=True)
    (place / "runs" / "broken" / "recipe.json").write_text("{}")
    (place / "runs" / "lessons").mkdir()  # holds the tokens of lessons, so it is not a run
    snapshot = place / "hf" / "hub" / "models--someone--tiny" / "snapshots" / "0123456789abcdef"
    published("llama").save_pretrained(snapshot)
    (snapshot / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    refs = place / "hf" / "hub" / "models--someone--tiny" / "refs"
    refs.mkdir()
    (refs / "main").write_text("0123456789abcdef")
    capsys.readouterr()
    assert llmasos(["models"]) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    for name in shipped_models():
        assert "comes with llmasos" in lines[name] and " mit " in lines[name]
    assert "your run" in lines["runs/mine"] and "gpt" in lines["runs/mine"]
    assert "cannot be used" in lines["runs/broken"] and "runs/lessons" not in lines
    assert "cache, main" in lines["someone/tiny"] and "apache-2.0" in lines["someone/tiny"]
    assert "not downloaded" in lines["gpt2"] and "124M" in lines["gpt2"]
    assert "gpt, chat" in lines["storyworld-chat"] and "chat" not in lines["storyworld-gpt"]


def test_export_writes_a_folder_that_can_be_used(place, capsys):
    assert train(*RUNS["text"], "--steps", "3", "--out", "runs/mine") == 0
    assert llmasos(["export", "runs/mine", "my_llm", "--precision", "fp16"]) == 0
    assert "transformers opens it as GPT2LMHeadModel" in capsys.readouterr().out
    assert json.loads((place / "my_llm" / "config.json").read_text())["dtype"] == "float16"
    assert llmasos(["sample", "my_llm", "--prompt", "Anna", "--max-new-tokens", "3"]) == 0
    assert llmasos(["eval", "my_llm", "--data", "stories.txt"]) == 0
    assert "perplexity" in capsys.readouterr().out
    before = (place / "my_llm" / "model.safetensors").read_bytes()
    assert llmasos(["export", "runs/mine", "my_llm"]) != 0
    assert "my_llm already holds a model" in capsys.readouterr().err
    assert (place / "my_llm" / "model.safetensors").read_bytes() == before
    assert llmasos(["export", "runs/mine", "my_llm", "--overwrite"]) == 0
    assert len((place / "my_llm" / "model.safetensors").read_bytes()) > len(before)  # now in fp32


def test_export_reports_errors(place, capsys):
    assert llmasos(["export", "nothing", "my_llm"]) != 0
    assert "there is no model 'nothing'" in capsys.readouterr().err
    (place / "full").mkdir()
    (place / "full" / "diary.txt").write_text("mine")
    assert llmasos(["export", "storyworld-bert", "full"]) != 0
    assert "holds other files than a model's (diary.txt: llmasos did not write it" in capsys.readouterr().err


def test_training_starts_from_a_published_model(place, capsys):
    """train.py --init-from accepts a name; here it is that of a folder written by transformers."""
    torch.manual_seed(0)
    model = published("gpt2")
    model.save_pretrained(place / "theirs")
    train_tokenizer("byte", []).save(place / "theirs")
    assert train("--init-from", "theirs", "--data", "stories.txt", "--steps", "2", "--out", "run") != 0
    assert "does not belong to the model there" in capsys.readouterr().err  # 257 bytes for a vocabulary of 61

    flags = ("--task", "text-classification", "--init-from", "storyworld-bert", "--data", "labeled.csv")
    partly = ("--freeze-layers", "2", "--layerwise-lr-decay", "0.9")
    assert train(*flags, *partly, "--steps", "2", "--out", "run") == 0
    assert "of them trained" in capsys.readouterr().out


def test_formatted_numbers_and_licenses(tmp_path):
    assert [count(n) for n in (938_496, 12_345_678, 1_558_000_000)] == ["0.94M", "12M", "1558M"]
    assert license_of(tmp_path) == "–"


def test_sample_sends_the_prompt_to_a_chat_model_as_a_message(place, capsys):
    question = "Tell me a story about Anna and a kite."
    flags = ["--prompt", question, "--max-new-tokens", "20", "--temperature", "0"]
    assert llmasos(["sample", "storyworld-chat", *flags]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{question}\n\n")
    answer = LLMTrainer.from_pretrained("storyworld-chat").chat(question, max_new_tokens=20, temperature=0.0)
    assert shown.removeprefix(question).strip() == answer
    assert llmasos(["sample", "storyworld-chat"]) != 0
    assert "needs an input" in capsys.readouterr().err
