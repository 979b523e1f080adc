"""Words with labels: CoNLL files and rows, errors in a line, and the mentions from the story generator."""

import json
import re

import pytest

from llmasos.datasets import open_examples
from llmasos.datasets.infer import infer_format
from llmasos.datasets.storyworld import stories
from llmasos.datasets.storyworld.story import MENTIONED
from llmasos.datasets.tagging import OUTSIDE, entity_spans, tagged_spans, word_spans
from llmasos.errors import UserError

CONLL = """-DOCSTART- -X- -X- O

# text = Anna saw New York.
Anna NNP B-NP B-PER
saw VBD B-VP O
New NNP B-NP B-LOC
York NNP I-NP I-LOC

# SYM O O
ran VBD B-VP O
"""


def names_of(example):
    """The names in a text, as (type, words)."""
    spans = entity_spans(example.labels)
    return [(type, example.text[example.words[a][0] : example.words[b - 1][1]]) for type, a, b in spans]


def opened(tmp_path, content: str, name: str = "names.conll", **options):
    (tmp_path / name).write_bytes(content.encode())
    return open_examples("tagged_text", tmp_path / name, eval_only=True, **options)


def test_a_conll_file_is_read_with_comments_columns_and_documents(tmp_path):
    first, second = opened(tmp_path, CONLL).val
    assert (first.text, second.text) == ("Anna saw New York", "# ran")
    assert names_of(first) == [("PER", "Anna"), ("LOC", "New York")] and names_of(second) == []
    assert first.where.endswith("names.conll, sentence 1, line 4")


@pytest.mark.parametrize(("change", "words"), [
    (lambda text: text.replace("\n", "\r\n"), ["Anna", "saw", "New", "York"]),
    (lambda text: "\ufeff" + text, ["Anna", "saw", "New", "York"]),
    (lambda text: text.replace(" ", "\t").replace("New\t", "New old\t"), ["Anna", "saw", "New old", "York"]),
])  # fmt: skip
def test_line_ends_marks_and_tabs(change, words, tmp_path):
    example = opened(tmp_path, change("Anna B-PER\nsaw O\nNew B-LOC\nYork I-LOC\n")).val[0]
    assert [example.text[start:end] for start, end in example.words] == words
    assert names_of(example)[0] == ("PER", "Anna")


BAD = {
    "Anna B-PER\nran\n": r"names.conll, sentence 1, line 2: the line has one column, 'ran', expected a word and its",
    "Anna B-PER\n\nran O\nBen PER\n": r"sentence 2, line 4: the label 'PER' of the word 'Ben' is neither O nor B-",
    "Anna B-PER\n\n\tO\tO\n": r"sentence 2, line 3: the line has no word before its label",
}


@pytest.mark.parametrize("content", BAD)
def test_a_bad_line_is_named_with_its_sentence_or_the_sentence_is_skipped(content, tmp_path):
    with pytest.raises(UserError, match=BAD[content] + r".*; fix it, or skip such rows with --skip-bad\.$"):
        opened(tmp_path, content)
    data = opened(tmp_path, content + "\nEmma B-PER\n", skip_bad=True)
    assert data.val[-1].text == "Emma" and len(data.skipped) == 1
    assert all("ran" not in example.text and "Ben" not in example.text for example in data.val)


def test_a_file_without_a_usable_sentence_says_what_one_is(tmp_path):
    with pytest.raises(UserError, match="no usable sentence; write a word and its label in each line"):
        opened(tmp_path, "\n\n-DOCSTART- O\n")


ROW_ERRORS = [
    ({"tokens": ["Anna"], "tags": ["B-PER", "O"]}, "1 words and 2 labels"),
    ({"tokens": ["Anna"], "tags": [3]}, "write the names of the labels, such as B-PER, instead of numbers"),
    ({"tokens": "Anna", "tags": ["O"]}, "two lists"),
    ({"tokens": ["Anna", " "], "tags": ["O", "O"]}, "an empty word"),
    ({"tokens": [], "tags": []}, "has no word"),
]


def test_rows_of_words_and_tags_as_published_datasets_have_them(tmp_path):
    rows = [{"id": 1, "tokens": ["Anna", "ran"], "ner_tags": ["B-PER", "O"]}]
    data = opened(tmp_path, json.dumps(rows[0]) + "\n", "names.jsonl")
    assert names_of(data.val[0]) == [("PER", "Anna")]
    assert infer_format(tmp_path / "names.jsonl").formats == ("tagged_text",)


