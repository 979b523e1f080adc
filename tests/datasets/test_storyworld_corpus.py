"""The storyworld corpus: deterministic, split by combination, correct and varied English."""

import importlib.util
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from llmasos.datasets.storyworld import DEFAULT_SIZES, generate, splits, stories
from llmasos.datasets.storyworld.chooser import Chooser
from llmasos.datasets.storyworld.people import CHILDREN
from llmasos.datasets.storyworld.plots import PLOTS
from llmasos.datasets.storyworld.teller import Impossible, Teller
from llmasos.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CARD = (ROOT / "data" / "storyworld" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def corpus():
    """Return both default splits."""
    return {split: list(stories(split, n)) for split, n in DEFAULT_SIZES.items()}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower().replace("'s ", " "))


def test_the_same_seed_and_index_give_the_same_story_in_every_process():
    code = "from llmasos.datasets.storyworld import generate; print(generate(3, 14).text)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )
    assert result.stdout.strip() == generate(3, 14).text
    assert generate(3, 14).text != generate(4, 14).text


@pytest.fixture(scope="module")
def prepare():
    """Load data/storyworld/prepare.py."""
    path = ROOT / "data" / "storyworld" / "prepare.py"
    spec = importlib.util.spec_from_file_location("storyworld_prepare", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_default_corpus_has_the_hash_and_the_statistics_of_the_card(corpus, prepare):
    for split in splits.SPLITS:
        assert prepare.report(split, corpus[split]) in CARD, f"{split} has changed: update the card with prepare.py"


def test_the_card_states_the_split_and_the_number_of_outcomes():
    combinations = [(h.en, p.name, t.en) for h in CHILDREN for p in PLOTS for t in p.things]
    held_out = sum(splits.split_of(*combination) == "val" for combination in combinations)
    text = " ".join(CARD.split())
    assert f"There are {len(combinations):,}. A fixed hash sends {held_out} of them" in text
    assert f"with {100 * splits.probability('val'):.2f} % of the probability" in text
    assert f"There are {sum(len(plot.outcomes) for plot in PLOTS)} outcomes" in text


def test_the_sample_beside_the_card_is_current(prepare):
    assert prepare.sample() == (ROOT / "data" / "storyworld" / "sample.txt").read_text(encoding="utf-8")


def test_prepare_writes_both_splits_as_text_and_records(prepare, tmp_path):
    corpus = list(stories("val", 3))
    prepare.write(tmp_path / "out", "val", corpus)
    assert (tmp_path / "out" / "val.txt").read_text(encoding="utf-8").splitlines() == [story.text for story in corpus]
    records = [json.loads(row) for row in (tmp_path / "out" / "val.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [record["german_sentences"] for record in records] == [story.german_sentences for story in corpus]
    question = records[0]["questions"][0]
    assert records[0]["text"][question["start"] :].startswith(question["answer"])


def test_no_combination_of_hero_plot_and_thing_is_in_both_splits(corpus):
    train, val = ({story.combination for story in corpus[split]} for split in splits.SPLITS)
    assert not train & val
    assert len(val) > 100


def test_everything_in_val_occurs_in_train_only_not_together(corpus):
    for part in range(3):
        assert {story.combination[part] for story in corpus["val"]} <= {
            story.combination[part] for story in corpus["train"]
        }
    train_words = {word for story in corpus["train"] for word in words(story.text)}
    assert {word for story in corpus["val"] for word in words(story.text)} <= train_words


def test_a_split_is_the_generator_without_the_other_split():
    all_stories = [generate(0, index) for index in range(60)]
    for split in splits.SPLITS:
        expected = [story.text for story in all_stories if story.split == split]
        assert [story.text for story in stories(split, len(expected))] == expected


def test_more_stories_only_add_to_the_end():
    assert [s.text for s in stories("val", 5)] == [s.text for s in stories("val", 9)][:5]


def test_an_unknown_split_is_named():
    with pytest.raises(UserError, match="'test'"):
        list(stories("test", 1))


def test_the_corpus_is_varied(corpus):
    train = corpus["train"]
    texts = [story.text for story in train]
    counts = Counter(word for text in texts for word in words(text))
    assert len(set(texts)) > 0.999 * len(texts)
    assert 800 < len(counts) < 1600
    assert min(counts.values()) >= 5, "a word too rare to be learned"
    assert len({sentence for story in train for sentence in story.sentences}) > 20_000
    assert {story.plot for story in train} == {plot.name for plot in PLOTS} and len(PLOTS) >= 12
    assert {(s.plot, s.outcome) for s in train} == {(plot.name, outcome) for plot in PLOTS for outcome in plot.outcomes}
    lengths = [len(text.split()) for text in texts]
    assert 100 < sum(lengths) / len(lengths) < 125
    assert sum(60 <= length <= 135 for length in lengths) > 0.95 * len(lengths)
    assert 0.15 < sum(story.ending == "sad" for story in train) / len(train) < 0.4


def test_the_english_has_no_slips(corpus):
    for story in corpus["train"][:4000]:
        text = story.text
        assert not re.search(r"[{}<>|()_~]|\s\s|\s[.,!?]|\s$|,,|\.\.", text), text
        assert not re.search(r"\b[Aa] (?!uni)[aeiou]", text), text
        assert not re.search(r"\b[Aa]n (?!hour)[^aeiou]", text), text
        doubled = re.search(r"\b(\w+) \1\b", text)
        assert not doubled or doubled[1] in ("had", "that"), text
        assert text.count('"') % 2 == 0, text
        for sentence in story.sentences:
            assert re.match(r'"?[A-Z]', sentence), sentence
            assert re.search(r'[.!?]"?$', sentence), sentence
        assert not re.search(r'[.!?]"? [a-z]', text.replace('!" ', '", ').replace('?" ', '", ')), text


def test_pronouns_agree_with_the_hero(corpus):
    for story in corpus["train"][:4000]:
        people = [entity for entity in story.cast.values() if getattr(entity, "pronoun", "it") != "it"]
        pronouns = {entity.pronoun for entity in people if entity.en.split()[-1] in story.text}
        if pronouns == {"she"}:
            assert not re.search(r"\b(he|him|his|himself)\b", story.text.replace("and he told", "")), story.text
        if pronouns == {"he"}:
            assert not re.search(r"\b(she|her|herself)\b", story.text), story.text


def test_impossible_events_are_refused():
    t = Teller(Chooser(0, 0))
    t.put("friend", "lake")
    t.put("thing", "hero")
    with pytest.raises(Impossible):
        t.meet("hero", "friend")
    with pytest.raises(Impossible):
        t.give("friend", "thing", "hero")
    t.move("hero", "lake")
    t.give("hero", "thing", "friend")
    t.move("friend", "mill")
    assert t.place("thing") == "mill", "what somebody holds goes with them"
    with pytest.raises(Impossible):
        t.take("hero", "thing")
    with pytest.raises(Impossible):
        t.move("hero", "moon")


@pytest.mark.parametrize("name", ["train.txt", "val.jsonl", "corpus.json"])
def test_prepare_replaces_its_own_files_and_no_others(prepare, tmp_path, monkeypatch, name):
    monkeypatch.setattr("sys.argv", ["prepare.py", "--train", "2", "--val", "2", "--out", str(tmp_path)])
    (tmp_path / "notes.txt").write_text("mine")
    prepare.main()
    prepare.main()
    (tmp_path / name).write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(SystemExit, match="was not written by this program"):
        prepare.main()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
