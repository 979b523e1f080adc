"""Checkpoints: what a run writes to disk so that it can be resumed, or used, after any accident.

    runs/storyworld/
        recipe.json                  every setting
        metrics.jsonl                one line of numbers every few steps
        tokenizer/
        checkpoints/
            step-00000500/           a model folder …
                config.json  model.safetensors  vocab.json …
                optimizer.safetensors           … that, with this, can be resumed
                state.json           step, best validation loss so far, checksums of the other files

A checkpoint is written into a temporary folder and renamed when it is complete, so one that has its name is complete.
If the disk corrupts it later, the checksums reveal it, and the one before it is used. The newest two and the best are
kept. Data order and dropout are functions of (seed, step), so of those the step number is all that must be saved.
"""

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from llmasos.console import command
from llmasos.errors import UserError
from llmasos.models import Model, load_weights, save_model
from llmasos.storage import load_tensors, read_json, save_tensors, sha256_file, write_folder, write_json
from llmasos.training.optimizers import load_optimizer_tensors, optimizer_tensors

MAX_CHECKPOINTS = 2  # the newest, besides the best


@dataclass
class TrainingState:
    """The state of a run after `step` optimizer steps, besides weights and optimizers."""

    step: int = 0
    best_step: int | None = None  # the checkpoint with the lowest validation loss so far
    best_loss: float | None = None  # that loss, in nats per prediction
    validated_step: int = 0  # the step of the last validation, which a run that was stopped in one must repeat
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16's gradient scaler


def save_checkpoint(
    run: Path,
    state: TrainingState,
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    save_tokenizer: Callable[[Path], None],
) -> Path:
    """Write `run/checkpoints/step-N` and delete the checkpoints that are no longer needed.

    Raises:
        UserError: it cannot be written, for example because the disk is full. All earlier checkpoints are still there.
    """
    folder = run / "checkpoints" / checkpoint_name(state.step)
    with write_folder(folder) as temporary:
        save_model(temporary, model)
        save_tokenizer(temporary)
        save_tensors(temporary / "optimizer.safetensors", optimizer_tensors(model, optimizers))
        checksums = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        checksums["state"] = digest(asdict(state))
        write_json(temporary / "state.json", {**asdict(state), "sha256": checksums})
    checkpoints = all_checkpoints(run)
    for old in checkpoints[:-MAX_CHECKPOINTS]:
        if checkpoint_step(old) != state.best_step:
            shutil.rmtree(old, ignore_errors=True)
    return folder


def load_checkpoint(folder: Path, model: Model, optimizers: list[torch.optim.Optimizer]) -> TrainingState:
    """Load a checkpoint's weights and optimizer state, and return its `TrainingState`."""
    load_weights(model, folder / "model.safetensors")
    load_optimizer_tensors(model, optimizers, load_tensors(folder / "optimizer.safetensors"))
    return read_state(folder)


def read_state(folder: Path) -> TrainingState:
    """The `TrainingState` in a checkpoint folder."""
    fields = read_json(folder / "state.json")
    return TrainingState(**{name: value for name, value in fields.items() if name != "sha256"})


def all_checkpoints(run: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first, valid or not."""
    folders = (run / "checkpoints").glob("step-*")
    return sorted((path for path in folders if re.fullmatch(r"step-\d+", path.name)), key=checkpoint_step)


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def checkpoint_step(checkpoint: Path) -> int:
    """The step number in a checkpoint's name."""
    return int(checkpoint.name.removeprefix("step-"))


def find_corruption(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint's files, in words; None if all are as they were written."""
    try:
        state = read_json(checkpoint / "state.json")
        checksums = state.pop("sha256")
        if digest(state) != checksums.pop("state"):
            return "state.json is not as it was written (its checksum differs)"
        for name, expected in checksums.items():
            if not (checkpoint / name).is_file():
                return f"{name} is missing"
            if sha256_file(checkpoint / name) != expected:
                return f"{name} is not as it was written (its checksum differs)"
    except (UserError, KeyError, TypeError, AttributeError, OSError) as error:
        return f"state.json cannot be read ({error})"
    return None


def digest(fields: dict[str, Any]) -> str:
    """The SHA-256 of a state's fields, whatever their order."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def is_valid(checkpoint: Path, say: Callable[[str], None]) -> bool:
    """Whether a checkpoint is as it was written; if not, that is reported through `say`, and nothing is deleted."""
    reason = find_corruption(checkpoint)
    if reason:
        say(f"checkpoint {checkpoint} is corrupt: {reason}; it is skipped.")
    return reason is None


def latest_checkpoint(run: Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """The newest valid checkpoint. Raises UserError if the run has none."""
    for checkpoint in reversed(all_checkpoints(run)):
        if is_valid(checkpoint, say):
            return checkpoint
    first = f"train first: {command('train', '--out', run)}"
    remedy = "start a new run with another --out" if all_checkpoints(run) else first
    raise UserError(f"{run} holds no usable checkpoint; {remedy}.")


def best_checkpoint(run: Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """The valid checkpoint with the lowest validation loss, or the newest if none was validated."""
    latest = latest_checkpoint(run, say)
    best = run / "checkpoints" / checkpoint_name(read_state(latest).best_step or 0)
    return best if best != latest and best.is_dir() and is_valid(best, say) else latest


def model_folder(path: str | Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """The folder with the model that a user names: the model folder itself, or a run's best checkpoint.

    Raises:
        UserError: there is no such folder, or neither a run nor a model in it.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"there is no folder {path}; name a run's folder such as runs/storyworld, or train one first.")
    if (path / "config.json").is_file():
        if (path / "state.json").is_file() and (reason := find_corruption(path)):
            raise UserError(
                f"checkpoint {path} is corrupt: {reason}. Name the run's folder to use its latest valid one."
            )
        return path
    if (path / "checkpoints").is_dir() or (path / "recipe.json").is_file():
        return best_checkpoint(path, say)
    raise UserError(f"{path} is neither a run nor a model: there is no recipe.json and no config.json in it.")
