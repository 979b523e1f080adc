"""Bad input to every task: one clear sentence with file and line and no run left behind, or skipped and counted."""

import random
from pathlib import Path

import pytest
from task_helpers import RUNS, pair, question, the_error, train, workplace, write_csv, write_jsonl

from llmasos.datasets.infer import infer_format
from llmasos.storage import read_json
from llmasos.training.checkpoints import all_checkpoints

SOUND_PAIRS = [pair(random.Random(number)) for number in range(20)]
TOO_LONG = ("eins " * 100, "one")  # for a context of 48


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """Good files for each task, and files with one error each."""
    with workplace(tmp_path_factory.mktemp("bad")):
        write_csv("other-labels.csv", ("text", "label"), [("Ben saw it.", "glad"), ("Ben was there.", "furious")])
        write_csv("no-label.csv", ("text", "label"), [("Ben saw it.", "glad"), ("Ben.", ""), ("He ran.", "sad"),
                                                      ("It rained.", "sad")])  # fmt: skip
        write_csv("all-glad.csv", ("text", "label"), [("Ben saw it.", "glad"), ("Ben was there.", "glad")])
        write_csv("ten-labels.csv", ("text", "label"), [(f"Text {i}", f"label {i % 10}") for i in range(60)])
        sound = [question(random.Random(number)) for number in range(10)]
        stray = {"context": "Ben lives here.", "question": "Who lives here?", "answer": "Clara"}
        write_jsonl("stray-answer.jsonl", [*sound[:5], stray, *sound[5:]])
        Path("cut-off.jsonl").write_text(Path("questions.jsonl").read_text()[:-20] + "\n")
        write_csv("empty-source.tsv", ("source", "target"), [*SOUND_PAIRS[:3], ("", "two"), *SOUND_PAIRS[3:]], "\t")
        write_csv("long-source.tsv", ("source", "target"), [*SOUND_PAIRS, TOO_LONG], "\t")
        write_csv("long-target.tsv", ("source", "target"), [TOO_LONG[::-1], *SOUND_PAIRS], "\t")
        write_csv("only-long.tsv", ("source", "target"), [TOO_LONG, TOO_LONG], "\t")
        write_csv("first-long.tsv", ("source", "target"), [TOO_LONG, *SOUND_PAIRS], "\t")
        for name, lines in (("three.de", "eins\nzwei\ndrei\n"), ("two.en", "one\ntwo\n"), ("gap.en", "one\n\nthree\n")):
            Path(name).write_text(lines)
        Path("many.de").write_text("".join(f"{source}\n" for source, _ in SOUND_PAIRS) + TOO_LONG[0] + "\n")
        Path("many.en").write_text("".join(f"{target}\n" for _, target in SOUND_PAIRS) + TOO_LONG[1] + "\n")
        Path("one-text.txt").write_text(" ".join(Path("stories.txt").read_text().split()))
        Path("verse.txt").write_text("foxes run over hills\n" * 500)
        yield


def given(name: str, *flags: str, **changed: str) -> list[str]:
    """A user's command for a task (`RUNS`), with other values for some flags, and with more flags."""
    words = list(RUNS[name])
    for flag, value in changed.items():
        words[words.index("--" + flag.replace("_", "-")) + 1] = value
    return [*words, *flags]


