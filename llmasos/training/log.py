"""A run's logs: `metrics.jsonl` for programs, a progress bar for people, TensorBoard if it is installed."""

import json
import math
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos import console
from llmasos.console import progress_bar
from llmasos.storage import write_text
from llmasos.storage.atomic import set_aside, write_error

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from llmasos.training.trainer import StepResult

METRICS = "metrics.jsonl"
FIRST_BYTES = b'{"step": '  # of each line


class MetricsLog:
    """One JSON object per line: {"step": 500, "loss": 1.93, …}. A number that JSON cannot hold (NaN, infinity) is null.

    Args:
        run: the run's folder.
        step: where the run starts. Lines of later steps, left by a run that was killed after its last checkpoint, are
            removed, since those steps will be repeated. A file with other lines is kept under another name.
        validated_step: the step of the last validation before that, whose line must be there; 0 = there was none.
    """

    def __init__(self, run: Path, step: int, validated_step: int = 0):
        self.path = run / METRICS
        lines, n_damaged = read_lines(self.path)
        if n_damaged:
            may_read = os.access(self.path, os.R_OK)
            what = f"{n_damaged} damaged lines are skipped" if may_read else "it may not be read"
            console.say(f"{self.path}: {what}; the file is kept as {set_aside(self.path).name}.")
        elif validated_step and not any(line["step"] == validated_step and "val_loss" in line for line in lines):
            console.say(
                f"{self.path} lacks the validation at step {validated_step:,}: lines were removed, or the file is new. "
                f"Nothing else depends on it; it goes on after step {step:,}."
            )
        kept = [json.dumps(line) for line in lines if line["step"] <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.file = open(self.path, "ab", buffering=0)  # unbuffered: a line is written when `write` returns
        self.folder, self.first_step = run / "tensorboard", step + 1

    @cached_property
    def tensorboard(self) -> "SummaryWriter | None":
        """The writer, opened with the first numbers; None if it is not installed, or if a file has the folder's
        name.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter

            return SummaryWriter(str(self.folder), purge_step=self.first_step)
        except (ImportError, OSError):  # optional: nothing depends on it
            return None

    def write(self, step: int, **values: Any) -> None:
        """Add the numbers of one step."""
        values = {key: value for key, value in values.items() if value is not None}
        safe = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        try:
            self.file.write((json.dumps({"step": step, **safe}) + "\n").encode())
        except OSError as error:
            raise write_error(self.path, error) from error
        if self.tensorboard is not None:
            for key, value in values.items():
                self.tensorboard.add_scalar(key, value, step)

    def close(self) -> None:
        """Finish the files."""
        self.file.close()
        if vars(self).get("tensorboard") is not None:  # else it was not opened
            self.tensorboard.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All complete lines of a run's metrics.jsonl, in order."""
    return read_lines(Path(run) / METRICS)[0]


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole lines of a metrics.jsonl, in order, and the number of lines that cannot be read.

    An incomplete last line, left by a crash, is ignored. An unreadable file counts as one damaged line.
    """
    if not os.path.lexists(path):
        return [], 0
    try:
        *lines, last = path.read_bytes().split(b"\n")
    except OSError:
        return [], 1
    if values_of_line(last) or not FIRST_BYTES.startswith(last[: len(FIRST_BYTES)]):
        lines.append(last)
    whole = [values for line in lines if (values := values_of_line(line))]
    return whole, len(lines) - len(whole)


def values_of_line(line: bytes) -> dict[str, Any] | None:
    """The numbers in one line of metrics.jsonl, or None for a damaged one."""
    try:
        values = json.loads(line)
        return values if type(values["step"]) is int else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class RunLog:
    """A context manager for everything that a run reports while it trains: the metrics and the bar, in the main
    process.

    Args:
        run: the run's folder.
        step, max_steps: where the run starts and ends.
        validated_step: the step of the last validation before that; 0 = there was none.
        unit: what a target is, in the plural ("tokens").
        mfu_per_rate: the MFU at one target per second; None = not shown.
        is_main: whether this process writes files and shows the bar.
    """

    def __init__(
        self,
        run: Path,
        step: int,
        max_steps: int,
        validated_step: int,
        unit: str,
        mfu_per_rate: float | None,
        is_main: bool,
    ):
        self.unit, self.mfu_per_rate = unit, mfu_per_rate
        self.metrics = MetricsLog(run, step, validated_step) if is_main else None
        self.bar = progress_bar(total=max_steps, initial=step, unit="step", disable=None if is_main else True)
        self.seconds = 0.0  # per step, an exponential moving average

    def step(self, step: int, result: "StepResult", learning_rate: float, seconds: float, write: bool) -> None:
        """Report a step on the bar, and if `write` in metrics.jsonl: its numbers, the throughput and the MFU."""
        self.seconds = 0.9 * self.seconds + 0.1 * seconds if self.seconds else seconds
        rate = result.n_targets / self.seconds
        mfu = None if self.mfu_per_rate is None else rate * self.mfu_per_rate
        of_peak = "" if mfu is None else f", {mfu:.0%} of peak"
        reward = f"reward {result.terms['reward']:.3f}, " if "reward" in result.terms else ""
        self.bar.set_postfix_str(f"{reward}loss {result.loss:.3f}, {rate:,.0f} {self.unit}/s{of_peak}", refresh=False)
        self.bar.update()
        if write:
            throughput = {f"{self.unit}_per_second": round(rate)}
            numbers = {"loss": result.loss, "learning_rate": learning_rate, "grad_norm": result.grad_norm, "mfu": mfu}
            terms = result.terms if len(result.terms) > 1 else {}  # a single one is the loss itself
            self.write(step, **numbers, **throughput, **terms)

    def write(self, step: int, **values: Any) -> None:
        """Add a line to metrics.jsonl."""
        if self.metrics is not None:
            self.metrics.write(step, **values)

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()
        if self.metrics is not None:
            self.metrics.close()
