"""`python -m llmasos quantize`: the costs and benefits of quantizing a model to int8 or int4 on this machine.

Compares a model with float weights and the same model with rounded weights (`nn/quantization.py`). Nothing is written:
weights are rounded whenever a model is loaded with `quantize="int8"` or `"int4"`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from llmasos import hub, models, nn, storage, tasks, training
from llmasos.arguments import user_path
from llmasos.capabilities import TASKS
from llmasos.cli.cli import ArgumentParser, check_json_target
from llmasos.errors import check_number
from llmasos.hub.weights import weight_files
from llmasos.training.recipe import add_flags

if TYPE_CHECKING:
    from llmasos.models import Model
    from llmasos.tasks import Task
    from llmasos.tokenizers import Tokenizer

EXAMPLES = """examples:
  python -m llmasos quantize storyworld-gpt
  python -m llmasos quantize storyworld-gpt --kind int4
  python -m llmasos quantize gpt2 --data my_book.txt
  python -m llmasos quantize runs/classify-storyworld
"""
SETTINGS = ("data", "columns", "languages", "skip_bad")  # of a recipe: the data to measure quality on
MAX_TOKENS, MAX_EXAMPLES = 20_000, 100  # of the held-out data, unless --all is set


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model twice, measure, and print a table. Returns the exit status.

    Raises:
        UserError: there is no such model, the data is invalid, or a flag is out of range.
    """
    args = make_parser().parse_args(arguments)
    from llmasos.tools.quantize.comparison import (  # here, because --help needs no torch
        Comparison,
        compare_quality,
        compare_sizes,
        compare_speeds,
        take_subset,
    )

    for name in ("tokens", "repetitions"):
        check_number(f"--{name}", getattr(args, name), whole=True, at_least=1)
    names = {field.name for field in fields(Comparison)}
    check_json_target(args.json, lambda old: isinstance(old, list) and all({*row} == names for row in old))
    device = training.pick_device(args.device)
    print(f"opening {args.model} and the data …", flush=True)
    folder = hub.find_model_folder(args.model, say=print)
    model, tokenizer = hub.load_pretrained(folder, device, say=print)
    pair = {"float": model, "quantized": hub.load_pretrained(folder, device, lambda text: None, quantize=args.kind)[0]}
    task, split = open_held_out(args, folder, model, tokenizer)
    tokens, subset = (None, "") if args.all else take_subset(task, split, MAX_TOKENS, MAX_EXAMPLES)

    n_parameters = models.n_parameters(model)
    n_rounded = sum(math.prod(layer.shape) for layer in nn.quantized_layers(pair["quantized"]))
    megabytes = sum(file.stat().st_size for file in weight_files(folder)) / 1e6
    print(
        f"model    {args.model} ({model.config.family}), {n_parameters:,} parameters, {megabytes:,.2f} MB on "
        f"disk; {args.kind} rounds {n_rounded / n_parameters:.1%} of them"
    )
    print(f"data     {task.data.name}, split {split}{subset}: {task.data.description}\n")
    print(Comparison("", "float", args.kind, "change"))
    lines = []
    for title, section in (
        ("size", compare_sizes(pair)),
        (f"speed, best of {args.repetitions}", compare_speeds(pair, tokenizer, args.tokens, args.repetitions)),
        (f"quality{subset}", compare_quality(pair, task, split, tokens)),
    ):
        print(f"{title} …", flush=True)
        for line in section:  # each printed as soon as it is known
            print(line, flush=True)
            lines.append(line)
    print(f"\nIn short: with {args.kind} the model {', '.join(line.verdict for line in lines if line.verdict)}.")
    if args.json:
        storage.write_json(args.json, [asdict(line) for line in lines])
    return 0


def make_parser() -> ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos quantize",
        description="Compare a model with float weights and with rounded weights: memory, speed and quality, measured "
        'in one run. To use rounded weights, load a model with quantize="int8" or "int4", or pass --quantize to a '
        "command that has this flag.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("model", metavar="MODEL", help="a run's or a model's folder, or a name (see python -m llmasos models)")
    flag("--kind", choices=("int8", "int4"), default="int8", help="one byte or half a byte a weight (default: int8)")
    flag("--task", choices=list(TASKS), help="the task to measure quality with (default: the model's own)")
    splits = ("train", "val", "test", "all")
    flag("--split", choices=splits, help="which part of the data (default: all of a file of your own, else val)")
    subset = f"the first {MAX_TOKENS:,} tokens of running text, or {MAX_EXAMPLES} examples"
    flag("--all", action="store_true", help=f"measure quality on the whole split instead of {subset}")
    flag("--tokens", type=int, default=60, metavar="N", help="tokens per text when timing (default: 60)")
    flag("--repetitions", type=int, default=3, metavar="N", help="of each timing (default: 3)")
    flag("--json", type=user_path, metavar="FILE", help="also write the table to this file")
    flag("--device", default="auto", metavar="DEVICE", help="where to compute: auto, cpu, cuda, cuda:1, mps")
    add_flags(parser.add_argument_group("the data to measure quality on (default: as in the run)"), SETTINGS)
    return parser


def open_held_out(args: argparse.Namespace, folder: Path, model: Model, tokenizer: Tokenizer) -> tuple[Task, str]:
    """Open the task to evaluate with, and its split. Translation decodes greedily, because that is faster."""
    changes = {name: getattr(args, name) for name in SETTINGS if hasattr(args, name)} | {"beams": 1}
    if args.task:
        changes["task"] = args.task
    recipe, eval_only = tasks.evaluation_recipe(folder, model.config, tokenizer, changes)
    task = tasks.setup_evaluation(recipe, model.config, tokenizer, args.model, eval_only)
    return task, args.split or ("all" if eval_only else "val")
