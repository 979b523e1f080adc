"""Adding a task takes one file and one row of `llmasos/capabilities.py`; flags, runs, `eval` and the SDK offer it."""

from dataclasses import replace
from pathlib import Path

from task_helpers import RUNS, evaluate, train, workplace
from torch import Tensor

from llmasos import LLMTrainer
from llmasos.capabilities import CAPABILITIES, TASKS
from llmasos.storage import read_json
from llmasos.tasks import Task, task_class
from llmasos.tasks.text_classification import TextClassification


class LengthPrediction(TextClassification):
    """A new task: is a text long or short? (The labels of the data are replaced.)"""

    @classmethod
    def open_data(cls, recipe, eval_only=False):
        data = super().open_data(recipe, eval_only)
        for split in (data.train, data.val):
            split[:] = [replace(e, label="long" if len(e.text) > 40 else "short") for e in split]
        return data


def test_a_row_and_a_class_make_a_task(tmp_path, monkeypatch, capsys):
    row = replace(TASKS["text-classification"], implementation=f"{__name__}:LengthPrediction")
    monkeypatch.setitem(TASKS, "length-prediction", row)
    with workplace(tmp_path):
        flags = ("--task", "length-prediction", *RUNS["classify"][2:])
        assert train(*flags, "--out", "run") == 0
        assert read_json(Path("run/recipe.json"))["task"] == "length-prediction"
        assert "labels   long, short" in capsys.readouterr().out
        assert evaluate("run") == 0 and "accuracy" in capsys.readouterr().out
        model = LLMTrainer.from_pretrained("run", device="cpu")
        assert set(model.classify("Ben ran.")) == {"long", "short"}
        assert isinstance(model.embed("Ben ran."), Tensor)
        assert model.evaluate("labeled.csv", task="length-prediction").metrics[0].name == "accuracy"
        training = model.train("labeled.csv", task="length-prediction", steps=1, out="further")
        assert training.steps == 1
        assert train("--task", "no-such-task", "--out", "other") == 2
        assert "question-answering, text-embedding, length-prediction" in capsys.readouterr().err


def test_every_row_names_a_class_a_format_and_a_capability():
    for name, row in TASKS.items():
        assert issubclass(task_class(name), Task), name
        assert row.capability in CAPABILITIES and hasattr(LLMTrainer, CAPABILITIES[row.capability].method)
        assert set(row.families) <= set(CAPABILITIES[row.capability].families)
        assert row.head in CAPABILITIES[row.capability].heads
