"""What a run reports: `metrics.jsonl` for programs, a progress bar for people, TensorBoard if it is installed."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmasos.console import progress_bar
from llmasos.storage import write_text
from llmasos.storage.atomic import write_error

if TYPE_CHECKING:
    from llmasos.training.trainer import StepResult


class MetricsLog:
    """One JSON object per line: {"step": 500, "loss": 1.93, …}. A number that JSON cannot hold (NaN, infinity) is null.

    Args:
        run: the run's folder.
        step: where the run starts. Lines of later steps, left by a run that was killed after its last checkpoint, are
            removed, since those steps will be repeated.
    """

    def __init__(self, run: Path, step: int):
        self.path = run / "metrics.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if (number := step_of_line(line)) is not None and number <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.file = open(self.path, "ab", buffering=0)  # unbuffered: a line is written when `write` returns
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.tensorboard: SummaryWriter | None = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
        except ImportError:  # optional: nothing depends on it
            self.tensorboard = None

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
        if self.tensorboard is not None:
            self.tensorboard.close()


def step_of_line(line: str) -> int | None:
    """The step of one line of metrics.jsonl, or None for a line torn by a crash."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return None


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All whole lines of a run's metrics.jsonl, in order."""
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if step_of_line(line) is not None]


class RunLog:
    """All that a run reports while it trains, as a context manager: the metrics in the main process, and the bar.

    Args:
        run: the run's folder.
        step, max_steps: where the run starts and ends.
        unit: what the targets are, in the plural.
        mfu_per_rate: the MFU at one target per second; None = not shown.
        is_main: whether this process writes files and shows the bar.
    """

    def __init__(self, run: Path, step: int, max_steps: int, unit: str, mfu_per_rate: float | None, is_main: bool):
        self.unit, self.mfu_per_rate = unit, mfu_per_rate
        self.metrics = MetricsLog(run, step) if is_main else None
        self.bar = progress_bar(total=max_steps, initial=step, unit="step", disable=None if is_main else True)
        self.seconds = 0.0  # per step, an exponential moving average

    def step(self, step: int, result: "StepResult", learning_rate: float, seconds: float, write: bool) -> None:
        """Report a step on the bar, and if `write` in metrics.jsonl: its numbers, the throughput and the MFU."""
        self.seconds = 0.9 * self.seconds + 0.1 * seconds if self.seconds else seconds
        rate = result.n_targets / self.seconds
        mfu = None if self.mfu_per_rate is None else rate * self.mfu_per_rate
        of_peak = "" if mfu is None else f", {mfu:.0%} of peak"
        self.bar.set_postfix_str(f"loss {result.loss:.3f}, {rate:,.0f} {self.unit}/s{of_peak}", refresh=False)
        self.bar.update()
        if write:
            throughput = {f"{self.unit}_per_second": round(rate)}
            numbers = {"loss": result.loss, "learning_rate": learning_rate, "grad_norm": result.grad_norm, "mfu": mfu}
            self.write(step, **numbers, **throughput)

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
