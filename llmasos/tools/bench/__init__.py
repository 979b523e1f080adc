"""`python -m llmasos bench`: how fast this machine is, as ratios measured in one run.

A bare number of tokens per second says as much about the machine, and what else it was doing, as about the code.
So everything that matters is a ratio: fused over explicit, cached over uncached, ours over a plain eager loop, a
training step over the peak of the machine. `measurement.py` explains how it is measured.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llmasos.cli.cli import ArgumentParser, check_json_target
from llmasos.errors import UserError
from llmasos.storage import write_json
from llmasos.tools.bench.bpe import bench_bpe
from llmasos.tools.bench.generation import bench_generation
from llmasos.tools.bench.loading import bench_loading
from llmasos.tools.bench.measurement import Measurement, Settings
from llmasos.tools.bench.serving import bench_serving
from llmasos.tools.bench.training import bench_attention, bench_matmul, bench_training
from llmasos.tools.doctor.check import WARNING
from llmasos.tools.doctor.hardware import cpu_name, load
from llmasos.training.device import pick_device

BENCHES = {  # name → (title, the function that measures it)
    "matmul": ("matmul: the machine's peak", bench_matmul),
    "attention": ("attention, forward and backward: fused kernel against explicit formula", bench_attention),
    "training": ("training step: against the matmul peak and a plain eager loop", bench_training),
    "generation": ("generation: with and without the cache", bench_generation),
    "serving": ("serving: concurrent clients against one after another", bench_serving),
    "loading": ("loading: a model from its file", bench_loading),
    "bpe": ("byte-pair encoding: training and encoding", bench_bpe),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write it as JSON if requested. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos bench",
        description="Measure how fast this machine is, as ratios (about a minute on two idle cores).",
    )
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="run only this benchmark; repeatable")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, says nothing about speed")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the results to this file")
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="where to compute: auto, cpu, cuda, cuda:1, mps"
    )
    args = parser.parse_args(arguments)
    if args.json and not args.json.absolute().parent.is_dir():
        raise UserError(f"--json {args.json}: there is no folder {args.json.parent}; create it or choose another.")
    check_json_target(args.json, lambda old: {*old} == {"machine", "quick", "seconds", "measurements"})
    report = run_benches(args.only or list(BENCHES), Settings(pick_device(args.device), args.quick))
    if args.json:
        write_json(args.json, report)
        print(f"\nwritten to {args.json}")
    return 0


def run_benches(names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Run the named benchmarks and print each measurement. Returns everything, as in the JSON file."""
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
        title, bench = BENCHES[name]
        print(f"\n{title}", flush=True)
        setup = ""
        for line in bench(settings):
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
