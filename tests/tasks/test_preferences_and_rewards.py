"""Preference optimization, reward modeling and reinforcement learning from the command line, and their errors."""

from pathlib import Path

import pytest
from reward_helpers import PG, PREFERENCES, REWARD, write_reward_files
from task_helpers import (
    BERT,
    assert_same_weights,
    ctrl_c,
    evaluate,
    resume,
    stopping,
    the_error,
    train,
    workplace,
)

from llmasos import LLMTrainer
from llmasos.cli.cli import run
from llmasos.cli.train import main
from llmasos.errors import UserError
from llmasos.training.checkpoints import all_checkpoints
from llmasos.training.log import read_metrics

TASKS = {
    "dpo": ("--task", "preference-optimization", *PREFERENCES),
    "reward": ("--task", "reward-modeling", *PREFERENCES),
    "rl": PG,
}
METRICS = {"dpo": "chosen is more probable", "reward": "pairs ranked right", "rl": "reward"}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    with workplace(tmp_path_factory.mktemp("rewards")):
        write_reward_files()
        yield


@pytest.mark.parametrize("name", TASKS)
def test_a_run_can_be_stopped_resumed_bit_for_bit_and_evaluated(name, capsys):
    extra = ("--updates-per-batch", "2") if name == "rl" else ()
    assert train(*TASKS[name], *extra, "--out", f"{name}-whole") == 0
    assert METRICS[name] in capsys.readouterr().out
    with stopping(f"{name}-parts", 4, ctrl_c):
        assert train(*TASKS[name], *extra, "--out", f"{name}-parts") == 130
    assert resume(f"{name}-parts") == 0
    assert_same_weights(f"{name}-whole", f"{name}-parts")
    logs = [[m for m in read_metrics(Path(f"{name}-{part}")) if "loss" in m] for part in ("whole", "parts")]
    strip = lambda m: {k: v for k, v in m.items() if not k.endswith("_per_second")}  # noqa: E731
    assert [strip(m) for m in logs[0]] == [strip(m) for m in logs[1]]
    capsys.readouterr()
    assert evaluate(f"{name}-whole") == 0 and METRICS[name] in capsys.readouterr().out


def test_the_log_has_what_matters():
    train(*PG, "--out", "logged")
    steps = [m for m in read_metrics(Path("logged")) if "loss" in m]
    for name in ("reward", "kl", "entropy", "length", "finished", "distinct", "level"):
        assert all(name in m for m in steps), name
    validations = [m for m in read_metrics(Path("logged")) if "val_loss" in m]
    assert validations[-1]["val_loss"] == pytest.approx(
        -validations[-1]["val_reward"] + 0.1 * validations[-1]["val_kl"]
    )


def test_the_reward_rises():
    assert train(*PG, "--out", "rises", "--steps", "40", "--batch-size", "16", "--learning-rate", "0.02",
                 "--eval-interval", "40", "--beta", "0.001", "--group-size", "8") == 0  # fmt: skip
    rewards = [m["reward"] for m in read_metrics(Path("rises")) if "loss" in m]
    assert sum(rewards[-5:]) / 5 > 0.3 > 0.15 > sum(rewards[:3]) / 3, "of at most 0.5, five letters a"


def test_rl_sums_starts_from_the_recipe_sums(capsys):
    assert run(main, ["rl-sums", "--max-steps", "1"]) == 2 and "train sums" in the_error(capsys)
    assert run(main, ["sums", "--max-steps", "2", "--batch-size", "8"]) == 0
    small = ["--max-steps", "2", "--batch-size", "32", "--eval-interval", "2"]
    assert run(main, ["rl-sums", *small]) == 0
    printed = capsys.readouterr().out
    assert "4,000 to train on, 500 held out; in each step, 2 of them are answered 16 times" in printed
    assert "reward before 0.000" in printed and "the verifier of sums" in printed


def test_from_python_with_a_function(tmp_path):
    model = LLMTrainer.from_pretrained("start", device="cpu", verbose=False)
    result = model.train(
        ["ab", "cd", "ef", "gh"], reward=lambda prompt, text: float(text.count("b")), max_steps=2, batch_size=4,
        group_size=2, max_new_tokens=4, out_dir="sdk", verbose=False,
    )  # fmt: skip
    assert result.steps == 2 and isinstance(model.generate("ab", max_new_tokens=3), str)
    rows = [{"prompt": c, "chosen": "b", "rejected": c} for c in "cdefgh"]
    assert model.train(rows, max_steps=2, batch_size=2, out_dir="sdk-dpo", verbose=False).steps == 2


def test_the_run_of_a_function_needs_its_program(capsys, monkeypatch):
    monkeypatch.setattr("llmasos.tasks.reinforcement_learning.FUNCTIONS", {})
    assert resume("sdk", "--steps", "3") == 2 and "of a Python program; only that program can continue" in the_error(
        capsys
    )


# ── bad input ──

