"""`python train.py` as a user sees it: from a text file to samples, killed and resumed, and with every mistake."""

import errno
import io
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_helpers import TEXT, TINY_FLAGS

from llmasos.cli.cli import run as run_command
from llmasos.cli.train import main
from llmasos.storage import load_tensors, read_json
from llmasos.training.checkpoints import all_checkpoints
from llmasos.training.log import read_metrics
from llmasos.training.run_folder import run_lock

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Caches and runs go to a temporary folder."""
    monkeypatch.setattr("llmasos.datasets.tokens.default_cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foxes.txt").write_text(TEXT)


def train(*flags: str) -> int:
    """Run the command in this process, with a tiny model and the text about foxes."""
    data = () if "--data" in flags else ("--data", "foxes.txt")  # a second one would be mixed in
    return run_command(main, [*data, *TINY_FLAGS, *flags])


def test_from_text_to_samples_and_a_loss(capsys):
    assert train("--out", "run") == 0
    out = capsys.readouterr().out
    assert "Three texts by the model" in out and "bits per byte" in out
    last = out.strip().splitlines()[-2]
    val_losses = [m["val_loss"] for m in read_metrics(Path("run")) if "val_loss" in m]
    assert len(val_losses) == 2 and f"val_loss {min(val_losses):.4f}" in last


def test_a_run_without_out_never_takes_the_place_of_another(capsys):
    assert train() == 0 and train() == 0
    assert {path.name for path in Path("runs").iterdir() if path.is_dir()} == {"foxes", "foxes-2"}
    assert train("--resume", "--steps", "22") == 0
    assert all_checkpoints(Path("runs/foxes-2"))[-1].name == "step-00000022"


def test_list_and_help_read_well(capsys):
    assert run_command(main, ["--list"]) == 0
    assert "storyworld" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "--learning-rate X" in capsys.readouterr().out


WRONG = {
    "missing file": (["--data", "nowhere.txt"], "nowhere.txt"),
    "empty file": (["--data", "empty.txt"], "empty"),
    "binary file": (["--data", "binary.txt"], "binary.txt"),
    "not utf-8": (["--data", "latin.txt"], "latin.txt"),
    "short text": (["--data", "short.txt"], "context"),
    "heads": (["--n-heads", "5"], "n_heads 5 does not divide d_model 32"),
    "negative rate": (["--learning-rate", "-1"], "learning_rate is -1.0; it must be a number above 0."),
    "small vocabulary": (["--tokenizer", "bpe", "--vocab-size", "100"], "at least 257"),
    "device": (["--device", "tpu"], "device 'tpu' is not available here; this machine has: "),
    "no number": (["--steps", "many"], "--max-steps/--steps is 'many'; it must be a whole number."),
    "no such flag": (["--stepz", "3"], "--stepz"),
    "accumulation": (["--gradient-accumulation-steps", "3"], "must divide it"),
    "half precision": (["--precision", "fp16"], "needs a GPU"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gets_one_sentence_and_leaves_no_run_behind(case, capsys, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "binary.txt").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "latin.txt").write_bytes("Füchse laufen über Hügel. ".encode("latin-1") * 50)
    (tmp_path / "short.txt").write_text("Too short.")
    flags, says = WRONG[case]
    assert train("--out", "run", *flags) == 2
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and says in errors[0], captured.err
    assert "Traceback" not in captured.err and not Path("run").exists()


def test_unknown_recipe_names_the_known_ones(capsys):
    assert run_command(main, ["storyworlds"]) == 2
    assert "shakespeare" in capsys.readouterr().err


def test_a_signal_while_the_data_is_prepared_leaves_nothing_behind(capsys, monkeypatch):
    monkeypatch.setattr("llmasos.tasks.language_modeling.build_tokens", lambda *args: signal.raise_signal(15))
    assert train("--out", "run") == 143
    assert "stopped." in capsys.readouterr().err and not Path("run").exists()


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_result_is_scored_can_be_made_up_for(number, status, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("llmasos.tasks.run.load_weights", lambda *args: signal.raise_signal(number))
        assert train("--out", "run") == status
    captured = capsys.readouterr()
    command = "python -m llmasos train --resume --out run"
    assert f"stopped at step 20, everything is saved; to continue: {command}" in captured.out
    assert captured.err.endswith("stopped.\n") and not Path("run/results.json").exists()
    assert run_command(main, command.split()[4:]) == 0 and Path("run/results.json").is_file()


class Broken(io.TextIOBase):
    """An output that has been lost."""

    def __init__(self, number: int):
        self.number = number

    def write(self, text):
        raise OSError(self.number, "lost")


@pytest.mark.parametrize("number, status", [(errno.EPIPE, 0), (errno.ENOSPC, 2), (errno.EIO, 2)])
def test_training_does_not_depend_on_being_watched(number, status, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken(number))
    monkeypatch.setattr(sys, "stderr", Broken(number))
    assert train("--out", "run") == status
    assert read_json(Path("run/results.json"))["step"] == 20


def test_training_in_another_encoding(monkeypatch):
    Path("foxes.txt").write_text(TEXT.replace("foxes", "Füchse → Ω"), encoding="utf-8")
    data = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(data, encoding="ascii"))
    assert train("--out", "run", "--prompt", "Füchse → Ω") == 0
    assert b"F\\xfcchse -> \\u03a9" in data.getvalue() and b"Next: " in data.getvalue() and b"\r" not in data.getvalue()


def test_another_run_and_other_files_are_never_overwritten(capsys):
    assert train("--out", "run") == 0
    assert train("--out", "run") == 2
    assert "already holds a run" in capsys.readouterr().err
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    assert train("--out", "mine") == 2
    assert "holds other files" in capsys.readouterr().err and Path("mine/thesis.txt").read_text() == "years of work"
    assert train("--out", "nothing-here", "--resume") == 2
    assert "no run to resume" in capsys.readouterr().err


def test_two_processes_never_train_in_one_folder(capsys):
    with run_lock(Path("run")):
        assert train("--out", "run") == 2
    assert "another process is training in run" in capsys.readouterr().err
    assert train("--out", "run") == 0


def test_a_folder_that_was_filled_after_it_was_chosen_is_not_overwritten(capsys, monkeypatch):
    """A second process may have checked the folder before the first one wrote to it, and get the lock afterwards."""
    assert train("--out", "run") == 0
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    monkeypatch.setattr("llmasos.cli.train.choose_run_folder", lambda name, out, resume: Path(out))
    assert train("--out", "run") == 2
    assert "already holds a run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before


def test_what_is_changed_on_resume_stays_changed(capsys):
    assert train("--out", "run") == 0
    assert train("--out", "run", "--resume", "--steps", "30") == 0
    assert read_json(Path("run/recipe.json"))["max_steps"] == 30


def test_resume_refuses_to_become_another_run(capsys):
    assert train("--out", "run") == 0
    assert train("--out", "run", "--resume") == 2
    assert "all its 20 steps" in capsys.readouterr().err
    assert train("--out", "run", "--resume", "--d-model", "64") == 2
    assert "started with d_model 32" in capsys.readouterr().err
    Path("foxes.txt").write_text(TEXT + "One more fox.")
    assert train("--out", "run", "--resume", "--steps", "30") == 2
    assert "data has changed" in capsys.readouterr().err


DYING = """
import random, runpy, signal, sys
from llmasos.training.log import MetricsLog

