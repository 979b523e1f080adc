"""`python -m llmasos bias` and `memorization`: with a known model, and with wrong input."""

import json
import math

import pytest

from llmasos.__main__ import main
from llmasos.sdk import LLMTrainer

TEMPLATE = {"template": "Once there was a {boy|girl} called {name}", "continuations": [". He", ". She"],
            "name": ["Paul", "Anna", "Max"]}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return LLMTrainer.from_pretrained("storyworld-gpt")


def test_the_pronoun_depends_on_the_noun(tmp_path, capsys, model):
    file = tmp_path / "templates.jsonl"
    file.write_text(json.dumps(TEMPLATE) + "\n")
    assert main(["bias", "storyworld-gpt", str(file), "--temperature", "0.25", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "difference of log odds" in out and "3 pairs" in out and "sampled at temperature 0.25" in out
    assert "a boy called" in out and "a girl called" in out
    report = model.measure_bias(file)
    assert report.difference.value > 1.0, "after a boy, 'He' is more likely than after a girl"
    assert str(report) in out


def test_exposure_is_by_rank_among_the_candidates(tmp_path, capsys, model):
    codes = [str(code) for code in range(100, 140)]
    (tmp_path / "codes.txt").write_text("\n".join(codes) + "\n\n")
    flags = ["--canary", "The code is {}.", "--secret", "117", "--candidates", str(tmp_path / "codes.txt")]
    assert main(["memorization", "storyworld-gpt", *flags, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    bits = model.exposure("The code is {}.", "117", codes)
    assert f"exposure {bits:.2f} bits of at most {math.log2(40):.2f}" in out and 0 <= bits <= math.log2(40)


def test_texts_of_its_world_are_told_from_others(tmp_path, capsys, model):
    stories = [f"Once there was a {word} girl called Anna, who lived by the lake." for word in ("shy", "brave", "kind")]
    others = [f"Invoice number {n}: please pay the amount within {n} days." for n in (3, 5, 8, 9)]
    for name, texts in (("in", stories), ("out", others)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = ["--members", str(tmp_path / "in.jsonl"), "--others", str(tmp_path / "out.jsonl"), "--device", "cpu"]
    assert main(["memorization", "storyworld-gpt", *flags]) == 0
    assert "AUC 1.000" in capsys.readouterr().out
    assert model.membership_inference(stories, others).auc.value == 1.0
    assert main(["memorization", "storyworld-gpt", *flags, "--reference", "storyworld-gpt"]) == 0
    assert "AUC 0.500" in capsys.readouterr().out, "the losses cancel"


@pytest.mark.parametrize(
    "flags, words",
    [
        (["memorization", "x"], "give --canary, --secret and --candidates, or --members and --others"),
        (["memorization", "x", "--canary", "{}", "--members", "a", "--others", "b"], "give --canary"),
        (["memorization", "x", "--canary", "{}", "--secret", "1"], "give --canary"),
        (
            ["memorization", "x", "--canary", "{}", "--secret", "1", "--candidates", "c", "--reference", "y"],
            "--reference goes with --members and --others",
        ),
        (
            ["memorization", "storyworld-gpt", "--canary", "{}", "--secret", "1", "--candidates", "ONE"],
            "the only candidate is the secret '1' itself",
        ),
        (["bias", "x", "/no/such.jsonl"], "/no/such.jsonl"),
        (["bias", "x", "t", "--temperature", "0"], "--temperature"),
        (["bias", "storyworld-bert", "TEMPLATES"], "cannot continue a text"),
    ],
)
def test_what_is_wrong_is_said(flags, words, tmp_path, capsys):
    (tmp_path / "t.jsonl").write_text(json.dumps(TEMPLATE))
    (tmp_path / "one.txt").write_text("1\n1\n")
    files = {"TEMPLATES": str(tmp_path / "t.jsonl"), "ONE": str(tmp_path / "one.txt")}
    assert main([files.get(flag, flag) for flag in flags]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and words in error
