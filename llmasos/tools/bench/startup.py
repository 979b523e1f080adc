"""Start-up: how long commands take to start, compared with Python itself and the import of torch."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

ROOT = Path(__file__).parents[3]  # the repository, where there is one
MODULE = ["-m", "llmasos"]
COMMANDS = {
    "python": ["-c", "pass"],
    "torch": ["-c", "import torch"],
    "import": ["-c", "import torch, llmasos"],
    "help": [*MODULE, "sample", "--help"],
    "models": [*MODULE, "models"],
    "sample": [*MODULE, "sample", "storyworld-gpt", "--prompt", "One", "--max-new-tokens", "1"],
}


def bench_startup(settings: Settings) -> Iterator[Measurement]:
    """Run each command in its own process."""

    def start(command: list[str]) -> None:
        subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=ROOT)

    measures = {name: timed(partial(start, command), settings.device, 0.0) for name, command in COMMANDS.items()}
    seconds = interleave(measures, settings.repetitions(7))
    for name, command in COMMANDS.items():
        what = " ".join(["python", *command[: 4 if name == "sample" else None]])
        yield summarize(f"startup.{name}_seconds", "", what, "s", seconds[name], best=min)
    what = "--help over an empty program"
    yield ratio("startup.help", "", what, seconds["help"], seconds["python"], best=min)
    what = "torch and llmasos over torch alone"
    yield ratio("startup.import", "", what, seconds["import"], seconds["torch"], best=min)
    what = "a text of one token over the import of torch"
    yield ratio("startup.sample", "", what, seconds["sample"], seconds["torch"], best=min)
