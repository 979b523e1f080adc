"""Common forms of data, in each way into the library: train, eval, and both in the SDK."""

import gzip
import json
from pathlib import Path

import pytest
from task_helpers import BERT, GPT, TRANSFORMER, the_error, train, workplace

from llmasos import LLMTrainer
from llmasos.cli.eval import main as eval_main

pytestmark = pytest.mark.slow

N = 40
STORIES = [f"Once there was a girl called Anna {i}. She sat on the mat." for i in range(N)]
ALPACA = [{"instruction": f"Shout {i}.", "input": "hello" if i % 2 else "", "output": "HELLO"} for i in range(N)]
ROWS = [
    {"context": f"Anna {i} lives here.", "question": "Who?", "answers": {"text": ["Anna"], "answer_start": [0]}}
    for i in range(N)
]
FORMS = {  # file → its content, the task, the flags of the model, the columns
    "stories.txt.gz": (gzip.compress("<|endoftext|>".join(STORIES).encode()), "language-modeling", GPT, None),
    "texts.json": (json.dumps(STORIES).encode(), "language-modeling", GPT, None),
    "alpaca.json": (json.dumps(ALPACA, indent=1).encode(), "instruction-tuning", GPT, None),
    "cola.tsv": ("".join(f"gj04\t{i % 2}\t\tThe cat {i} sat.\n" for i in range(N)).encode("utf-16"),
                 "text-classification", BERT, "text=4,label=2"),
    "excel.csv": ("sep=;\r\ntext;label\r\n" + "".join(f"t, {i};{'ab'[i % 2]}\r\n" for i in range(N)),
                  "text-classification", BERT, None),
    "rows.jsonl": ("\n".join(map(json.dumps, ROWS)), "question-answering", BERT, None),
    "pairs.csv": ("source,target\n" + "".join(f"eins\r\u2028{i},one {i}\n" for i in range(N)), "translation",
                  TRANSFORMER, None),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with workplace(tmp_path_factory.mktemp("forms")):
        for name, (content, *_) in FORMS.items():
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        yield


@pytest.mark.parametrize("name", FORMS)
def test_a_common_form_is_learned_and_evaluated_in_every_way(name, capsys):
    _, task, flags, columns = FORMS[name]
    named = ["--columns", columns] if columns else []
    run = f"run-{name}"
    assert train("--task", task, "--data", name, *flags, *named, "--out", run) == 0, the_error(capsys)
    assert eval_main([run, "--data", name, "--device", "cpu", *named]) == 0
    assert "skipped" not in capsys.readouterr().out
    model = LLMTrainer.from_pretrained(run, device="cpu")
    model.train(name, eval_data=name, task=task, max_steps=1, columns=columns, out_dir=f"{run}-sdk")
    if not columns:
        assert model.evaluate(name, task=task).metrics
