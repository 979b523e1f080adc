"""`python -m llmasos quantize`: what rounding a model's weights to int8 costs and gains on this machine.

Compares the size, speed and quality of a model with float weights and of the same model with int8 weights
(`nn/int8.py`). Timings are interleaved (`tools/bench/measurement.py`). Both are evaluated on the same held-out data, by
default on a part of it, because the same examples twice show a small difference well. Nothing is written: weights are
rounded whenever a model is loaded with `quantize="int8"`.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch

from llmasos.capabilities import TASKS
from llmasos.cli.cli import ArgumentParser, check_json_target
from llmasos.errors import check_number
from llmasos.evaluation import Metric, evaluate_text
from llmasos.generation import SamplingOptions, generate, generate_from
from llmasos.hub import find_model_folder, load_pretrained
from llmasos.hub.weights import weight_files
from llmasos.models import Model, n_parameters, weight_bytes
from llmasos.models.flops import quantized_layers
from llmasos.storage import write_json
from llmasos.tasks import Task
from llmasos.tasks.evaluate import evaluation_recipe, setup_evaluation
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.language_modeling import LanguageModeling, text_splits
from llmasos.tasks.task import batches
from llmasos.tokenizers import Tokenizer
from llmasos.tools.bench.measurement import Measurement, format_number, interleave, ratio, timed
from llmasos.training.device import pick_device
from llmasos.training.recipe import add_flags

EXAMPLES = """examples:
  python -m llmasos quantize storyworld-gpt
  python -m llmasos quantize gpt2 --data my_book.txt
  python -m llmasos quantize runs/classify-storyworld
"""
SETTINGS = ("data", "columns", "languages", "skip_bad")  # of a recipe: the data to measure quality on
MAX_TOKENS, MAX_EXAMPLES = 20_000, 100  # of the held-out data, unless --all is set
BATCH_SIZE = 16  # texts at once in the second measurement of speed
SIMILAR = 0.005  # relative change of a loss below which it counts as unchanged
Models = dict[str, Model]  # "float" and "int8" → the model


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes:
        what: what was measured.
        float, int8: the values of the two models.
        change: from float to int8.
        verdict: the same in words, for the closing sentence; "" if it is not mentioned there.
    """

    what: str
    float: str
    int8: str
    change: str
    verdict: str = ""

    def __str__(self) -> str:
        return f"{self.what:<36}{self.float:>12}{self.int8:>12}   {self.change}".rstrip()


