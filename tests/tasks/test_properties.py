"""Properties of every task: the rest of a batch and the model's mode change nothing; reports are exact."""

import importlib
import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from task_helpers import TASK_OF, question, workplace, write_csv, write_jsonl
from torch import nn

from llmasos.datasets import QA
from llmasos.errors import UserError
from llmasos.evaluation import Metric
from llmasos.generation import BeamOptions, SamplingOptions
from llmasos.storage import read_json, write_json
from llmasos.tasks import Report, Task, answer_questions, classify, fill_masks, respond, task_class
from llmasos.tasks import bert_pretraining as bert_module
from llmasos.tasks.task import batches, columns_of
from llmasos.training.recipe import make_recipe

TINY = {"n_layers": 2, "n_heads": 2, "d_model": 32, "context_length": 40, "dropout": 0.2, "vocab_size": 300}
BERT = {**TINY, "model": "bert-laptop", "tokenizer": "wordpiece"}
TRANSFORMER = {**TINY, "model": "transformer-laptop", "beams": 3, "n_layers": 1, "context_length": 20}
RECIPES = {
    "text": {**TINY, "data": "stories.txt"},
    "bert": {**BERT, "data": "stories.txt"},
    "bert-alone": {**BERT, "data": "stories.txt", "next_sentence": False},
    "classify": {**BERT, "data": "labeled.csv"},
    "classify-gpt": {**TINY, "data": "labeled.csv"},
    "answer": {**BERT, "data": "questions.jsonl"},
    "translate": {**TRANSFORMER, "data": "pairs.tsv"},
    "summarize": {**TRANSFORMER, "data": "pairs.tsv", "beams": 1},
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with workplace(tmp_path_factory.mktemp("properties")):
        rng = random.Random(1)  # contexts of one to six windows
        write_jsonl("questions.jsonl", [long_question(rng, 1 + number % 4) for number in range(24)])
        yield


def long_question(rng: random.Random, n: int) -> dict[str, str]:
    """A question whose context has a long part before the relevant one."""
    qa = question(rng)
    return {**qa, "context": " ".join([question(rng)["context"] for _ in range(n - 1)] + [qa["context"]])}


def lively(model: nn.Module) -> nn.Module:
    """Make the weights so large that every token in a sequence affects all others."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def ready(name: str) -> tuple[Task, nn.Module]:
    """A task with its data prepared, and a lively model for it."""
    recipe = make_recipe(task=TASK_OF[name.partition("-")[0]], seed=3, **RECIPES[name])
    task = task_class(recipe.task).setup(recipe)
    torch.manual_seed(0)
    return task, lively(task.build_model())


# What else is in a batch


@pytest.mark.parametrize("name", ["classify", "classify-gpt"])
def test_the_probabilities_of_a_text_do_not_depend_on_the_other_texts(name):
    task, model = ready(name)
    texts = [example.text for example in task.split("train")] + ["Ben.", " ".join(["house"] * 90), ""]
    alone = np.concatenate([classify(model, task.tokenizer, [text]) for text in texts])
    assert np.ptp(alone[:, 0]) > 0.2, "else the test could not tell one text from another"
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = classify(model, task.tokenizer, [texts[i] for i in order], batch_size=7)
    np.testing.assert_allclose(shuffled, alone[order], atol=2e-5)
    np.testing.assert_allclose(alone.sum(axis=1), 1.0, atol=1e-5)
    assert classify(model, task.tokenizer, []).shape == (0, 2)


def test_the_second_text_counts_as_long_as_there_is_room():
    task, model = ready("classify")
    one, same, other = classify(model, task.tokenizer, ["Ben ran.", ("Ben ran.", None), ("Ben ran.", "It was awful.")])
    np.testing.assert_allclose(one, same, atol=1e-6)  # two rows of a batch may be rounded differently
    assert np.abs(one - other).max() > 1e-3


def test_the_answer_to_a_question_does_not_depend_on_the_other_questions():
    task, model = ready("answer")
    questions = task.split("train")
    alone = [answer_questions(model, task.tokenizer, [qa])[0] for qa in questions]
    together = answer_questions(model, task.tokenizer, questions[::-1], batch_size=5)[::-1]
    assert [(a.text, a.start) for a in alone] == [(a.text, a.start) for a in together]
    np.testing.assert_allclose([a.score for a in alone], [a.score for a in together], atol=1e-3)
    assert len({a.text for a in alone}) > 3, "else the test could not tell one answer from another"
    assert len(task.examples("train")) > len(questions), "else no context has several windows"


def test_an_answer_is_cut_out_of_the_context_to_the_character():
    task, model = ready("answer")
    questions = [QA(qa.context.replace(". ", ".\n\t ").replace("a", "ä"), qa.question, ()) for qa in task.split("val")]
    for qa, answer in zip(questions, answer_questions(model, task.tokenizer, questions), strict=True):
        assert qa.context[answer.start : answer.start + len(answer.text)] == answer.text


@pytest.mark.parametrize("name", ["translate", "summarize"])
def test_what_is_written_for_a_source_does_not_depend_on_the_other_sources(name):
    task, model = ready(name)
    sources = [*dict.fromkeys(pair.source for pair in task.split("train")[:5]), "eins " * 9]
    for beams in (1, 3):
        alone = [task.write(model, [source], beams)[0] for source in sources]
        assert task.write(model, sources, beams) == alone and len(set(alone)) > 1


@pytest.mark.parametrize("name", ["bert", "bert-alone"])
def test_what_is_hidden_and_guessed_does_not_depend_on_the_batch(name, monkeypatch):
    task, model = ready(name)
    whole = task.evaluate(model, "all")
    monkeypatch.setattr(bert_module, "batches", partial(batches, batch_size=3))
    assert task.evaluate(model, "all").metrics == whole.metrics
    examples = task.examples("train")
    sizes = [torch.cat([batch["targets"].flatten()[batch["targets"].flatten() >= 0]
                        for _, batch in batches(task.objective, examples, 3, model, size)])
             for size in (1, 64)]  # fmt: skip
    assert torch.equal(*sizes)


def test_the_report_of_a_classifier_does_not_depend_on_the_batch(monkeypatch):
    task, model = ready("classify")
    whole = task.evaluate(model, "all")
    module = importlib.import_module("llmasos.tasks.text_classification")
    monkeypatch.setattr(module, "classify", partial(classify, batch_size=1))
    alone = task.evaluate(model, "all")
    assert alone.tables == whole.tables and np.array_equal(alone.outcomes, whole.outcomes)


# Reports


@pytest.mark.parametrize("name", RECIPES)
def test_a_report_is_deterministic_whatever_mode_the_model_is_in(name):
    """Even with dropout in the model, and with other random numbers drawn in between."""
    task, model = ready(name)
    first = task.evaluate(model.eval())
    torch.manual_seed(5)
    again = task.evaluate(model.train())
    assert model.training, "evaluating gives the model back as it was"
    assert again.lines() == first.lines() and again.to_dict() == first.to_dict() and first.metrics
    sample = task.sample(model)
    torch.manual_seed(6)
    assert task.sample(model) == sample and sample


def test_the_first_score_is_the_mean_of_the_outcomes():
    for name in ("classify", "answer"):
        report = (lambda task, model: task.evaluate(model, "all"))(*ready(name))
        assert report.metrics[0].value == pytest.approx(report.outcomes.mean())
        assert report.metrics[0].n == len(report.outcomes)


def test_a_report_survives_json_also_where_there_is_no_interval(tmp_path):
    metrics = [Metric("a", 0.5, 0.4, 0.6, 10), Metric("b", 1.0, math.nan, math.nan, 1)]
    report = Report(metrics, outcomes=np.array([True]))
    write_json(tmp_path / "report.json", report.to_dict())
    read = read_json(tmp_path / "report.json")
    assert [(score["low"], score["high"]) for score in read["metrics"]] == [(0.4, 0.6), (None, None)]
    assert read["outcomes"] == [1.0]


def test_lines_show_scores_then_tables_then_mistakes():
    report = Report([Metric("a", 0.5, 0.4, 0.6, 10)], ["a table"], ["1. wrong"])
    assert report.lines() == [str(report.metrics[0]), "\na table", "", "Some of its mistakes:", "1. wrong"]
    assert Report([]).lines() == []


# What a model says


def test_masks_are_filled_with_likely_words_first():
    task, model = ready("bert")
    (best, other) = fill_masks(model, task.tokenizer, "Anna saw the [MASK] house and [MASK].", n=4)
    for guesses in (best, other):
        chances = [p for _, p in guesses]
        assert len(chances) == 4 and chances == sorted(chances, reverse=True) and 0 < sum(chances) <= 1
    with pytest.raises(UserError, match=r"has no \[MASK\]; write \[MASK\]"):
        fill_masks(model, task.tokenizer, "Anna saw the house.")
    with pytest.raises(UserError, match="context"):
        fill_masks(model, task.tokenizer, "house " * 100 + "[MASK]")


def test_every_model_responds_in_its_own_way():
    options = SamplingOptions(max_new_tokens=5, temperature=0.0)
    said = {}
    for name in ("text", "bert", "classify", "answer", "translate"):
        task, model = ready(name)
        text = "Anna saw the [MASK] house." if name == "bert" else "eins zwei"
        said[name] = respond(model, task.tokenizer, text, options, context="Anna lives in Rome.")
    assert said["bert"].startswith("[MASK] ") and said["bert"].count("%") == 5
    shares = [float(word.rstrip("%,")) for word in said["classify"].split() if "%" in word]
    assert shares == sorted(shares, reverse=True) and sum(shares) == pytest.approx(100, abs=0.2)
    assert said["answer"] in "Anna lives in Rome." or said["answer"] == "(no answer in this text)"
    searched = respond(model, task.tokenizer, "eins zwei", BeamOptions(beams=1, max_new_tokens=5))
    assert searched == said["translate"]


def test_a_question_needs_a_context():
    task, model = ready("answer")
    with pytest.raises(UserError, match="--context"):
        respond(model, task.tokenizer, "Who?", SamplingOptions())


# Settings


def test_columns_are_roles_and_names():
    assert columns_of(None) is None
    assert columns_of(" text = review ,label=a=b") == {"text": "review", "label": "a=b"}


def test_a_test_split_is_there_if_the_data_has_one():
    task, _ = ready("classify")
    assert not task.has_test
    task.data.test = task.data.val[:2]
    assert task.has_test and len(task.split("test")) == 2
    assert len(task.split("all")) == len(task.split("train")) + len(task.split("val")) + 2
    with pytest.raises(UserError, match="no split 'dev'; it has train and val and test"):
        task.split("dev")


def test_a_text_that_is_held_out_never_reaches_the_tokenizer():
    """Vocabulary built on held-out text would be a leak."""
    write_csv("seen.csv", ("text", "label"), [(f"glad {word}", "glad" if i % 2 else "sad")
                                              for i, word in enumerate("ox owl cat dog hen cow".split())])  # fmt: skip
    write_csv("unseen.csv", ("text", "label"), [("zzzyzx zzzyzx zzzyzx", "glad")])
    recipe = make_recipe(task="text-classification", **{**BERT, "data": "seen.csv"}, val_data="unseen.csv")
    task = task_class(recipe.task).setup(recipe)
    assert not any("zzzyzx" in text for text in task.texts(task.data))
