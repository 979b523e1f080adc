"""`python -m llmasos eval`: every task, on the run's own data and on a user's file, from runs and model folders."""

import random
import re
import shutil
from pathlib import Path

import pytest
from task_helpers import RUNS, evaluate, pair, the_error, train, workplace, write_csv, write_jsonl

from llmasos import __main__ as llmasos_main
from llmasos import hub
from llmasos.storage import read_json
from llmasos.tasks.evaluate import recipe_of
from llmasos.training.checkpoints import model_folder

FIRST = {  # name of a run → its first score
    "text": "nats per token", "documents": "nats per token", "bert": "masked-LM accuracy",
    "diffuse": "nats per token",
    "bert-alone": "masked-LM accuracy", "classify": "accuracy", "answer": "exact match", "translate": "BLEU",
    "embed": "recall@1", "summarize": "ROUGE-L", "names": "entity F1", "score": "mean squared error",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A run of each task, trained once for all tests, and a user's own file for some."""
    with workplace(tmp_path_factory.mktemp("eval")):
        for name, flags in RUNS.items():
            assert train(*flags, "--steps", "3", "--out", f"runs/{name}") == 0
        write_csv("reviews.csv", ("stars", "review"), [("glad", "Ben saw it. It was lovely."), ("sad", "It was awful."),
                                                       ("sad", "Awful!"), ("sad", "Anna ran.")])  # fmt: skip
        write_csv("surprise.csv", ("text", "label"), [("Ben saw it.", "glad"), ("It was.", "angry"), ("So.", "sad")])
        write_jsonl("own.jsonl", [{"passage": f"{name} lives in Rome.", "question": "Who?", "answer": name}
                                  for name in ("Anna", "Ben", "Clara")])  # fmt: skip
        Path("own.txt").write_text("Anna saw the white castle. Ben saw the red house. " * 40)
        Path("verse.txt").write_text("foxes run over hills\n" * 500)
        Path("own.de").write_text("eins\nzwei\ndrei\n")
        Path("own.en").write_text("one\ntwo\nthree\n")
        yield


def figures(out: str) -> dict[str, tuple[float, int]]:
    """The printed scores: name → value and number of examples."""
    found = re.findall(r"^([A-Za-z].*?) (-?\d[\d.]*) \(.*?n = ([\d,]+)", out, flags=re.MULTILINE)
    return {name: (float(value), int(n.replace(",", ""))) for name, value, n in found}


# On the run's own data


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_measured_on_what_it_held_out_with_the_figures_of_its_end(name, capsys):
    assert evaluate(f"runs/{name}", "--json", f"{name}.json") == 0
    out = capsys.readouterr().out
    assert "on the split val" in out and next(iter(figures(out))) == FIRST[name]
    if name not in ("text", "documents"):  # for these, training has already measured the loss
        results = read_json(Path(f"runs/{name}/results.json"))
        del results["step"]
        measured = read_json(Path(f"{name}.json"))
        if name == "score":  # depends on the machine: rounding, and correlations after 3 steps
            assert measured.pop("outcomes") == pytest.approx(results.pop("outcomes"), rel=1e-5)
            for one, other in zip(measured.pop("metrics"), results.pop("metrics"), strict=True):
                tolerance = {"rel": 1e-5} if one["name"] == "mean squared error" else {"rel": 0.05, "abs": 1e-6}
                assert one.keys() == other.keys() and (one["name"], one["n"]) == (other["name"], other["n"])
                assert [one[key] for key in ("value", "low", "high")] == pytest.approx(
                    [other[key] for key in ("value", "low", "high")], **tolerance
                )
        assert measured == results
    scores = read_json(Path(f"{name}.json"))["metrics"]
    assert {score["name"]: score["n"] for score in scores} == {one: n for one, (_, n) in figures(out).items()}
    for score in scores:
        assert figures(out)[score["name"]][0] == pytest.approx(score["value"], abs=0.51 * 10 ** -score["digits"])


@pytest.mark.parametrize("name", RUNS)
def test_a_report_is_the_same_every_time(name, capsys):
    outs = []
    for _ in range(2):
        assert evaluate(f"runs/{name}", "--split", "all") == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1]


@pytest.mark.parametrize("name", ["text", "classify", "answer", "translate"])
def test_all_is_train_and_val(name, capsys):
    n = {}
    for split in ("train", "val", "all"):
        assert evaluate(f"runs/{name}", "--split", split) == 0
        n[split] = figures(capsys.readouterr().out)[FIRST[name]][1]
    more = {"text": 1}.get(name, 0)  # the first token of the text is not predicted, and there is one beginning fewer
    assert n["all"] == n["train"] + n["val"] + more and n["train"] > n["val"]


@pytest.mark.parametrize("name", ["text", "classify"])
def test_a_split_that_there_is_not_is_named(name, capsys):
    assert evaluate(f"runs/{name}", "--split", "test") == 2
    assert re.search("splits? .*test|not 'test'", the_error(capsys))


