"""`python -m llmasos quantize`: every family gets a table whose figures are those of its model, float and rounded."""

import json
import re
from pathlib import Path

import pytest
import torch
from task_helpers import RUNS, evaluate, the_error, train, workplace, write_jsonl

from llmasos import hub
from llmasos.__main__ import main as llmasos
from llmasos.commands.quantize import mean_loss
from llmasos.models import weight_bytes
from llmasos.storage import read_json
from llmasos.tasks import open_task
from llmasos.training.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("ignore:the text is too small for a vocabulary")
LINES = {  # run → what its table must say beside memory and speed
    "text": ["nats per token", "perplexity", "bits per byte"],
    "bert": ["loss, nats per prediction", "masked-LM accuracy", "next-sentence accuracy"],
    "classify": ["loss, nats per prediction", "accuracy", "macro-F1", "calibration error"],
    "answer": ["loss, nats per prediction", "exact match", "F1"],
    "translate": ["loss, nats per prediction", "BLEU", "chrF2"],
}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A run of each kind, trained a little."""
    with workplace(tmp_path_factory.mktemp("quantize")):
        for name in LINES:
            assert train(*RUNS[name], "--steps", "3", "--out", f"runs/{name}") == 0
        yield


def measure(model: str, *flags: str) -> dict[str, dict]:
    """The table as the command writes it: what was measured → the line."""
    quick = ("--tokens", "3", "--repetitions", "1", "--device", "cpu", "--json", "table.json")
    assert llmasos(["quantize", model, *quick, *flags]) == 0
    return {line["what"]: line for line in json.loads(Path("table.json").read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", LINES)
def test_the_table_of_each_family(name, capsys):
    lines = measure(f"runs/{name}")
    out = capsys.readouterr().out
    what, *speeds = list(lines)[:3]
    does = "writing" if name in ("text", "translate") else "reading"
    assert what == "weights in memory" and speeds == [f"tokens/s {does} 1 text", f"tokens/s {does} 16 texts"]
    assert set(LINES[name]) <= set(lines) and not any("baseline" in line for line in lines)

    floats, rounded = (hub.load_pretrained(f"runs/{name}", quantize=way)[0] for way in (None, "int8"))
    memory = lines["weights in memory"]
    assert (memory["float"], memory["int8"]) == tuple(f"{weight_bytes(m) / 1e6:,.2f} MB" for m in (floats, rounded))
    assert memory["change"] == f"× {weight_bytes(rounded) / weight_bytes(floats):.2f}"
    for line in speeds:
        assert re.fullmatch(r"× \d+\.\d+ \(median .* … .*\)", lines[line]["change"])
    for line in lines.values():
        assert str(line["float"]) in out and line["int8"] in out and line["change"] in out


@pytest.mark.parametrize("name", LINES)
def test_the_float_column_is_what_eval_says(name):
    """And the rounded one differs from it: with weights so rounded some digit of the loss moves."""
    assert evaluate(f"runs/{name}", "--beams", "1", "--json", "eval.json") == 0
    lines = measure(f"runs/{name}")
    for score in read_json(Path("eval.json"))["scores"]:
        if "baseline" not in score["name"]:
            assert lines[score["name"]]["float"] == f"{score['value']:.{score['digits']}f}"
    changes = [line["change"].split()[0] for what, line in lines.items() if "loss" in what or "nats" in what]
    assert any(float(change) != 0 for change in changes)


def test_the_loss_is_that_of_training():
    """What the last validation of the run said, over the same examples."""
    run = read_json(Path("runs/translate/recipe.json"))
    task = open_task(Recipe.from_dict(run))
    model, tokenizer = hub.load_pretrained("runs/translate")
    task.use(tokenizer, model.config)
    rows = [json.loads(line) for line in Path("runs/translate/metrics.jsonl").read_text().splitlines()]
    best = min(row["val_loss"] for row in rows if "val_loss" in row)
    assert mean_loss(task, model, task.encoded("val")) == pytest.approx(best, rel=1e-5)


def test_a_chat_model_is_judged_by_its_answers():
    told = [{"messages": [{"role": "user", "content": f"What is {i}?"}, {"role": "assistant", "content": "a number"}]}
            for i in range(3)]  # fmt: skip
    write_jsonl("chat.jsonl", told)
    lines = measure("storyworld-chat", "--data", "chat.jsonl")
    assert {"loss, nats per prediction", "exact answers", "ROUGE-L"} <= set(lines)
    assert "n = 3" in lines["exact answers"]["change"]  # all of a file of one's own


def test_other_data_and_another_split(capsys):
    Path("own.txt").write_text("Anna saw the white castle. Ben saw the red house. " * 40)
    measure("runs/text", "--data", "own.txt")
    assert "data     own.txt, split all" in capsys.readouterr().out
    measure("runs/text", "--split", "train")
    assert "split train" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["runs/none"], "there is no model 'runs/none'"),
        (["runs/text", "--tokens", "0"], "--tokens is 0; it must be at least 1"),
        (["runs/text", "--repetitions", "-1"], "--repetitions is -1"),
        (["runs/text", "--data", "none.txt"], "none.txt"),
        (["runs/text", "--task", "bert"], "the task bert is for models of the family bert"),
    ],
)
def test_what_is_wrong_gets_a_sentence(flags, said, capsys):
    assert llmasos(["quantize", *flags]) == 2
    assert said in the_error(capsys)


@pytest.mark.slow
def test_the_shipped_models_keep_their_quality():
    """On all that was held out, the loss moves in the fourth digit."""
    for name in hub.names.shipped_models():
        lines = measure(name)
        change = lines.get("loss, nats per prediction", lines.get("nats per token"))["change"]
        assert abs(float(change.split()[0])) < 0.002, name
    assert not torch.is_inference_mode_enabled()
