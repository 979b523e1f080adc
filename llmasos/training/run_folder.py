"""The folder of a run: choosing, creating and resuming it, without ever touching other files.

    origin.json      what the run was started with: its id, all settings, the model's config, the data's fingerprint, …
    tokenizer/       likewise; its checksums are in origin.json
    recipe.json      the settings again, for people to read
    metrics.jsonl    see `log`
    checkpoints/     see `checkpoints`; each holds the origin and the tokenizer, too
    results.json     the evaluation after the last step

Everything outside `checkpoints/` can be lost or damaged: the newest checkpoint has all that is needed to continue.
"""

from __future__ import annotations

import os
import platform
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.arguments import user_path
from llmasos.errors import UserError
from llmasos.storage import read_json, write_folder, write_json
from llmasos.storage.atomic import clean_up_folder, make_folder, set_aside, write_error
from llmasos.storage.checksums import find_corruption, foreign_files, is_plain_file, own_files, read_sealed, seal
from llmasos.storage.lock import lock
from llmasos.training.checkpoints import CHECKPOINTS, ORIGIN, all_checkpoints, latest_checkpoint, read_origin
from llmasos.training.log import METRICS, read_metrics
from llmasos.training.recipe import RESUMABLE, Recipe, read_recipe

if TYPE_CHECKING:
    from llmasos.models import ModelConfig
    from llmasos.tokenizers import Tokenizer

RUNS = Path("runs")
RECIPE, TOKENIZER = "recipe.json", "tokenizer"
RESULTS = "results.json"  # the report of a completed run
BASELINE = "without-init"  # inside a run's folder, the same run without the weights of --init-from
Say = Callable[[str], None]


def choose_run_folder(name: str, out_dir: str | None, resume: bool) -> Path:
    """Choose the folder of a new or resumed run.

    Args:
        name: the run's name (see `run_name`).
        out_dir: the folder if the user names one; None = runs/NAME, or runs/NAME-2, -3, …: the first that is free (for
            a new run) or the last that is not (to resume).
        resume: whether the run is resumed.

    Raises:
        UserError: a new run would overwrite another one or other files, or there is no run to resume.
    """
    run = RUNS / name if out_dir is None else user_path(out_dir)
    try:
        if out_dir is None:
            candidates = [run, *(RUNS / f"{name}-{number}" for number in range(2, 10_000))]
            free = next(i for i, folder in enumerate(candidates) if is_free(folder))
            run = candidates[max(0, free - 1) if resume else free]
        if resume and not holds_run(run):
            raise UserError(
                f"there is no run to resume in {run} (no {ORIGIN} and no checkpoint); leave out --resume to start one, "
                "or name another --out."
            )
        if not resume:
            refuse_to_overwrite(run)
    except OSError as error:
        raise write_error(run, error, whatever=True) from error
    return run


def run_of_this_launch(name: str, out_dir: str | None) -> Path | None:
    """The run that this call of torchrun started before it had to restart its processes (`--max-restarts`), if any.

    See `choose_run_folder` for the arguments. The run is then continued without `--resume`, since no user is there to
    add it.
    """
    if not is_restart():
        return None
    numbered = [RUNS / name, *RUNS.glob(f"{name}-*")] if out_dir is None else [user_path(out_dir)]
    for run in filter(holds_run, numbered):
        with suppress(UserError):  # a damaged run, or another user's
            if find_origin(run, lambda text: None)[0].get("launch") == launch_id():
                return run
    return None


def launch_id() -> str | None:
    """An id of this call of torchrun, which stays the same when its processes are restarted; None without torchrun.

    It is the `--rdzv-id`, which is required with several machines, or else the process id of torchrun.
    """
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    return f"{platform.node()}-{os.getppid()}" if name == "none" else name


