"""Checkpoints: what a run writes to disk so that it can be resumed, or used, after any crash.

    runs/storyworld/
        recipe.json                  every setting, for people to read
        metrics.jsonl                one line of numbers every few steps
        origin.json  tokenizer/      what the run was started with (see `run_folder`)
        checkpoints/
            step-00000500/           a model folder …
                config.json  model.safetensors  vocab.json …
                optimizer.safetensors           … together, training can be resumed
                state.json           step, best validation loss so far, what the run was started with, and checksums

A checkpoint is written to a temporary folder and renamed when it is complete, so a checkpoint with its final name is
complete. If the disk corrupts it later, the checksums reveal it, and the previous one is used. It depends on nothing
outside its own folder; only an adapter (`adapter_model.safetensors`, in place of the model) needs its base, whose name
and checksum are saved with it. The newest two and the best are kept; older ones are removed, but only if they are
exactly as this run wrote them. Data order and dropout are functions of (seed, step), so for these only the step number
has to be saved.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.console import command
from llmasos.errors import UserError
from llmasos.models.config import is_adapter
from llmasos.storage import read_json, write_folder
from llmasos.storage.checksums import find_corruption as find_corruption_of
from llmasos.storage.checksums import read_sealed, remove_own, seal

if TYPE_CHECKING:
    import torch

    from llmasos.models import Model

MAX_CHECKPOINTS = 2  # the newest, besides the best
CHECKPOINTS, STATE, ORIGIN = "checkpoints", "state.json", "origin.json"


@dataclass
class TrainingState:
    """The state of a run after `step` optimizer steps, besides weights and optimizers."""

    step: int = 0
    best_step: int | None = None  # the checkpoint with the lowest validation loss so far
    best_loss: float | None = None  # that loss, in nats per prediction
    validated_step: int = 0  # the step of the last complete validation; an interrupted one is repeated
    scaler: dict[str, Any] = field(default_factory=dict)  # the state of fp16's gradient scaler


def save_checkpoint(
    run: Path,
    state: TrainingState,
    model: Model,
    optimizers: list[torch.optim.Optimizer],
    save_tokenizer: Callable[[Path], None],
    origin: Mapping[str, Any],
) -> Path:
    """Write `run/checkpoints/step-N` and remove this run's checkpoints that are no longer needed.

    Raises:
        UserError: it cannot be written, for example because the disk is full. All earlier checkpoints are still there.
    """
    from llmasos.models import save_model  # here, because finding a checkpoint needs no torch
    from llmasos.storage import save_tensors
    from llmasos.training.optimizers import optimizer_tensors

    folder = run / CHECKPOINTS / checkpoint_name(state.step)
    with write_folder(folder, keep_others=True) as temporary:
        save_model(temporary, model)
        save_tokenizer(temporary)
        save_tensors(temporary / "optimizer.safetensors", optimizer_tensors(model, optimizers))
        seal(temporary / STATE, {**asdict(state), "origin": dict(origin)})
    own = [path for path in all_checkpoints(run) if is_own(path, origin) and checkpoint_step(path) <= state.step]
    for old in own[:-MAX_CHECKPOINTS]:
        if checkpoint_step(old) != state.best_step:
            with suppress(OSError):  # training continues if an old checkpoint cannot be removed
                remove_own(old / STATE)
    return folder


def is_own(checkpoint: Path, origin: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was written by the run with this origin, under its current name."""
    state = read_sealed(checkpoint / STATE) or {}
    return state.get("step") == checkpoint_step(checkpoint) and state.get("origin", {}).get("run") == origin.get("run")


def load_checkpoint(folder: Path, model: Model, optimizers: list[torch.optim.Optimizer]) -> TrainingState:
    """Load a checkpoint's weights and optimizer state, and return its `TrainingState`."""
    from llmasos.models import load_weights  # here, because finding a checkpoint needs no torch
    from llmasos.storage import load_tensors
    from llmasos.training.optimizers import load_optimizer_tensors

    load_weights(model, folder)
    load_optimizer_tensors(model, optimizers, load_tensors(folder / "optimizer.safetensors"))
    return read_state(folder)


def read_state(folder: Path) -> TrainingState:
    """The `TrainingState` in a checkpoint folder."""
    saved = read_json(folder / STATE)
    return TrainingState(**{field.name: saved[field.name] for field in fields(TrainingState)})


def read_origin(checkpoint: Path) -> dict[str, Any]:
    """What the run was started with, from a checkpoint."""
    return read_json(checkpoint / STATE)["origin"]


def all_checkpoints(run: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first, valid or not."""
    folders = (run / CHECKPOINTS).glob("step-*")
    return sorted((path for path in folders if re.fullmatch(r"step-\d+", path.name)), key=checkpoint_step)


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def checkpoint_step(checkpoint: Path) -> int:
    """The step number in a checkpoint's name."""
    return int(checkpoint.name.removeprefix("step-"))


def find_corruption(checkpoint: Path) -> str | None:
    """Describe what is wrong with a checkpoint's files; None if all are as they were written."""
    return find_corruption_of(checkpoint / STATE)


def is_valid(checkpoint: Path, say: Callable[[str], None], run: Path | None = None) -> bool:
    """Whether a checkpoint can be used; if not, the reason is reported through `say`, and nothing is deleted.

    Args:
        checkpoint: its folder.
        say: called with the reason.
        run: the folder of the run that it must belong to, if known; None = any.

    Raises:
        UserError: there is no permission to read it.
    """
    reason = find_corruption(checkpoint)
    if reason:
        say(f"checkpoint {checkpoint} is corrupt: {reason}; it is skipped.")
        return False
    origin = run and read_sealed(run / ORIGIN)
    if origin and not is_own(checkpoint, origin):
        say(f"checkpoint {checkpoint} was not written here by this run; it is skipped.")
        return False
    return True


def latest_checkpoint(run: Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """The newest checkpoint that can be used. Raises UserError if the run has none."""
    for checkpoint in reversed(all_checkpoints(run)):
        if is_valid(checkpoint, say, run):
            return checkpoint
    first = f"train first: {command('train', '--out', run)}"
    remedy = "start a new run with another --out" if all_checkpoints(run) else first
    raise UserError(f"{run} holds no usable checkpoint; {remedy}.")


def best_checkpoint(run: Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """The valid checkpoint with the lowest validation loss, or the newest if none was validated."""
    latest = latest_checkpoint(run, say)
    best = run / CHECKPOINTS / checkpoint_name(read_state(latest).best_step or 0)
    return best if best != latest and best.is_dir() and is_valid(best, say, run) else latest


def model_folder(path: str | Path, say: Callable[[str], None] = warnings.warn) -> Path:
    """Find the folder of a model that a user names: the model folder itself, or a run's best checkpoint.

    Raises:
        UserError: there is no such folder, or neither a run nor a model in it.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"there is no folder {path}; name a run's folder such as runs/storyworld, or train one first.")
    if (path / "config.json").is_file() or is_adapter(path):
        if (path / STATE).is_file() and (reason := find_corruption(path)):
            raise UserError(
                f"checkpoint {path} is corrupt: {reason}. Name the run's folder to use its latest valid one."
            )
        return path
    if (path / CHECKPOINTS).is_dir() or (path / "recipe.json").is_file():
        return best_checkpoint(path, say)
    raise UserError(f"{path} is neither a run nor a model: there is no recipe.json and no config.json in it.")
