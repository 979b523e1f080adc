"""A user's function in the middle of a run: whatever it does wrong gives one sentence."""

import signal
import sys
import time

import numpy as np
import pytest
import torch

from llmasos.errors import UserError
from llmasos.rewards import Reward, load_reward, reward_of
from llmasos.rewards.verifiers import storyworld, sums
from llmasos.signals import Terminated, raise_on_signals


def raises(prompt, text):
    raise KeyError("kite")


def exits(prompt, text):
    sys.exit(3)


def hangs(prompt, text):
    time.sleep(60)


WRONG = {  # a function → words of the sentence
    raises: r"function raises raised KeyError: 'kite' \(line \d+ of test_reward_function.py\) for the text 'b'",
    exits: "raised SystemExit: 3",
    (lambda prompt, text: None): "returned None for the text 'b'; it must return a finite number",
    (lambda prompt, text: "good"): "returned 'good' for the text 'b'",
    (lambda prompt, text: float("nan")): "returned nan for the text 'b'",
    (lambda prompt, text: float("inf")): "returned inf",
    (lambda prompt, text: np.array([1.0, 2.0])): "returned .* for the text 'b'",
    (lambda prompts, texts: 1.0): "returned 1.0 for 2 texts; it must return a list",
    (lambda prompts, texts: [1.0]): "returned 1 values for 2 texts",
    (lambda prompts, texts: [1.0, None]): "returned None for the text 'd'",
}


@pytest.mark.parametrize("function", WRONG, ids=range(len(WRONG)))
def test_a_function_that_misbehaves_is_one_sentence(function):
    with pytest.raises(UserError, match=WRONG[function]):
        reward_of(function)(["a", "c"], ["b", "d"])


def test_a_function_that_hangs_is_left_behind():
    start = time.monotonic()
    with pytest.raises(
        UserError, match="has not returned after 0.1 seconds for the text 'b'; make it faster, or allow"
    ):
        reward_of(hangs, seconds=0.1)(["a"], ["b"])
    assert time.monotonic() - start < 30


def test_numbers_of_all_libraries_and_both_forms_are_fine():
    single = lambda prompt, text: {"i": 1, "b": True, "n": np.float32(0.5), "t": torch.tensor(2)}[text]  # noqa: E731
    assert reward_of(single)(["p"] * 4, ["i", "b", "n", "t"]) == [1.0, 1.0, 0.5, 2.0]
    for several in (lambda prompts, texts: np.array([1.0, 2.0]), lambda prompts, texts: (1, torch.tensor(2.0))):
        assert reward_of(several)(["p", "p"], ["a", "b"]) == [1.0, 2.0]


def test_what_is_no_function_of_two_arguments_is_refused_at_once():
    with pytest.raises(UserError, match=r"has the parameters \(text\); it must take two: def reward\(prompt, text\)"):
        reward_of(lambda text: 1.0)
    with pytest.raises(UserError, match="the reward is 3; it must be a function"):
        reward_of(3)


def test_a_file_with_a_function(tmp_path):
    path = tmp_path / "my_reward.py"
    path.write_text("def reward(prompt, text):\n    return text.count(prompt)\n")
    assert isinstance(load_reward(path), Reward) and load_reward(path)(["a"], ["banana"]) == [3.0]
    for content, words in {
        "def rewards(prompt, text): pass": "my_reward.py has no function reward; define one",
        "def reward(:": "my_reward.py cannot be run: SyntaxError",
        "import no_such_module": "cannot be run: ModuleNotFoundError",
        "def reward(text): pass": "has the parameters",
    }.items():
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            load_reward(path)
    with pytest.raises(UserError, match="there is no file .*missing.py; name a Python file"):
        load_reward(tmp_path / "missing.py")


@pytest.mark.parametrize("number, raised", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_while_the_file_runs_is_no_mistake_of_the_file(number, raised, tmp_path):
    (tmp_path / "slow.py").write_text(f"import signal\nsignal.raise_signal({int(number)})\n")
    with pytest.raises(raised), raise_on_signals():
        load_reward(tmp_path / "slow.py")
    (tmp_path / "slow.py").write_text("raise SystemExit(3)")
    with pytest.raises(UserError, match="cannot be run: SystemExit: 3"):
        load_reward(tmp_path / "slow.py")


def test_the_verifier_of_stories_pays_for_what_the_world_allows():
    from llmasos.datasets.storyworld import generate

    story = generate(0, 3)
    assert storyworld("", story.text) == 1.0
    assert storyworld(story.sentences[0], story.text.removeprefix(story.sentences[0])) == 1.0
    assert storyworld("", " ".join(story.sentences[:3])) == 0.0, "a story that stops early earns nothing"
    wrong = story.text.replace(story.sentences[-1], "Then everybody turned into a spoon.")
    expected = wrong.index("Then everybody turned into") / len(wrong)
    assert storyworld("", wrong) == pytest.approx(expected, abs=0.03)
    assert storyworld("", "xyz") == 0.0


def test_the_verifier_of_sums():
    assert [sums("47+85=", text) for text in ("22", " 22 ", "132", "23", "", "2 2")] == [1, 1, 0, 0, 0, 0]
    assert sums("41+70=", "11") == 1 and sums("90+30=", "20") == 1 and sums("04+05=", "9") == 0
