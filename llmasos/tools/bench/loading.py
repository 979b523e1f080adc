"""Opening a model: the time and the memory of a GPT-2 of 124M parameters, against the `safetensors` package's loader.

Reading is measured to its end: every weight is touched once, since both map the file into memory and would otherwise
have promised everything and read nothing. Memory is measured in a process of its own, as what its highest point rises
by; twice the file would mean that every weight is there twice.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch

from llmasos.hub.folder import read_model, write_model
from llmasos.models import build_model, n_parameters, preset, weights_of
from llmasos.storage import load_tensors
from llmasos.tools.bench.measurement import Figure, figure, ratio, take_turns, timed
from llmasos.tools.bench.settings import Settings

CPU = torch.device("cpu")
STATUS = Path("/proc/self/status")  # Linux tells there how much memory a process has had at its highest point
MEMORY = """
import re, sys
from pathlib import Path
from llmasos.tools.bench.loading import STATUS, open_and_touch
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", STATUS.read_text())[1]) * 1024
before = peak()
model = open_and_touch(Path(sys.argv[1]))
print(peak() - before)
"""


def bench_loading(settings: Settings) -> Iterator[Figure | str]:
    """Write a random model, then open it again and again."""
    sizes = {"n_layers": 2, "d_model": 64, "n_heads": 2, "vocab_size": 300} if settings.quick else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = build_model(preset("gpt2", **sizes))
        write_model(folder, model)
        file = folder / "model.safetensors"
        at = f"GPT-2, {n_parameters(model) / 1e6:.0f}M parameters, {file.stat().st_size / 1e6:,.0f} MB"
        del model

        loaders = {"ours": timed(lambda: open_and_touch(folder), CPU, 0.01)}
        if find_spec("safetensors"):
            loaders["tensors"] = timed(lambda: touch(load_tensors(file)), CPU, 0.01)
            loaders["theirs"] = timed(lambda: load_and_touch(file), CPU, 0.01)
        else:
            yield "the safetensors package is not installed (pip install safetensors): nothing to compare with"
        seconds = take_turns(loaders, 3 if settings.quick else 7)
        yield figure("loading.seconds", at, "open the model and touch every weight", "s", seconds["ours"], min)
        if "theirs" in seconds:
            what = "tensors alone, over safetensors' load_file"
            yield ratio("loading.tensors", at, what, seconds["tensors"], seconds["theirs"], min)
            what = "a whole model, over load_file of its tensors"
            yield ratio("loading.against_safetensors", at, what, seconds["ours"], seconds["theirs"], min)
        if STATUS.exists():
            command = [sys.executable, "-c", MEMORY, name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            extra = json.loads(done.stdout.splitlines()[-1])
            yield figure("loading.memory", at, "extra memory over the file's size", "×", [extra / file.stat().st_size])


def open_and_touch(folder: Path) -> torch.nn.Module:
    """Our loader: a model that is ready to compute."""
    model = read_model(folder)
    touch(weights_of(model))
    return model


def load_and_touch(file: Path) -> dict[str, torch.Tensor]:
    """The other loader: the tensors alone, no model yet."""
    from safetensors.torch import load_file

    return touch(load_file(file))


def touch(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Read every weight once, so that nothing is left in the file."""
    for tensor in tensors.values():
        tensor.sum()
    return tensors
