"""Shared by the tests of preferences and rewards: a tiny model to start from, prompts and pairs."""

from pathlib import Path

import torch
from task_helpers import write_jsonl

from llmasos.models import GPT, ModelConfig, save_model
from llmasos.tokenizers import train_tokenizer

LETTERS = "abcdefgh "
REWARD = "def reward(prompt, text):\n    return text.count('a') / 10\n"
PG = (
    "--task", "reinforcement-learning", "--data", "prompts.txt", "--reward", "my_reward.py", "--init-from", "start",
    "--group-size", "2", "--max-new-tokens", "5", "--precision", "fp32",
)  # fmt: skip
PREFERENCES = ("--data", "preferences.jsonl", "--init-from", "start", "--precision", "fp32")


def write_start(folder: Path | str = "start", context_length: int = 24) -> None:
    """Write a model folder: a GPT of one layer over nine characters, with random weights."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer("char", [LETTERS])
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, context_length=context_length, n_layers=1, n_heads=2, d_model=16
    )
    Path(folder).mkdir()
    save_model(Path(folder), GPT(config))
    tokenizer.save(folder)


def write_reward_files() -> None:
    """Write the starting model, prompts, preferences and a reward into the current folder."""
    write_start()
    Path("my_reward.py").write_text(REWARD)
    Path("prompts.txt").write_text("".join(f"{a}{b}\n" for a in "abcd" for b in "efgh"))
    rows = [{"prompt": f"{a}{b}", "chosen": f"a{a}", "rejected": f"{b}h"} for a in "abcd" for b in "efgh"]
    write_jsonl("preferences.jsonl", rows)