def test_the_search_can_be_changed(capsys):
    flags = ("--beams", "1", "--length-penalty", "0")
    assert evaluate("runs/translate", *flags) == 0
    assert evaluate("runs/translate", "--beams", "0") == 2
    assert "beams is 0; it must be a whole number of at least 1." in the_error(capsys)


def test_another_measure_of_the_same_model(capsys):
    """A translation model can be evaluated on summarization: both map a text to a text."""
    assert evaluate("runs/translate", "--task", "summarization") == 0
    assert next(iter(figures(capsys.readouterr().out))) == "ROUGE-L"


# On one's own file


OWN = {  # name of a run → a user's file, its first score, and the number of examples
    "text": (("--data", "own.txt"), "nats per token", None),
    "bert-alone": (("--data", "own.txt"), "masked-LM accuracy", None),
    "classify": (("--data", "reviews.csv", "--columns", "text=review,label=stars"), "accuracy", 4),
    "answer": (("--data", "own.jsonl", "--columns", "context=passage"), "exact match", 3),
    "translate": (("--data", "own.de,own.en"), "BLEU", 3),
    "summarize": (("--data", "own.de,own.en"), "ROUGE-L", 3),
}


@pytest.mark.parametrize("name", OWN)
def test_all_of_a_file_of_ones_own_is_measured_on(name, capsys):
    flags, score, n = OWN[name]
    assert evaluate(f"runs/{name}", *flags) == 0
    out = capsys.readouterr().out
    assert "on the split all" in out and "own." in out or "reviews.csv" in out
    assert n is None or figures(out)[score][1] == n


def test_a_single_example_of_ones_own_is_enough(capsys):
    """Data that is only evaluated on need not be split, nor contain every label."""
    write_csv("single.csv", ("text", "label"), [("Ben saw it. It was lovely.", "glad")])
    assert evaluate("runs/classify", "--data", "single.csv", "--json", "single.json") == 0
    out = capsys.readouterr().out
    assert figures(out)["accuracy"][1] == 1 and "data     single.csv: single.csv, 1 examples\n" in out
    assert evaluate("runs/classify", "--data", "single.csv", "--split", "train") == 2
    assert "single.csv has no split 'train'; it has val" in the_error(capsys)


def test_own_data_inherits_nothing_that_belongs_to_the_data_of_the_run(capsys):
    """Neither its held-out file, nor its columns, nor the number of training examples."""
    rows = [(f"{name} was there.", mood) for name in ("Anna", "Ben", "Clara") for mood in ("glad", "sad")]
    write_csv("named.csv", ("t", "l"), rows)
    of_the_data = ("--columns", "text=t,label=l", "--val-data", "named.csv", "--train-examples", "4")
    flags = ["--data" if word == "--data" else "named.csv" if word == "labeled.csv" else word
             for word in RUNS["classify"]]  # fmt: skip
    assert train(*flags, *of_the_data, "--steps", "1", "--out", "runs/named") == 0
    assert evaluate("runs/named", "--data", "labeled.csv") == 0
    assert figures(capsys.readouterr().out)["accuracy"][1] == 30


def test_a_translator_of_a_data_set_is_measured_on_ones_own_files(monkeypatch, capsys):
    """Its recipe names languages, which a user's own files do not have."""
    monkeypatch.setattr("llmasos.datasets.storyworld.text_source.DEFAULT_SIZES", {"train": 12_000, "val": 3})
    flags = [word.replace("pairs.tsv", "storyworld:4") for word in RUNS["translate"]]
    flags[flags.index("--context-length") + 1] = "160"
    more = ("--languages", "en-de", "--steps", "1", "--eval-interval", "1", "--beams", "1")
    assert train(*flags, *more, "--out", "runs/en-de") == 0
    assert evaluate("runs/en-de", "--data", "own.en,own.de") == 0
    assert figures(capsys.readouterr().out)["BLEU"][1] == 3


def test_a_label_that_the_model_does_not_know_is_named_or_left_out(capsys):
    assert evaluate("runs/classify", "--data", "surprise.csv") == 2
    error = the_error(capsys)
    assert "surprise.csv, line 3: the label 'angry' did not occur in training; the known ones are glad, sad" in error
    assert evaluate("runs/classify", "--data", "surprise.csv", "--skip-bad") == 0
    out = capsys.readouterr().out
    assert "skipped  1 unusable examples; the first: surprise.csv, line 3: the label 'angry'" in out
    assert figures(out)["accuracy"][1] == 2
    write_csv("angry.csv", ("text", "label"), [("a", "angry"), ("b", "angry")])
    assert evaluate("runs/classify", "--data", "angry.csv", "--skip-bad") == 2
    assert "no example of angry.csv is usable; the last: angry.csv, line 3: the label 'angry'" in the_error(capsys)


def test_a_pair_longer_than_the_context_is_named_or_left_out(capsys):
    pairs = [pair(random.Random(number)) for number in range(4)]
    write_csv("long.tsv", ("source", "target"), [*pairs, ("eins " * 100, "one")], "\t")
    assert evaluate("runs/translate", "--data", "long.tsv") == 2
    assert "long.tsv, line 6: the source has" in the_error(capsys)
    assert evaluate("runs/translate", "--data", "long.tsv", "--skip-bad") == 0
    out = capsys.readouterr().out
    assert "skipped  1 unusable examples" in out and figures(out)["BLEU"][1] == 4


