"""Shared by the tests of the tasks and their commands: small files for every task, and a tiny run of each.

Every run is trained in this process by `train.py`'s own main, on files in the current folder, in at most a second.
"""

import csv
import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from llmasos.cli.cli import run as run_command
from llmasos.cli.eval import main as eval_main
from llmasos.cli.train import main as train_main
from llmasos.storage import load_tensors
from llmasos.tasks import language_modeling
from llmasos.training.checkpoints import all_checkpoints
from llmasos.training.trainer import Trainer

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Felix", "Greta", "Henry")
PLACES = ("house", "forest", "tower", "village", "garden", "castle")
COLORS = ("red", "green", "yellow", "white")
NUMBERS = {
    "one": "eins", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "six": "sechs", "seven": "sieben",
    "eight": "acht",
}  # fmt: skip

TINY = ("--n-layers", "1", "--n-heads", "2", "--d-model", "32", "--context-length", "48")
SHORT = (
    "--steps", "6", "--batch-size", "4", "--warmup-steps", "2", "--eval-interval", "3", "--log-interval", "1",
    "--device", "cpu", "--beams", "2",
)  # fmt: skip
BERT = ("--model", "bert-laptop", "--tokenizer", "wordpiece", "--vocab-size", "300", "--lowercase", *TINY)
GPT = ("--model", "gpt-laptop", "--tokenizer", "bpe", "--vocab-size", "300", *TINY)
TRANSFORMER = ("--model", "transformer-laptop", "--tokenizer", "bpe", "--vocab-size", "300", *TINY)

RUNS = {  # a user's flags for each task, with a file of `write_files`
    "text": ("--task", "language-modeling", "--data", "stories.txt", *GPT),
    "documents": ("--task", "language-modeling", "--data", "stories.jsonl", "--rows", "documents", *GPT),
    "bert": ("--task", "bert-pretraining", "--data", "stories.txt", *BERT),
    "bert-alone": ("--task", "bert-pretraining", "--no-next-sentence", "--data", "stories.txt", *BERT),
    "diffuse": ("--task", "masked-diffusion", "--data", "stories.jsonl", *BERT),
    "classify": ("--task", "text-classification", "--data", "labeled.csv", *BERT),
    "names": ("--task", "token-classification", "--data", "names.conll", *BERT),
    "score": ("--task", "text-regression", "--data", "scores.csv", *BERT),
    "answer": ("--task", "question-answering", "--data", "questions.jsonl", *BERT),
    "embed": ("--task", "text-embedding", "--n-passages", "2", "--data", "queries.csv", *BERT),
    "translate": ("--task", "translation", "--data", "pairs.tsv", *TRANSFORMER),
    "summarize": ("--task", "summarization", "--data", "pairs.tsv", *TRANSFORMER),
}
TASK_OF = {name: flags[1] for name, flags in RUNS.items()}  # name of a run → its task


def write_files() -> None:
    """Write a file for every task into the current folder; always the same ones."""
    rng = random.Random(0)

    def sentences(n: int) -> list[str]:
        return [f"{rng.choice(NAMES)} saw the {rng.choice(COLORS)} {rng.choice(PLACES)}." for _ in range(n)]

    Path("stories.txt").write_text("\n\n".join(" ".join(sentences(5)) for _ in range(60)))
    labeled = [(f"{text} It was {mood}.", label) for text in sentences(30)
                for mood, label in [rng.choice([("lovely", "glad"), ("awful", "sad")])]]  # fmt: skip
    write_csv("labeled.csv", ("text", "label"), labeled)
    write_jsonl("questions.jsonl", [question(rng) for _ in range(30)])
    tagged = [f"{rng.choice(NAMES)} B-PER\nsaw O\nthe O\n{rng.choice(PLACES)} B-LOC\n. O\n" for _ in range(30)]
    Path("names.conll").write_text("\n".join(tagged))
    scored = [(f"{rng.choice(NAMES)} saw {n} houses.", n / 10) for n in rng.choices(range(10), k=30)]
    write_csv("scores.csv", ("text", "score"), scored)
    write_csv("pairs.tsv", ("source", "target"), [pair(rng) for _ in range(40)], "\t")
    write_csv("queries.csv", ("query", "passage"), [query(rng) for _ in range(40)])
    write_jsonl("stories.jsonl", [{"text": " ".join(sentences(rng.randint(1, 3)))} for _ in range(60)])