def is_restart() -> bool:
    """Whether torchrun has started these processes again, after one of them had failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def refuse_to_overwrite(run: Path) -> None:
    """Raise UserError if a new run in this folder would be mixed with another run or other files."""
    if is_free(run):
        return
    if not run.is_dir():
        raise UserError(f"{run} is a file, and a run needs a folder; choose another --out.")
    if holds_run(run):
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

    folder = Path(os.path.realpath(run))  # a run with two paths is still one run
    with lock(folder.parent / f".{folder.name}.lock", on_wait=refuse):
        for path in (folder, folder / CHECKPOINTS):
            clean_up_folder(path)  # left by a process that was killed while writing
        yield


def is_free(run: Path) -> bool:
    """Whether a new run may use this folder: it is missing or empty, or holds a run of ours that never took a step."""
    if not run.is_dir():
        return not run.exists()
    if not any(run.iterdir()):
        return True
    origin = read_sealed(run / ORIGIN)
    return origin is not None and all(is_unused(path, origin) for path in foreign_files(run / ORIGIN))


def is_unused(path: Path, origin: dict[str, Any]) -> bool:
    """Whether a path other than origin and tokenizer is as in a run that has not taken a step."""
    try:
        return (
            (path.name == RECIPE and read_json(path) == origin["recipe"])
            or (path.name == METRICS and is_plain_file(path) and path.stat().st_size == 0)
            or (path.name == CHECKPOINTS and path.is_dir() and not any(path.iterdir()))
        )
    except UserError:
        return False


def holds_run(run: Path) -> bool:
    """Whether there is, or was, a run in this folder."""
    return any((run / name).is_file() for name in (ORIGIN, RECIPE)) or bool(all_checkpoints(run))


def has_finished(run: Path, steps: int) -> bool:
    """Whether a run has taken this many steps and written its results."""
    results = read_results(run)
    return results is not None and results["step"] >= steps


def read_results(run: Path) -> dict[str, Any] | None:
    """The results of a run; None if there are none, or not as they were written."""
    try:
        results = read_json(run / RESULTS)
        return results if type(results["step"]) is int and "metrics" in results else None
    except (UserError, KeyError, TypeError):
        return None


def write_results(run: Path, results: dict[str, Any], say: Say) -> None:
    """Write the results of a run; any other file of that name is renamed and kept."""
    if os.path.lexists(run / RESULTS) and read_results(run) is None:
        say(f"{run / RESULTS} held no results of a run; it is now {set_aside(run / RESULTS).name}.")
    write_json(run / RESULTS, results)


def new_origin(
    recipe: Recipe,
    config: ModelConfig,
    data_fingerprint: str,
    initial_weights: str | None,
    teacher: str | None = None,
) -> dict:
    """Describe what a new run is started with.

    Args:
        recipe: all settings.
        config: the model's config.
        data_fingerprint: a fingerprint of the data.
        initial_weights: a checksum of the weights of `--init-from`; None = random weights.
        teacher: a checksum of the weights of `--teacher`; None = there is none.
    """
    import torch  # here, because finding a run does not need torch

    return {
        "run": uuid.uuid4().hex,  # distinguishes its checkpoints from those of other runs
        "recipe": recipe.flat(),
        "config": config.to_dict(),
        "data_fingerprint": data_fingerprint,
        "initial_weights": initial_weights,
        "teacher": teacher,
        "launch": launch_id(),
        "torch": torch.__version__,
    }


def make_run_folder(run: Path, origin: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Create the folder of a new run. Another process may have used it since it was chosen.

    A folder that does not exist appears completely or not at all. An existing one stays (it may be a link, or belong to
    a container); there `origin.json` comes last.
    """
    refuse_to_overwrite(run)
    if not run.is_dir():
        with write_folder(run) as folder:
            write_origin(folder, origin, tokenizer)
        return
    if (run / ORIGIN).is_file():  # of a run that never took a step, perhaps with another tokenizer
        for name in own_files(run / ORIGIN):
            (run / name).unlink()
    write_origin(run, origin, tokenizer)


def write_origin(run: Path, origin: dict[str, Any], tokenizer: Tokenizer) -> None:
    """Write what a run was started with into its folder."""
    with write_folder(run / TOKENIZER, keep_others=True) as folder:
        tokenizer.save(folder)
        names = [path.name for path in folder.iterdir()]
    write_json(run / RECIPE, origin["recipe"])
    seal(run / ORIGIN, origin, [run / TOKENIZER / name for name in names])


