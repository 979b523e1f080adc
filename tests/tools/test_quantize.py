"""`python -m llmasos quantize`: the table of every family agrees with its float and its int8 model."""

import json
import re
from pathlib import Path

import pytest
import torch
from task_helpers import RUNS, evaluate, the_error, train, workplace, write_jsonl

from llmasos import hub
from llmasos.__main__ import main as llmasos
from llmasos.datasets import build_tokens
from llmasos.models import weight_bytes
from llmasos.storage import read_json
from llmasos.tasks.evaluate import setup_evaluation
from llmasos.tools import quantize
from llmasos.tools.bench.measurement import Measurement
from llmasos.tools.quantize import comparison
from llmasos.tools.quantize.comparison import mean_loss
from llmasos.training.recipe import read_recipe

LINES = {  # run → the lines of its table below memory and speed
    "text": ["nats per token", "perplexity", "bits per byte"],
    "bert": ["loss, nats per prediction", "masked-LM accuracy", "next-sentence accuracy"],
    "classify": ["loss, nats per prediction", "accuracy", "macro-F1", "calibration error"],
    "answer": ["loss, nats per prediction", "exact match", "F1"],
    "translate": ["loss, nats per prediction", "BLEU", "chrF2"],
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A run of each family, trained for three steps in fp32, the precision in which `quantize` evaluates, too."""
    with workplace(tmp_path_factory.mktemp("quantize")):
        for name in LINES:
            assert train(*RUNS[name], "--steps", "3", "--precision", "fp32", "--out", f"runs/{name}") == 0
        yield


def measure(model: str, *flags: str) -> dict[str, dict]:
    """The table from the command: name of the measurement → line."""
    quick = ("--tokens", "3", "--repetitions", "1", "--device", "cpu", "--json", "table.json")
    assert llmasos(["quantize", model, *quick, *flags]) == 0
    return {line["what"]: line for line in json.loads(Path("table.json").read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", LINES)
def test_the_table_of_each_family(name, capsys):
    lines = measure(f"runs/{name}")
    out = capsys.readouterr().out
    what, *speeds = list(lines)[:3]
    verb = "writing" if name in ("text", "translate") else "reading"
    assert what == "weights in memory" and speeds == [f"tokens/s {verb} 1 text", f"tokens/s {verb} 16 texts"]
    assert set(LINES[name]) <= set(lines) and not any("baseline" in line for line in lines)

    floats, rounded = (hub.load_pretrained(f"runs/{name}", quantize=quantize)[0] for quantize in (None, "int8"))
    memory = lines["weights in memory"]
    assert (memory["float"], memory["quantized"]) == tuple(
        f"{weight_bytes(m) / 1e6:,.2f} MB" for m in (floats, rounded)
    )
    assert memory["change"] == f"× {weight_bytes(rounded) / weight_bytes(floats):.2f}"
    for line in speeds:
        assert re.fullmatch(r"× \d+\.\d+ \(median .* … .*\)", lines[line]["change"])
    for line in lines.values():
        assert str(line["float"]) in out and line["quantized"] in out and line["change"] in out


@pytest.mark.parametrize("name", LINES)
def test_the_float_column_equals_eval(name):
    """The int8 column differs from it: rounding changes some digit of the loss.

    The classifier is an exception, because its new head has learned almost nothing after three steps, rounded or not.
    """
    assert evaluate(f"runs/{name}", "--beams", "1", "--json", "eval.json") == 0
    lines = measure(f"runs/{name}", "--all")
    for score in read_json(Path("eval.json"))["metrics"]:
        if "baseline" not in score["name"]:
            assert lines[score["name"]]["float"] == f"{score['value']:.{score['digits']}f}"
    changes = [line["change"].split()[0] for what, line in lines.items() if "loss" in what or "nats" in what]
    if name == "classify":
        floats, rounded = (hub.load_pretrained("runs/classify", quantize=form)[0] for form in (None, "int8"))
        assert not torch.equal(floats(torch.arange(5, 15)[None]), rounded(torch.arange(5, 15)[None]))
    else:
        assert any(float(change) != 0 for change in changes)


def test_the_loss_equals_the_validation_loss_of_training():
    recipe = read_recipe(read_json(Path("runs/translate/recipe.json")))
    model, tokenizer = hub.load_pretrained("runs/translate")
    task = setup_evaluation(recipe, model.config, tokenizer, "runs/translate")
    rows = [json.loads(line) for line in Path("runs/translate/metrics.jsonl").read_text().splitlines()]
    best = min(row["val_loss"] for row in rows if "val_loss" in row)
    assert mean_loss(task, model, task.examples("val")) == pytest.approx(best, rel=1e-5)


def test_a_model_trained_on_documents_reads_each_from_its_beginning():
    """With windows, which begin anywhere, its loss would be several times as high."""
    nats = measure("storyworld-gpt")["nats per token"]
    assert float(nats["float"]) == pytest.approx(0.2293, abs=0.03)  # of its card, here on a part of the documents


def test_a_chat_model_is_evaluated_by_its_answers():
    answer = {"role": "assistant", "content": "a number"}
    conversations = [{"messages": [{"role": "user", "content": f"What is {i}?"}, answer]} for i in range(3)]
    write_jsonl("chat.jsonl", conversations)
    lines = measure("storyworld-chat", "--data", "chat.jsonl")
    assert {"loss, nats per prediction", "exact answers", "ROUGE-L"} <= set(lines)
    assert "n = 3" in lines["exact answers"]["change"]  # all of a file of one's own


def test_each_section_is_announced_and_the_last_line_sums_up(capsys):
    lines = measure("runs/text")
    out = capsys.readouterr().out
    order = ("size …", "weights in", "speed, best of 1 …", "tokens/s", "quality, ", "nats")
    places = [out.index(f"\n{what}") for what in order]
    assert places == sorted(places)
    verdicts = [line["verdict"] for line in lines.values() if line["verdict"]]
    assert out.endswith(f"\n\nIn short: with int8 the model {', '.join(verdicts)}.\n")
    memory, one, many, quality = verdicts
    assert re.fullmatch(r"takes \d+% of the memory", memory) and "writes 1 text " in one and "writes 16 texts " in many
    assert re.fullmatch(r"and predicts .* \(nats per token [+-]\d+\.\d\d%\)", quality)


def test_a_speedup_and_a_loss_in_words():
    def describe(low, median, high):
        return comparison.describe_speedup(Measurement("", "", "", "×", median, median, low, high))

    assert describe(1.1, 1.2, 1.3) == "1.20 times as fast"
    assert describe(0.7, 0.8, 0.9) == "more slowly (× 0.80)"
    assert describe(0.9, 1.0, 1.1) == "at about the same speed (× 0.90 … 1.10)"
    assert comparison.describe_loss("loss", 2.0, 2.1) == "and predicts worse (loss +5.00%)"
    assert comparison.describe_loss("loss", 2.0, 1.9) == "and predicts better (loss -5.00%)"
    assert comparison.describe_loss("loss", 2.0, 2.001) == "and predicts as well as before (loss +0.05%)"


def test_a_subset_of_the_data_is_measured_by_default(monkeypatch, capsys):
    monkeypatch.setattr(quantize, "MAX_TOKENS", 50)
    monkeypatch.setattr(quantize, "MAX_EXAMPLES", 1)
    assert "n = 49)" in measure("runs/text")["perplexity"]["change"]
    assert "split val, its first 50 tokens:" in capsys.readouterr().out
    subset = measure("runs/classify")["accuracy"]["change"]
    sizes = re.search(r"split val, (\d) of its (\d+) examples:", capsys.readouterr().out)
    assert int(sizes[1]) == 1 < int(sizes[2]) and f"n = {sizes[1]})" in subset
    assert f"n = {sizes[2]})" in measure("runs/classify", "--all")["accuracy"]["change"]
    assert "examples:" not in capsys.readouterr().out


@pytest.mark.parametrize("n", [1, 5, 50, 10**6])
@pytest.mark.parametrize("split", ["val", "train", "all"])
def test_the_first_tokens_are_those_on_disk(n, split):
    write_jsonl("many.jsonl", [{"text": f"Anna saw {i} castles. " * 3} for i in range(20)])
    recipe = read_recipe(read_json(Path("runs/text/recipe.json"))).replace(data="many.jsonl")
    model, tokenizer = hub.load_pretrained("runs/text")
    task = setup_evaluation(recipe, model.config, tokenizer, "runs/text")
    data = build_tokens(task.data, tokenizer, progress=False)
    parts = [data.train, data.val] if split == "all" else [getattr(data, split)]
    ids = [id for part in parts for id in part.tokens.tolist()]
    first = comparison.first_tokens(task, split, n)
    assert first.ids.tolist() == ids[:n] and first.truncated == (n < len(ids))
    if not first.truncated:
        assert first.n_bytes == sum(part.n_bytes for part in parts)


def test_other_data_and_another_split(capsys):
    Path("own.txt").write_text("Anna saw the white castle. Ben saw the red house. " * 40)
    measure("runs/text", "--data", "own.txt")
    assert "data     own.txt, split all, " in capsys.readouterr().out
    measure("runs/text", "--split", "train")
    assert "split train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["runs/none"], "there is no run 'runs/none'"),
        (["runs/text", "--tokens", "0"], "--tokens is 0; it must be a whole number of at least 1"),
        (["runs/text", "--repetitions", "-1"], "--repetitions is -1"),
        (["runs/text", "--data", "none.txt"], "none.txt"),
        (["runs/text", "--split", "test"], "text has the splits train and val, not 'test'"),
        (["runs/classify", "--split", "test"], "has no split 'test'"),
        (["runs/text", "--task", "bert-pretraining"], "the task bert-pretraining is for models of the family bert"),
    ],
)
def test_a_mistake_is_explained_in_a_sentence(flags, message, capsys):
    assert llmasos(["quantize", *flags]) == 2
    assert message in the_error(capsys)


@pytest.mark.parametrize(
    "flags", [pytest.param([], marks=pytest.mark.slow), pytest.param(["--all"], marks=pytest.mark.long)]
)
def test_the_shipped_models_keep_their_quality(flags):
    """On the beginning of the validation split, and on all of it, the loss changes in the fourth digit."""
    for name in hub.resolve.shipped_models():
        lines = measure(name, *flags)
        change = lines.get("loss, nats per prediction", lines.get("nats per token"))["change"]
        assert abs(float(change.split()[0])) < 0.002, name
    assert not torch.is_inference_mode_enabled()
