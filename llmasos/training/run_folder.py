"""The folder of a run: choosing, creating and resuming it, without ever overwriting a user's work."""

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
from llmasos.training.recipe import RESUMABLE, Recipe, read_recipe

RUNS = Path("runs")
RESULTS = "results.json"  # the report of a run that has taken all its steps
BASELINE = "without-init"  # inside a run's folder, the same run without the weights of --init-from
RUN_FILES = {"recipe.json", "origin.json", "tokenizer", "checkpoints", "metrics.jsonl", "tensorboard", RESULTS,
             BASELINE}  # fmt: skip


def choose_run_folder(name: str, out_dir: str | None, resume: bool) -> Path:
    """The folder of a new or resumed run.

    Args:
        name: of the run (see `run_name`).
        out_dir: the folder if the user names one; None = runs/NAME, or runs/NAME-2, -3, …: the first that is free (for
            a new run) or the last that is not (to resume).
        resume: whether the run is resumed.

    Raises:
        UserError: a new run would overwrite another one or other files, or there is no run to resume.
    """
    if out_dir is None:
        candidates = [RUNS / name, *(RUNS / f"{name}-{number}" for number in range(2, 10_000))]
        free = next(i for i, folder in enumerate(candidates) if not holds_work(folder))
        run = candidates[max(0, free - 1) if resume else free]
    else:
        run = Path(out_dir)
    if resume and not (run / "recipe.json").is_file():
        raise UserError(f"there is no run to resume in {run} (no recipe.json); leave out --resume to start one there.")
    if not resume:
        refuse_to_overwrite(run)
    return run


def refuse_to_overwrite(run: Path) -> None:
    """Raise UserError if a new run in this folder would replace another one or other files."""
    if holds_work(run):
        if (run / "recipe.json").is_file():
            raise UserError(f"{run} already holds a run; add --resume to continue it, or choose another --out.")
        raise UserError(f"{run} holds other files; choose another --out, so that nothing there is overwritten.")


def run_name(recipe: str | None, data: str | None, default: str) -> str:
    """The default name of a run: that of its recipe, or of the user's own text.

    >>> run_name(None, "books/my book.txt", "storyworld"), run_name("shakespeare", None, "storyworld")
    ('my-book', 'shakespeare')
    """
    if data is None or recipe is not None:
        return recipe or default
    return re.sub(r"[^\w.-]+", "-", Path(data).stem).strip("-.") or default


@contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Lock the run's folder against other processes. Raises UserError if another one is training there."""

    def refuse() -> None:
        raise UserError(f"another process is training in {run} at this moment; wait for it, or choose another --out.")

    with lock(run.parent / f".{run.name}.lock", on_wait=refuse):
        yield


def holds_work(folder: Path) -> bool:
    """Whether a new run in this folder would destroy something. A run without any checkpoint is no loss."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        return True
    return bool(all_checkpoints(folder)) or any(path.name not in RUN_FILES for path in folder.iterdir())


def has_finished(run: Path, steps: int) -> bool:
    """Whether a run has taken this many steps and written its results."""
    return (run / RESULTS).is_file() and read_json(run / RESULTS)["step"] >= steps


def make_run_folder(
    run: Path, recipe: Recipe, tokenizer: Tokenizer, config: ModelConfig, data_fingerprint: str
) -> None:
    """Make the folder of a new run, completely or not at all. Another process may have used it since it was chosen."""
    refuse_to_overwrite(run)
    with write_folder(run) as folder:
        tokenizer.save(folder / "tokenizer")
        origin = {"data_fingerprint": data_fingerprint, "torch": torch.__version__, "config": config.to_dict()}
        write_json(folder / "origin.json", origin)
        write_json(folder / "recipe.json", recipe.flat())


def resumed_recipe(run: Path, changes: dict[str, Any]) -> Recipe:
    """The recipe of a run with the flags of this call, which may change its length and output but nothing else.

    Raises:
        UserError: a flag would make it another run.
    """
    recipe = read_recipe(read_json(run / "recipe.json"))
    saved = recipe.flat()
    for name, value in changes.items():
        if name not in RESUMABLE and value != saved[name]:
            raise UserError(
                f"the run in {run} was started with {name} {saved[name]} and cannot be resumed with {value}: that "
                "would be another run; leave the flag out, or start a new run with another --out."
            )
    return recipe.replace(**changes)


def check_same_data(run: Path, data_fingerprint: str) -> None:
    """Raise UserError if the data is no longer what the run was started with."""
    if read_json(run / "origin.json").get("data_fingerprint") != data_fingerprint:
        raise UserError(
            f"the data has changed since the run in {run} was started, so it cannot be resumed as the same run; "
            "restore the data, or start a new run with another --out."
        )
