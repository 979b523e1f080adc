"""`python -m llmasos eval`: how good a trained model is, on its own held-out data or on any other.

The recipe of its run says what the model is for; without one, its config does (`llmasos/tasks/evaluate.py`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from llmasos import hub, tasks, training
from llmasos.cli.cli import ArgumentParser, check_json_target
from llmasos.hub.resolve import name_of
from llmasos.storage import write_json
from llmasos.training.recipe import add_flags

EXAMPLES = """examples:
  python -m llmasos eval runs/storyworld
  python -m llmasos eval runs/reviews --data reviews.csv --columns text=review,label=stars
  python -m llmasos eval runs/translate-multi30k --split test --beams 5
"""
# Flags that change what to evaluate on, or how; each is also a setting of the recipe.
CHANGES = ("task", "data", "columns", "languages", "skip_bad", "beams", "length_penalty")


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, open the data, print the report. Returns the exit status.

    Raises:
        UserError: there is no such model or split, or the data cannot be used.
    """
    args = make_parser().parse_args(arguments)
    check_json_target(args.json, lambda old: {*old} == {"metrics", "outcomes"})
    folder = hub.find_model_folder(args.model, say=print)
    config, tokenizer = hub.load_config(folder), hub.load_tokenizer(folder)
    changes = {name: getattr(args, name) for name in CHANGES if hasattr(args, name)}
    recipe, eval_only = tasks.evaluation_recipe(folder, config, tokenizer, changes)
    task = tasks.setup_evaluation(recipe, config, tokenizer, args.model, eval_only)
    split = args.split or task.eval_split
    print(f"data     {task.data.name}: {task.data.description}")
    print(f"model    {name_of(folder)}, on the split {split}\n")
    model, _ = hub.load_pretrained(folder, training.pick_device(args.device), say=print)
    report = task.evaluate(model, split)
    print("\n".join([*task.skipped, *report.lines()]))
    if args.json:
        write_json(Path(args.json), report.to_dict())
    return 0


def make_parser() -> ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos eval",
        description="Evaluate a trained model: metrics with 95 % intervals, baselines, and a few real mistakes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="folder of a run (its best checkpoint is used) or of a model, or a name (see python -m llmasos models)",
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test", "all"),
        help="the part of the data (default: all of a file of your own; else test if there is one, else val)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="also write the metrics to this file")
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="where to compute: auto, cpu, cuda, cuda:1, mps"
    )
    add_flags(parser.add_argument_group("what to evaluate on (default: as in the run)"), CHANGES)
    return parser
