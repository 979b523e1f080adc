"""`--lora-rank`: every task that starts from a model can train an adapter, which is saved, resumed and used."""

from pathlib import Path

import pytest
import torch
from task_helpers import (
    RUNS,
    ctrl_c,
    evaluate,
    last_tensors,
    pull_the_plug,
    resume,
    stopping,
    the_error,
    train,
    workplace,
)

from llmasos import LLMTrainer
from llmasos.cli.cli import run as run_command
from llmasos.cli.export import main as export
from llmasos.cli.sample import main as sample
from llmasos.hub import load_pretrained
from llmasos.models import n_parameters
from llmasos.models.adapter import adapter_weights, lora_layers
from llmasos.training.checkpoints import all_checkpoints, model_folder

TASKS = {  # task → the run that it starts from, and its flags
    "text": ("text", "--task", "language-modeling", "--data", "stories.txt"),
    "bert": ("bert", "--task", "bert-pretraining", "--data", "stories.txt"),
    "classify": ("bert", "--task", "text-classification", "--data", "labeled.csv"),
    "answer": ("bert", "--task", "question-answering", "--data", "questions.jsonl"),
    "translate": ("translate", "--task", "translation", "--data", "pairs.tsv"),
    "instruct": ("text", "--task", "instruction-tuning", "--data", "pairs.tsv", "--columns",
                 "prompt=source,answer=target", "--skip-bad"),
}  # fmt: skip
LORA = ("--lora-rank", "2", "--learning-rate", "1e-2")


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A run of each family, and an adapter of each task."""
    with workplace(tmp_path_factory.mktemp("lora")):
        for name in ("text", "bert", "translate"):
            assert train(*RUNS[name], "--steps", "2", "--out", f"runs/{name}") == 0
        for name in TASKS:
            assert train_lora(name, f"lora/{name}") == 0
        yield


def train_lora(task: str, out: str, *flags: str) -> int:
    """Run `train.py` with an adapter for this task; returns its exit status."""
    run, *rest = TASKS[task]
    return train(*rest, "--init-from", f"runs/{run}", *LORA, "--out", out, *flags)


@pytest.mark.parametrize("task", TASKS)
def test_a_checkpoint_is_the_adapter_and_the_optimizer_holds_its_state_alone(task):
    checkpoint = all_checkpoints(Path(f"lora/{task}"))[-1]
    assert not (checkpoint / "model.safetensors").exists()
    model, _ = load_pretrained(f"lora/{task}", merge=False)
    weights = adapter_weights(model)
    assert lora_layers(model) and all(name in weights for name in weights)
    optimizer = last_tensors(f"lora/{task}", "optimizer")
    averages = {key.split("/", 1)[1]: tensor for key, tensor in optimizer.items() if key.startswith("exp_avg/")}
    assert {name: t.shape for name, t in averages.items()} == {name: w.shape for name, w in weights.items()}
    assert all(layer.lora_B.weight.any() for layer in lora_layers(model).values()), "every layer has learned"
    assert model.adapter.base == str(model_folder(f"runs/{TASKS[task][0]}").resolve())
    assert ("head" in model.adapter.new) == (task in ("classify", "answer"))
    base = load_pretrained(model.adapter.base)[0]
    assert n_parameters(load_pretrained(f"lora/{task}")[0]) - n_parameters(base) < 4500  # merged: the base and a head


@pytest.mark.parametrize(
    "task, how",
    [("classify", pull_the_plug), ("translate", ctrl_c), pytest.param("text", ctrl_c, marks=pytest.mark.slow)],
)
def test_a_stopped_run_resumes_to_the_same_bits(task, how):
    out = f"stopped-{task}-{how.__name__}"
    with stopping(out, 4, how):
        train_lora(task, out)
    assert resume(out) == 0
    for name in ("adapter_model", "optimizer"):
        a, b = last_tensors(out, name), last_tensors(f"lora/{task}", name)
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.slow
def test_a_base_that_has_changed_is_refused(capsys):
    assert train(*RUNS["bert"], "--steps", "2", "--out", "base") == 0
    with stopping("on-base", 4, ctrl_c):
        train(*TASKS["classify"][1:], "--init-from", "base", *LORA, "--out", "on-base")
    assert resume("base", "--steps", "4") == 0
    capsys.readouterr()
    assert resume("on-base") == 2
    assert "not the weights that it was trained on (their checksum differs)" in the_error(capsys)


def test_an_adapter_is_evaluated_used_and_exported(capsys):
    assert evaluate("lora/classify") == 0 and "accuracy" in capsys.readouterr().out
    texts = []
    for arguments in (["lora/text"], ["runs/text", "--adapter", "lora/text"], ["whole"]):
        if arguments == ["whole"]:
            assert run_command(export, ["lora/text", "adapter"]) == 0
            assert run_command(export, ["lora/text", "whole", "--merge"]) == 0
            said = capsys.readouterr().out
            assert "The adapter of " in said and "peft opens it on a GPT2LMHeadModel" in said
            assert "The model is saved in whole: transformers opens it as GPT2LMHeadModel" in said
            assert Path("whole/model.safetensors").exists() and not Path("adapter/model.safetensors").exists()
        assert run_command(sample, [*arguments, "--prompt", "Anna", "--temperature", "0", "--device", "cpu"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2]
    assert run_command(sample, ["lora/text", "--adapter", "lora/text", "--prompt", "Anna"]) == 2
    assert "is itself an adapter" in the_error(capsys)


def test_a_full_training_starts_from_the_merged_weights_and_another_adapter_is_refused(capsys):
    flags = ("--init-from", "lora/text", "--learning-rate", "1e-12", "--weight-decay", "0", "--steps", "1")
    assert train(*TASKS["text"][1:], *flags, "--out", "merged") == 0
    merged, _ = load_pretrained("lora/text")
    for name, tensor in last_tensors("merged").items():
        torch.testing.assert_close(tensor, dict(merged.named_parameters())[name], rtol=0, atol=1e-6)
    assert train(*TASKS["classify"][1:], "--init-from", "lora/classify", "--steps", "1", "--out", "again") == 0
    capsys.readouterr()
    assert train(*TASKS["text"][1:], "--init-from", "lora/text", *LORA, "--out", "refused") == 2
    assert "merge it first with python -m llmasos export lora/text" in the_error(capsys)
    assert not Path("refused").exists()


WRONG = {
    "no base": (("--lora-rank", "2"), "--lora-rank adapts the weights of --init-from"),
    "random base": (("--init-from", "runs/text", "--no-init-weights", "--lora-rank", "2"), "add --init-from"),
    "rank": (("--init-from", "runs/text", "--lora-rank", "33"), "has at most rank 32"),
    "no rank": (("--init-from", "runs/text", "--lora-rank", "0"), "lora_rank is 0; it must be a whole number of at l"),
    "layers": (("--init-from", "runs/text", "--lora-rank", "2", "--lora-targets", "atention"), "mean 'attention'?"),
    "frozen": (("--init-from", "runs/text", "--lora-rank", "2", "--freeze-layers", "1"), "leave out --freeze-layers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_adapted_gets_one_sentence_and_leaves_no_run_behind(case, capsys):
    flags, says = WRONG[case]
    capsys.readouterr()
    assert train(*TASKS["text"][1:], *flags, "--out", "refused") == 2
    assert says in the_error(capsys) and not Path("refused").exists()


def test_python_trains_saves_and_opens_an_adapter():
    model = LLMTrainer.from_pretrained("runs/bert", verbose=False)
    reviews = [(f"{name} was {word}.", word) for name in ("Anna", "Ben", "Emma") for word in ("lovely", "awful")]
    model.train(reviews, max_steps=2, lora_rank=2, verbose=False, out_dir="sdk")
    saved = model.classify("It was lovely.")
    model.save_pretrained("sdk-adapter")
    assert not Path("sdk-adapter/model.safetensors").exists()
    assert LLMTrainer.from_pretrained("sdk-adapter", verbose=False).classify("It was lovely.") == saved
    named = LLMTrainer.from_pretrained("runs/bert", adapter="sdk-adapter", verbose=False)
    assert named.classify("It was lovely.") == saved and named.name == "sdk-adapter"
    named.merge_adapter()
    named.save_pretrained("sdk-whole")
    again = LLMTrainer.from_pretrained("sdk-whole", verbose=False).classify("It was lovely.")
    assert again == {label: pytest.approx(value, abs=1e-5) for label, value in saved.items()}