@pytest.mark.parametrize(("row", "problem"), ROW_ERRORS)
def test_a_bad_row_is_a_sentence(row, problem, tmp_path):
    with pytest.raises(UserError, match=f"line 1: .*{re.escape(problem)}"):
        opened(tmp_path, json.dumps(row) + "\n", "names.jsonl")


def test_the_format_is_recognized_by_the_ending_or_by_the_lines(tmp_path):
    for name, content, formats in [
        ("a.conll", CONLL, ("tagged_text",)),
        ("b.txt", "Anna B-PER\nran O\n", ("tagged_text",)),
        ("c.tsv", "Anna\tB-PER\nran\tO\n", ("tagged_text",)),
        ("commented.txt", "# id = 1\n# text = Anna ran\nAnna B-PER\nran O\n\n# id = 2\n# B-PER\n", ("tagged_text",)),
        ("comments.txt", "# Title\n\n# Another\n", ("text", "prompts")),
        ("d.txt", "Anna ran.\nBen saw O\n", ("text", "prompts")),
        ("e.tsv", "text\tlabel\nfine\tgood\n", ("labeled_text",)),
    ]:
        (tmp_path / name).write_text(content)
        assert infer_format(tmp_path / name).formats == formats, name


def test_a_type_that_only_held_out_texts_would_have_stays_in_training(tmp_path):
    lines = [f"Anna{i} B-PER\nran O\n" for i in range(30)]
    for rare in range(30):
        content = "\n".join(lines[:rare] + ["Rome B-LOC\n"] + lines[rare:])
        (tmp_path / "names.conll").write_text(content)
        data = open_examples("tagged_text", tmp_path / "names.conll")
        assert any("B-LOC" in example.labels for example in data.train) and len(data.val) >= 2


def test_words_cover_everything_but_white_space_and_are_in_order():
    text = "“Aunt Berta’s well-known café—it's 3.5 km, isn't it?”  said O'Neil."
    spans = word_spans(text)
    assert "".join(text[start:end] for start, end in spans) == re.sub(r"\s", "", text)
    assert all(a[1] <= b[0] for a, b in zip(spans, spans[1:], strict=False))
    words = [text[start:end] for start, end in spans]
    assert {"Berta", "’s", "well-known", "O'Neil", "it", "'s"} <= set(words)


def test_every_mention_that_the_generator_tags_is_the_name_of_who_plays_the_role():
    n = dict.fromkeys(MENTIONED.values(), 0)
    for story in stories("train", 150):
        names: dict[str, set[str]] = {}
        for role, type in MENTIONED.items():
            if role in story.cast:
                names.setdefault(type, set()).add(story.cast[role].en.lower())
        ends = [0]
        for type, start, end in story.mentions:
            assert story.text[start:end].lower() in names[type] and start >= ends[-1]
            assert not story.text[end : end + 1].isalpha() and not story.text[start - 1 : start].isalpha()
            ends.append(end)
            n[type] += 1
        hero = story.cast["hero"].en
        assert story.text.count(hero) == sum(story.text[s:e] == hero for _, s, e in story.mentions)  # none is missed
        example = tagged_spans(story.text, story.mentions)
        assert [words for _, words in names_of(example)] == [story.text[s:e] for _, s, e in story.mentions]
    assert min(n.values()) > 100


@pytest.mark.slow
def test_storyworld_is_a_dataset_of_tagged_texts_and_of_scores():
    tagged, scored = (open_examples(format, "storyworld:20") for format in ("tagged_text", "scored_text"))
    assert len(tagged.train) == len(scored.train) == 20 and OUTSIDE in tagged.train[0].labels
    [story, *_] = stories("train", 20)
    assert scored.train[0].text == story.text == tagged.train[0].text
    assert scored.train[0].score == pytest.approx(story.information)


@pytest.mark.parametrize(("score", "problem"), [
    ("high", "the score is 'high', expected a number"), ("", "the score is None|the score is ''"),
    ("nan", "expected a number"), ("1e400", "expected a number"),
])  # fmt: skip
def test_a_score_that_is_no_number_is_named_with_its_line(score, problem, tmp_path):
    (tmp_path / "scores.csv").write_text(f"text,score\nfine,1.5\nbad,{score}\n")
    with pytest.raises(UserError, match=f"scores.csv, line 3: .*({problem})"):
        open_examples("scored_text", tmp_path / "scores.csv", eval_only=True)
