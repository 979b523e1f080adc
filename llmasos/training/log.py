"""What a run tells: `metrics.jsonl` for programs, a progress bar for people, TensorBoard if it is installed."""

import json
import math
from pathlib import Path
from typing import Any

from tqdm import tqdm

from llmasos.storage import write_text
from llmasos.storage.atomic import write_error


class MetricsLog:
    """One JSON object a line: {"step": 500, "loss": 1.93, …}. A number that JSON cannot hold (NaN, infinity) is null.

    Args:
        run: the run's folder.
        step: where the run stands. Lines of later steps, left by a run that was killed after its last checkpoint, are
            taken out, since those steps will be done again.
    """

    def __init__(self, run: Path, step: int):
        self.path = run / "metrics.jsonl"
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        kept = [line for line in lines if (number := step_of_line(line)) is not None and number <= step]
        write_text(self.path, "".join(line + "\n" for line in kept))
        self.file = open(self.path, "ab", buffering=0)  # each line is on its way to the disk when `write` returns
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.tensorboard = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)
        except ImportError:  # it is an extra, and nothing depends on it
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


class Progress:
    """The bar: loss, predictions per second, MFU, and (by tqdm) the time that is left. Only a terminal shows it."""

    def __init__(self, step: int, steps: int, unit: str, show: bool):
        self.unit = unit
        self.bar = tqdm(total=steps, initial=step, unit="step", disable=None if show else True, dynamic_ncols=True)

    def update(self, loss: float, rate: float, mfu: float | None) -> None:
        """One step further."""
        share = "" if mfu is None else f", {mfu:.0%} of peak"
        self.bar.set_postfix_str(f"loss {loss:.3f}, {rate:,.0f} {self.unit}/s{share}", refresh=False)
        self.bar.update()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
