"""The numbers in the cards of the shipped models are measured again."""

import importlib.util
import random
from pathlib import Path

import pytest

from llmasos import LLMTrainer
from llmasos.datasets import open_examples
from llmasos.datasets.storyworld import stories
from llmasos.hub.resolve import SHIPPED, shipped_models

CURRICULUM = Path(__file__).parents[2] / "data/storyworld/chat_curriculum.py"
SPEC = importlib.util.spec_from_file_location("chat_curriculum", CURRICULUM)
chat_curriculum = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(chat_curriculum)

CARDS = {  # model → score → its value, as the card has it
    "storyworld-gpt": {"nats per token": "0.2328", "bits per byte": "0.0993"},
    "storyworld-bert": {"masked-LM accuracy": "0.849", "next-sentence accuracy": "0.886"},
    "storyworld-de-en": {"BLEU": "98.6", "chrF2": "99.2"},
    "storyworld-chat": {"exact answers": "0.693", "ROUGE-L": "0.798"},
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
def test_the_chat_model_answers_further_questions_as_its_card_says():
    model, draw, right = LLMTrainer.from_pretrained("storyworld-chat"), random.Random(1), {"further": [], "short": []}

    def asks(kind: str, messages: list[dict[str, str]], answer: str) -> None:
        right[kind].append(model.chat(messages, temperature=0.0).strip() == answer)

    for story in stories("val", 200):
        messages = []
        for turn, (said, answer) in enumerate(chat_curriculum.multi_turn(draw, story)):
            messages.append({"role": "user", "content": said})
            n_tokens = len(model.tokenizer.encode("".join(message["content"] for message in messages)))
            if turn > 0 and n_tokens < 225:  # with the special tokens of the messages, it fits into the context
                asks("further", messages, answer)
            messages.append({"role": "assistant", "content": answer})
        if story.questions:
            [(said, answer)] = chat_curriculum.short_context(draw, story)
            asks("short", [{"role": "user", "content": said}], answer)
    shares = {kind: sum(found) / len(found) for kind, found in right.items()}
    print("\n", {kind: (len(found), round(shares[kind], 3)) for kind, found in right.items()})
    assert shares == {"further": pytest.approx(0.71, abs=0.02), "short": pytest.approx(0.83, abs=0.02)}


def test_what_the_chat_model_was_taught(tmp_path):
    conversations = chat_curriculum.chat_conversations(60)
    assert {len(turns) for turns in conversations} == {1, 2, 3, 4}
    assert any(answer == chat_curriculum.ANSWER for [(_, answer), *_] in conversations)
    for story in stories("train", 60):
        [(said, answer)] = chat_curriculum.short_context(random.Random(0), story)
        assert answer in said.split("\n\n")[1] and said.split("\n\n")[1] in story.text
    chat_curriculum.write(tmp_path / "conversations.jsonl", conversations)
    read = open_examples("conversations", tmp_path / "conversations.jsonl", eval_only=True).val
    assert [[content for _, content in chat.messages] for chat in read] == [
        [text for turn in turns for text in turn] for turns in conversations
    ]
    for [(said, answer)] in chat_curriculum.first_sentences(60):
        assert said.startswith("Tell me a story") and answer.endswith(".") and answer.count(".") == 1


def test_every_shipped_model_has_its_card_measured():
    assert set(shipped_models()) == set(CARDS)
