"""Every block of the README runs as written, and its pictures, links and verdict are real."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.machinery.commands import main as lessons
from lessons.machinery.discovery import find_lesson
from llmasos.datasets import infer
from llmasos.datasets.storyworld import valid_prefix
from llmasos.hub import card_examples
from llmasos.tasks import infer_task
from llmasos.training.named_recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "llmasos/README.md", ROOT / "llmasos/serving/README.md", ROOT / "lessons/README.md",
         ROOT / "tests/README.md", ROOT / ".github/CONTRIBUTING.md"]  # fmt: skip
MAX_WORDS = 1300


def blocks(language: str, text: str = README) -> list[str]:
    """The code blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(text: str = README) -> list[str]:
    """The command lines of the bash blocks, without comments."""
    lines = [line.partition(" #")[0].strip() for block in blocks("bash", text) for line in block.splitlines()]
    return [line for line in lines if line]


def test_it_is_short_enough_to_be_read():
    assert len(README.split()) <= MAX_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_and_picture_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_row_of_a_table_has_a_line_of_its_own_and_as_many_cells_as_the_head(page):
    for table in re.findall(r"^\|.*\n\|[-|: ]+\|\n(?:.+\n)*", page.read_text(encoding="utf-8"), re.MULTILINE):
        head, _, *rows = (len(re.findall(r"(?<!\\)\|", re.sub(r"`[^`]*`", "", line))) for line in table.splitlines())
        assert rows == [head] * len(rows), table


def test_the_two_commands_are_those_of_ci():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    first, second = (command for command in commands() if command.startswith("pip install -r"))
    assert first == "pip install -r requirements.txt && python train.py" and first in ci
    assert second == "pip install -r requirements-dev.txt && pytest" and second in ci


def test_every_recipe_exists():
    names = re.findall(r"^\| `python train.py ?([\w-]*)`", README, re.MULTILINE)
    assert len(names) >= 8 and set(names) - {""} <= set(RECIPES)


def test_the_storyteller_is_given_beginnings_that_it_knows():
    """With a prompt that begins no story it writes nonsense, which makes a poor first impression."""
    prompts = re.findall(r'sample.py storyworld-gpt --prompt "([^"]+)"', README)
    for text in [*prompts, *(text for (text,) in card_examples("storyworld-gpt"))]:
        assert valid_prefix(text), text
    assert len(prompts) == 1


def test_the_syllabus_is_complete():
    paths = re.findall(r"\]\((lessons/\d\d_\w+)/lesson.py\)", README)
    assert paths == sorted(str(path.relative_to(ROOT)) for path in (ROOT / "lessons").glob("[0-9][0-9]_*"))


def test_every_python_block_runs_and_prints_what_it_says(tmp_path, monkeypatch, capsys):
    """With few steps, and with a model that ships with llmasos instead of gpt2, which would have to be downloaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(infer, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(infer_task, "MIN_STEPS", 2)
    (tmp_path / "my_book.txt").write_text("Once there was a book. " * 200)
    names: dict = {}
    for block in blocks("python"):
        exec(compile(block.replace('"gpt2"', '"storyworld-gpt"'), "README.md", "exec"), names)
    out = capsys.readouterr().out
    stated = re.findall(r"print\(.*\)\s+# ([^…\n]+)$", "\n".join(blocks("python")), re.MULTILINE)
    assert stated and all(text in out for text in stated), stated
    assert (tmp_path / "my_llm" / "model.safetensors").is_file() and tuple(names["vectors"].shape) == (2, 128)


def test_the_verdict_is_what_the_grader_says(tmp_path, monkeypatch, capsys):
    """The README's mistake is checked: division by D instead of √D."""
    stub = find_lesson(3).path.with_name("exercise.py").read_text(encoding="utf-8")
    start = stub.index("raise NotImplementedError", stub.index("def attention("))
    wrong = """scores = q @ k.transpose(-2, -1) / q.size(-1)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v"""
    solution = stub[:start] + wrong + stub[start + len("raise NotImplementedError") :]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "03_attention.py").write_text(solution, encoding="utf-8")
    monkeypatch.setenv("LLMASOS_LESSONS_HOME", str(tmp_path))
    assert lessons(["check", "3", "--only", "attention"]) == 1
    output = capsys.readouterr().out
    [verdict] = blocks("text")
    assert verdict.strip() in output, output


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    """In a separate checkout, in order; training takes two steps, and the server is stopped when it is ready."""
    checkout = tmp_path / "checkout"
    for folder in ("llmasos", "lessons", "data"):
        shutil.copytree(ROOT / folder, checkout / folder, ignore=shutil.ignore_patterns("__pycache__", "mine", "cache"))
    for name in ("train.py", "sample.py", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout / name)
    (checkout / "my_book.txt").write_text("Once there was a book. " * 2000)
    (checkout / "prompts.txt").write_text("Once there was\nOne cold morning\nPaul had a\n" * 4)
    (checkout / "my_reward.py").write_text("def reward(prompt, text):\n    return text.count('.') / 10\n")
    rows = [f"{'good' if i % 2 else 'bad'} film number {i},{i % 2}" for i in range(60)]
    (checkout / "reviews.csv").write_text("review,stars\n" + "\n".join(rows) + "\n")
    for command in commands():
        command = command.split("&&")[-1].strip()
        if command == "pytest" or command.startswith(("pip ", "torchrun ")):
            continue
        words = command.replace("python ", f"{sys.executable} ", 1)
        if "train.py" in command and "--list" not in command:
            words += " --max-steps 2 --eval-interval 2"
        if " serve " in command:
            server = subprocess.Popen(
                f"exec {words} --port 0", shell=True, cwd=checkout, stdout=subprocess.PIPE, text=True
            )
            assert any("http://127.0.0.1:" in line for line in server.stdout)
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0, command
            continue
        done = subprocess.run(words, shell=True, cwd=checkout, input="Hello.\n", capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
