"""The public evaluation harness (pip install "lm_eval[api]"), unmodified, scores a model through `/v1/completions`."""

import json
import os
import subprocess
import sys

import pytest
from serving_http_helpers import app_of, server_of

from llmasos.hub import save_pretrained
from llmasos.interpret import score_tokens

pytest.importorskip("lm_eval")
QUESTIONS = [
    ("Once there was a shy girl", [" called Anna.", " lantern the."]),
    ("There was a boy named", [" happy.", " Paul."]),
    ("Anna was sad because", [" she had lost", " she lost the had"]),
]
TASK = """
task: storyworld_choice
dataset_path: json
dataset_kwargs: {data_files: {test: DOCS}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_target: "{{gold}}"
doc_to_choice: "{{choices}}"
target_delimiter: ""
metric_list: [{metric: acc}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["tokenized_requests=True,add_bos_token=True", "tokenized_requests=False"])
def test_the_harness_gets_the_models_own_scores(tmp_path, settings):
    docs = [{"question": question, "choices": choices, "gold": 0} for question, choices in QUESTIONS]
    (tmp_path / "docs.jsonl").write_text("\n".join(map(json.dumps, docs)))
    (tmp_path / "task.yaml").write_text(TASK.replace("DOCS", str(tmp_path / "docs.jsonl")))
    with app_of("storyworld-gpt", device="cpu") as app, server_of(app) as server:
        model, tokenizer = app.served.model, app.served.tokenizer
        save_pretrained(tmp_path / "model", model, tokenizer)
        arguments = f"base_url={server.url}/v1/completions,model=storyworld-gpt,tokenizer={tmp_path / 'model'}"
        command = [sys.executable, "-m", "lm_eval", "--model", "local-completions", "--include_path", str(tmp_path),
                   "--tasks", "storyworld_choice", "--model_args", f"{arguments},max_length=256,{settings}",
                   "--batch_size", "2", "--log_samples", "--output_path", str(tmp_path / "out")]  # fmt: skip
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
        done = subprocess.run(command, env=os.environ | offline, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    [samples] = (tmp_path / "out").rglob("samples_*.jsonl")
    n_compared = 0
    for sample in map(json.loads, samples.read_text().splitlines()):
        question, choices = sample["doc"]["question"], sample["doc"]["choices"]
        for choice, [(logprob, greedy)] in zip(choices, sample["resps"], strict=True):
            scores = score_tokens(model, tokenizer, question + choice)[len(tokenizer.encode(question)) :]
            assert float(logprob) == pytest.approx(sum(score.logprob for score in scores), abs=1e-4)
            assert str(greedy) == str(all(score.rank == 0 for score in scores))
            n_compared += 1
    assert n_compared == 6
