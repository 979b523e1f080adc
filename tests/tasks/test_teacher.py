"""`--teacher`: a student of any size learns from a model of the same task; such a run is resumed bit for bit."""

from pathlib import Path

import pytest
import torch
from task_helpers import (
    RUNS,
    SHORT,
    assert_same_weights,
    ctrl_c,
    last_tensors,
    resume,
    stopping,
    the_error,
    train,
    workplace,
)

from llmasos.hub import load_config
from llmasos.tokenizers import load_tokenizer
from llmasos.training.checkpoints import model_folder

STUDENT = ("--n-layers", "1", "--n-heads", "2", "--d-model", "16", "--context-length", "48")


def student_of(name: str) -> tuple[str, ...]:
    """The flags of a run of this task for a smaller model, which uses its teacher's tokenizer."""
    flags = dict(zip(RUNS[name][::2], RUNS[name][1::2], strict=False)) if name != "bert-alone" else {}
    return ("--task", flags["--task"], "--data", flags["--data"], "--model", flags["--model"], *STUDENT)


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A teacher for each task."""
    with workplace(tmp_path_factory.mktemp("teacher")):
        for name in ("text", "classify", "translate"):
            assert train(*RUNS[name], "--steps", "3", "--out", f"runs/{name}") == 0
        yield


@pytest.mark.parametrize("name", ["classify", "translate", pytest.param("text", marks=pytest.mark.slow)])
def test_a_smaller_student_learns_from_its_teacher(name):
    flags = (*student_of(name), "--seed", "3")
    assert train(*flags, "--teacher", f"runs/{name}", "--out", f"student/{name}") == 0
    assert load_config(model_folder(f"student/{name}")).d_model == 16
    tokenizers = [load_tokenizer(Path(run, name, "tokenizer")).fingerprint() for run in ("runs", "student")]
    assert tokenizers[0] == tokenizers[1]
    # With the weight 0 it learns from the text alone, as without a teacher.
    assert train(*flags, "--teacher", f"runs/{name}", "--distillation-weight", "0", "--out", f"alone/{name}") == 0
    taught, alone = (last_tensors(f"{run}/{name}") for run in ("student", "alone"))
    assert any(not torch.equal(taught[key], alone[key]) for key in taught)


@pytest.mark.slow
def test_a_stopped_student_resumes_to_the_same_bits_and_only_with_its_teacher(capsys):
    flags = (*student_of("classify"), "--teacher", "runs/classify", "--out")
    assert train(*flags, "whole") == 0
    with stopping("stopped", 4, ctrl_c):
        train(*flags, "stopped")
    assert resume("stopped") == 0
    assert_same_weights("stopped", "whole")
    with stopping("other", 4, ctrl_c):
        train(*flags, "other")
    assert resume("runs/classify", "--steps", "6") == 0
    capsys.readouterr()
    assert resume("other") == 2 and "the weights of --teacher have changed" in the_error(capsys)


WRONG = {
    "another family": (("--teacher", "runs/translate"), "runs/translate is a transformer"),
    "no model": (("--teacher", "runs/nothing"), "there is no folder runs/nothing"),
    "tokenizer": (("--teacher", "runs/text", "--tokenizer", "char"), "leave --tokenizer out"),
    "context": (("--teacher", "runs/text", "--context-length", "96"), "give the student --context-length 48"),
    "temperature": (("--teacher", "runs/text", "--distillation-temperature", "0"), "must be a number above 0"),
    "smoothing": (("--teacher", "runs/text", "--label-smoothing", "0.1"), "add --label-smoothing 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_teacher_gets_one_sentence_and_leaves_no_run_behind(case, capsys):
    flags, says = WRONG[case]
    capsys.readouterr()
    assert train(*student_of("text"), *flags, "--out", "refused") == 2
    assert says in the_error(capsys) and not Path("refused").exists()


def test_a_student_with_another_vocabulary_or_other_targets_is_refused(capsys):
    text = ("--task", "language-modeling", "--data", "stories.txt")
    assert train(*text, *RUNS["text"][4:6], *STUDENT, "--tokenizer", "char", "--steps", "1", "--out", "runs/char") == 0
    capsys.readouterr()
    assert train(*text, "--init-from", "runs/char", "--teacher", "runs/text", "--out", "refused") == 2
    assert "has another vocabulary than the student" in the_error(capsys)
    answer = (*student_of("classify")[4:], "--task", "question-answering", "--data", "questions.jsonl")
    assert train(*answer, "--teacher", "runs/classify", *SHORT, "--out", "refused") == 2
    assert "--teacher is for tasks with one prediction" in the_error(capsys)
