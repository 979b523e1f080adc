"""The README's storyworld recipes, each run to its end: about four minutes on two cores.

Lessons 09, 10, 11 and 15 train what the recipes for questions, translation, summaries and adapters do.
"""

from pathlib import Path

import pytest

from llmasos.cli.cli import run
from llmasos.cli.train import main
from llmasos.storage import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory):
    """A common folder for all runs, because the fine-tuned models start from runs/bert-storyworld."""
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


def test_pre_training_is_worth_more_than_chance_could_be(bert):
    train("classify-storyworld")
    pre_trained = scores("classify-storyworld")["accuracy"]
    random = scores("classify-storyworld/without-init")["accuracy"]
    assert pre_trained["low"] > random["high"], "the intervals do not touch"
