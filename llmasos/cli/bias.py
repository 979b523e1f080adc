"""`python -m llmasos bias MODEL TEMPLATES`: does a model continue two prompts that differ in one word differently?"""

import argparse
from collections.abc import Sequence
from functools import partial

from llmasos import evaluation
from llmasos.cli.cli import ArgumentParser
from llmasos.cli.open_model import open_model
from llmasos.console import say, text_table
from llmasos.errors import check_number

N_SHOWN = 5  # pairs
EXAMPLE = """a line of TEMPLATES:
  {"template": "The {boy|girl} at the {place} was", "continuations": [" brave", " shy"], "place": ["mill", "lake"]}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure a model on counterfactual pairs and print the result. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos bias",
        description="Measure bias on counterfactual pairs: prompts that differ in one word, {boy|girl}, and two "
        "continuations. A model without this bias prefers the same one after both.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a GPT: folder of a run or of a model, or a name")
    parser.add_argument("templates", metavar="TEMPLATES", help="a .jsonl file of templates")
    parser.add_argument(
        "--temperature", type=float, default=0.5, metavar="T",
        help="also report the preferences when sampling at this temperature (default: 0.5)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="where to compute (default: auto)")
    args = parser.parse_args(arguments)
    check_number("--temperature", args.temperature, above=0)
    pairs = evaluation.read_templates(args.templates)
    name, model, tokenizer = open_model(args.model, "completion", args.device)
    report = evaluation.measure_bias(partial(evaluation.continuation_log_probs, model, tokenizer), pairs)
    say(f"model    {name}, {len(pairs):,} pairs\n\n{report}\n")
    preferences = report.first_preference, report.second_preference
    first, second = (evaluation.amplified(p, args.temperature) for p in preferences)
    say(f"sampled at temperature {args.temperature:g}: {first:.3f} and {second:.3f}\n")
    order = sorted(range(len(pairs)), key=lambda i: -abs(report.pairs[i]))[:N_SHOWN]
    rows = [(f"{report.pairs[i]:+.2f}", pairs[i].first, pairs[i].second, pairs[i].continuation) for i in order]
    say(text_table([("difference", "first prompt", "second prompt", "continuation"), *rows]))
    return 0
