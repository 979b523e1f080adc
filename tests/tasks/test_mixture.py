"""`--data a.txt=0.7 --data b.txt=0.3`: a run on a mixture is resumed bit for bit; other tasks report an error."""

from pathlib import Path

import pytest
from task_helpers import assert_same_weights, ctrl_c, resume, stopping, the_error, train, workplace

SMALL = ["--n-layers", "1", "--n-heads", "1", "--d-model", "8", "--d-ff", "16", "--context-length", "16",
         "--tokenizer", "byte", "--batch-size", "4", "--steps", "6"]  # fmt: skip
MIXED = ["--data", "a.txt=0.7", "--data", "b.txt=0.3"]


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with workplace(tmp_path_factory.mktemp("mixture")):
        Path("a.txt").write_text("one two three four. " * 60)
        Path("b.txt").write_text("FIVE SIX SEVEN. " * 30)
        yield


@pytest.mark.slow
def test_a_mixture_is_trained_on_and_resumed_bit_for_bit(capsys):
    assert train(*SMALL, *MIXED, "--out", "whole") == 0
    out = capsys.readouterr().out
    assert "0.7 a.txt + 0.3 b.txt" in out and "70.0% a.txt, read" in out
    with stopping("parts", 3, ctrl_c):
        assert train(*SMALL, *MIXED, "--out", "parts") == 130
    assert resume("parts") == 0
    assert_same_weights("whole", "parts")


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--data", "a.txt", "--data", "b.txt"], "give each its weight: a.txt=0.5,b.txt=0.5"),
        (["--task", "bert-pretraining", "--model", "bert-laptop", *MIXED], "takes no mixture"),
        (["--task", "text-classification", "--model", "bert-laptop", *MIXED], "only text without labels"),
    ],
)
def test_what_cannot_be_mixed(flags, message, capsys):
    assert train(*flags, "--out", "no") == 2
    assert message in the_error(capsys)
