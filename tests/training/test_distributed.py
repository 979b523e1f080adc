"""Several processes: the same training as one process, for the same global batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import every_objective
import pytest
import torch
from every_objective import EVERY_OBJECTIVE, train_every_objective
from training_helpers import free_port

from llmasos.capabilities import TASKS
from llmasos.errors import UserError
from llmasos.storage import load_tensors
from llmasos.storage.checksums import seal
from llmasos.training.distributed import DistributedContext, init_distributed
from llmasos.training.log import read_metrics
from llmasos.training.run_folder import run_of_this_launch


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[Path]:
    """Runs of every objective in one process (this one), and in two."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(one)
        train_every_objective(one, DistributedContext())
    # As torchrun would start them; its own process would take seconds to start.
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT}/tests/helpers", "OMP_NUM_THREADS": "1", "HOME": str(two)}
    environment |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    output: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started = [
        subprocess.Popen(
            [sys.executable, every_objective.__file__, str(two)],
            env={**environment, "RANK": rank, "LOCAL_RANK": rank}, **output
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    outputs = [process.communicate(timeout=280)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    return [one, two]


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY_OBJECTIVE)
def test_two_processes_take_the_same_steps_as_one(name, runs):
    file = "adapter_model.safetensors" if "adapter" in name else "model.safetensors"
    one, two = (load_tensors(run / name / "checkpoints/step-00000004" / file) for run in runs)
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-6, atol=1e-9)
    logs = [read_metrics(run / name) for run in runs]
    assert [m["step"] for m in logs[0]] == [m["step"] for m in logs[1]], "only one process writes the log"
    for a, b in zip(*logs, strict=True):
        for key in (key for key in a if key != "mfu" and not key.endswith("_per_second")):
            assert a[key] == pytest.approx(b[key], rel=1e-5, abs=1e-7), key


def test_every_task_is_among_them():
    assert {flags[flags.index("--task") + 1] for flags in EVERY_OBJECTIVE.values()} == set(TASKS)


def test_shares_of_a_batch_cover_it_once():
    shares = [DistributedContext(rank, 4).shard(12) for rank in range(4)]
    assert [row for share in shares for row in share] == list(range(12))
    with pytest.raises(UserError, match="batch_size 10 .* 4 processes"):
        DistributedContext(0, 4).shard(10)


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert init_distributed("cpu") == DistributedContext(0, 1, 0)


def test_a_device_that_cannot_work_in_a_group_is_refused_before_training(monkeypatch):
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="not on mps"):
        init_distributed("mps")


# ── errors ──

COMPLETE = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize("variable, value, words", [
    ("RANK", None, "WORLD_SIZE is 2, but RANK is not set; start several processes with `torchrun"),
    ("LOCAL_RANK", None, "WORLD_SIZE is 2, but LOCAL_RANK is not set; "),
    ("MASTER_ADDR", None, "WORLD_SIZE is 2, but MASTER_ADDR is not set; "),
    ("MASTER_PORT", None, "WORLD_SIZE is 2, but MASTER_PORT is not set; "),
    ("RANK", "2", "RANK is '2'; it must be a whole number from 0 to 1: start"),
    ("RANK", "-1", "RANK is '-1'"), ("LOCAL_RANK", "1", "LOCAL_RANK is '1'"), ("MASTER_PORT", "99999", "MASTER_PORT"),
    ("WORLD_SIZE", "two", "WORLD_SIZE is 'two'; it must be a whole number"), ("WORLD_SIZE", "0", "WORLD_SIZE is '0'"),
])  # fmt: skip
def test_incomplete_or_contradictory_variables_are_one_sentence(variable, value, words, monkeypatch):
    for name, text in {**COMPLETE, variable: value}.items():
        monkeypatch.delenv(name, raising=False)
        if text is not None:
            monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=words):
        init_distributed("cpu")


