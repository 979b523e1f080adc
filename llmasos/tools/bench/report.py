"""Running benchmarks: each line is printed as soon as it is known, and all of them are collected for the JSON file."""

import time
from collections.abc import Sequence
from typing import Any

import torch

from llmasos.lazy import imported
from llmasos.tools.bench import BENCHES
from llmasos.tools.bench.measurement import Measurement, Settings
from llmasos.tools.doctor.check import WARNING
from llmasos.tools.doctor.hardware import cpu_name, load
from llmasos.training.device import pick_device


def run_benches(names: Sequence[str], device: str, quick: bool) -> dict[str, Any]:
    """Run the named benchmarks and print each measurement. Returns everything, as in the JSON file.

    Args:
        names: names of benchmarks, in `BENCHES`.
        device: the device to compute on.
        quick: see `Settings`.
    """
    settings = Settings(pick_device(device), quick)
    start, other_programs = time.perf_counter(), load()
    machine = {
        "device": str(settings.device),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": other_programs.value,
    }
    print(f"{settings.device}: {machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}")
    print("Each line shows the best repetition, then the median, lowest and highest.")
    if other_programs.status == WARNING:
        print(f"Warning: {other_programs.value}.")
    results: dict[str, Any] = {}
    for name in (name for name in BENCHES if name in names):
        title, file = BENCHES[name]
        print(f"\n{title}", flush=True)
        setup = ""
        for line in imported(f"llmasos.tools.bench.{file}:bench_{name}")(settings):
            if not isinstance(line, Measurement):
                print(f"  ({line})", flush=True)
                continue
            if line.setup != setup:
                setup = line.setup
                print(f"  {setup}")
            print(line, flush=True)
            results[line.key] = {key: value for key, value in vars(line).items() if key != "key"}
    seconds = time.perf_counter() - start
    print(f"\ntook {seconds:.0f} s")
    return {"machine": machine, "quick": settings.quick, "seconds": round(seconds, 1), "measurements": results}
