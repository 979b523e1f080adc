"""Pairs from tables and parallel files, questions from tables and SQuAD's format, and the published datasets."""

import gzip
import hashlib
import json
import os

import pytest

from llmasos.datasets import QA, Answer, Pair, open_examples, readers
from llmasos.datasets.catalog import DATASETS, Dataset, File
from llmasos.errors import UserError

N = 30


def _lines(path, lines):
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def _parallel(folder, ending="", n_target=N):
    source = _lines(folder / f"a.de{ending}", [f"Satz {i}" for i in range(N)])
    return source, _lines(folder / f"a.en{ending}", [f"sentence {i}" for i in range(n_target)])


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_parallel_files_are_paired_line_by_line(tmp_path, ending):
    source, target = _parallel(tmp_path, ending)
    splits = open_examples("pairs", f"{source},{target}")
    expected = [Pair(f"Satz {i}", f"sentence {i}") for i in range(N)]
    assert sorted(splits.train + splits.val, key=expected.index) == expected and 0 < len(splits.val) <= N // 5
    val = open_examples("pairs", f"{source},{target}", val=f"{source},{target}")
    assert val.train == val.val == expected


def test_a_table_holds_pairs_and_a_path_with_a_comma_is_itself(tmp_path):
    path = tmp_path / "a,b.tsv"
    _lines(path, ["source\ttarget", *(f"Satz {i}\tsentence {i}" for i in range(N))])
    for format in ("pairs", "summaries"):
        splits = open_examples(format, path)
        assert Pair("Satz 3", "sentence 3") in splits.train + splits.val
    assert (
        open_examples("pairs", path, columns={"source": "target", "target": "source"})
        .train[0]
        .source.startswith("sentence")
    )


def test_unequal_numbers_of_lines_are_reported_for_both_files(tmp_path):
    source, target = _parallel(tmp_path, n_target=N - 1)
    with pytest.raises(UserError, match="a.de has 30 lines, but .*a.en has 29"):
        open_examples("pairs", f"{source},{target}", skip_bad=True)


def test_an_empty_line_is_reported_or_skipped_with_its_partner(tmp_path):
    source, target = _parallel(tmp_path)
    _lines(target, [*(f"sentence {i}" for i in range(4)), "  ", *(f"sentence {i}" for i in range(5, N))])
    with pytest.raises(UserError, match="a.en, line 5: the line is empty"):
        open_examples("pairs", f"{source},{target}")
    splits = open_examples("pairs", f"{source},{target}", skip_bad=True)
    assert len(splits.train + splits.val) == N - 1 and len(splits.skipped) == 1
    assert all(pair.source[5:] == pair.target[9:] for pair in splits.train + splits.val)


def test_invalid_pairs_are_reported(tmp_path):
    source, target = _parallel(tmp_path)
    both = f"{source},{target}"
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    for arguments, message in [
        ((str(source),), "a.de is one text file; give two parallel ones as SOURCE,TARGET"),
        ((f"{source},{tmp_path / 'no.en'}",), "no.en"),
        ((f"{tmp_path / 'torn.gz'},{target}",), "torn.gz cannot be unpacked"),
        ((both, {"source": "x"}), "this type of file has no columns"),
        ((both, None, None, False, False, "de-en"), "languages is 'de-en'"),
        (("storyworld:5", None, None, False, False, "de-fr"), "no translation 'de-fr'; choose one of de-en, en-de"),
    ]:
        with pytest.raises(UserError, match=message):
            open_examples("pairs", *arguments)


def _records(path, *records):
    path.write_text("\n".join(json.dumps(record) for record in records), encoding="utf-8")
    return path


def _row(i=0, **changes):
    context = f"  Mia 𝄞 saw {i} cats and {i} cats."
    return {"context": context, "question": f"What did Mia see? {i}", "answer": f"{i} cats", **changes}


def test_answers_are_cut_from_the_context_to_the_character(tmp_path):
    second = _row(99)["context"].rindex("99")
    rows = [_row(i) for i in range(N)] + [_row(99, answer_start=second), _row(98, answer="")]
    splits = open_examples("questions", _records(tmp_path / "a.jsonl", *rows))
    by_question = {question.question: question for question in splits.train + splits.val}
    for question in by_question.values():
        for answer in question.answers:
            assert question.context[answer.start : answer.start + len(answer.text)] == answer.text
    assert by_question["What did Mia see? 3"].answers == (Answer("3 cats", 12),), (
        "the first occurrence, the context unstripped"
    )
    assert by_question["What did Mia see? 99"].answers == (Answer("99 cats", second),)
    assert by_question["What did Mia see? 98"].answers == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer": "9 dogs"}, "the answer '9 dogs' does not occur in its context"),
        ({"answer": "9 cats", "answer_start": 3}, "is not at character 3 of its context"),
        ({"answer_start": -7}, "is not at character -7"),  # where Python would count from the end
        ({"answer_start": "x"}, "answer_start is 'x', expected a whole number"),
        ({"answer_start": 1e400}, "answer_start is inf"),
        ({"context": " ", "answer": ""}, "the context is empty"),
        ({"context": None}, "the context is empty"),
        ({"question": ""}, "the question is empty"),
    ],
)
def test_a_bad_question_is_reported_with_its_line_or_skipped(tmp_path, changes, message):
    path = _records(tmp_path / "a.jsonl", *(_row(i) for i in range(N)), _row(9, **changes))
    with pytest.raises(UserError, match=f"a.jsonl, line {N + 1}: .*{message}"):
        open_examples("questions", path)
    splits = open_examples("questions", path, skip_bad=True)
    assert len(splits.skipped) == 1 and len(splits.train + splits.val) == N


