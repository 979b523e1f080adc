"""The task masked-diffusion: which texts it uses, and that it reports the bound on the whole validation set."""

import math

import numpy as np
import pytest
import torch
from task_helpers import BERT, RUNS, the_error, train, workplace

from llmasos.cli.sample import main as sample_main
from llmasos.errors import UserError
from llmasos.tasks import task_class
from llmasos.tasks.masked_diffusion import STRATA
from llmasos.training.recipe import make_recipe


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """The files of the task helpers, and a trained run."""
    with workplace(tmp_path_factory.mktemp("diffusion")):
        assert train(*RUNS["diffuse"], "--out", "run") == 0
        yield


def setup(data="stories.jsonl", **changes):
    """A task that is ready, with a model of random weights."""
    sizes = {"model": "bert-laptop", "n_layers": 1, "n_heads": 2, "d_model": 32, "context_length": 48}
    words = {"tokenizer": "wordpiece", "vocab_size": 300, "lowercase": True}
    recipe = make_recipe(task="masked-diffusion", data=data, **{**sizes, **words, **changes})
    task = task_class("masked-diffusion").setup(recipe)
    torch.manual_seed(0)
    return task, task.build_model().eval()


def test_each_document_is_one_text_and_longer_ones_are_cut():
    task, _ = setup()
    rows = task.rows(task.tokens.train)
    texts = [task.tokenizer.decode(rows[i].inputs.ids, skip_special=True) for i in range(len(rows))]
    assert texts == [text.lower() for text in task.data.documents("train")]
    short, _ = setup(context_length=12)
    cut = short.rows(short.tokens.train)
    assert cut.lengths.max() == 10 and cut.lengths.sum() == rows.lengths.sum()


def test_a_text_without_documents_is_cut_into_rows():
    task, _ = setup("stories.txt")
    lengths = task.rows(task.tokens.train).lengths
    assert set(lengths[:-1]) == {46} and lengths.sum() == len(task.tokens.train.tokens)


def test_the_report_is_the_mean_over_strata_with_the_cost_of_the_length():
    """For a model that gives every token the same probability: log V for each, plus the length by its frequency."""
    task, model = setup()
    for parameter in model.masked_lm_head.parameters():
        torch.nn.init.zeros_(parameter)
    lengths = task.rows(task.tokens.val).lengths
    counts = np.bincount(task.rows(task.tokens.train).lengths, minlength=47)
    length_nats = [-math.log((counts[n] + 1) / (counts.sum() + 46)) for n in lengths]
    expected = math.log(task.tokenizer.vocab_size) + sum(length_nats) / lengths.sum()
    nats, bits = task.evaluate(model).metrics
    assert nats.value == pytest.approx(expected, rel=1e-5) and nats.n == lengths.sum()
    n_bytes = task.tokens.val.n_bytes
    assert bits.value == pytest.approx(expected * lengths.sum() / n_bytes / math.log(2), rel=1e-5)
    assert str(STRATA) in nats.note
    assert "without the cost of a text's length" in task.describe_loss(2.0)  # unlike `evaluate` and the floor


def test_whole_stories_are_read_and_their_entropy_is_stated():
    words = {"tokenizer": "wordpiece", "vocab_size": 2048, "lowercase": True}
    recipe = make_recipe(
        task="masked-diffusion", data="storyworld:30", model="bert-laptop", context_length=256, **words
    )
    task = task_class(recipe.task).setup(recipe)
    assert len(task.rows(task.tokens.train)) == 30, "no story is cut"
    lengths = task.rows(task.tokens.val).lengths
    assert task.metrics(1.0) == {"floor": task.data.information("val") / lengths.sum()}
    assert f"floor {task.floor:.4f}" in task.describe_loss(1.0)


def test_sample_fills_every_mask(capsys):
    sample_main(["run", "--prompt", "anna saw [MASK] [MASK] [MASK]", "--unmask-steps", "2", "--device", "cpu"])
    out = capsys.readouterr().out
    assert out.startswith("anna saw") and "[MASK]" not in out and len(out.split()) >= 3


def test_sample_writes_n_different_texts_for_a_prompt(capsys):
    sample_main(["run", "--prompt", "anna" + " [MASK]" * 20, "--unmask-steps", "2", "--n", "3", "--device", "cpu"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(set(lines)) == 3 and all(line.startswith("anna") for line in lines)


@pytest.mark.parametrize("flag", ["--top-k", "--beams", "--stop"])
def test_a_flag_that_unmasking_would_ignore_is_one_sentence(flag):
    with pytest.raises(UserError, match=f"--unmask-steps does not use {flag}: "):
        sample_main(["run", "--prompt", "[MASK]", "--unmask-steps", "2", flag, "3"])


@pytest.mark.parametrize(
    "flags, words",
    [
        (("--model", "gpt-laptop", "--tokenizer", "wordpiece"), "is for models of the family bert"),
        (("--model", "bert-laptop", "--tokenizer", "byte"), r"needs a special token [MASK]"),
        ((*BERT, "--context-length", "2"), "no room for a text"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(flags, words, capsys):
    assert train("--task", "masked-diffusion", "--data", "stories.jsonl", *flags) != 0
    assert words in the_error(capsys)