WRONG = {
    # Tables and their columns
    "no such column": (
        given("classify", "--columns", "text=review"), ["labeled.csv has no column 'review' for the text",
                                                        "--columns text=NAME", "its columns: 'text', 'label'"]),
    "no such column for questions": (
        given("answer", "--columns", "context=passage"), ["questions.jsonl has no column 'passage' for the context"]),
    "no such role": (given("classify", "--columns", "txt=text"), ["no column role 'txt'", "did you mean 'text'"]),
    "columns of a dataset": (given("classify", "--columns", "text=text", data="storyworld:60"), ["leave --columns"]),
    "no table": (given("classify", data="stories.txt"), ["stories.txt ends in '.txt', expected a table"]),
    "one text for pairs": (given("translate", data="stories.txt"), ["give two parallel ones as SOURCE,TARGET"]),
    "data of another task": (given("classify", data="multi30k"), ["has the format pairs, not labeled_text"]),
    # Labels
    "unseen label": (
        given("classify", "--val-data", "other-labels.csv"), ["other-labels.csv, line 3: the label 'furious'",
                                                              "does not occur in labeled.csv", "--skip-bad"]),
    "no label": (given("classify", data="no-label.csv"), ["no-label.csv, line 3: the label is empty"]),
    "one label": (given("classify", data="all-glad.csv"), ["all texts of all-glad.csv have the label 'glad'"]),
    "label lost with --train-examples": (
        given("classify", "--train-examples", "3", data="ten-labels.csv"), ["ten-labels.csv, line ", "the known ones"]),
    # Answers
    "stray answer": (
        given("answer", data="stray-answer.jsonl"), ["stray-answer.jsonl, line 6: the answer 'Clara' does not occur",
                                                     "--skip-bad"]),
    "half a line": (given("answer", data="cut-off.jsonl"), ["cut-off.jsonl, line 30", "JSON"]),
    # Pairs
    "empty source": (given("translate", data="empty-source.tsv"), ["empty-source.tsv, line 5: the source is empty"]),
    "empty line": (given("translate", data="three.de,gap.en"), ["gap.en, line 2: the line is empty"]),
    "unequal lines": (
        given("translate", data="three.de,two.en"), ["three.de has 3 lines, but two.en has 2", "same number"]),
    "long source": (
        given("translate", data="long-source.tsv"), ["long-source.tsv, line 22: the source has 10", "context of 48",
                                                     "--skip-bad"]),
    "long target": (given("summarize", data="long-target.tsv"), ["long-target.tsv, line 2: the target has 100 tokens"]),
    "long line of two files": (given("translate", data="many.de,many.en"), ["many.de, line 21: the source has 10"]),
    "long source, held out": (
        given("translate", "--val-data", "first-long.tsv"), ["first-long.tsv, line 2: the source has"]),
    "only long ones, all left out": (
        given("translate", "--val-data", "only-long.tsv", "--skip-bad"), ["no example of the split val of", "is usable",
                                                                          "only-long.tsv, line 3"]),
    "languages of one's own file": (given("translate", "--languages", "de-en"), ["languages is 'de-en'"]),
    # Text for BERT
    "no sentences": (
        given("bert", data="verse.txt"), ["verse.txt, split train", "and there are 0", "--no-next-sentence"]),
    "no [MASK]": (given("bert", tokenizer="bpe"), ["[MASK]", "this bpe tokenizer", "use a wordpiece tokenizer"]),
    "no [MASK], words alone": (given("bert-alone", tokenizer="char"), ["[MASK]", "this char tokenizer"]),
    # Incompatible settings
    "bert with a gpt": (given("bert", model="gpt-laptop"), ["family bert, and gpt-laptop is a gpt"]),
    "text with a bert": (given("text", model="bert-laptop"), ["family gpt, and bert-laptop is a bert"]),
    "translate with a bert": (given("translate", model="bert-laptop"), ["family transformer, and bert-laptop"]),
    "columns for text": (given("text", "--columns", "text=a"), ["has no field 'a'", "leave the columns out"]),
    "a label for bert": (given("bert", "--columns", "label=a"), ["this task reads text alone", "text=NAME"]),
    "a second text for a dataset": (
        given("text", "--val-data", "one-text.txt", data="storyworld:50"), ["a dataset with its own splits"]),
    "a second text that is not there": (given("text", "--val-data", "nothing.txt"), ["no file", "'nothing.txt'"]),
    "skip for text": (given("text", "--skip-bad"), ["--skip-bad means nothing"]),
    # Contexts without room
    "context for a pair": (given("translate", context_length="3"), ["pairs.tsv, line ", "context of 3"]),
    "context for a text": (given("classify", context_length="2"), ["a context of 2 tokens has no room for a text"]),
    "context for a question": (given("answer", context_length="4"), ["windows of 4 tokens"]),
    "context for sentences": (given("bert", context_length="4"), ["use a longer context"]),
    "context for masks": (given("bert-alone", context_length="3"), ["a context of 3 tokens has no room for a text"]),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_gets_one_sentence_and_leaves_no_run_behind(case, capsys):
    words, says = WRONG[case]
    assert train(*words, "--out", "run") == 2
    error = the_error(capsys)
    assert all(part in error for part in says), error
    assert not Path("run").exists() and len(error) < 450


@pytest.mark.parametrize("columns", ["text", "text=", "=review", "text:review", "", "text=a,,", "text=text,text=label"])
def test_columns_that_are_not_written_as_they_must_be(columns, capsys):
    assert train(*given("classify"), "--columns", columns, "--out", "run") == 2
    assert f"columns is {columns!r}; write ROLE=NAME,…, for example text=review,label=stars" in the_error(capsys)


# Left out and counted


SKIPPED = {
    "unseen label": (
        given("classify", "--val-data", "other-labels.csv"), "other-labels.csv, line 3: the label 'furious'", 30 + 1),
    "stray answer": (given("answer", data="stray-answer.jsonl"), "stray-answer.jsonl, line 6: the answer 'Clara'", 10),
    "empty source": (
        given("translate", data="empty-source.tsv"), "empty-source.tsv, line 5: the source is empty", 20),
    "empty line": (given("translate", data="three.de,gap.en"), "gap.en, line 2: the line is empty", 2),
    "long source": (given("translate", data="long-source.tsv"), "long-source.tsv, line 22: the source has 10", 20),
    "long source, held out": (
        given("summarize", "--val-data", "first-long.tsv"), "first-long.tsv, line 2: the source has 101", 40 + 20),
}  # fmt: skip


@pytest.mark.parametrize("case", SKIPPED)
def test_skip_bad_counts_what_it_leaves_out_names_the_first_and_goes_on(case, capsys):
    words, first, left = SKIPPED[case]
    out = f"skipped-{case.replace(' ', '-').replace(',', '')}"
    assert train(*words, "--skip-bad", "--out", out) == 0
    printed = capsys.readouterr().out
    assert f"skipped  1 unusable examples; the first: {first}" in printed
    tokens = next(line for line in printed.splitlines() if line.startswith("tokens "))
    assert sum(counts(tokens)) == left
    assert read_json(Path(out, "results.json"))["step"] == 6 and all_checkpoints(Path(out))


def counts(line: str) -> tuple[int, int]:
    """The numbers of training and held-out examples, from the line that begins with "tokens"."""
    words = line.partition(": ")[2].split()
    return int(words[0]), int(words[words.index("held") - 1])


def test_nothing_is_said_about_skipping_where_nothing_was_skipped(capsys):
    assert train(*given("translate"), "--skip-bad", "--out", "sound") == 0
    assert "skipped" not in capsys.readouterr().out


@pytest.mark.parametrize("is_listed, flags", [(False, ()), (True, ()), (False, ("--no-next-sentence",))])
def test_a_single_text_is_learned_from_with_pairs_from_within_it(is_listed, flags, capsys):
    data = [Path("one-text.txt").read_text()]
    name = "one-text.txt" if not is_listed else infer_format(data).data  # a file, or in memory
    out = f"one-text-{is_listed}-{len(flags)}"
    assert train(*given("bert", *flags, data=name), "--out", out) == 0
    assert ("come from one text, because there is no other" in capsys.readouterr().out) is not bool(flags)


def test_texts_longer_than_the_context_lose_their_middle_and_are_counted(capsys):
    assert train(*given("classify", context_length="10"), "--out", "cut") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("cut "))
    assert line == "cut      30 of 30 texts are longer than the context of 10 tokens; their middle is left out"
