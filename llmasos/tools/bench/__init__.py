"""`python -m llmasos bench`: how fast this machine is, as ratios measured in one run.

A bare number of tokens per second says as much about the machine, and what else it was doing, as about the code.
So everything that matters is a ratio: fused over explicit, cached over uncached, ours over a plain eager loop, a
training step over the peak of the machine. `measurement.py` explains how it is measured, `compare.py` how two reports
are compared.
"""

from collections.abc import Sequence

from llmasos.arguments import user_path
from llmasos.cli.cli import ArgumentParser, check_json_target
from llmasos.errors import UserError
from llmasos.storage import write_json

BENCHES: dict[str, tuple[str, str]] = {  # name → (title, the file here whose function bench_NAME measures it)
    "matmul": ("matmul: the machine's peak", "training"),
    "attention": ("attention, forward and backward: fused kernel against explicit formula", "training"),
    "training": ("training step: against the matmul peak and a plain eager loop", "training"),
    "learning": ("time to a loss: our recipe against a plain eager loop", "learning"),
    "lora": ("LoRA: an adapter against all weights", "training"),
    "encoder": ("encoders: batches of similar lengths against random batches", "encoder"),
    "generation": ("generation: with and without the cache", "generation"),
    "paging": ("key/value cache: in pages against slots", "paging"),
    "speculative": ("speculative decoding: with a draft against plain decoding", "speculative"),
    "quantization": ("weights in int8 and int4 against float", "generation"),
    "constrained": ("constrained decoding: JSON against free text", "generation"),
    "rollouts": ("rollouts: against plain generation of the same texts", "generation"),
    "serving": ("serving: concurrent clients against one after another", "serving"),
    "startup": ("start-up: commands against the import of torch", "loading"),
    "loading": ("loading: a model from its file", "loading"),
    "cleaning": ("cleaning a corpus: in one process and in two", "cleaning"),
    "bpe": ("byte-pair encoding: training and encoding", "bpe"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write it as JSON if requested. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos bench",
        description="Measure how fast this machine is, as ratios (about a minute on two idle cores).",
    )
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="run only this benchmark; repeatable")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, says nothing about speed")
    parser.add_argument("--json", metavar="FILE", type=user_path, help="also write the results to this file")
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="where to compute: auto, cpu, cuda, cuda:1, mps"
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        type=user_path,
        help="measure nothing: say how two reports of --json differ",
    )
    args = parser.parse_args(arguments)
    if args.compare:
        if args.json or args.only or args.quick:
            raise UserError("--compare measures nothing, so --json, --only and --quick do not go with it.")
        from llmasos.tools.bench.compare import compare, read_report

        for line in compare(*map(read_report, args.compare)):
            print(line)
        return 0
    if args.json and not args.json.absolute().parent.is_dir():
        raise UserError(f"--json {args.json}: there is no folder {args.json.parent}; create it or choose another.")
    check_json_target(args.json, lambda old: {*old} == {"machine", "quick", "seconds", "measurements"})
    from llmasos.tools.bench.report import run_benches  # here, because --help needs no torch

    report = run_benches(args.only or list(BENCHES), args.device, args.quick)
    if args.json:
        write_json(args.json, report)
        print(f"\nwritten to {args.json}")
    return 0
