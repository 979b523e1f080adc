"""How long one waits for the first token: starting a command, and loading a model.

Commands are compared with Python itself and the import of torch. A GPT-2 with 124M parameters is loaded, in time and
memory, against the loader of the `safetensors` package. Both loaders map the file into memory, so every weight is
touched once: otherwise nothing would have been read. Memory is the rise of a process's peak; twice the file's size
would mean that every weight is in memory twice.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from llmasos.hub.pretrained_folder import read_model, write_model
from llmasos.models import build_model, n_parameters, preset, weights_of
from llmasos.storage import load_tensors
from llmasos.tools.bench.measurement import Measurement, Settings, interleave, ratio, summarize, timed

CPU = torch.device("cpu")
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
STATUS = Path("/proc/self/status")  # where Linux reports the peak memory of a process
PEAK_RISE = r"""
import re, sys
from pathlib import Path
from llmasos.tools.bench.loading import STATUS, read_model, touch, weights_of
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", STATUS.read_text())[1]) * 1024
before = peak()
model = read_model(Path(sys.argv[1]))
touch(lambda: weights_of(model))
print(peak() - before)
"""


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


def bench_loading(settings: Settings) -> Iterator[Measurement | str]:
    """Write a random model, then load it again and again."""
    sizes = {"n_layers": 2, "d_model": 64, "n_heads": 2, "vocab_size": 300} if settings.quick else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = build_model(preset("gpt2", **sizes))
        write_model(folder, model)
        file = folder / "model.safetensors"
        size = file.stat().st_size
        setup = f"GPT-2, {n_parameters(model) / 1e6:.0f}M parameters, {size / 1e6:,.0f} MB"
        del model

        loaders = {"model": lambda: weights_of(read_model(folder)), "tensors": lambda: load_tensors(file)}
        if find_spec("safetensors"):
            from safetensors.torch import load_file

            loaders["baseline"] = lambda: load_file(file)
        else:
            yield "the safetensors package is not installed (pip install safetensors): no baseline"
        measures = {name: timed(partial(touch, load), CPU, 0.01) for name, load in loaders.items()}
        seconds = interleave(measures, 3 if settings.quick else 7)
        yield summarize("loading.seconds", setup, "load the model, touch every weight", "s", seconds["model"], min)
        if "baseline" in seconds:
            for key, what in (("tensors", "our tensors"), ("model", "a whole model")):
                what += " over safetensors' load_file"
                yield ratio(f"loading.{key}", setup, what, seconds[key], seconds["baseline"], min)
        if STATUS.exists():
            command = [sys.executable, "-c", PEAK_RISE, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rise = int(done.stdout.splitlines()[-1])
            yield summarize("loading.memory", setup, "memory over the file's size", "×", [rise / size])


def touch(load: Callable[[], dict[str, Tensor]]) -> None:
    """Load tensors and read every weight once, so that nothing is left in the file."""
    for tensor in load().values():
        tensor.sum()
