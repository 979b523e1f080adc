"""Pretraining of a BERT, and the recipe that compares pretrained with random weights, run to their ends.

What the other storyworld recipes do is trained elsewhere: `storyworld` by `.ci/run`; questions, translation, summaries
and adapters in lessons 09, 10, 11 and 15.
"""

from pathlib import Path

import pytest

from llmasos.cli.cli import run
from llmasos.cli.train import main
from llmasos.storage import read_json


def scores(run_name: str) -> dict[str, dict]:
    """The scores of a finished run, by name."""
    return {score["name"]: score for score in read_json(Path("runs") / run_name / "results.json")["metrics"]}


@pytest.mark.slow
def test_pretraining_is_worth_more_than_chance_could_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(main, ["classify-storyworld", "--device", "cpu"]) == 0, "from the BERT that comes with llmasos"
    pretrained = scores("classify-storyworld")["accuracy"]
    random = scores("classify-storyworld/without-init")["accuracy"]
    assert pretrained["low"] > random["high"], "the intervals do not touch"


@pytest.mark.long
def test_bert_fills_in_words_and_knows_what_follows_far_better_than_the_baselines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(main, ["bert-storyworld", "--device", "cpu"]) == 0
    found = scores("bert-storyworld")
    assert found["masked-LM accuracy"]["low"] > 0.75 > 5 * found["unigram baseline"]["high"]
    assert found["next-sentence accuracy"]["low"] > 0.7 > found["chance baseline"]["high"]
