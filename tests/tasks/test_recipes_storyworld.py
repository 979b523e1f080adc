"""Storyworld recipes as the README states them, each run to its end: about six minutes on two cores.

Lessons 11 and 15 train what `summarize-storyworld` and `classify-lora` do.
"""

from pathlib import Path

import pytest

from llmasos.cli.cli import run
from llmasos.cli.train import main
from llmasos.storage import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """All runs in one folder, since the fine-tuned models start from runs/bert-storyworld."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("recipes"))
        yield


def train(recipe: str) -> None:
    assert run(main, [recipe, "--device", "cpu"]) == 0


def scores(run_name: str) -> dict[str, dict]:
    """The scores of a finished run, by name."""
    return {score["name"]: score for score in read_json(Path("runs") / run_name / "results.json")["metrics"]}


@pytest.fixture(scope="module")
def bert(workplace):
    train("bert-storyworld")


def test_bert_fills_in_words_and_knows_what_follows_far_better_than_the_baselines(bert):
    found = scores("bert-storyworld")
    assert found["masked-LM accuracy"]["low"] > 0.75 > 5 * found["unigram baseline"]["high"]
    assert found["next-sentence accuracy"]["low"] > 0.7 > found["chance baseline"]["high"]


@pytest.mark.parametrize("recipe, name", [("classify-storyworld", "accuracy"), ("qa-storyworld", "exact match")])
def test_pre_training_is_worth_more_than_chance_could_be(bert, recipe, name):
    train(recipe)
    pre_trained, random = scores(recipe)[name], scores(f"{recipe}/without-init")[name]
    assert pre_trained["low"] > random["high"], "the intervals do not touch"


def test_translation_of_sentences_never_seen():
    train("translate-storyworld")
    assert scores("translate-storyworld")["BLEU"]["low"] > 93.0