def _squad_file(*entries):
    context = "Mia saw a cat in the garden."
    paragraphs = [{"context": context, "qas": list(entries)}, {"context": "Nothing here.", "qas": []}]
    return {"version": "v2.0", "data": [{"title": "Cats", "paragraphs": paragraphs}]}


def _squad_entry(name, *answers, **more):
    return {"id": name, "question": " Who? ", "answers": [{"text": t, "answer_start": s} for t, s in answers], **more}


def test_squads_format_is_read_and_equal_answers_count_once(tmp_path):
    entries = [
        _squad_entry("1", ("Mia", 0), ("Mia", 0), ("a cat", 8)),
        _squad_entry("2", is_impossible=True, plausible_answers=[{"text": "Mia", "answer_start": 0}]),
        _squad_entry("3", ("cat", 10), is_impossible=False),
    ]
    path = _records(tmp_path / "a.json", _squad_file(*entries))
    questions = open_examples("questions", path, val=path).train
    assert questions[0] == QA("Mia saw a cat in the garden.", "Who?", (Answer("Mia", 0), Answer("a cat", 8)), "1")
    assert [len(question.answers) for question in questions] == [2, 0, 1]


def test_a_bad_squad_file_is_reported(tmp_path):
    for content in ('{"data": 3}', "{", '{"data": [{"paragraphs": [{"context": "x"}]}]}'):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(UserError, match="a.json is not in SQuAD's format"):
            open_examples("questions", tmp_path / "a.json")
    for entry in (_squad_entry("7", ("dog", 0)), _squad_entry("7"), {"id": "7", "question": "Who?"}):
        path = _records(tmp_path / "a.json", _squad_file(_squad_entry("1", ("Mia", 0)), entry))
        with pytest.raises(UserError, match="a.json, question 7: "):
            open_examples("questions", path, val=path)
        assert len(open_examples("questions", path, val=path, skip_bad=True).train) == 1
    with pytest.raises(UserError, match="this type of file has no columns"):
        open_examples("questions", path, columns={"context": "x"})


@pytest.fixture
def published(data_folders, monkeypatch):
    """Put small files of the published form into the user data folder, with the names and splits of the catalog."""
    user_data, _ = data_folders

    def put(name: str, contents: dict[str, bytes]) -> None:
        real = DATASETS[name]
        (user_data / name).mkdir()
        files = {}
        for split, file in real.splits.items():
            (user_data / name / file.name).write_bytes(contents[split])
            digest = hashlib.sha256(contents[split]).hexdigest()
            files[split] = File(file.name, len(contents[split]), digest, file.addresses)
        small = Dataset(name, real.title, real.license, tuple(files.values()), files, real.format, real.names)
        monkeypatch.setitem(DATASETS, name, small)

    return put


def test_multi30k_is_read_in_both_directions(published):
    published("multi30k", {
        f"{split}.{language}": gzip.compress(f"{split} eins {language} \n{split} zwei {language}\n".encode())
        for split in ("train", "val", "test") for language in ("de", "en")
    })  # fmt: skip
    forward, backward = open_examples("pairs", "multi30k"), open_examples("pairs", "multi30k", languages="en-de")
    assert forward.train == [Pair("train eins de", "train eins en"), Pair("train zwei de", "train zwei en")]
    assert [len(part) for part in (forward.train, forward.val, forward.test)] == [2, 2, 2]
    assert backward.test[0] == Pair("test eins en", "test eins de") and forward.fingerprint != backward.fingerprint


def test_sst_loses_only_its_escapes_and_has_five_or_two_classes(published):
    texts = [" It 's a writer\\/director 's `` \\*\\* '' .", " Fine .", " So-so .", " Bad .", " -LRB- A -RRB- mess ."]
    rows = [f"{i}\tx{i}\t{text}\t{4 - i}\n" for i, text in enumerate(texts)]
    content = "\tid\tsentence\tsentiment\n" + "".join(rows)
    published("sst", {"train": content.encode(), "val": content.encode()})
    five, two = open_examples("labeled_text", "sst5"), open_examples("labeled_text", "sst2")
    assert [example.label for example in five.train] == list(reversed(readers.SST5_LABELS))
    assert five.train[0].text == "It 's a writer/director 's `` ** '' ."
    assert five.train[4].text == "-LRB- A -RRB- mess ."
    assert [example.label for example in two.val] == ["positive", "positive", "negative", "negative"]


def test_squad_is_read_from_its_two_files_and_errors_in_them_are_reported(published):
    good, bad = _squad_entry("1", ("Mia", 0)), _squad_entry("2", ("dog", 3))
    contents = {"train": json.dumps(_squad_file(good, bad)).encode(), "val": json.dumps(_squad_file(good)).encode()}
    published("squad", contents)
    splits = open_examples("questions", "squad")
    assert len(splits.train) == len(splits.val) == 1 and len(splits.skipped) == 1 and splits.test is None


@pytest.mark.skipif(not os.environ.get("LLMASOS_DATA"), reason="LLMASOS_DATA is not set")
def test_the_real_multi30k_has_its_published_counts():
    splits = open_examples("pairs", "multi30k")
    assert (len(splits.train), len(splits.val), len(splits.test)) == (29_000, 1_014, 1_000)
    assert splits.test[0] == Pair(
        "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
        "A man in an orange hat starring at something.",
    )
