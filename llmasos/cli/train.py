"""`python train.py`: from any data to a trained model. The work is done in `llmasos/tasks/run.py`."""

from collections.abc import Sequence

from llmasos import tasks
from llmasos.cli.cli import ArgumentParser
from llmasos.console import command, say
from llmasos.training.named_recipes import RECIPES, named_recipe, or_from_shipped
from llmasos.training.recipe import add_flags
from llmasos.training.run_folder import choose_run_folder, resumed_recipe, run_name, run_of_this_launch

DEFAULT_RECIPE = "storyworld"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the flags, find the run's folder, train. Returns the exit status."""
    flags = vars(make_parser().parse_args(arguments))
    name, resume, show_list = flags.pop("recipe"), flags.pop("resume"), flags.pop("list")
    if show_list:
        print_recipes()
        return 0
    new = named_recipe(name or DEFAULT_RECIPE, **({} if resume else flags))  # an unknown name is the first error
    name_and_folder = run_name(name, flags.get("data"), DEFAULT_RECIPE), flags.get("out_dir")
    restarted = None if resume else run_of_this_launch(*name_and_folder)
    resume = resume or restarted is not None
    run = restarted or choose_run_folder(*name_and_folder, resume)
    if not resume and "init_from" not in flags:
        new = or_from_shipped(new, say)
    recipe = resumed_recipe(run, flags) if resume else new
    return tasks.run_recipe(recipe, run, resume).stop_status


def make_parser() -> ArgumentParser:
    """All flags of the command, with their help."""
    train = command("train")
    parser = ArgumentParser(
        prog=train,
        usage=f"{train} [RECIPE] [--data PATH|NAME] [--steps N] [--resume] … (every setting below is a flag)",
        description="Train a language model, a classifier, a translator, … "
        "Without arguments: a small GPT on built-in stories.",
        epilog=f"Example: {train} shakespeare --n-layers 6 --optimizer muon",
    )
    parser.add_argument("recipe", nargs="?", help=f"a recipe's name (default: {DEFAULT_RECIPE})")
    parser.add_argument("--list", action="store_true", help="show the recipes with expected results and time, and exit")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out (or the recipe's last run)")
    add_flags(parser)
    return parser


def print_recipes() -> None:
    """Print the recipes with their expected results and times."""
    for name, recipe in RECIPES.items():
        print(f"{name}\n    {recipe.summary}\n    {recipe.expect}")
