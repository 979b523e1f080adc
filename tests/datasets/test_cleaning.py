# ruff: noqa: E501 — sentences and numbers in one line are easier to compare
"""Cleaning a corpus: each rule against labeled texts, formulas against counts, and the command."""

import dataclasses
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from llmasos.__main__ import main
from llmasos.datasets.cleaning import CleaningSettings, clean
from llmasos.datasets.cleaning.boilerplate import LineCounter, line_key, line_keys, without_boilerplate
from llmasos.datasets.cleaning.duplicates import (
    SHINGLE,
    chance_to_be_compared,
    exact_key,
    find_exact,
    find_near,
    signature,
    similarity,
    slices,
    words_of,
)
from llmasos.datasets.cleaning.perplexity_filter import ORDER, NgramModel
from llmasos.datasets.cleaning.pii import find_pii, iban, luhn, mask_pii
from llmasos.datasets.cleaning.pipeline import paragraphs
from llmasos.datasets.cleaning.trigrams import LANGUAGES, TrigramModel, language_of
from llmasos.datasets.storyworld import dirty_documents, stories

WORDS = [f"w{i}" for i in range(3000)]


def random_text(rng: random.Random, n: int = 200) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n))


def jaccard(first: str, second: str) -> float:
    sets = []
    for text in (first, second):
        words = text.split()
        sets.append({tuple(words[i : i + SHINGLE]) for i in range(len(words) - SHINGLE + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


# ---- Duplicates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_changed", [0, 2, 8, 30, 200])
def test_equal_values_of_two_signatures_estimate_the_jaccard_similarity(n_changed):
    rng = random.Random(n_changed)
    errors = []
    for _ in range(20):
        text = random_text(rng)
        words = text.split()
        for place in rng.sample(range(len(words)), n_changed):
            words[place] = rng.choice(WORDS)
        other = " ".join(words)
        errors.append(similarity(signature(text), signature(other)) - jaccard(text, other))
    assert abs(np.mean(errors)) < 3 * 0.0625 / np.sqrt(20)  # the standard deviation of the estimate is at most 1/16
    assert np.abs(errors).max() < 4.5 * 0.0625
    if n_changed == 0:
        assert not np.any(errors)


def test_an_equal_band_is_as_probable_as_the_formula_says():
    rng = np.random.default_rng(0)
    for j in (0.2, 0.5, 0.8):
        equal = rng.random((4000, 16, 4)) < j
        assert equal.all(2).any(1).mean() == pytest.approx(chance_to_be_compared(j), abs=0.03)


def test_case_and_white_space_make_no_other_document_and_a_word_does():
    assert exact_key("Once  upon\na time") == exact_key("once upon a TIME ")
    assert exact_key("once upon a time") != exact_key("once upon the time")
    assert find_exact(np.array([5, 6, 5, 5, 6], np.uint64)).tolist() == [False, False, True, True, True]


def test_the_first_of_near_copies_stays():
    rng = random.Random(1)
    texts = [random_text(rng) for _ in range(40)]
    texts[7] = texts[3].replace(texts[3].split()[100], "other", 1)
    texts[20] = texts[3] + " more"
    found = find_near(np.stack([signature(text) for text in texts]), 0.8)
    assert {i: int(found[i]) for i in np.flatnonzero(found >= 0)} == {7: 3, 20: 3}


@pytest.mark.parametrize("text", ["", "one", "one two three", "…!?", "日本語の文です", "a " * 10_000, "x" * 1_500_000])
def test_any_text_has_a_signature(text):
    assert signature(text).shape == (64,)
    assert similarity(signature(text), signature(text + "")) == 1.0


def test_a_long_text_in_slices_has_the_same_words_and_key(monkeypatch):
    text = "".join(f"Word{i}, ünd  more\n" for i in range(300))
    assert words_of(text) == [word.encode() for word in re.findall(r"\w+", text.lower())]
    assert words_of("A_b, c9-D\t\x1fe") == [b"a_b", b"c9", b"d", b"e"]
    whole = list(words_of(text))
    monkeypatch.setattr("llmasos.datasets.cleaning.duplicates.SLICE", 100)
    assert "".join(slices(text)) == text and len(list(slices(text))) > 30
    assert [word for part in slices(text) for word in words_of(part)] == whole
    assert exact_key(text) == exact_key(text.replace("  ", "   "))
    assert list(slices("x" * 250)) == ["x" * 100, "x" * 100, "x" * 50]


# ---- Boilerplate ----------------------------------------------------------------------------------------------------


def test_lines_of_many_documents_are_found_and_those_of_few_are_not():
    counter = LineCounter()
    texts = [
        f"Menu | Home\n\nStory number {i} is here.\nRare" if i < 9 else f"Menu | Home\nStory {i}." for i in range(50)
    ]
    for text in texts:
        counter.add(line_keys(text))
    frequent = counter.frequent(len(texts), 0.01)
    assert frequent == {line_key("Menu | Home")}
    assert without_boilerplate(texts[0], frequent) == "Story number 0 is here.\nRare"
    assert without_boilerplate("Menu | Home", frequent) == "Menu | Home"  # a document of its own


def test_a_frequent_line_survives_a_table_that_is_too_small():
    counter = LineCounter(max_lines=50)
    for i in range(1000):
        counter.add(line_keys(f"unique {i}\nalso {i}\nThe same footer"))
    assert counter.taken_off > 0
    assert line_key("The same footer") in counter.frequent(1000, 0.9)
    assert len(counter.counts) <= 50


# ---- Personal data --------------------------------------------------------------------------------------------------

PERSONAL = {
    "EMAIL": ["ann@example.org", "j.o-b+list@mail.example.co.uk", "grün@beispiel.de", "a_b@x-y.io"],
    "PHONE": [
        "+44 20 7946 0018",
        "+49 (0)30 123456",
        "(555) 123-4567",
        "555-123-4567",
        "030/1234567",
        "+1-202-555-0143",
    ],
    "CARD": ["4111 1111 1111 1111", "4111111111111111", "5500-0000-0000-0004", "378282246310005"],
    "IBAN": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"],
    "ID": ["123-45-6789", "078-05-1120"],
    "IP": ["192.168.0.1", "8.8.8.8"],
    "ADDRESS": [
        "12 Baker Street",
        "221b Green Hill Road",
        "7 Long Lane",
        "Hauptstraße 5",
        "Gartenweg 12a",
        "Marktplatz 3",
    ],
}
HARMLESS = [
    "In 1984 there were 1,234,567 people.", "See pages 10-20 and 2020-03-14.", "The score was 3:2, 10 - 8.", "v1.2.3",
    "It costs 19.99 or 1299 today.", "user at example dot org", "@home is a name", "Order 1234 5678 9012 3456 is wrong",
    "On 12 May the street lamps were lit.", "Room 12, floor 3.", "He ran 12 miles to the Lake District.", "12.5.2020",
    "Chapter 4.1.1.2.7 follows", "pi is 3.14159265358979", "the 300.400.500.600 address", "000-12-3456 and 123-00-6789",
    "Der Weg ist 5 km lang.", "XX99 1234 5678 9012 34", "10 000 000 000 years", "ISBN 978-3-16-148410-0",
]  # fmt: skip


@pytest.mark.parametrize("kind, data", [(kind, data) for kind, many in PERSONAL.items() for data in many])
@pytest.mark.parametrize("sentence", ["Write to {} today.", "{}", "({}), please", "at {}!"])
def test_personal_data_is_found_and_the_rest_stays(kind, data, sentence):
    assert find_pii(sentence.format(data)) == [(kind, data)]
    assert mask_pii(sentence.format(data)) == sentence.format(f"<{kind}>")


@pytest.mark.parametrize("text", HARMLESS)
def test_harmless_text_stays(text):
    assert mask_pii(text) == text


def test_check_digits():
    rng = random.Random(0)
    number = "411111111111111"
    right = [d for d in "0123456789" if luhn(number + d)]
    assert right == ["1"]
    assert iban("DE89370400440532013000")
    assert not any(iban(f"DE{n:02}370400440532013000") for n in range(2, 99) if n != 89)
    changed = [rng.randrange(16) for _ in range(20)]
    full = "4111111111111111"
    assert not any(luhn(full[:i] + str((int(full[i]) + 3) % 10) + full[i + 1 :]) for i in changed)


def test_masking_takes_linear_time():
    for text in (
        "1" * 200_000,
        "a@" * 100_000,
        "0 " * 100_000,
        "+1 " * 60_000,
        "A" * 200_000,
        "12 Aa " * 40_000,
        "." * 10**5,
    ):
        start = time.process_time()
        mask_pii(text)
        assert time.process_time() - start < 5


# ---- Languages ------------------------------------------------------------------------------------------------------

SENTENCES = {
    "en": [
        "The house stands on a hill.",
        "Nobody could tell me where the train would stop.",
        "We eat bread with cheese.",
    ],
    "de": ["Das Haus steht auf einem Hügel.", "Niemand konnte mir sagen, wo der Zug hält.", "Wir essen Brot mit Käse."],
    "fr": [
        "La maison est sur une colline.",
        "Personne ne pouvait me dire où le train s'arrête.",
        "Nous mangeons du pain.",
    ],
    "es": [
        "La casa está en una colina.",
        "Nadie podía decirme dónde se detiene el tren.",
        "Nosotros comemos pan con queso.",
    ],
    "it": ["La casa si trova su una collina.", "Nessuno poteva dirmi dove si ferma il treno.", "Noi mangiamo il pane."],
    "pt": [
        "A casa fica em cima de uma colina.",
        "Ninguém me sabia dizer onde o comboio para.",
        "Nós comemos pão com queijo.",
    ],
    "nl": ["Het huis staat op een heuvel.", "Niemand kon mij zeggen waar de trein stopt.", "Wij eten brood met kaas."],
    "sv": [
        "Huset står på en kulle.",
        "Ingen kunde säga mig var tåget stannar.",
        "Vi äter bröd med ost och dricker mjölk.",
    ],
    "pl": ["Dom stoi na wzgórzu.", "Nikt nie mógł mi powiedzieć, gdzie zatrzymuje się pociąg.", "Jemy chleb z serem."],
    "tr": [
        "Ev bir tepenin üzerinde duruyor.",
        "Kimse bana trenin nerede durduğunu söyleyemedi.",
        "Peynirli ekmek yiyoruz.",
    ],
    "fi": [
        "Talo seisoo mäen päällä.",
        "Kukaan ei osannut sanoa minulle, missä juna pysähtyy.",
        "Me syömme leipää ja juustoa.",
    ],
    "ru": ["Дом стоит на холме у реки.", "Никто не мог сказать мне, где останавливается поезд."],
    "uk": ["Будинок стоїть на пагорбі біля річки.", "Ніхто не міг сказати мені, де зупиняється потяг."],
    "el": ["Το σπίτι βρίσκεται πάνω σε ένα λόφο."],
    "ar": ["البيت يقع على تلة قرب النهر الكبير."],
    "he": ["הבית עומד על גבעה ליד הנהר הגדול."],
    "hi": ["घर एक पहाड़ी पर नदी के पास खड़ा है।"],
    "th": ["บ้านตั้งอยู่บนเนินเขาใกล้แม่น้ำ"],
    "zh": ["房子在山上，没有人能告诉我火车在哪里停。"],
    "ja": ["家は丘の上に立っていて、誰も知りません。"],
    "ko": ["집은 언덕 위에 있고 아무도 모릅니다."],
}


def test_the_language_of_a_sentence():
    pairs = [(language, sentence) for language, many in SENTENCES.items() for sentence in many]
    wrong = [
        (language, language_of(sentence), sentence) for language, sentence in pairs if language_of(sentence) != language
    ]
    assert len(wrong) <= 2, wrong  # sentences of five words, from one paragraph of each language
    assert set(SENTENCES) == set(LANGUAGES)


@pytest.mark.parametrize("text", ["", "12345 67890 !!! 12345", "Hello", "…", "\ud800" * 30])
def test_a_text_without_letters_has_no_language(text):
    assert language_of(text) is None


def test_the_trigram_model_is_a_distribution_and_likes_its_own_text():
    model = TrigramModel("the cat sat on the mat. " * 20)
    assert np.exp2(-model.bits.astype(float)).reshape(-1, round(len(model.bits) ** (1 / 3))).sum(1) == pytest.approx(1)
    assert model.bits_per_character("the cat sat on the mat") < 0.6 < 4 < model.bits_per_character("qzx vwk jjj")


# ---- Perplexity -----------------------------------------------------------------------------------------------------


def witten_bell(reference: str, context: str, letter: str) -> float:
    """The formula of `perplexity_filter.py`, one character at a time."""
    alphabet = len(set(reference)) + 1
    p = 1 / alphabet
    for k in range(1, ORDER + 1):
        h = context[len(context) - k + 1 :]
        places = [i for i in range(ORDER - 1, len(reference)) if reference[i - k + 1 : i] == h]
        followers = [reference[i] for i in places]
        if followers:
            u = len(set(followers))
            p = (followers.count(letter) + u * p) / (len(followers) + u)
    return p


def test_the_n_gram_model_is_its_formula_and_a_distribution():
    reference = "the cat sat on the mat, the rat sat on the cat"
    padded = "\n" * (ORDER - 1) + reference + "\n" * (ORDER - 1)
    model = NgramModel([reference])
    for text in ("the cat", "a hat", "XYZ the", "\n"):
        before = "\n" * (ORDER - 1) + text
        letters = [letter if letter in padded else "\0" for letter in before]
        nats = [
            -math.log(witten_bell(padded, "".join(letters[i - ORDER + 1 : i]), letters[i]))
            for i in range(ORDER - 1, len(before))
        ]
        assert model([text])[0] == pytest.approx(np.mean(nats), rel=1e-5)
    for context in ("the c", "zzzzz"):
        known = sum(witten_bell(padded, context.replace("z", "\0"), letter) for letter in [*set(padded), "\0"])
        assert known == pytest.approx(1)


def test_texts_have_the_perplexity_that_they_have_alone(monkeypatch):
    model = NgramModel(SENTENCES["en"] * 3)
    texts = ["", "The house", "x", "日本", "We eat " * 50, "stands on", "\ud800"]
    alone = [model([text])[0] for text in texts]
    for size in (10, 60, 10**6):
        monkeypatch.setattr("llmasos.datasets.cleaning.perplexity_filter.SLICE", size)
        assert model(texts) == pytest.approx(alone)
    assert alone[0] == 0


def test_another_model_judges_after_the_rules(tmp_path):
    texts = [f"{'good' if i % 3 else 'bad'} text number {i} of all of them" for i in range(30)]
    (tmp_path / "in.txt").write_text("\n\n".join([*texts, "short"]), encoding="utf-8")
    settings = CleaningSettings(perplexity_model="mine", max_perplexity=2.0, near_duplicates=1)

    def score(part):
        assert "short" not in part
        return [0.5 if "good" in text else 0.8 for text in part]

    report = clean(tmp_path / "in.txt", tmp_path / "out.jsonl", settings, score=score)
    assert report.rules == {"too short": 1, "perplexity": 10}
    assert report.max_perplexity == pytest.approx(2)


@pytest.mark.slow
def test_precision_and_recall_on_known_dirt_are_as_documented(tmp_path):
    documents = list(dirty_documents(stories("train", 2000), 0.5))
    reference = [story.text for story in stories("train", 3500)][2000:]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": each.text}) + "\n" for each in documents))
    (tmp_path / "reference.txt").write_text("\n\n".join(reference))

    def dropped(**rules) -> Counter:
        out = tmp_path / "out.jsonl"
        off = {"boilerplate": 0.0, "pii": "keep", "exact_duplicates": False, "near_duplicates": 1.0, "min_words": 0}
        clean(tmp_path / "in.jsonl", out, CleaningSettings(**{**off, **rules}))
        kept = [json.loads(line)["text"] for line in out.read_text().splitlines()]
        out.unlink()
        gone, next_kept = Counter(), 0
        for document in documents:
            if next_kept < len(kept) and kept[next_kept] == document.text:
                next_kept += 1
            else:
                gone[document.kind] += 1
        assert next_kept == len(kept)
        return gone

    truth = Counter(document.kind for document in documents)
    assert dropped(exact_duplicates=True) == {"duplicate": truth["duplicate"]}
    near = dropped(near_duplicates=0.7)
    assert near["duplicate"] == truth["duplicate"] and near["near duplicate"] > 0.85 * truth["near duplicate"]
    assert near.keys() == {"duplicate", "near duplicate"}
    assert dropped(languages="en") == {"german": truth["german"]}
    assert dropped(pii="drop") == {"private": truth["private"]}
    unlikely = dropped(reference=str(tmp_path / "reference.txt"))
    assert all(unlikely[kind] == truth[kind] for kind in ("german", "private", "boilerplate"))
    assert unlikely["typos"] > 0.75 * truth["typos"] and unlikely[""] <= 3 and not unlikely["duplicate"]


# ---- The whole ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    """A corpus of 300 good documents and every type of dirt, as (number, type, text)."""
    rng = random.Random(3)
    names = ("Ann", "Paul", "Mia", "Ben", "Ida", "Tom")
    verbs = ("found", "lost", "bought", "painted", "carried", "forgot", "cleaned", "borrowed")
    things = ("a red kite", "the old clock", "some green apples", "his drum", "a wooden boat", "the silver spoon")
    places = ("at the river", "in the garden", "behind the mill", "near the bridge", "on the hill", "under the roof")

    def story() -> str:
        lines = [f"{rng.choice(names)} {rng.choice(verbs)} {rng.choice(things)} {rng.choice(places)} {rng.randrange(99)} days later."
                 for _ in range(12)]  # fmt: skip
        return "\n".join(lines)

    originals = [("good", story()) for _ in range(300)]
    rows = list(originals)
    for kind, make in {
        "exact duplicate": lambda: rng.choice(originals)[1].upper(),
        "near duplicate": lambda: rng.choice(originals)[1].replace("later", "before", 1),
        "boilerplate removed": lambda: "Home | News | Contact\n" + story(),
        "personal data masked": lambda: (
            f"{story()}\nOn day {rng.randrange(9999)} write to {rng.choice(names).lower()}@example.org."
        ),
        "language: de": lambda: "\n".join(
            f"{rng.choice(names)} hat am {rng.randrange(99)}. Tag {rng.choice(('Äpfel', 'Brot', 'Holz'))} gefunden."
            for _ in range(8)
        ),
        "too short": lambda: "Click here",
    }.items():
        rows += [(kind, make()) for _ in range(20)]
    rng.shuffle(rows)
    rows.sort(key=lambda row: "duplicate" in row[0])  # an original comes first
    path = tmp_path_factory.mktemp("dirty") / "dirty.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for _, text in rows), encoding="utf-8")
    return path, rows


def test_every_kind_of_dirt_is_found_and_nothing_else(dirty, tmp_path):
    path, rows = dirty
    report = clean(path, tmp_path / "clean.jsonl", CleaningSettings(languages="en", near_duplicates=0.7))
    truth = {kind: sum(row[0] == kind for row in rows) for kind, _ in rows}
    found = dict(report.rules)
    # short documents that are equal to each other count as too short, German ones of three sentences as near copies
    assert {kind: found.pop(kind, 0) for kind in truth if kind != "good"} == pytest.approx(
        {kind: n for kind, n in truth.items() if kind != "good"}, abs=2
    )
    assert not found
    kept = [json.loads(line)["text"] for line in (tmp_path / "clean.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(kept) == report.n_kept
    good = [text for kind, text in rows if kind == "good"]
    assert len(set(good) - set(kept)) <= 2  # recall of good documents
    assert not any("@" in text or "Contact" in text or "Click" in text for text in kept)
    assert kept == [text for text in kept if text]


@pytest.mark.parametrize("ending", ["jsonl", "txt"])
def test_what_is_clean_stays_as_it_is(dirty, tmp_path, monkeypatch, ending):
    first, second = tmp_path / f"1.{ending}", tmp_path / f"2.{ending}"
    clean(dirty[0], first)
    monkeypatch.setattr("llmasos.datasets.cleaning.pipeline.PORTION", 10_000)  # other portions, same output
    report = clean(first, second)
    assert report.rules == {}
    assert second.read_bytes() == first.read_bytes()


def test_a_process_starts_without_what_only_the_pipeline_needs():
    program = "import sys, llmasos.datasets.cleaning.judging; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    needless = ("llmasos.datasets.text", "llmasos.datasets.catalog", "llmasos.datasets.cleaning.pipeline", "torch")
    assert "numpy" in modules and not set(needless) & set(modules)


@pytest.mark.slow
def test_the_output_does_not_depend_on_the_number_of_processes(dirty, tmp_path, monkeypatch):
    monkeypatch.setattr("llmasos.datasets.cleaning.pipeline.PORTION", 10_000)
    reports = [clean(dirty[0], tmp_path / f"{n}.jsonl", processes=n) for n in (1, 2, 3)]
    assert reports[0] == reports[1] == reports[2]
    assert len({(tmp_path / f"{n}.jsonl").read_bytes() for n in (1, 2, 3)}) == 1


ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from llmasos.cli.cli import run
from llmasos.datasets.cleaning import clean, pipeline
print("once", flush=True)
pipeline.PORTION = 10_000
sys.exit(run(lambda arguments: print(clean("in.jsonl", "out.jsonl", processes=2).n_documents, flush=True)))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
@pytest.mark.parametrize("is_stopped", [False, True])
def test_several_processes_do_not_run_the_users_script_again_and_stop_quietly(is_stopped, dirty, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(dirty[0].read_bytes() * (100 if is_stopped else 1))
    (tmp_path / "script.py").write_text(SCRIPT)
    settings = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(ROOT)},
        "text": True,
        "start_new_session": True,
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "script.py"], **settings, **pipes) as process:
        assert process.stdout.readline() == "once\n"
        if is_stopped:
            time.sleep(2)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it
        out, error = process.communicate(timeout=120)
    expected = ("", "stopped.\n", 130) if is_stopped else (f"{len(dirty[1])}\n", "", 0)
    assert (out, error, process.returncode) == expected
    assert (tmp_path / "out.jsonl").exists() is not is_stopped


def test_text_that_is_unlike_the_reference_is_dropped(tmp_path):
    sentences = SENTENCES["en"] + ["The old man walked along the road.", "She gave the boy an apple and a book."]
    rng = random.Random(0)
    good = [" ".join(rng.choices(sentences, k=6)) for _ in range(60)]
    noise = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz   ") for _ in range(200)) for _ in range(20)]
    (tmp_path / "reference.txt").write_text("\n\n".join(good[:40]), encoding="utf-8")
    (tmp_path / "in.txt").write_text("\n\n".join(good[40:] + noise), encoding="utf-8")
    settings = CleaningSettings(reference=str(tmp_path / "reference.txt"), near_duplicates=1, exact_duplicates=False)
    report = clean(tmp_path / "in.txt", tmp_path / "out.txt", settings)
    assert report.rules == {"perplexity": 20}
    assert report.n_kept == 20
    kept = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert report.max_perplexity is not None
    for limit in ({"max_perplexity": report.max_perplexity}, {"keep_fraction": 0.5}):
        (tmp_path / "out.txt").unlink()
        report = clean(tmp_path / "in.txt", tmp_path / "out.txt", dataclasses.replace(settings, **limit))
        assert report.rules == {"perplexity": 20}
        assert (tmp_path / "out.txt").read_text(encoding="utf-8") == kept


def test_documents_in_all_languages_stay(tmp_path):
    texts = [" ".join([*sentences, f"{language}."]) for language, sentences in SENTENCES.items()]
    (tmp_path / "in.txt").write_text("\n\n".join([*texts, " \t", "Two words"]), encoding="utf-8")
    report = clean(tmp_path / "in.txt", tmp_path / "out.jsonl")
    assert report.rules == {"too short": 2}
    kept = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in kept] == texts


def test_paragraphs_do_not_depend_on_where_blocks_end():
    text = "One.\nTwo.\n\nThree.\n\n\n\nFour\n"
    whole = list(paragraphs([text]))
    assert whole == ["One.\nTwo.", "Three.", "Four"]
    for i in range(len(text)):
        for j in range(i, len(text)):
            assert list(paragraphs([text[:i], text[i:j], text[j:]])) == whole


def test_a_line_of_many_megabytes(tmp_path):
    text = "word and another word " * 60_000
    (tmp_path / "in.txt").write_text(text, encoding="utf-8")
    report = clean(tmp_path / "in.txt", tmp_path / "out.txt")
    assert report.n_kept == 1
    assert report.n_characters == len(text)


@pytest.mark.parametrize(
    "content, output, flags, message",
    [
        (b"", "o.txt", [], "is empty"),
        (b"\0\1\2" * 99, "o.txt", [], "binary"),
        (b"\x7fELF\xff\xfe\0" * 99, "o.txt", [], "is a binary file (a zero byte at byte 6)"),
        (b"\xff\xfe\xfd abc" * 9, "o.txt", [], "UTF"),
        (b"a b c d e f", "o.csv", [], "no known ending"),
        (b"a b c d e f", "no/o.txt", [], "there is no folder"),
        (b"a b c d e f", "in.txt", [], "exists already"),
        (b"a b c d e f", "o.txt", ["--languages", "xx"], "known are"),
        (b"It rained on all of them.", "o.txt", ["--languages", "de"], "nothing is left"),
        (b"a b c d e f", "o.txt", ["--pii", "hide"], "mask"),
        (b"a b c d e f", "o.txt", ["--near-duplicates", "2"], "at most 1"),
        (b"a b c d e f", "o.txt", ["--processes", "0"], "between 1 and"),
        (b"a b c d e f", "o.txt", ["--reference", "in.txt"], "at least 20"),
        (b"a b c d e f", "o.txt", ["--report", "in.txt"], "exists already"),
        (b"a b c d e f", "o.txt", ["--max-perplexity", "9"], "needs a model of good text"),
        (b"a b c d e f", "o.txt", ["--keep-fraction", "0"], "above 0"),
        (
            b"a b c d e f",
            "o.txt",
            ["--reference", "in.txt", "--max-perplexity", "9", "--keep-fraction", "0.5"],
            "choose one",
        ),
        (b"a b c d e f", "o.txt", ["--perplexity-model", "storyworld-gpt"], "needs a limit"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    content, output, flags, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_bytes(content)
    assert main(["clean", "in.txt", output, *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert [path.name for path in tmp_path.iterdir()] == ["in.txt"]
    assert (tmp_path / "in.txt").read_bytes() == content


def test_the_command_says_what_was_dropped(dirty, tmp_path, capsys):
    out, report = tmp_path / "out.jsonl", tmp_path / "report.json"
    assert main(["clean", str(dirty[0]), str(out), "--languages", "en", "--report", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "language: de" in shown and "documents kept" in shown and "train" in shown
    assert json.loads(report.read_text(encoding="utf-8"))["n_kept"] == len(out.read_text(encoding="utf-8").splitlines())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_leaves_no_half_file(tmp_path):
    rng = random.Random(5)
    (tmp_path / "in.txt").write_text("\n\n".join(random_text(rng) for _ in range(3000)), encoding="utf-8")
    for seconds in (1.5, 2.5, 3.5):
        command = [
            sys.executable,
            "-m",
            "llmasos",
            "clean",
            str(tmp_path / "in.txt"),
            str(tmp_path / "out.txt"),
            "--processes",
            "2",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "out.txt").exists():
            assert (tmp_path / "out.txt").read_text(encoding="utf-8").count("<|endoftext|>") == 3000
            break
