"""`python -m llmasos export`: a run's best model as a folder of its own, which transformers opens where it can."""

from collections.abc import Sequence
from pathlib import Path

from llmasos.cli.cli import ArgumentParser
from llmasos.errors import UserError
from llmasos.hub import load_pretrained, save_pretrained
from llmasos.training.device import PRECISIONS


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, write it. Returns the exit status.

    Raises:
        UserError: no such model, or a folder that holds a model or other files, or cannot be written.
    """
    parser = ArgumentParser(
        prog="python -m llmasos export",
        description="Write a model (config, weights, tokenizer) into a folder of its own.",
        epilog="Example: python -m llmasos export runs/storyworld my_llm --precision fp16",
    )
    parser.add_argument("model", metavar="MODEL", help="a run's or a model's folder, or a name (see llmasos models)")
    parser.add_argument("folder", metavar="FOLDER", help="where to; made if needed, never over other files")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of the weights (default: fp32)")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is in FOLDER")
    args = parser.parse_args(arguments)
    if Path(args.folder, "config.json").exists() and not args.overwrite:
        raise UserError(f"{args.folder} holds a model already: choose another folder, or replace it with --overwrite.")
    model, tokenizer = load_pretrained(args.model, say=print)
    architecture = save_pretrained(args.folder, model, tokenizer, PRECISIONS[args.precision])
    opened = f"transformers opens it as {architecture}" if architecture else "in llmasos's own format"
    print(f"{args.folder} is written: {opened}.")
    return 0
