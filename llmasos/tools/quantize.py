"""`python -m llmasos quantize`: what rounding a model's weights to int8 costs and gains, measured here.

Size, speed and quality of the model as it is and of the same model rounded (`nn/int8.py`), side by side. The two take
turns while they are timed (`tools/bench/measurement.py`), and are judged on the same held-out data: on some of
it, unless all is asked for, because the same examples twice show a small difference well. Nothing is written: rounding is done whenever a
model is loaded with `quantize="int8"`.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from llmasos.cli.cli import ArgumentParser
from llmasos.cli.eval import settings_of
from llmasos.datasets import is_dataset
from llmasos.errors import UserError
from llmasos.evaluation import Metric, evaluate_text
from llmasos.generation import SamplingOptions, generate, generate_from
from llmasos.hub import find, load_pretrained
from llmasos.hub.weights import weight_files
from llmasos.models import n_parameters, weight_bytes
from llmasos.models.flops import rounded_matrices
from llmasos.storage import write_json
from llmasos.tasks import TASKS, Task, open_task
from llmasos.tasks.task import batches
from llmasos.tokenizers import Tokenizer
from llmasos.tools.bench.data_subset import SOME_EXAMPLES, SOME_TOKENS, Tokens, shorten
from llmasos.tools.bench.measurement import Measurement, format_number, interleave, ratio, timed
from llmasos.training.device import pick_device
from llmasos.training.recipe import Recipe, add_flags

EXAMPLES = """examples:
  python -m llmasos quantize storyworld-gpt
  python -m llmasos quantize gpt2 --data my_book.txt
  python -m llmasos quantize runs/classify-storyworld
