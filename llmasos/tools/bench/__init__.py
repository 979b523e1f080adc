"""`python -m llmasos bench`: how fast it is here, as ratios of things that were measured in the same run.

A bare number of tokens per second says as much about the machine, and about what else it was doing, as about the code.
So everything that matters is a ratio: fused over explicit, cached over uncached, ours over the usual, a training step
over the machine's own best. `measure.py` says how the figures are made.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from llmasos.errors import UserError
from llmasos.storage import write_json
from llmasos.tools.bench.bpe import bench_bpe
from llmasos.tools.bench.generation import bench_generation
from llmasos.tools.bench.loading import bench_loading
from llmasos.tools.bench.measurement import Figure
from llmasos.tools.bench.parts import bench_attention, bench_matmul
from llmasos.tools.bench.serving import bench_serving
from llmasos.tools.bench.settings import Settings
from llmasos.tools.bench.training import bench_training
from llmasos.tools.doctor.check import NOTE
from llmasos.tools.doctor.hardware import cpu_name, load
from llmasos.training.device import pick_device

BENCHES = {  # name → (title, what measures it)
    "matmul": ("matmul: the machine's best", bench_matmul),
    "attention": ("attention, forward and backward: the formula against the fused kernel", bench_attention),
    "training": ("training: a step against the matmul peak and against the usual loop", bench_training),
    "generation": ("generation: with the cache and without", bench_generation),
    "serving": ("serving: many clients at once against one after another", bench_serving),
    "loading": ("loading: a model from its file", bench_loading),
    "bpe": ("byte-pair encoding: training and encoding", bench_bpe),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write it as JSON if asked to. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m llmasos bench",
        description="How fast it is here, as ratios measured in one run (about a minute on two quiet cores).",
    )
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="only this bench; may be repeated")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, says nothing about speed")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write everything to this file")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")
    args = parser.parse_args(arguments)
    if args.json and not args.json.absolute().parent.is_dir():
        raise UserError(f"--json {args.json}: there is no folder {args.json.parent}; make it, or name another.")
    settings = Settings(pick_device(args.device), args.quick)
    report = run_benches(args.only or list(BENCHES), settings)
    if args.json:
        write_json(args.json, report)
        print(f"\nwritten to {args.json}")
    return 0


def run_benches(names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Run the named benches, printing each figure. Returns everything as it goes into the JSON file."""
    start, quiet = time.perf_counter(), load()
    machine = {
        "device": str(settings.device),
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": quiet.value,
    }
    print(f"{settings.device}: {machine['cpu']}, {machine['threads']} threads, torch {machine['torch']}")
    print("Each figure is the best of its repetitions, with their median, lowest and highest beside it.")
    if quiet.mark == NOTE:
        print(f"Note: {quiet.value}.")
    figures: dict[str, Any] = {}
    for name in (name for name in BENCHES if name in names):
        title, bench = BENCHES[name]
        print(f"\n{title}", flush=True)
        at = ""
        for line in bench(settings):
            if isinstance(line, Figure):
                if line.at != at:
                    print(f"  {line.at}")
                print(line, flush=True)
                at = line.at
                figures[line.key] = {key: value for key, value in vars(line).items() if key != "key"}
            else:
                print(f"  ({line})", flush=True)
    seconds = time.perf_counter() - start
    print(f"\ntook {seconds:.0f} s")
    return {"machine": machine, "quick": settings.quick, "seconds": round(seconds, 1), "figures": figures}
