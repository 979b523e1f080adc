"""`python -m llmasos eval`: how good a trained model is, on its own held-out data or on any other.

The run's recipe says what the model is for. Of a model folder without a recipe, its config does.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmasos.cli.cli import ArgumentParser
from llmasos.datasets import is_dataset
from llmasos.hub import find, load_config, load_pretrained, load_tokenizer
from llmasos.models import ModelConfig
from llmasos.prompting import template_of
from llmasos.prompting.chat_template import PLAIN
from llmasos.storage import read_json, write_json
from llmasos.tasks import open_task
from llmasos.tokenizers import Tokenizer
from llmasos.training.device import pick_device
from llmasos.training.recipe import Recipe, add_flags

EXAMPLES = """examples:
  python -m llmasos eval runs/storyworld
  python -m llmasos eval runs/classify-storyworld --data reviews.csv --columns text=review,label=stars
  python -m llmasos eval runs/translate-multi30k --split test --beams 5
"""
# Flags that change what is measured on, or how; each is a setting of the recipe, too.
CHANGES = ("task", "data", "columns", "languages", "skip_bad", "beams", "length_penalty")
OF_THE_DATA = ("val_data", "columns", "languages", "train_examples")  # settings that other data does not inherit


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model, open the data, print the scores. Returns the exit status.

    Raises:
        UserError: no such model, data that is not as it must be, or a split that there is not.
    """
    args = make_parser().parse_args(arguments)
    folder = find(args.folder, say=print)
    config, tokenizer = load_config(folder), load_tokenizer(folder)
    changes = {name: getattr(args, name) for name in CHANGES if hasattr(args, name)}
    settings = settings_of(Path(args.folder), config, tokenizer)
    if "data" in changes:
        settings |= dict.fromkeys(OF_THE_DATA)
    own = "data" in changes and not is_dataset(changes["data"])
    task = open_task(Recipe.from_dict({**settings, **changes}), whole=own)
    task.check_model(config, args.folder)
    print(f"data     {task.name}: {task.description}")
    task.use(tokenizer, config)
    split = args.split or ("all" if own else "test" if task.has_test else "val")
    print(f"model    {folder}, on the split {split}\n")
    model, _ = load_pretrained(folder, pick_device(args.device), say=print)
    report = task.evaluate(model, split)
    print("\n".join([*task.left_out, *report.lines()]))
    if args.json:
        write_json(Path(args.json), report.to_dict())
    return 0


def make_parser() -> ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos eval",
        description="Measure a trained model: scores with 95 % intervals, baselines, and a handful of real mistakes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="MODEL",
        help="folder of a run (its best checkpoint is used) or of a model, or a name (see python -m llmasos models)",
    )
    parser.add_argument(
        "--split", choices=("train", "val", "test", "all"),
        help="which part of the data (default: all of a file of your own; else test if there is one, else val)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the scores there, too")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")
    add_flags(parser.add_argument_group("what to measure on, where it differs from the run"), CHANGES)
    return parser


def settings_of(folder: Path, config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    """The settings of the run that a model belongs to; of a model without a run, the task that it was made for."""
    folder = folder.resolve()
    for place in (folder, folder.parent.parent):  # a run, or one of its checkpoints
        if (place / "recipe.json").is_file():
            return read_json(place / "recipe.json") | {"compare": False}
    heads = {"classifier": "text-classification", "question_answering": "question-answering"}
    families = {"gpt": "language-modeling", "bert": "bert-pretraining", "transformer": "translation"}
    task = heads.get(config.head) or families[config.family]
    if task == "language-modeling" and template_of(tokenizer).name != PLAIN:  # it has the special tokens of a chat
        task = "instruction-tuning"
    return {"task": task}
