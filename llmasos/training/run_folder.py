"""The folder of a run: choosing it, making it, coming back to it, and never writing over anybody's work."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from llmasos.errors import UserError
from llmasos.models import ModelConfig
from llmasos.storage import read_json, write_folder, write_json
from llmasos.storage.lock import lock
from llmasos.tokenizers import Tokenizer
from llmasos.training.checkpoints import all_checkpoints
from llmasos.training.recipe import RESUMABLE, Recipe

RUNS = Path("runs")
RESULTS = "results.json"  # what came of a run that has taken all its steps
BASELINE = "without-init"  # inside a run's folder, the same run without the weights of --init-from
OURS = {"recipe.json", "origin.json", "tokenizer", "checkpoints", "metrics.jsonl", "tensorboard", RESULTS, BASELINE}


def run_folder(name: str, out: str | None, resume: bool) -> Path:
    """The folder that is meant.

    Args:
        name: what the run is called (see `run_name`).
        out: the folder the user asked for; None = runs/NAME, or runs/NAME-2, -3, … the first that is free (for a new
            run) or the last that is not (to resume).
        resume: whether the run goes on.

    Raises:
        UserError: a new run would overwrite another one or other files, or there is no run to resume.
    """
    if out is None:
        candidates = [RUNS / name, *(RUNS / f"{name}-{number}" for number in range(2, 10_000))]
        free = next(i for i, folder in enumerate(candidates) if not holds_work(folder))
        run = candidates[max(0, free - 1) if resume else free]
    else:
        run = Path(out)
    if resume and not (run / "recipe.json").is_file():
        raise UserError(f"there is no run to resume in {run} (no recipe.json); leave out --resume to begin one there.")
    if not resume:
        refuse_to_overwrite(run)
    return run


def refuse_to_overwrite(run: Path) -> None:
    """Raise UserError if a new run in this folder would take the place of another one or of other files."""
    if holds_work(run):
        if (run / "recipe.json").is_file():
            raise UserError(f"{run} already holds a run; add --resume to go on with it, or choose another --out.")
        raise UserError(f"{run} holds other files; choose another --out, so that nothing there is overwritten.")


def run_name(recipe: str | None, data: str | None, default: str) -> str:
    """What a run is called that the user has not named: after its recipe, or after the user's own text.

    >>> run_name(None, "books/my book.txt", "storyworld"), run_name("shakespeare", None, "storyworld")
    ('my-book', 'shakespeare')
    """
    own = data is not None and recipe is None
    return re.sub(r"[^\w.-]+", "-", Path(data).stem).strip("-.") or default if own else recipe or default


@contextmanager
def only_one(run: Path) -> Iterator[None]:
    """Hold the run's folder against other processes. Raises UserError if one is training there now."""

    def taken() -> None:
        raise UserError(f"another process is training in {run} at this moment; wait for it, or choose another --out.")

    with lock(run.parent / f".{run.name}.lock", waiting=taken):
        yield


def holds_work(folder: Path) -> bool:
    """Whether something would be lost if a new run took this place. A run without any checkpoint is no loss."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        return True
    return bool(all_checkpoints(folder)) or any(path.name not in OURS for path in folder.iterdir())


def has_finished(run: Path, steps: int) -> bool:
    """Whether a run has taken so many steps and left its results."""
    return (run / RESULTS).is_file() and read_json(run / RESULTS)["step"] >= steps


def make_run_folder(
    run: Path, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig, data_fingerprint: str
) -> None:
    """Make the folder of a new run, complete or not at all. Another process may have used it since it was chosen."""
    refuse_to_overwrite(run)
    with write_folder(run) as folder:
        tokenizer.save(folder / "tokenizer")
        origin = {"data_fingerprint": data_fingerprint, "torch": torch.__version__, "config": config.to_dict()}
        write_json(folder / "origin.json", origin)
        write_json(folder / "recipe.json", recipe.to_dict())


def resumed_recipe(run: Path, given: dict[str, Any]) -> Recipe:
    """The run's recipe with the flags given now, which may change how it goes on but not what it is.

    Raises:
        UserError: a flag would make it another run.
    """
    saved = Recipe.from_dict(read_json(run / "recipe.json"))
    other = [name for name in given if name not in RESUMABLE and given[name] != getattr(saved, name)]
    if other:
        name = other[0]
        raise UserError(
            f"the run in {run} was begun with {name} {getattr(saved, name)} and cannot go on with {given[name]}: "
            "that would be another run; leave the flag out, or start anew with another --out."
        )
    return Recipe.from_dict({**saved.to_dict(), **given})


def check_same_data(run: Path, data_fingerprint: str) -> None:
    """Raise UserError if the data is no longer what the run was begun with."""
    if read_json(run / "origin.json").get("data_fingerprint") != data_fingerprint:
        raise UserError(
            f"the data has changed since the run in {run} was begun, so it cannot be resumed as the same run; "
            "restore it, or start anew with another --out."
        )
