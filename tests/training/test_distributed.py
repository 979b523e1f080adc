"""Several processes: the same training as one process, for the same global batch.

In float64, because AdamW divides a gradient by its own size: rounding in a tiny one would become a visible step.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from llmasos.errors import UserError
from llmasos.storage import load_tensors
from llmasos.training.distributed import DistributedContext, init_distributed
from llmasos.training.log import read_metrics

PROGRAM = """
import sys
from pathlib import Path
from llmasos.training.distributed import init_distributed, shutdown_distributed
from training_helpers import tiny_model, tiny_settings, tiny_trainer
context = init_distributed("cpu")
settings = tiny_settings(batch_size=8, gradient_accumulation_steps=2, max_steps=8, eval_interval=4)
tiny_trainer(Path(sys.argv[1]), tiny_model().double(), settings, context=context).train()
shutdown_distributed()
"""


def start(run: Path, processes: int) -> None:
    root = Path(__file__).parents[2]
    program = run.with_suffix(".py")
    program.write_text(PROGRAM)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    path = f"{root}:{root / 'tests' / 'helpers'}"
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(run.parent)}
    done = subprocess.run(
        [sys.executable, *launcher, str(program), str(run)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_processes_take_the_same_steps_as_one(tmp_path):
    for processes in (1, 2):
        start(tmp_path / f"run{processes}", processes)
    one, two = (load_tensors(tmp_path / f"run{n}/checkpoints/step-00000008/model.safetensors") for n in (1, 2))
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-6, atol=1e-9)
    logs = [read_metrics(tmp_path / f"run{n}") for n in (1, 2)]
    assert [m["step"] for m in logs[0]] == [m["step"] for m in logs[1]], "only one process writes the log"
    for a, b in zip(*logs, strict=True):
        for key in {"loss", "val_loss"} & set(a):
            assert a[key] == pytest.approx(b[key], rel=1e-5)


def test_shares_of_a_batch_cover_it_once():
    shares = [DistributedContext(rank, 4).shard(12) for rank in range(4)]
    assert [row for share in shares for row in share] == list(range(12))
    with pytest.raises(UserError, match="batch_size 10 .* 4 processes"):
        DistributedContext(0, 4).shard(10)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert init_distributed("cpu") == DistributedContext(0, 1, 0)


def test_a_device_that_cannot_work_in_a_group_is_refused_before_training(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="not on mps"):
        init_distributed("mps")