@dataclass(frozen=True)
class Tokens:
    """The beginning of a text.

    Attributes:
        ids: (N,) its token ids.
        n_bytes: the number of UTF-8 bytes they encode.
        truncated: whether the text continues after them.
    """

    ids: np.ndarray
    n_bytes: int
    truncated: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model twice, measure, and print a table. Returns the exit status.

    Raises:
        UserError: there is no such model, the data is invalid, or a flag is out of range.
    """
    args = make_parser().parse_args(arguments)
    for name in ("tokens", "repetitions"):
        check_number(f"--{name}", getattr(args, name), whole=True, at_least=1)
    names = {field.name for field in fields(Comparison)}
    check_json_target(args.json, lambda old: isinstance(old, list) and all({*row} == names for row in old))
    device = pick_device(args.device)
    print(f"opening {args.model} and the data …", flush=True)
    folder = find_model_folder(args.model, say=print)
    model, tokenizer = load_pretrained(folder, device, say=print)
    models = {"float": model, "int8": load_pretrained(folder, device, lambda text: None, quantize="int8")[0]}
    task, split = open_held_out(args, folder, model, tokenizer)
    tokens, subset = (None, "") if args.all else take_subset(task, split)

    n_rounded = sum(matrix.weight.numel() for matrix in quantized_layers(models["int8"]))
    megabytes = sum(file.stat().st_size for file in weight_files(folder)) / 1e6
    print(
        f"model    {args.model} ({model.config.family}), {n_parameters(model):,} parameters, {megabytes:,.2f} MB on "
        f"disk; int8 rounds {n_rounded / n_parameters(model):.1%} of them"
    )
    print(f"data     {task.data.name}, split {split}{subset}: {task.data.description}\n")
    print(Comparison("", "float", "int8", "change"))
    lines = []
    for title, section in (
        ("size", compare_sizes(models)),
        (f"speed, best of {args.repetitions}", compare_speeds(models, tokenizer, args.tokens, args.repetitions)),
        (f"quality{subset}", compare_quality(models, task, split, tokens)),
    ):
        print(f"{title} …", flush=True)
        for line in section:  # each printed as soon as it is known
            print(line, flush=True)
            lines.append(line)
    print(f"\nIn short: with int8 the model {', '.join(line.verdict for line in lines if line.verdict)}.")
    if args.json:
        write_json(Path(args.json), [asdict(line) for line in lines])
    return 0


def make_parser() -> ArgumentParser:
    """All flags of the command, with their help."""
    parser = ArgumentParser(
        prog="python -m llmasos quantize",
        description="Compare a model with float weights and with int8 weights: memory, speed and quality, measured in "
        'one run. To use int8 weights, load a model with quantize="int8", or pass --quantize int8 to a command that '
        "has this flag.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("model", metavar="MODEL", help="a run's or a model's folder, or a name (see python -m llmasos models)")
    flag("--task", choices=list(TASKS), help="the task to measure quality with (default: the model's own)")
    splits = ("train", "val", "test", "all")
    flag("--split", choices=splits, help="which part of the data (default: all of a file of your own, else val)")
    subset = f"the first {MAX_TOKENS:,} tokens of running text, or {MAX_EXAMPLES} examples"
    flag("--all", action="store_true", help=f"measure quality on the whole split instead of {subset}")
    flag("--tokens", type=int, default=60, metavar="N", help="tokens per text when timing (default: 60)")
    flag("--repetitions", type=int, default=3, metavar="N", help="of each timing (default: 3)")
    flag("--json", metavar="FILE", help="also write the table to this file")
    flag("--device", default="auto", metavar="DEVICE", help="where to compute: auto, cpu, cuda, cuda:1, mps")
    add_flags(parser.add_argument_group("the data to measure quality on (default: as in the run)"), SETTINGS)
    return parser


def open_held_out(args: argparse.Namespace, folder: Path, model: Model, tokenizer: Tokenizer) -> tuple[Task, str]:
    """Open the task to evaluate with, and its split. Translation decodes greedily, because that is faster."""
    changes = {name: getattr(args, name) for name in SETTINGS if hasattr(args, name)} | {"beams": 1}
    if args.task:
        changes["task"] = args.task
    recipe, eval_only = evaluation_recipe(folder, model.config, tokenizer, changes)
    task = setup_evaluation(recipe, model.config, tokenizer, args.model, eval_only)
    return task, args.split or ("all" if eval_only else "val")


def take_subset(task: Task, split: str) -> tuple[Tokens | None, str]:
    """Restrict a task to a part of a split.

    Returns:
        The tokens if the data is running text, else None; and a description of the size, to print.

    Raises:
        UserError: the data has no such split.
    """
    if isinstance(task, LanguageModeling):
        tokens = first_tokens(task, split, MAX_TOKENS)
        return tokens, f", {'its first ' if tokens.truncated else ''}{len(tokens.ids):,} tokens"
    if not isinstance(task, ExampleTask):
        return None, ""
    n_before = 0
    for name in ("train", "val", "test") if split == "all" else (split,):
        if examples := getattr(task.data, name):
            step = -(-len(examples) // MAX_EXAMPLES)  # evenly spaced, because some data is sorted
            setattr(task.data, name, examples[::step])
            n_before += len(examples)
    n = len(task.split(split))  # only usable examples
    return None, f", {n:,} of its {n_before:,} examples" if n < n_before else f", {n:,} examples"


def first_tokens(task: LanguageModeling, split: str, n: int) -> Tokens:
    """The first n tokens of a split, equal to those of the array on disk, without building that array."""
    ids: list[int] = []
    n_bytes, tokenizer = 0, task.tokenizer
    for text, ends_document in (piece for name in text_splits(split) for piece in task.data.pieces(name)):
        new = tokenizer.encode_array(text).tolist() + [tokenizer.end_of_text] * ends_document
        n_missing = n - len(ids)
        if len(new) > n_missing:
            n_bytes += len(tokenizer.decode(new[:n_missing]).encode("utf-8"))
            return Tokens(np.array(ids + new[:n_missing]), n_bytes, truncated=True)
        ids += new
        n_bytes += len(text.encode("utf-8"))
    return Tokens(np.array(ids), n_bytes, truncated=False)


def compare_sizes(models: Models) -> Iterator[Comparison]:
    """The memory the weights take."""
    a, b = (weight_bytes(model) / 1e6 for model in models.values())
    verdict = f"takes {b / a:.0%} of the memory"
    yield Comparison("weights in memory", f"{a:,.2f} MB", f"{b:,.2f} MB", f"× {b / a:.2f}", verdict)


def compare_speeds(models: Models, tokenizer: Tokenizer, n_tokens: int, repetitions: int) -> Iterator[Comparison]:
    """Tokens per second for one text and for a batch: generated, or read by a model that generates nothing."""
    config = models["float"].config
    n_tokens = min(n_tokens, config.context_length)
    generates = config.generates
    verb, verbs = ("writing", "writes") if generates else ("reading", "reads")
    device = next(models["float"].parameters()).device
    for n in (1, BATCH_SIZE):
        work = {
            name: writing(model, tokenizer, n, n_tokens) if generates else reading(model, n, n_tokens)
            for name, model in models.items()
        }
        measures = {name: timed(function, device, 0.2) for name, function in work.items()}
        seconds = interleave(measures, repetitions)
        a, b = ([n * n_tokens / s for s in values] for values in (seconds["float"], seconds["int8"]))
        speedup = ratio("", "", "", b, a)
        change = f"× {speedup.best:.2f} (median {speedup.median:.2f}, {speedup.low:.2f} … {speedup.high:.2f})"
        texts = f"{n} text{'s' * (n > 1)}"
        verdict = f"{verbs} {texts} {describe_speedup(speedup)}"
        what = f"tokens/s {verb} {texts}"
        yield Comparison(what, format_number(max(a)), format_number(max(b)), change, verdict)


def describe_speedup(speedup: Measurement) -> str:
    """A speedup in words; faster or slower only if every repetition was."""
    if speedup.low > 1:
        return f"{speedup.median:.2f} times as fast"
    if speedup.high < 1:
        return f"more slowly (× {speedup.median:.2f})"
    return f"at about the same speed (× {speedup.low:.2f} … {speedup.high:.2f})"


def writing(model: Model, tokenizer: Tokenizer, n: int, n_tokens: int) -> Callable[[], object]:
    """A function that generates n texts of n_tokens, as one batch."""
    options = SamplingOptions(n_tokens, stop_at_end_of_text=False)
    if model.config.family == "gpt":
        return lambda: generate(model, tokenizer, [[tokenizer.end_of_text]], options, n)
    return lambda: generate_from(model, tokenizer, ["eins zwei drei"], options, n)


def reading(model: Model, n: int, n_tokens: int) -> Callable[[], object]:
    """A function that reads n texts of n_tokens, as one batch."""
    device = next(model.parameters()).device
    ids = torch.randint(model.config.vocab_size, (n, n_tokens), generator=torch.Generator().manual_seed(0)).to(device)
    return torch.inference_mode()(lambda: model(ids))


def compare_quality(models: Models, task: Task, split: str, tokens: Tokens | None = None) -> Iterator[Comparison]:
    """The task's metrics, and the loss, which shows changes too small to change a prediction.

    Args:
        tokens: running text to evaluate on in place of the split.
    """
    examples = task.examples(split)
    if len(examples):
        a, b = (mean_loss(task, model, examples) for model in models.values())
        verdict = describe_loss("loss", a, b)
        yield Comparison("loss, nats per prediction", f"{a:.4f}", f"{b:.4f}", f"{b - a:+.5f}", verdict)
    metrics = [evaluate(task, model, split, tokens) for model in models.values()]
    for before, after in zip(*metrics, strict=True):
        if "baseline" not in before.name:
            digits, (a, b) = before.digits, (before.value, after.value)
            change = f"{b - a:+.{digits + 1}f}   (n = {before.n:,})"
            verdict = describe_loss(before.name, a, b) if before.name.startswith("nats") else ""
            yield Comparison(before.name, f"{a:.{digits}f}", f"{b:.{digits}f}", change, verdict)


def evaluate(task: Task, model: Model, split: str, tokens: Tokens | None) -> list[Metric]:
    """The metrics of one model, as `eval` computes them."""
    if tokens is None:
        return task.evaluate(model, split).metrics
    stride = max(1, model.config.context_length // 2)
    return evaluate_text(model, tokens.ids, stride, n_bytes=tokens.n_bytes).metrics()


def describe_loss(loss: str, a: float, b: float) -> str:
    """The change of a loss in words."""
    change = (b - a) / a if a else 0.0
    word = "as well as before" if abs(change) < SIMILAR else "worse" if change > 0 else "better"
    return f"and predicts {word} ({loss} {change:+.2%})"


def mean_loss(task: Task, model: Model, examples: Sequence) -> float:
    """The validation loss as in training: for each term the mean over all predictions, then the sum of the terms."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for _, batch in batches(task.objective, examples, task.recipe.training.seed, model):
        for name, loss in task.objective.loss_sums(model, batch).items():
            sums[name] = sums.get(name, 0.0) + loss.item()
        for name, n in task.objective.n_targets(batch).items():
            counts[name] = counts.get(name, 0) + n
    return sum(sums[name] / counts[name] for name in sums)