WRONG = {  # flags → words of the sentence
    ("--task", "preference-optimization", "--data", "preferences.jsonl"): "name that model with --init-from",
    ("--task", "reinforcement-learning", "--data", "prompts.txt", "--reward", "my_reward.py", "--group-size", "2"): (
        "name that model with --init-from"
    ),
    (*PG, "--batch-size", "3"): "batch_size 3 is not a whole number of groups of 2 answers",
    (*PG, "--reward", "storyword"): "sums); did you mean 'storyworld'?",
    (*PG, "--reward", "none.py"): "there is no file none.py",
    (*PG, "--reward", "start"): "it cannot score texts",
    (*TASKS["dpo"], "--beta", "0"): "beta is 0, so preferences change nothing",
    ("--task", "reinforcement-learning", "--data", "prompts.txt", "--init-from", "start"): "comes without a reward",
}


@pytest.mark.parametrize("flags", WRONG, ids=range(len(WRONG)))
def test_what_cannot_work_is_one_sentence_before_the_run(flags, capsys):
    assert train(*flags, "--out", "wrong") == 2 and WRONG[flags] in the_error(capsys)
    assert not Path("wrong").exists()


@pytest.mark.parametrize("row, words", [
    ('{"prompt": "a", "chosen": "b", "rejected": "b"}', "chosen and rejected are the same text ('b')"),
    ('{"prompt": "a", "chosen": "", "rejected": "b"}', "the chosen text is empty"),
    ('{"prompt": "a", "chosen": "b"}', "the rejected text is empty"),
    ('{"prompt": "' + "a" * 30 + '", "chosen": "b", "rejected": "c"}', "the model's context 24: shorten them"),
])  # fmt: skip
def test_a_useless_pair_is_named_with_its_line_or_skipped(row, words, capsys):
    good = Path("preferences.jsonl").read_text()
    Path("bad.jsonl").write_text(good + row + "\n")
    flags = [flag.replace("preferences.jsonl", "bad.jsonl") for flag in TASKS["dpo"]]
    assert train(*flags, "--out", "bad") == 2
    error = the_error(capsys)
    assert words in error and "bad.jsonl, line 17" in error
    assert train(*flags, "--skip-bad", "--steps", "1", "--out", f"skipped{len(words)}{len(row)}") == 0


def test_a_prompt_without_room_for_an_answer_is_one_sentence(capsys):
    Path("long.txt").write_text(Path("prompts.txt").read_text() + "a" * 24 + "\n")
    flags = [flag.replace("prompts.txt", "long.txt") for flag in PG]
    assert train(*flags, "--out", "long") == 2
    assert "there is no room for an answer" in the_error(capsys)


@pytest.mark.parametrize("body, words", [
    ("raise ValueError('no')", "raised ValueError: no (line"), ("return None", "returned None for the text"),
    ("return 'good'", "returned 'good'"), ("return float('nan')", "returned nan"),
    ("import time; time.sleep(9)", "has not returned after 0.05 seconds"),
])  # fmt: skip
def test_a_reward_that_fails_later_loses_nothing_and_can_be_corrected(body, words, capsys):
    """Everything saved before is intact, and the run continues with a corrected file."""
    run = f"fails{len(words)}"
    start = "calls = []\ndef reward(prompt, text):\n    calls.append(1)\n"
    Path("my_reward.py").write_text(f"{start}    if len(calls) > 150: {body}\n    return 1.0\n")
    try:
        assert train(*PG, "--reward-seconds", "0.05", "--steps", "9", "--out", run) == 2
        error = the_error(capsys)
        assert words in error and "the function reward in my_reward.py" in error
        assert all_checkpoints(Path(run)), "the steps before it are saved"
    finally:
        Path("my_reward.py").write_text(REWARD)
    assert resume(run, "--reward-seconds", "10") == 0


def test_a_reference_that_has_changed_is_noticed(capsys):
    from reward_helpers import write_start

    write_start("other")
    flags = [flag.replace("start", "other") for flag in TASKS["dpo"]]
    with stopping("changed", 4, ctrl_c):
        train(*flags, "--out", "changed")
    weights = Path("other/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    capsys.readouterr()
    assert resume("changed") == 2 and "the weights of --init-from have" in the_error(capsys)


def test_a_reward_model_of_each_family_scores(capsys):
    flags = ("--task", "reward-modeling", "--data", "preferences.jsonl", *BERT)
    assert train(*flags, "--out", "bert-reward") == 0, the_error(capsys)
    model = LLMTrainer.from_pretrained("bert-reward", device="cpu")
    assert isinstance(model.score("aa", prompt="ae"), float) and len(model.score(["aa", "bb"])) == 2
    with pytest.raises(UserError, match="it cannot score texts"):
        LLMTrainer.from_pretrained("storyworld-gpt", device="cpu").score("aa")
    assert train(*PG, "--reward", "bert-reward", "--steps", "1", "--out", "by-model") == 0, the_error(capsys)
    assert "the reward model bert-reward" in capsys.readouterr().out