ROOT = Path(__file__).parents[2]
SMALL = ("--n-layers 1 --d-model 16 --n-heads 2 --context-length 16 --batch-size 4 --tokenizer byte --eval-interval 2 "
         "--device cpu --precision fp32 --out run --steps 100000 --data").split()  # fmt: skip


def start_pair(port: int, text: str, folders: list[Path]) -> list[subprocess.Popen]:
    """Start two processes of one run by hand, as on two machines, each with its own folder."""
    processes = []
    for rank, folder in enumerate(folders):
        folder.mkdir(exist_ok=True)
        own = {**COMPLETE, "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                [sys.executable, str(ROOT / "train.py"), *SMALL, text], cwd=folder, env={**os.environ, **own},
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
    return processes


@pytest.fixture
def text(tmp_path) -> str:
    """A small text, so that validation takes no time."""
    (tmp_path / "small.txt").write_text("The cat sat on the mat. The dog lay in the fog.\n" * 60)
    return str(tmp_path / "small.txt")


def errors_of(process: subprocess.Popen) -> list[str]:
    return [line for line in process.communicate(timeout=240)[1].splitlines() if line.startswith("error: ")]


@pytest.mark.slow
def test_a_folder_that_another_machine_does_not_see_is_named_there(text, tmp_path):
    main, other = start_pair(free_port(), text, [tmp_path / "here", tmp_path / "there"])
    (error,), silent = errors_of(other), errors_of(main)
    assert f"{tmp_path}/there/run does not exist on " in error and error.endswith("(in process 1 of 2)")
    assert silent == [] and (main.returncode, other.returncode) == (1, 2)


@pytest.mark.slow
def test_a_killed_process_ends_the_other_one_with_a_sentence_and_the_checkpoints_intact(text, tmp_path):
    main, other = start_pair(free_port(), text, [tmp_path, tmp_path])
    while main.poll() is None and not list(tmp_path.glob("run/checkpoints/step-*")):
        time.sleep(0.05)
    other.send_signal(signal.SIGKILL)
    (error,) = errors_of(main)
    other.communicate()
    assert error.startswith("error: another of the 2 processes has ended early") and main.returncode == 2
    assert "continue with --resume --out run." in error


@pytest.mark.slow
def test_what_all_processes_would_say_is_said_once(text, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [*SMALL, text, "--batch-size", "3"]
    done = subprocess.run(
        [*command, str(ROOT / "train.py"), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1 and done.stderr.count("error: batch_size 3 cannot be split evenly") == 1


@pytest.mark.slow
def test_after_a_restart_the_run_of_the_same_launch_continues_without_a_flag(text, tmp_path):
    """A worker kills itself at step 5, but only once: it leaves a file that the second attempt checks."""
    program = tmp_path / "train.py"
    program.write_text(f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from llmasos.cli import train
from llmasos.cli.cli import run
from llmasos.training.trainer import Trainer
step = Trainer.step
def step_or_die(self, *arguments):
    if self.state.step == 5 and self.context.rank == 1 and not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *arguments)
Trainer.step = step_or_die
sys.exit(run(train.main))
""")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    arguments = [*SMALL[: SMALL.index("--out")], "--steps", "8", "--data", text]
    done = subprocess.run([*launcher, str(program), *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "from step 4 to 8" in done.stdout
    run = tmp_path / "runs/small"
    assert (run / "checkpoints/step-00000008").is_dir() and (run / "results.json").is_file()
    assert [path.name for path in run.parent.iterdir() if path.is_dir()] == ["small"]


def test_a_restart_takes_only_the_run_of_its_own_launch(tmp_path, monkeypatch):
    run, other = tmp_path / "runs/x", tmp_path / "runs/x-2"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    for folder, launch in ((run, "theirs"), (other, "mine")):
        seal(folder / "origin.json", {"launch": launch}, [])
    assert run_of_this_launch("x", None) is None, "the first attempt owns nothing"
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert run_of_this_launch("x", None) == Path("runs/x-2")
    assert run_of_this_launch("x", "runs/x") is None and run_of_this_launch("x", "runs/x-2") == Path("runs/x-2")