# From other folders


@pytest.mark.parametrize("name", ["text", "bert", "classify", "answer", "translate"])
def test_a_checkpoint_and_a_plain_model_folder_are_measured_alike(name, capsys, monkeypatch):
    """A plain folder has no recipe: its config says what the model is for, and the data must be named."""
    checkpoint, plain = model_folder(f"runs/{name}"), Path(f"plain-{name}")
    shutil.copytree(checkpoint, plain, ignore=shutil.ignore_patterns("state.json", "optimizer.safetensors"))
    data = RUNS[name][RUNS[name].index("--data") + 1]
    data = str(Path(data).resolve())
    reports = []
    for folder, flags in ((f"runs/{name}", ()), (str(checkpoint), ()), (str(plain), ("--beams", "2"))):
        assert evaluate(folder, "--data", data, *flags) == 0
        reports.append(capsys.readouterr().out.split("on the split all", 1)[1])
    monkeypatch.chdir(checkpoint)
    assert evaluate(".", "--data", data) == 0
    reports.append(capsys.readouterr().out.split("on the split all", 1)[1])
    assert reports[0] == reports[1] == reports[2] == reports[3]


def test_a_checkpoint_named_from_inside_knows_its_run(capsys, monkeypatch):
    """Otherwise it would not know the data, and evaluate on storyworld."""
    data = Path("labeled.csv").read_text()
    monkeypatch.chdir(model_folder("runs/classify"))
    Path("labeled.csv").write_text(data)
    assert evaluate(".") == 0
    assert figures(capsys.readouterr().out)["accuracy"][1] == 4  # two of each label
    Path("labeled.csv").unlink()


def test_a_plain_folder_is_measured_on_storyworld_if_no_data_is_named(monkeypatch, capsys):
    monkeypatch.setattr("llmasos.datasets.storyworld.text_source.DEFAULT_SIZES", {"train": 20, "val": 5})
    monkeypatch.setattr("llmasos.datasets.catalog.DEFAULT_SIZES", {"train": 20, "val": 5})
    shutil.copytree(model_folder("runs/answer"), "plain", ignore=shutil.ignore_patterns("state.json"))
    assert evaluate("plain") == 0
    out = capsys.readouterr().out
    assert "about 20 generated stories" in out and "exact match" in figures(out)


# What is refused


WRONG = {
    "no folder": (("runs/nothing",), "there is no folder runs/nothing"),
    "no model": (("cache",), "neither a run nor a model"),
    "no file": (("runs/classify", "--data", "nowhere.csv"), "there is no file, folder or dataset 'nowhere.csv'"),
    "no column": (("runs/classify", "--data", "reviews.csv"), "reviews.csv has no column 'label'"),
    "bad columns": (("runs/classify", "--data", "reviews.csv", "--columns", "text"), "columns is 'text'; write ROLE="),
    "unequal lines": (("runs/translate", "--data", "own.de,own.txt"), "own.de has 3 lines, but own.txt has 1"),
    "task of another family": (("runs/bert", "--task", "language-modeling"), "family gpt, and runs/bert is a bert"),
    "task without its head": (("runs/bert", "--task", "text-classification"), "runs/bert has no head"),
    "task of another head": (
        ("runs/answer", "--task", "text-classification"),
        "has a question-answering head",
    ),
    "task of no head": (("runs/classify", "--task", "bert-pretraining"), "runs/classify has a classifier"),
    "no such task": (("runs/classify", "--task", "sing"), "task is 'sing'; it must be one of: language-modeling"),
    "no documents": (("runs/bert", "--data", "verse.txt"), "verse.txt, split all: pairs that do not follow"),
    "no such split": (
        ("runs/classify", "--split", "dev"),
        "--split is 'dev'; it must be one of: train, val",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_gets_one_sentence(case, capsys):
    flags, says = WRONG[case]
    data = () if "--data" in flags or "--task" not in flags else ("--data", {"classify": "labeled.csv"}.get(
        flags[-1], "stories.txt"))  # fmt: skip
    assert evaluate(*flags, *data) == 2
    assert says in the_error(capsys)


def test_it_is_a_command_of_llmasos(capsys):
    assert llmasos_main.main(["eval", "runs/classify", "--device", "cpu"]) == 0
    assert "accuracy" in figures(capsys.readouterr().out)


@pytest.mark.parametrize("name, task", [
    ("storyworld-gpt", "language-modeling"), ("storyworld-chat", "instruction-tuning"),
    ("storyworld-bert", "bert-pretraining"),
    ("storyworld-de-en", "translation"),
])  # fmt: skip
def test_a_model_without_a_run_is_measured_at_what_it_was_made_for(name, task):
    assert recipe_of(hub.find_model_folder(name), hub.load_config(name), hub.load_tokenizer(name)).task == task
