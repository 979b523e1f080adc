"""Every task from its data to its result, with the same loop: stopping and resuming gives exactly the same weights."""

import re
import shlex
from pathlib import Path

import pytest
from every_objective import EVERY_OBJECTIVE, write_calls
from task_helpers import RUNS, assert_same_weights, ctrl_c, pull_the_plug, resume, stopping, train, workplace

from llmasos.capabilities import TASKS
from llmasos.cli.sample import main as sample
from llmasos.models import load_model
from llmasos.models.heads import FAMILIES
from llmasos.storage import read_json
from llmasos.tasks import task_class
from llmasos.training import trainer
from llmasos.training.checkpoints import all_checkpoints
from llmasos.training.log import read_metrics

SAID = {  # name of a run → the family of its model, its head, its first score, other output
    "text": ("gpt", "lm", None, "Three texts by the model"),
    "documents": ("gpt", "lm", None, "Three texts by the model"),
    "bert": ("bert", "pretraining", "masked-LM accuracy", "next-sentence accuracy"),
    "bert-alone": ("bert", "pretraining", "masked-LM accuracy", "unigram baseline"),
    "diffuse": ("bert", "pretraining", "nats per token", "Three texts by the model"),
    "classify": ("bert", "classifier", "accuracy", "majority baseline"),
    "names": ("bert", "token_classifier", "entity F1", "each word's most frequent label"),
    "score": ("bert", "reward", "mean squared error", "always the mean"),
    "answer": ("bert", "question_answering", "exact match", "never answers"),
    "embed": ("bert", "features", "recall@1", "BM25 recall@1"),
    "translate": ("transformer", "lm", "BLEU", "chrF"),
    "summarize": ("transformer", "lm", "ROUGE-L", "ROUGE-2"),
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with workplace(tmp_path_factory.mktemp("runs")):
        write_calls()
        yield


@pytest.mark.parametrize("name", RUNS)
def test_from_data_to_a_result_and_a_model_that_can_be_loaded(name, capsys):
    family, head, score, besides = SAID[name]
    assert train(*RUNS[name], "--out", name) == 0
    out = capsys.readouterr().out
    assert besides in out and "best checkpoint: step" in out and f"Next: python -m llmasos sample {name}" in out
    results = read_json(Path(name) / "results.json")
    assert results["step"] == 6
    assert [one["name"] for one in results["metrics"]][:1] == ([] if score is None else [score])
    for one in results["metrics"]:
        assert one["low"] is None or one["low"] <= one["value"] <= one["high"]  # None: a few that all score the same
        assert f"{one['name']} " in out
    if "--interactive" not in out:
        arguments = shlex.split(re.search("(?m)^Next: python -m llmasos sample (.*)$", out)[1])
        Path("text.txt").write_text("Anna lived by the river.")
        sample(arguments)  # raises if the next command does not work as it is printed
    model = load_model(all_checkpoints(Path(name))[-1])
    assert (model.config.family, model.config.head) == (family, head)
    val_losses = [line["val_loss"] for line in read_metrics(Path(name)) if "val_loss" in line]
    assert len(val_losses) == 2 and f"val_loss {min(val_losses):.4f}" in out


@pytest.mark.parametrize(
    "name", [*RUNS, *(pytest.param(name, marks=pytest.mark.slow) for name in ("experts", "tools"))]
)
def test_stopped_twice_and_resumed_equals_uninterrupted_bit_for_bit(name):
    flags = [*EVERY_OBJECTIVE[name], "--dropout", "0.1", "--steps", "9"]
    whole, broken = f"{name}-whole", f"{name}-broken"
    assert train(*flags, "--out", whole) == 0
    with stopping(broken, 4, pull_the_plug):  # step 3 is the last that is kept
        assert train(*flags, "--out", broken) == 130
    with stopping(broken, 6, ctrl_c):  # step 7, which ends after the signal, is kept
        assert resume(broken) == 130
    assert all_checkpoints(Path(broken))[-1].name == "step-00000007" and not Path(broken, "results.json").exists()
    assert resume(broken) == 0
    assert_same_weights(whole, broken)
    assert read_json(Path(whole, "results.json")) == read_json(Path(broken, "results.json"))
    losses = [[(m["step"], m["loss"]) for m in read_metrics(Path(run)) if "loss" in m] for run in (whole, broken)]
    assert losses[0] == losses[1]


def test_a_run_that_was_stopped_while_it_was_measured_is_measured_on_resume(monkeypatch, capsys):
    """Then all steps have been taken, and only the result is missing."""

    def pull(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(task_class("translation"), "report", pull)
        assert train(*RUNS["translate"], "--out", "measured") == 130
    assert not Path("measured/results.json").exists()
    assert resume("measured") == 0
    assert read_json(Path("measured/results.json"))["step"] == 6 and "BLEU" in capsys.readouterr().out
    assert resume("measured") == 2
    assert "has taken all its 6 steps" in capsys.readouterr().err


def test_one_held_out_example_gives_a_result_without_interval():
    """A missing value is null in `results.json`, since JSON has no NaN."""
    lines = Path("pairs.tsv").read_text().splitlines(keepends=True)
    Path("one.tsv").write_text("".join(lines[:2]))
    assert train(*RUNS["translate"], "--val-data", "one.tsv", "--out", "one") == 0
    score = read_json(Path("one/results.json"))["metrics"][0]
    assert (score["n"], score["low"], score["high"]) == (1, None, None)


def test_train_examples_are_as_many_as_asked_for_and_chosen_by_the_seed(capsys):
    flags = (*RUNS["classify"], "--train-examples", "12", "--steps", "1", "--eval-interval", "1")
    for seed, out in (("1", "few"), ("1", "few-again"), ("2", "few-others")):
        assert train(*flags, "--seed", seed, "--out", out) == 0
        assert "12 texts to train on" in capsys.readouterr().out
    words = [Path(out, "tokenizer", "vocab.txt").read_text() for out in ("few", "few-again", "few-others")]
    assert words[0] == words[1] != words[2]


def test_the_loop_knows_no_family_and_no_task():
    words = set(re.findall(r"[a-z]+", Path(trainer.__file__).read_text().lower()))
    assert words.isdisjoint({*FAMILIES, *TASKS, "gpt", "family", "head", "masked", "isinstance"})
