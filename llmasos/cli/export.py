"""`python -m llmasos export`: save a run's best model as a separate folder, in a format that transformers can open if
possible.
"""

from collections.abc import Sequence

from llmasos import hub, training
from llmasos.arguments import user_path
from llmasos.cli.cli import ArgumentParser
from llmasos.errors import UserError
from llmasos.models.config import config_file
from llmasos.training.recipe import PRECISIONS


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model and save it. Returns the exit status.

    Raises:
        UserError: there is no such model, or the folder already holds a model or other files, or cannot be written.
    """
    parser = ArgumentParser(
        prog="python -m llmasos export",
        description="Save a model (config, weights, tokenizer) in a separate folder; for a run with --lora-rank, "
        "save its adapter, which peft opens too.",
        epilog="Example: python -m llmasos export runs/storyworld my_llm --precision fp16",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="folder of a run or a model, or a model's name (see python -m llmasos models)"
    )
    parser.add_argument(
        "folder",
        type=user_path,
        metavar="FOLDER",
        help="where to save it; created if needed, never overwrites other files",
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="data type of the weights (default: fp32)"
    )
    parser.add_argument("--merge", action="store_true", help="merge the adapter and save the whole model")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that llmasos saved in FOLDER")
    args = parser.parse_args(arguments)
    if config_file(args.folder).exists() and not args.overwrite:
        raise UserError(f"{args.folder} already holds a model: choose another folder, or replace it with --overwrite.")
    model, tokenizer = hub.load_pretrained(args.model, say=print, merge=args.merge)
    what = "model" if model.adapter is None else f"adapter of {model.adapter.base}"
    architecture = hub.save_pretrained(args.folder, model, tokenizer, training.DTYPES[args.precision])
    opens = "transformers opens it as" if model.adapter is None else "peft opens it on a"
    format = f"{opens} {architecture}" if architecture else "in llmasos's own format"
    print(f"The {what} is saved in {args.folder}: {format}.")
    return 0
