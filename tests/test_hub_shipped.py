"""What the cards of the shipped models state is measured again."""

import pytest

from llmasos import LLMTrainer
from llmasos.hub.names import SHIPPED, shipped_models

CARDS = {  # model → score → its value, as the card has it
    "storyworld-gpt": {"nats per token": "0.3529", "bits per byte": "0.1505"},
    "storyworld-bert": {"masked-LM accuracy": "0.849", "next-sentence accuracy": "0.886"},
    "storyworld-de-en": {"BLEU": "98.6", "chrF2": "99.2"},
    "storyworld-chat": {"exact answers": "0.660", "ROUGE-L": "0.773"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CARDS)
def test_a_shipped_model_is_as_good_as_its_card_says(name):
    card = (SHIPPED / name / "README.md").read_text(encoding="utf-8")
    objective = "chat" if name == "storyworld-chat" else None  # else it would be measured as a teller of stories
    report = LLMTrainer.from_pretrained(name).evaluate("storyworld", objective)
    scores = {score.name: score.value for score in report.scores}
    for score, stated in CARDS[name].items():
        assert stated in card
        digits = len(stated.partition(".")[2])
        assert scores[score] == pytest.approx(float(stated), abs=2 * 10**-digits), score  # rounding may turn a few


def test_every_shipped_model_has_its_card_measured():
    assert set(shipped_models()) == set(CARDS)
