"""The lines of `llmasos quantize`: the size, speed and quality of a model with float weights and with rounded weights.

Timings are interleaved (`tools/bench/measurement.py`). Both models are evaluated on the same held-out data, by default
on a part of it, because the same examples twice show a small difference well.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from llmasos.evaluation import Metric, evaluate_text
from llmasos.evaluation.perplexity import evaluate_documents
from llmasos.generation import SamplingOptions, generate, generate_from
from llmasos.models import Model, weight_bytes
from llmasos.tasks import Task
from llmasos.tasks.example_task import ExampleTask
from llmasos.tasks.language_modeling import LanguageModeling, text_splits
from llmasos.tasks.task import batches
from llmasos.tokenizers import Tokenizer
from llmasos.tools.bench.measurement import Measurement, format_number, interleave, ratio, timed

BATCH_SIZE = 16  # texts at once in the second measurement of speed
SIMILAR = 0.005  # relative change of a loss below which it counts as unchanged
Models = dict[str, Model]  # "float" and "quantized" → the model


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes:
        what: the name of the measurement.
        float, quantized: the values of the two models.
        change: the change from float to quantized.
        verdict: the same in words, for the closing sentence; "" if it is not mentioned there.
    """

    what: str
    float: str
    quantized: str
    change: str
    verdict: str = ""

    def __str__(self) -> str:
        return f"{self.what:<36}{self.float:>12}{self.quantized:>12}   {self.change}".rstrip()


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


def take_subset(task: Task, split: str, max_tokens: int, max_examples: int) -> tuple[Tokens | None, str]:
    """Restrict a task to a part of a split.

    Returns:
        The tokens if the data is running text, else None; and a description of the size, to print.

    Raises:
        UserError: the data has no such split.
    """
    if isinstance(task, LanguageModeling):
        tokens = first_tokens(task, split, max_tokens)
        return tokens, f", {'its first ' if tokens.truncated else ''}{len(tokens.ids):,} tokens"
    if not isinstance(task, ExampleTask):
        return None, ""
    n_before = 0
    for name in ("train", "val", "test") if split == "all" else (split,):
        if examples := getattr(task.data, name):
            step = -(-len(examples) // max_examples)  # evenly spaced, because some data is sorted
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
        a, b = ([n * n_tokens / s for s in values] for values in (seconds["float"], seconds["quantized"]))
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
    if isinstance(task, LanguageModeling) and task.recipe.data.rows == "documents" and task.by_document:
        return evaluate_documents(model, task.document_rows(tokens.ids).by_length(), n_bytes=tokens.n_bytes).metrics()
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
