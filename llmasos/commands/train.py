"""`python train.py`: from any text to a trained model.

The whole way stands in `train`: text → tokenizer → tokens → model → loop → samples.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from llmasos.commands.errors import ArgumentParser
from llmasos.commands.runs import check_same_data, make_run_folder, only_one, resumed_recipe, run_folder, run_name
from llmasos.datasets import TextSource, TokenData, Windows, build_tokens, open_text
from llmasos.errors import UserError
from llmasos.generation import SamplingOptions, generate
from llmasos.models import ModelConfig, build_model, flops_per_token, load_weights, n_parameters, preset
from llmasos.objectives import CausalLM
from llmasos.storage import write_json
from llmasos.tokenizers import Tokenizer, load_tokenizer, train_tokenizer
from llmasos.training.checkpoints import best_checkpoint
from llmasos.training.distributed import World, join_world, leave_world
from llmasos.training.machine import pick_device, pick_precision
from llmasos.training.recipe import Recipe, add_flags
from llmasos.training.recipes import RECIPES, named_recipe
from llmasos.training.trainer import Result, Trainer

DEFAULT_RECIPE = "storyworld"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the flags, find the run's folder, train. Returns the exit status."""
    parser = ArgumentParser(
        prog="train.py",
        usage="train.py [RECIPE] [--data PATH|NAME] [--steps N] [--resume] … (every setting below is a flag)",
        description="Train a language model from text. Without arguments: a small GPT on embedded stories.",
        epilog="Example: python train.py shakespeare --n-layers 6 --optimizer muon",
    )
    parser.add_argument("recipe", nargs="?", help=f"a recipe's name (default: {DEFAULT_RECIPE})")
    parser.add_argument("--list", action="store_true", help="show the recipes with expected loss and time, and exit")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out (or the recipe's last run)")
    add_flags(parser)
    given = vars(parser.parse_args(arguments))
    named, resume = given.pop("recipe"), given.pop("resume")
    name = named or DEFAULT_RECIPE
    if given.pop("list"):
        print_recipes()
        return 0

    named_recipe(name)  # speaks up about an unknown name before anything else happens
    run = run_folder(run_name(named, given.get("data"), DEFAULT_RECIPE), given.get("out"), resume)
    recipe = resumed_recipe(run, given) if resume else named_recipe(name, **given)
    world = join_world(pick_device(recipe.device).type)
    try:
        with only_one(run) if world.is_main else nullcontext():
            result = train(recipe, run, world, resume)
    finally:
        leave_world()
    return 130 if result.interrupted else 0


def print_recipes() -> None:
    """Show what there is to train, what to expect, and how long it takes."""
    for name, recipe in RECIPES.items():
        print(f"{name}\n    {recipe.what}\n    {recipe.expect}")


def train(recipe: Recipe, run: Path, world: World | None = None, resume: bool = False) -> Result:
    """Carry out a recipe in a folder, from the text to the last sample.

    Args:
        recipe: all settings.
        run: the run's folder; made here.
        world: this process's place among others (None: it is alone).
        resume: go on from the newest checkpoint in the folder.

    Raises:
        UserError: something in the recipe, the data or the folder is not as it must be. Nothing is lost.
    """
    world = world or World()
    say = tqdm.write if world.is_main else lambda text: None
    device = pick_device(recipe.device, world.local_rank)
    preset(recipe.model, **recipe.model_changes)  # these three speak up about bad settings before there is work to lose
    pick_precision(recipe.precision, device)
    world.share(recipe.batch_size)
    torch.set_float32_matmul_precision("high")  # lets a GPU multiply fp32 matrices on its tensor cores (TF32)

    # Text to tokens. The main process prepares everything and makes the folder; the others find it all done.
    source = open_text(recipe.data)
    say(f"data     {source.name}: {source.description}")
    if world.is_main:
        tokenizer, data = prepare(recipe, run, source, resume)
    world.wait()
    if not world.is_main:
        tokenizer = load_tokenizer(run / "tokenizer")
        data = build_tokens(source, tokenizer, progress=False)
    say(f"tokens   {tokenizer.kind}, {tokenizer.vocab_size:,} kinds: {len(data.train.tokens):,} to train on, "
        f"{len(data.val.tokens):,} held out, {data.val.n_bytes / len(data.val.tokens):.2f} bytes each")

    # The model and what it sees.
    torch.manual_seed(recipe.seed)
    config = model_config(recipe, tokenizer)
    model = build_model(config).to(device)
    train_windows, val_windows = make_windows(data, config.context_length)
    say(f"model    {recipe.model}: {n_parameters(model) / 1e6:.2f}M parameters, {config.n_layers} layers of width "
        f"{config.d_model}, context {config.context_length}, on {device.type}")
    information = source.information("val")
    floor = None if information is None else information / len(data.val.tokens)
    if floor is not None:
        say(f"floor    {floor:.4f} nats per token: what the held-out text itself leaves to chance")

    prompt = recipe.prompt if recipe.prompt is not None else default_prompt(data)
    options = SamplingOptions(max_new_tokens=60, temperature=0.7, top_p=0.95, seed=recipe.seed)

    def after_validation(step: int, val_loss: float) -> dict[str, float]:
        say("         " + in_one_line(prompt + generate(model, tokenizer, [prompt], options)[0].text) + "\n")
        return describe_loss(val_loss, data, floor)

    # The loop.
    trainer = Trainer(
        model,
        CausalLM(),
        train_windows,
        val_windows.validation_windows(),
        recipe,
        run,
        save_tokenizer=tokenizer.save,
        world=world,
        flops_per_token=flops_per_token(config),
        after_validation=after_validation,
        say=say,
    )
    if resume:
        trainer.resume()
        if trainer.state.step >= recipe.steps:
            raise UserError(
                f"the run in {run} has taken all its {trainer.state.step:,} steps; to train it further, ask for more, "
                f"for example --steps {2 * trainer.state.step}."
            )
    first = f"from step {trainer.state.step:,} to {recipe.steps:,}" if resume else f"{recipe.steps:,} steps"
    say(f"run      {run}: {first}, each of {recipe.batch_size} × {config.context_length} tokens\n")
    result = trainer.train()

    # What came of it.
    if world.is_main:
        if result.interrupted:
            say(f"stopped at step {result.state.step:,}, everything is saved; to go on: "
                f"python train.py --resume --out {run}")
        else:
            best = best_checkpoint(run, say)
            load_weights(model, best / "model.safetensors")
            show_samples(model, tokenizer, prompt, replace(options, max_new_tokens=240), say)
            show_result(result, data, floor, run, best, say)
    return result


def prepare(recipe: Recipe, run: Path, source: TextSource, resume: bool) -> tuple[Tokenizer, TokenData]:
    """The tokenizer and the tokens, and for a new run its folder (made last, when nothing can go wrong any more)."""
    if resume:
        check_same_data(run, source.fingerprint())
        write_json(run / "recipe.json", recipe.to_dict())  # with what was changed now, for the next time
        tokenizer = load_tokenizer(run / "tokenizer")
        return tokenizer, build_tokens(source, tokenizer)
    tokenizer = train_tokenizer(recipe.tokenizer, source.documents("train"), recipe.vocab_size)
    data = build_tokens(source, tokenizer)
    make_windows(data, model_config(recipe, tokenizer).context_length)
    beginning = default_prompt(data) if recipe.prompt is None else recipe.prompt
    make_run_folder(run, replace(recipe, prompt=beginning), tokenizer, source.fingerprint())
    return tokenizer, data


def model_config(recipe: Recipe, tokenizer: Tokenizer) -> ModelConfig:
    """The recipe's model preset with its changes, for the tokenizer's vocabulary."""
    return preset(recipe.model, vocab_size=tokenizer.vocab_size, **recipe.model_changes)


def make_windows(data: TokenData, context_length: int) -> tuple[Windows, Windows]:
    """Training and validation text as windows. Raises UserError if there is less text than one window."""
    return Windows(data.train.tokens, context_length), Windows(data.val.tokens, context_length, split="val")


def default_prompt(data: TokenData) -> str:
    """Where samples begin: at the start of a document; where the text has no documents, after a line's end."""
    return "" if data.train.n_documents else "\n"


def describe_loss(val_loss: float, data: TokenData, floor: float | None) -> dict[str, float]:
    """The loss in other units: perplexity (e^loss), and bits per byte, which does not depend on the tokenizer."""
    n_predictions = len(data.val.tokens) - 1
    bits_per_byte = val_loss * n_predictions / data.val.n_bytes / math.log(2.0)
    numbers = {"perplexity": math.exp(min(val_loss, 700.0)), "bits_per_byte": bits_per_byte}
    return numbers if floor is None else {**numbers, "floor": floor}


def show_samples(model: nn.Module, tokenizer: Tokenizer, prompt: str, options: SamplingOptions, say) -> None:
    """Print three texts by the finished model."""
    say("\nThree texts by the model:\n")
    for generation in generate(model, tokenizer, [prompt], options, n_samples=3):
        say((prompt + generation.text).strip() + "\n")


def show_result(result: Result, data: TokenData, floor: float | None, run: Path, best: Path, say) -> None:
    """Print the best loss on the whole validation split, and what can be done next."""
    numbers = describe_loss(result.state.best_loss, data, floor)
    beside = f", floor {floor:.4f}" if floor is not None else ""
    say(f"best checkpoint: step {result.state.best_step:,} of {result.state.step:,}, in {best}")
    say(f"val_loss {result.state.best_loss:.4f}{beside} (nats per token over the whole validation split; perplexity "
        f"{numbers['perplexity']:.2f}, {numbers['bits_per_byte']:.3f} bits per byte)")
    say(f"Next: python sample.py {run} --interactive")


def in_one_line(text: str) -> str:
    """A text with its line breaks shown, for the log."""
    return text.strip().replace("\n", " / ")