def question(rng: random.Random) -> dict[str, str]:
    """A context with two people in it, and a question about one of them, or in one case of five about a third."""
    first, second, third = rng.sample(NAMES, 3)
    where = {name: f"the {rng.choice(COLORS)} {rng.choice(PLACES)}" for name in (first, second)}
    who = rng.choice([first, first, second, second, third])
    context = " ".join(f"{name} lives in {place}." for name, place in where.items())
    return {"context": context, "question": f"Where does {who} live?", "answer": where.get(who, "")}


def pair(rng: random.Random) -> tuple[str, str]:
    """A few numbers in German and in English."""
    words = rng.choices(list(NUMBERS), k=rng.randint(1, 4))
    return " ".join(NUMBERS[word] for word in words), " ".join(words)


def query(rng: random.Random) -> tuple[str, str]:
    """A question about a place, and a text about it."""
    name, place = rng.choice(NAMES), f"{rng.choice(COLORS)} {rng.choice(PLACES)}"
    return f"Who lives in the {place}?", f"{name} lives in the {place}."


def write_csv(name: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], separator: str = ",") -> None:
    """Write a table."""
    with open(name, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([columns, *rows])


def write_jsonl(name: str, rows: list[dict[str, str]]) -> None:
    """Write one JSON object a line."""
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@contextmanager
def workplace(folder: Path) -> Iterator[None]:
    """Work in a folder with the files of `write_files`; caches are there, too.

    Models generate only short texts, because sampling from an untrained model takes longer than its training.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(language_modeling, "SAMPLE_TOKENS", 8)
        monkeypatch.setattr(language_modeling, "REPORT_TOKENS", 8)
        monkeypatch.setattr("llmasos.datasets.tokens.default_cache_folder", lambda: folder / "cache")
        monkeypatch.chdir(folder)
        write_files()
        yield


def train(*flags: str) -> int:
    """Run `train.py` with a few short steps and these flags; returns its exit status."""
    return run_command(train_main, [*SHORT, *flags])


def resume(run: str, *flags: str) -> int:
    """Run `train.py --resume`; returns its exit status."""
    return run_command(train_main, ["--resume", "--out", run, *flags])


def evaluate(*flags: str) -> int:
    """Run `python -m llmasos eval` with these flags; returns its exit status."""
    return run_command(eval_main, ["--device", "cpu", *flags])


@contextmanager
def stopping(run: str, step: int, how: Callable[[], None]) -> Iterator[None]:
    """Call `how` when the run in this folder is about to take this step (counted from 0)."""
    original = Trainer.step

    def step_or_stop(trainer: Trainer, *arguments):
        if trainer.run == Path(run) and trainer.state.step == step:
            how()
        return original(trainer, *arguments)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Trainer, "step", step_or_stop)
        yield


def ctrl_c() -> None:
    """Ask this process to stop, as a user does with Ctrl-C: the step is finished and saved."""
    os.kill(os.getpid(), signal.SIGINT)


def pull_the_plug() -> None:
    """End at once: all steps since the last checkpoint are lost."""
    raise KeyboardInterrupt


def last_tensors(run: str, name: str = "model") -> dict[str, torch.Tensor]:
    """The tensors of a run's newest checkpoint."""
    return load_tensors(all_checkpoints(Path(run))[-1] / f"{name}.safetensors")


def assert_same_weights(run: str, other: str) -> None:
    """Check that the newest checkpoints of two runs are from the same step and hold the same bits."""
    assert all_checkpoints(Path(run))[-1].name == all_checkpoints(Path(other))[-1].name
    for name in ("model", "optimizer"):
        a, b = last_tensors(run, name), last_tensors(other, name)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def the_error(capsys: pytest.CaptureFixture) -> str:
    """The error of a failed command: it must be one sentence in one line, without a traceback."""
    captured = capsys.readouterr().err
    errors = [line for line in captured.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "Traceback" not in captured, captured
    return errors[0]
