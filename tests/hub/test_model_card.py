"""The examples in a model's card become the examples of its page."""

import shutil

import pytest
from serving_http_helpers import app_of, ask

from llmasos import LLMServing, hub
from llmasos.hub.model_card import read_examples

CARDS = {
    "---\nwidget:\n- text: \"a \\\"b\\\"\"\n- text: 'it''s'\n- text: plain: text\nlicense: mit\n---\n# x":
        [['a "b"'], ["it's"], ["plain: text"]],
    "---\nlicense: mit\nwidget:\n  - text: Who?\n    context: It was Anna.\n    example_title: One\n---\n":
        [["Who?", "It was Anna."]],
    "---\nwidget:\n- context: Text first.\n  text: Who?\n---\n": [["Who?", "Text first."]],
    "---\r\nwidget:\r\n- text: a\r\n---\r\n": [["a"]],
    "---\nwidget:\n- messages:\n  - role: user\n    content: Hi\n---\n": [],
    "---\nwidget:\n- text: |\n    several\n    lines\n---\n": [],
    "---\nwidget: none\n---\n": [], "# no front matter\nwidget:\n- text: a\n": [], "": [], "---\nwidget:\n": [],
}  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_the_examples_of_a_card_are_read(tmp_path, card):
    (tmp_path / "README.md").write_bytes(card.encode())
    assert read_examples(tmp_path) == CARDS[card]


def test_a_card_that_cannot_be_read_has_no_examples(tmp_path):
    assert read_examples(tmp_path) == []
    (tmp_path / "README.md").write_bytes(b"---\nwidget:\n- text: \xff\n---\n")
    assert read_examples(tmp_path) == []


def test_the_server_gives_them_to_the_page(tmp_path):
    folder = tmp_path / "mine"
    shutil.copytree(hub.find_model_folder("storyworld-gpt"), folder)
    (folder / "README.md").write_text("---\nwidget:\n- text: Mine\n---\n", encoding="utf-8")
    with app_of(folder) as app:
        assert ask(app, "GET", "/v1/models").json["data"][0]["examples"] == [["Mine"]]
    with LLMServing.from_pretrained("storyworld-bert").create_service() as service:
        examples = service.model()["examples"]
    assert len(examples) >= 2 and all("[MASK]" in text for [text] in examples)