write, left = MetricsLog.write, int(sys.argv[1])

def write_and_die(self, step, **values):
    global left
    write(self, step, **values)
    left -= "loss" in values
    if left == 0:
        left = -1
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 2e-2))

MetricsLog.write = write_and_die
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A program that dies a moment after so many losses have been written: nothing handles the timer's signal, so the
system ends it as `kill -9` does, and however busy the machine is it does not come too late."""


@pytest.mark.slow
def test_killed_at_a_random_step_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path):
    """The killed run is a separate process; the files that it leaves must lead to exactly the same weights and log."""
    flags = ["--data", "foxes.txt", *TINY_FLAGS, "--steps", "60", "--dropout", "0.1", "--eval-interval", "10"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(out, *more, before=()):
        command = [sys.executable, *before, str(ROOT / "train.py"), *flags, "--out", out, *more]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)

    whole = run("whole")
    assert whole.returncode == 0, whole.stderr
    killed = run("killed", before=("-c", DYING, str(random.randint(2, 9))))
    assert killed.returncode == -signal.SIGALRM, killed.stderr
    resumed = run("killed", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model", "optimizer"):
        a, b = (
            load_tensors(tmp_path / f"{run}/checkpoints/step-00000060/{name}.safetensors")
            for run in ("whole", "killed")
        )
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
    losses = [
        [(m["step"], m["loss"]) for m in read_metrics(tmp_path / run) if "loss" in m] for run in ("whole", "killed")
    ]
    assert losses[0] == losses[1]


def best_loss(run: str) -> float:
    """The lowest validation loss in a run's log."""
    return min(m["val_loss"] for m in read_metrics(Path(run)) if "val_loss" in m)


@pytest.mark.parametrize(
    ("flags", "loss"),
    [
        pytest.param(["--max-steps", "300", "--eval-interval", "300"], 1.75, marks=pytest.mark.slow, id="300 steps"),
        pytest.param([], 1.59, marks=pytest.mark.long, id="all 1,000 steps"),
    ],
)
@pytest.mark.skipif("LLMASOS_DATA" not in os.environ, reason="needs Tiny Shakespeare in $LLMASOS_DATA")
def test_shakespeare_at_character_level_is_learned_in_a_few_hundred_steps(flags, loss):
    """The best-known small trainer reaches 1.864 after 2,000 steps of its own."""
    assert run_command(main, ["shakespeare", "--out", "run", "--device", "cpu", *flags]) == 0
    assert best_loss("run") <= loss
