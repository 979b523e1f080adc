"""The numbers in the cards of the shipped models are measured again."""

import pytest

from llmasos import LLMTrainer
from llmasos.hub import load_pretrained
from llmasos.hub.resolve import SHIPPED, shipped_models
from llmasos.tasks import run_suite

CARDS = {  # model → score → its value, as the card has it
    "storyworld-gpt": {"nats per token": "0.2293", "bits per byte": "0.0978"},
    "storyworld-bert": {"masked-LM accuracy": "0.849", "next-sentence accuracy": "0.886"},
    "storyworld-de-en": {"BLEU": "98.6", "chrF2": "99.2"},
    "storyworld-chat": {"exact answers": "0.643", "ROUGE-L": "0.757"},
}
SUITE = {  # metric of the suite storyworld-chat → its value, as the card of storyworld-chat has it
    "declined": "0.940",
    "asked hero and thing": "1.000",
    "whole stories, as asked": "0.740",
    "right of ten turns": "7.21",
    "right of ten: given by the user": "8.10",
    "nats per token": "0.1930",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_a_shipped_model_is_as_good_as_its_card_says(name):
    card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
    task = "instruction-tuning" if name == "storyworld-chat" else None  # else plain stories would be used
    report = LLMTrainer.from_pretrained(name).evaluate("storyworld", task)
    scores = {score.name: score.value for score in report.metrics}
    for score, stated in CARDS[name].items():
        assert stated in card
        digits = len(stated.partition(".")[2])
        few = 0.01 if digits == 3 else 2 * 10**-digits  # another machine's rounding may turn a few of the examples
        assert scores[score] == pytest.approx(float(stated), abs=few), score


@pytest.mark.slow
def test_the_chat_model_keeps_to_the_world_and_to_its_story_as_its_card_says():
    result = run_suite("storyworld-chat", *load_pretrained("storyworld-chat"))
    card = (SHIPPED / "storyworld-chat" / "README.md").read_text(encoding="utf-8")
    scores = {metric.name: metric for metric in result.metrics}
    for name, value in SUITE.items():
        assert value in card, name
        few = 0.001 if name == "nats per token" else 0.2 if name.startswith("right of ten") else 0.02
        assert scores[name].value == pytest.approx(float(value), abs=few), name
    assert scores["declined"].low > 0.9 and scores["declined in the world"].value < 0.05
    assert scores["asked hero and thing"].value > 0.9 and scores["right of ten: given by the user"].value > 7.9


def test_every_shipped_model_has_its_card_measured():
    assert set(shipped_models()) == set(CARDS)