"""
SETTINGS = ("data", "columns", "languages", "skip_bad")  # what to measure quality on; settings of a recipe, too
BATCH = 16  # texts at once in the second measurement of speed
ALIKE = 0.005  # a loss that changes by less than this share of itself has not changed much
Pair = dict[str, nn.Module]  # "float" and "int8" → the model


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        what: was measured.
        float, int8: of the model as it is, and rounded.
        change: from the one to the other, in words.
        verdict: the same as a part of the closing sentence; "" if it is not worth one.
    """

    what: str
    float: str
    int8: str
    change: str
    verdict: str = ""

    def __str__(self) -> str:
        return f"{self.what:<36}{self.float:>12}{self.int8:>12}   {self.change}".rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Load the model twice, measure, print a table. Returns the exit status.

    Raises:
        UserError: no such model, data that is not as it must be, or a flag out of range.
    """
    args = make_parser().parse_args(arguments)
    for name in ("tokens", "repetitions"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} is {getattr(args, name)}; it must be at least 1.")
    device = pick_device(args.device)
    print(f"opening {args.model} and the data …", flush=True)
    folder = find(args.model, say=print)
    model, tokenizer = load_pretrained(folder, device, say=print)
    models = {"float": model, "int8": load_pretrained(folder, device, lambda text: None, quantize="int8")[0]}
    task, split = held_out(args, model, tokenizer)
    tokens, some = (None, "") if args.all else shorten(task, split)

    n_rounded = sum(matrix.weight.numel() for matrix in rounded_matrices(models["int8"]))
    size = sum(file.stat().st_size for file in weight_files(folder))
    print(f"model    {args.model} ({model.config.family}), {n_parameters(model):,} parameters, {size / 1e6:,.2f} MB on "
          f"disk; int8 rounds {n_rounded / n_parameters(model):.1%} of them")  # fmt: skip
    print(f"data     {task.name}, split {split}{some}: {task.description}\n")
    print(Line("", "float", "int8", "change"))
    lines = []
    for what, measured in (
        ("size", sizes(models)),
        (f"speed, the best of {args.repetitions}", speeds(models, tokenizer, args.tokens, args.repetitions)),
        (f"quality{some}", scores(models, task, split, tokens)),
    ):
        print(f"{what} …", flush=True)
        for line in measured:  # each printed when it is known
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
        description="What rounding a model's weights to int8 costs and gains: memory, speed and quality of both, "
        'measured in one run. Any model is loaded so with quantize="int8", or with --quantize int8 where a command '
        "has that flag.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flag = parser.add_argument
    flag("model", metavar="MODEL", help="a run's or a model's folder, or a name (see python -m llmasos models)")
    flag("--task", choices=list(TASKS), help="how to measure quality (default: what the model is for)")
    flag("--split", choices=("train", "val", "test", "all"),
         help="on which part of the data (default: all of a file of your own, else val)")  # fmt: skip
    flag("--all", action="store_true", help="measure quality on all of that; otherwise on the first "
         f"{SOME_TOKENS:,} tokens of running text, or {SOME_EXAMPLES} examples (a BERT always on all)")  # fmt: skip
    flag("--tokens", type=int, default=60, metavar="N", help="to write or read per text when timing (default: 60)")
    flag("--repetitions", type=int, default=3, metavar="N", help="of each timing (default: 3)")
    flag("--json", metavar="FILE", help="write the table there, too")
    flag("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="where to compute")
    add_flags(parser.add_argument_group("what to measure quality on"), SETTINGS)
    return parser


def held_out(args: argparse.Namespace, model: nn.Module, tokenizer: Tokenizer) -> tuple[Task, str]:
    """The task to judge a model by, with its data opened, and the split. Translators write greedily: it is faster."""
    given = {name: getattr(args, name) for name in SETTINGS if hasattr(args, name)}
    own = "data" in given and not is_dataset(given["data"])
    settings = settings_of(Path(args.model), model.config, tokenizer)
    chosen = {"task": args.task} if args.task else {}
    task = open_task(Recipe.from_dict(settings | given | chosen | {"beams": 1}), whole=own)
    task.check_model(model.config, args.model)
    task.use(tokenizer, model.config)
    return task, args.split or ("all" if own else "val")


def sizes(models: Pair) -> Iterator[Line]:
    """The memory that the weights take."""
    a, b = (weight_bytes(model) / 1e6 for model in models.values())
    verdict = f"takes {b / a:.0%} of the memory"
    yield Line("weights in memory", f"{a:,.2f} MB", f"{b:,.2f} MB", f"× {b / a:.2f}", verdict)


def speeds(models: Pair, tokenizer: Tokenizer, n_tokens: int, repetitions: int) -> Iterator[Line]:
    """Tokens per second, written by models that write and read by the others: of one text, and of a batch."""
    config = models["float"].config
    n_tokens = min(n_tokens, config.context_length)
    writes = config.head == "none" and config.family != "bert"
    for n in (1, BATCH):
        work = {name: writing(model, tokenizer, n, n_tokens) if writes else reading(model, n, n_tokens)
                for name, model in models.items()}  # fmt: skip
        device = next(models["float"].parameters()).device
        seconds = interleave({name: timed(do, device, 0.2) for name, do in work.items()}, repetitions)
        a, b = ([n * n_tokens / s for s in values] for values in (seconds["float"], seconds["int8"]))
        faster = ratio("", "", "", b, a)
        texts = f"{n} text{'s' * (n > 1)}"
        verdict = f"{'writes' if writes else 'reads'} {texts} {pace(faster)}"
        yield Line(f"tokens/s {'writing' if writes else 'reading'} {texts}", format_number(max(a)), format_number(max(b)), spread(faster),
                   verdict)  # fmt: skip


def spread(figure: Measurement) -> str:
    """A ratio with its lowest and highest."""
    return f"× {figure.best:.2f} (median {figure.median:.2f}, {figure.low:.2f} … {figure.high:.2f})"


def pace(figure: Measurement) -> str:
    """A ratio of speeds in words: faster or slower only if it was so each time."""
    if figure.low > 1:
        return f"{figure.median:.2f} times as fast"
    if figure.high < 1:
        return f"more slowly (× {figure.median:.2f})"
    return f"at about the same speed (× {figure.low:.2f} … {figure.high:.2f})"


def writing(model: nn.Module, tokenizer: Tokenizer, n: int, n_tokens: int) -> Callable[[], object]:
    """Write n texts of so many tokens, all at once."""
    options = SamplingOptions(n_tokens, stop_at_end_of_text=False)
    if model.config.family == "gpt":
        return lambda: generate(model, tokenizer, [[tokenizer.end_of_text]], options, n)
    return lambda: generate_from(model, tokenizer, ["eins zwei drei"], options, n)


def reading(model: nn.Module, n: int, n_tokens: int) -> Callable[[], object]:
    """Read n texts of so many tokens, all at once."""
    device = next(model.parameters()).device
    ids = torch.randint(model.config.vocab_size, (n, n_tokens), generator=torch.Generator().manual_seed(0)).to(device)
    return torch.inference_mode()(lambda: model(ids))


def scores(models: Pair, task: Task, split: str, tokens: Tokens | None = None) -> Iterator[Line]:
    """How good each is at what the model is for, and its loss, which shows what no count of mistakes can.

    Args:
        tokens: of running text, to be judged on instead of the split.
    """
    examples = task.encoded(split)
    if len(examples):
        a, b = (mean_loss(task, model, examples) for model in models.values())
        yield Line("loss, nats per prediction", f"{a:.4f}", f"{b:.4f}", f"{b - a:+.5f}", quality("loss", a, b))
    both = [measured(task, model, split, tokens) for model in models.values()]
    for a, b in zip(*both, strict=True):
        if "baseline" not in a.name:
            digits = a.digits
            change = f"{b.value - a.value:+.{digits + 1}f}   (n = {a.n:,})"
            verdict = quality(a.name, a.value, b.value) if a.name.startswith("nats") else ""
            yield Line(a.name, f"{a.value:.{digits}f}", f"{b.value:.{digits}f}", change, verdict)


def measured(task: Task, model: nn.Module, split: str, tokens: Tokens | None) -> list[Metric]:
    """The scores of one model, as `eval` measures them."""
    if tokens is None:
        return task.evaluate(model, split).metrics
    stride = max(1, model.config.context_length // 2)
    return evaluate_text(model, tokens.ids, stride, n_bytes=tokens.n_bytes).metrics()


def quality(loss: str, a: float, b: float) -> str:
    """A loss of before and after in words."""
    change = (b - a) / a if a else 0.0
    word = "as well as before" if abs(change) < ALIKE else "worse" if change > 0 else "better"
    return f"and predicts {word} ({loss} {change:+.2%})"


def mean_loss(task: Task, model: nn.Module, examples: Sequence) -> float:
    """The loss over examples as training measures it: of each of its terms the mean over all predictions, added up."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for _, batch in batches(task.objective, examples, task.recipe.seed, model):
        for name, loss in task.objective.loss_sums(model, batch).items():
            sums[name] = sums.get(name, 0.0) + loss.item()
        for name, count in task.objective.n_targets(batch).items():
            counts[name] = counts.get(name, 0) + count
    return sum(sums[name] / counts[name] for name in sums)
