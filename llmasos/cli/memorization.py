"""`python -m llmasos memorization MODEL`: measure what a model remembers of individual training texts."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from llmasos import evaluation
from llmasos.arguments import user_path
from llmasos.cli.cli import ArgumentParser
from llmasos.cli.open_model import open_model
from llmasos.console import say
from llmasos.datasets import open_text
from llmasos.datasets.text_io import read_lines
from llmasos.errors import UserError

EXAMPLES = """examples:
  python -m llmasos memorization MODEL --canary "The code of the door is {}." --secret 4071 --candidates codes.txt
  python -m llmasos memorization MODEL --members trained-on.txt --others similar.txt --reference OTHER-MODEL
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the exposure of a secret, or attack a model by membership inference. Returns the exit status."""
    parser = ArgumentParser(
        prog="python -m llmasos memorization",
        description="Measure what a GPT remembers of individual texts: the exposure of a secret among all that could "
        "be in its place, or how well texts it was trained on can be told from others by their loss.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a GPT: folder of a run or of a model, or a name")
    canary = parser.add_argument_group("exposure of a secret")
    canary.add_argument("--canary", metavar="TEXT", help="the sentence, with {} in place of the secret")
    canary.add_argument("--secret", metavar="TEXT", help="the secret that was in the training data")
    canary.add_argument("--candidates", metavar="FILE", type=user_path, help="all possible secrets, one on each line")
    membership = parser.add_argument_group("membership inference")
    membership.add_argument("--members", metavar="DATA", help="texts that were in the training data: a file or dataset")
    membership.add_argument("--others", metavar="DATA", help="similar texts that were not in it")
    membership.add_argument("--reference", metavar="MODEL", help="a model whose losses are subtracted")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="where to compute (default: auto)")
    args = parser.parse_args(arguments)
    exposure, attack = (args.canary, args.secret, args.candidates), (args.members, args.others)
    if (None in exposure) == (None in attack) or any(exposure) and any(attack):
        raise UserError("give --canary, --secret and --candidates, or --members and --others.")

    if args.reference and args.canary is not None:
        raise UserError("--reference goes with --members and --others; leave it out, because an exposure has none.")

    def load(name: str) -> tuple[Any, Any]:
        return open_model(name, "completion", args.device)[1:]

    if args.canary is not None:
        candidates = [line for line in (line.strip() for line in read_lines(args.candidates)) if line]
        log_probs = partial(evaluation.continuation_log_probs, *load(args.model))
        bits = evaluation.exposure_of(
            lambda texts: log_probs([("", text) for text in texts]), args.canary, args.secret, candidates
        )
        n = len({*candidates} - {args.secret})
        say(f"exposure {bits:.2f} bits of at most {evaluation.exposure(1.0, [0.0] * n):.2f}")
        say(f"a secret that was never seen has {evaluation.expected_exposure(n):.2f} on average")
        return 0
    texts = [[piece.text for piece in open_text(data).all_pieces()] for data in attack]
    models = [load(name) for name in (args.model, args.reference) if name]
    inside, outside = ([evaluation.text_losses(*model, part) for model in models] for part in texts)
    references = (inside[1], outside[1]) if args.reference else (None, None)
    result = evaluation.membership_inference(inside[0], outside[0], *references)
    say(f"{result.auc}; 0.5 is guessing")
    say(f"found    {result.found:.1%} of the members, with {result.false_alarms:.0%} false alarms")
    return 0
