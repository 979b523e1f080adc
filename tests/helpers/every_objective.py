"""A tiny run of every objective with `train.py`'s own main, in one process or in several that share each batch.

In float64, because AdamW divides a gradient by its own size: rounding in a tiny one would become a visible step.
"""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from reward_helpers import PG, PREFERENCES, write_reward_files
from task_helpers import GPT, RUNS, train, write_files, write_jsonl

from llmasos.tasks import Task
from llmasos.training.distributed import DistributedContext, init_distributed, shutdown_distributed

FLAGS = (
    "--batch-size", "8", "--gradient-accumulation-steps", "2", "--steps", "4", "--eval-interval", "4", "--dropout", "0",
    "--precision", "fp32",
)  # fmt: skip
STUDENT = ("--model", "gpt-laptop", "--n-layers", "1", "--n-heads", "2", "--d-model", "16", "--context-length", "48")
EVERY_OBJECTIVE = {  # name → the flags of a run; some start from an earlier run in this table
    **RUNS,
    "experts": (*RUNS["documents"], "--n-experts", "4", "--d-ff", "16", "--router-aux-loss-coef", "1"),
    "adapter": ("--task", "language-modeling", "--data", "stories.txt", "--init-from", "text", "--lora-rank", "2"),
    "embed-adapter": (*RUNS["embed"][:6], "--init-from", "embed", "--lora-rank", "2"),
    "distill": ("--task", "language-modeling", "--data", "stories.txt", "--teacher", "text", *STUDENT),
    "tools": ("--task", "instruction-tuning", "--data", "calls.jsonl", *GPT, "--context-length", "96"),
    "dpo": ("--task", "preference-optimization", *PREFERENCES),
    "reward": ("--task", "reward-modeling", *PREFERENCES),
    "policy": (*PG, "--updates-per-batch", "2"),
}


def write_calls() -> None:
    """Conversations in which the assistant calls a calculator."""
    numbers = [(a, b) for a in range(2, 9) for b in range(2, 9)]
    write_jsonl("calls.jsonl", [{"messages": [
        {"role": "user", "content": f"What is {a} times {b}?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"function": {"name": "calculator", "arguments": {"expression": f"{a} * {b}"}}}]},
        {"role": "tool", "content": str(a * b)},
        {"role": "assistant", "content": f"It is {a * b}."},
    ]} for a, b in numbers])  # fmt: skip


def train_every_objective(folder: Path, context: DistributedContext) -> None:
    """Train in this folder, without measuring the results."""
    build_model = Task.build_model
    with ExitStack() as patches:
        for name, value in {
            "llmasos.tasks.run.init_distributed": lambda device: context,  # one group of processes for all runs
            "llmasos.tasks.run.shutdown_distributed": lambda: None,
            "llmasos.tasks.run.finish": lambda *arguments: None,
            "llmasos.tasks.run.in_one_line": lambda text: "",
            "llmasos.training.trainer.known_matmul_peak": lambda *arguments: 1.0,
            "llmasos.datasets.tokens.default_cache_folder": lambda: folder / "cache",
            "llmasos.tasks.task.Task.build_model": lambda *arguments, **more: build_model(*arguments, **more).double(),
        }.items():
            patches.enter_context(patch(name, value))
        os.chdir(folder)
        if context.is_main:
            for write in (write_files, write_reward_files, write_calls):
                write()
        context.barrier()
        for name, flags in EVERY_OBJECTIVE.items():
            assert train(*flags, *FLAGS, "--out", name) == 0, name


if __name__ == "__main__":
    train_every_objective(Path(sys.argv[1]), init_distributed("cpu"))
    shutdown_distributed()
