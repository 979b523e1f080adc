"""Sentence boundaries in English and in German."""

from pydoc_data.topics import topics

import numpy as np
import pytest

from llmasos.datasets.sentences import documents_of_sentences, split_sentences
from llmasos.datasets.source import Piece, PlainText, TextSource
from llmasos.datasets.storyworld import stories

# One list is one text: joined by blanks, it must be split into exactly these sentences.
TEXTS = [
    ["The cat sat.", "It slept.", "Nobody came."],
    ["Mr. Smith met Dr. Jones and Mrs. O'Hara.", "They talked."],
    ["J. R. R. Tolkien wrote it.", "So do I.", "He was J. S. Bach."],
    ["Pi is 3.14 and e is 2.72.", "In 1990 it was 42.", "20 people came.", "She was 13."],
    ["What?!", "No...", "Yes!", "It went on … and on.", "Then it stopped…", "Fine."],
    ['"Come here!" he said.', '"Why?" she asked.', 'He said: "Go."', "She went.", "(She always goes.)", "So it was."],
    ["“Where to?” asked Tom.", "“Home.”", "“Now?”", "He nodded."],
    ["„Das war ein Anfang“, sagte Felix.", "„Komm!“", "Er kam.", "»Warum?«", "Darum."],
    ["He lives in the U.S. Army base, i.e. in a tent, e.g. this one.", "It opens at 9 a.m. sharp.", "At 5 p.m.", "So."],
    ["See fig. 3 and No. 5 on p. 7.", "No.", "He stayed.", "It weighs approx. 20 kg vs. 30."],
    ["Am 3. Mai kam er.", "Der 2. Weltkrieg begann im 20. Jahrhundert.", "Es war 1939.", "Sie war 12."],
    ["Das sind z. B. Katzen, d. h. Tiere, u. a. Hunde.", "Vgl. Abb. 3 bzw. Nr. 7.", "Dr. Kurz und Fr. Lang kamen."],
    ["Visit example.com or read a.b.c today.", "Version 2.0.1 is out.", "Use os.path.", "It works."],
    ["Ärger gab es.", "Über allem lag Schnee.", "Öl brannte.", "Éric sah es."],
]


@pytest.mark.parametrize("expected", TEXTS, ids=lambda expected: expected[0][:20])
def test_sentences_end_where_a_reader_expects(expected):
    assert split_sentences(" ".join(expected)) == expected
    assert split_sentences("\n".join(expected)) == expected, "a line break is white space like any other"


def test_a_blank_line_ends_a_sentence_and_a_line_break_does_not():
    assert split_sentences("A heading\n\nIt was\nlate. He\nslept\n \n\n(no end") == [
        "A heading", "It was\nlate.", "He\nslept", "(no end",
    ]  # fmt: skip
    assert split_sentences("") == split_sentences(" \n\n ") == []


def test_limits_that_the_documentation_states():
    assert split_sentences('"Who?" Mary asked.') == ['"Who?"', "Mary asked."]
    assert split_sentences("Cats, dogs, etc. Then more.") == ["Cats, dogs, etc.", "Then more."]
    assert split_sentences("He left the U.S. Then he came back.") == ["He left the U.S. Then he came back."]


def test_nothing_is_lost_and_cutting_again_changes_nothing():
    text = "\n\n".join(topics[name] for name in sorted(topics)[:40])
    sentences = split_sentences(text)
    assert len(sentences) > 500
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert [part for sentence in sentences for part in split_sentences(sentence)] == sentences


def test_every_sentence_boundary_of_a_story_is_detected_in_both_languages():
    for story in stories("val", 100):
        for units in (story.sentences, story.german_sentences):
            assert _ends(units) <= _ends(split_sentences(" ".join(units)))


def _ends(units: list[str]) -> set[int]:
    """Return the number of visible characters up to the end of each unit."""
    return set(np.cumsum([len("".join(unit.split())) for unit in units]).tolist())


class _Source(TextSource):
    name = description = "test"

    def __init__(self, *pieces):
        self._pieces = pieces

    def pieces(self, split):
        return iter([Piece(*piece) for piece in self._pieces])

    def fingerprint(self):
        return ""


def test_documents_end_as_in_the_source_and_need_two_sentences():
    source = _Source(("One. Tw", False), ("o.\n\nThree.", True), ("Alone.", True), ("Four. Five.", True))
    assert list(documents_of_sentences(source, "train")) == [["One.", "Two.", "Three."], ["Four.", "Five."]]


def test_one_long_text_is_cut_into_paragraphs(tmp_path):
    text = "A heading\n\nOne. Two.\nThree.\n\n \n\nAlone.\n\nFour. Five!\n"
    assert list(documents_of_sentences(_Source((text[:17], False), (text[17:], False)), "train")) == [
        ["One.", "Two.", "Three."],
        ["Four.", "Five!"],
    ]
    (tmp_path / "a.txt").write_text(("It rains. He waits.\n\n") * 50)
    assert len(list(documents_of_sentences(PlainText(tmp_path / "a.txt"), "val"))) == 5
