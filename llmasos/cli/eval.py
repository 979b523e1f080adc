"""`python -m llmasos eval`: evaluate a trained model on its own held-out data or on any other data.

The recipe of its run determines the task; without a run, its config does (`llmasos/tasks/evaluate.py`).
"""

import argparse
from collections.abc import Sequence

from llmasos import datasets, evaluation, hub, tasks, training
from llmasos.arguments import user_path
from llmasos.capabilities import check_capability
from llmasos.cli.cli import ArgumentParser, check_json_target
from llmasos.errors import UserError
from llmasos.hub.resolve import name_of
from llmasos.storage import write_json
from llmasos.training.recipe import add_flags

EXAMPLES = """examples:
  python -m llmasos eval runs/storyworld
  python -m llmasos eval runs/reviews --data reviews.csv --columns text=review,label=stars
  python -m llmasos eval runs/translate-multi30k --split test --beams 5
  python -m llmasos eval storyworld-gpt --suite storyworld --contamination storyworld
  python -m llmasos eval storyworld-chat --suite storyworld-chat
  python -m llmasos eval runs/a --against runs/b --suite questions.jsonl
  python -m llmasos eval runs/a-1 runs/a-2 runs/a-3 --against runs/b-1 runs/b-2 runs/b-3 --suite storyworld
"""
# Flags for the data and the method of evaluation; each is also a setting of the recipe.
CHANGES = ("task", "data", "columns", "languages", "skip_bad", "beams", "length_penalty")


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, open the data, print the report. Returns the exit status.

    Raises:
        UserError: there is no such model or split, or the data cannot be used.
    """
    args = make_parser().parse_args(arguments)
    check_json_target(args.json, lambda old: {*old} == {"metrics", "outcomes"})
    if args.suite:
        return run_suites(args)
    if others := [
        flag for flag in ("against", "contamination", "examples", "samples") if getattr(args, flag) is not None
    ]:
        raise UserError(f"--{others[0]} needs a suite; add --suite storyworld or --suite FILE.jsonl.")
    if len(args.model) > 1:
        raise UserError("several models are compared on a suite; add --suite and --against, or give one model.")
    (args.model,) = args.model
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
        write_json(args.json, report.to_dict())
    return 0


def run_suites(args: argparse.Namespace) -> int:
    """Run a suite on each model; print its table, or how the two sides differ. Returns the exit status.

    Raises:
        UserError: a model cannot continue a text, there is no such suite, or flags cannot be combined.
    """
    if unused := [name for name in (*CHANGES, "split") if getattr(args, name, None)]:
        raise UserError(f"a suite has its own data; leave --{unused[0].replace('_', '-')} out.")
    against = args.against or []
    if (len(args.model) > 1 or against) and len(args.model) != len(against):
        raise UserError(
            f"{len(args.model)} and {len(against)} models are compared; give as many after --against as before it, in "
            "the order of their seeds."
        )
    results = []
    for name in (*args.model, *against):
        model, tokenizer = hub.load_pretrained(name, training.pick_device(args.device), say=print)
        check_capability("completion", model.config.family, model.config.head, name)
        result = tasks.run_suite(
            args.suite, model, tokenizer, args.examples, 1 if args.samples is None else args.samples
        )
        if args.contamination:
            result.check_contamination(datasets.open_text(args.contamination).documents("train"))
        print(f"model    {name}, on the suite {args.suite}\n\n{result}\n")
        results.append(result)
    if against:
        rows = evaluation.compare_suites(results[: len(args.model)], results[len(args.model) :])
        print(f"A: {', '.join(args.model)}; B: {', '.join(against)}\n\n{evaluation.text_table(rows)}")
    if args.json:
        write_json(args.json, results[0].to_dict())
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
        nargs="+",
        metavar="MODEL",
        help="folder of a run (its best checkpoint is used) or of a model, or a name (see python -m llmasos models)",
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test", "all"),
        help="the part of the data (default: all of a file of your own; else test if there is one, else val)",
    )  # fmt: skip
    parser.add_argument("--json", type=user_path, metavar="FILE", help="also write the metrics to this file")
    parser.add_argument(
        "--device", default="auto", metavar="DEVICE", help="where to compute: auto, cpu, cuda, cuda:1, mps"
    )
    suite = parser.add_argument_group("a suite of tests for any GPT, whatever it was trained on")
    suite.add_argument(
        "--suite",
        metavar="SUITE",
        help="storyworld, storyworld-chat, or a .jsonl file: a question, an answer and optional choices on each line",
    )
    suite.add_argument(
        "--examples", type=int, metavar="N", help="at most this many examples (default: 100, or all of a file)"
    )
    suite.add_argument("--samples", type=int, metavar="K", help="answers per written question, for pass@K (default: 1)")
    suite.add_argument("--contamination", metavar="DATA", help="training data to search for the test texts")
    suite.add_argument(
        "--against",
        nargs="+",
        metavar="MODEL",
        help="compare with this model, or with one for each MODEL, in the order of their seeds",
    )
    add_flags(parser.add_argument_group("what to evaluate on (default: as in the run)"), CHANGES)
    return parser