def find_origin(run: Path, say: Say) -> tuple[dict[str, Any], Path]:
    """What a run was started with, and the folder of its tokenizer: from the run's folder or its newest checkpoint.

    Raises:
        UserError: it is damaged and there is no checkpoint, or there is no permission to read a file.
    """
    reason, origin = find_corruption(run / ORIGIN), read_sealed(run / ORIGIN)
    if reason is None and origin is not None:
        return origin, run / TOKENIZER
    if not all_checkpoints(run):
        raise UserError(
            f"the run in {run} cannot be continued: {reason}, and there is no checkpoint; start a new run with another "
            "--out."
        )
    checkpoint = latest_checkpoint(run, say)
    say(f"{run}: {reason}; it is written again from {checkpoint}.")
    return origin or read_origin(checkpoint), checkpoint


def update_origin(run: Path, origin: dict[str, Any], recipe: Recipe, tokenizer: Tokenizer, say: Say) -> dict[str, Any]:
    """Save the settings of a resumed run, and restore what is damaged or lost in its folder.

    Returns:
        The origin with these settings.
    """
    check_checkpoints_are_there(run)
    make_folder(run / CHECKPOINTS)
    intact = {
        RECIPE: is_plain_file(run / RECIPE) and is_json(run / RECIPE, origin["recipe"]),
        ORIGIN: read_sealed(run / ORIGIN) is not None,
        TOKENIZER: (run / TOKENIZER).is_dir(),
    }
    for name in (name for name, is_intact in intact.items() if not is_intact):
        if not os.path.lexists(run / name):
            problem, kept = "is missing", ""
        else:
            may_read = os.access(run / name, os.R_OK)
            problem = "has changed since this run wrote it" if may_read else "may not be read"
            kept = f" (what was there is now {set_aside(run / name).name})"
        say(f"{run / name} {problem}, and is written again from the run's own record{kept}.")
    resumed = {**origin, "recipe": recipe.flat()}
    if resumed != origin or not all(intact.values()) or find_corruption(run / ORIGIN):
        write_origin(run, resumed, tokenizer)
    return resumed


def is_json(path: Path, value: Any) -> bool:
    """Whether a file holds this value as JSON."""
    try:
        return read_json(path) == value
    except UserError:
        return False


def check_checkpoints_are_there(run: Path) -> None:
    """Raise UserError if the run has written checkpoints that are gone, so that it would start from the beginning.

    A checkpoint follows every validation. So if the log goes beyond the first validation, there was a checkpoint.
    """
    lines = read_metrics(run)
    validated = [line["step"] for line in lines if "val_loss" in line]
    if not all_checkpoints(run) and validated and lines[-1]["step"] > validated[0]:
        raise UserError(
            f"the run in {run} has taken {lines[-1]['step']:,} steps, but its checkpoints are gone; put them back into "
            f"{run / CHECKPOINTS}, or start a new run with another --out."
        )


def resumed_recipe(run: Path, changes: dict[str, Any]) -> Recipe:
    """Return a run's recipe with the flags of this call, which may only change its length and output.

    Raises:
        UserError: a flag would make it another run.
    """
    recipe = read_recipe(find_origin(run, say=lambda text: None)[0]["recipe"])
    saved = recipe.flat()
    for name, value in changes.items():
        if name not in RESUMABLE and value != saved[name]:
            raise UserError(
                f"the run in {run} was started with {name} {saved[name]} and cannot be resumed with {value}: that "
                "would be another run; leave the flag out, or start a new run with another --out."
            )
    return recipe.replace(**changes)


def check_same_start(run: Path, what: str, saved: str | None, now: str | None) -> None:
    """Raise UserError if what the run was started from (its data, its initial weights) is no longer the same."""
    if saved != now:
        raise UserError(
            f"{what} changed since the run in {run} was started, so it cannot be resumed as the same run; restore what "
            "it was, or start a new run with another --out."
        )
