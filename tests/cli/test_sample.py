"""sample.py: the text it prints, and one sentence for each mistake."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from generation_helpers import lively_model

from llmasos.cli import sample
from llmasos.cli.cli import run
from llmasos.cli.terminal import BOLD, RESET, Screen
from llmasos.generation import SamplingOptions, generate
from llmasos.models import save_model
from llmasos.tokenizers import ByteTokenizer, CharTokenizer

ROOT = Path(__file__).parents[2]
TOKENIZER = CharTokenizer("abcdefghijklmnopqrstuvwxyz .\n")


@pytest.fixture(scope="module")
def model():
    return lively_model(vocab_size=TOKENIZER.vocab_size).float()


@pytest.fixture
def folder(tmp_path, model):
    save_model(tmp_path, model)
    TOKENIZER.save(tmp_path)
    return str(tmp_path)


@pytest.fixture
def command(folder, capsys):
    """Call the command on the model folder; returns status, standard output, standard error."""

    def call(*arguments: str, out_dir: str = folder):
        status = run(sample.main, [out_dir, "--device", "cpu", *arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_it_prints_the_prompt_and_its_continuation(command, model):
    status, out, err = command("--prompt", "once upon", "--max-new-tokens", "30", "--top-k", "9", "--seed", "4")
    options = SamplingOptions(max_new_tokens=30, temperature=0.8, top_k=9, seed=4)
    expected = generate(model, TOKENIZER, ["once upon"], options)[0]
    assert status == 0
    assert out == "once upon" + expected.text + "\n"
    assert f"{len(expected.ids)} new tokens in" in err and "outgrown" in err


def test_streaming_does_not_change_the_text(command):
    flags = ("--prompt", "abc", "--max-new-tokens", "20")
    streamed, whole = command(*flags, "--stream"), command(*flags, "--no-stream")
    assert streamed[:2] == whole[:2]


def test_every_flag_is_parsed(command):
    parser = sample.make_parser()
    args = parser.parse_args(
        "DIR --max-new-tokens 7 --temperature 0.5 --top-k 3 --top-p 0.6 --min-p 0.1 --repetition-penalty 1.3 "
        r"--stop END --stop \n --seed 9".split()
    )
    assert sample.parse_options(args) == SamplingOptions(7, 0.5, 3, 0.6, 0.1, 1.3, ("END", "\n"), seed=9)


def test_several_prompts_and_samples_are_numbered(command):
    _, out, _ = command("--prompt", "xx", "--prompt", "yy", "--n", "2", "--max-new-tokens", "5")
    lines = [line for line in out.splitlines() if line.startswith(("──", "xx", "yy"))]
    headings = [line.strip("─ ") for line in lines if line.startswith("─")]
    assert headings == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert [line[:2] for line in lines if not line.startswith("─")] == ["xx", "xx", "yy", "yy"]


def test_without_a_prompt_the_model_starts_a_text(command):
    status, out, _ = command("--max-new-tokens", "5")
    assert status == 0 and out.strip()


def test_the_same_seed_prints_the_same_text(command):
    texts = [command("--prompt", "a", "--max-new-tokens", "20", "--seed", seed)[1] for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_prompt_file_is_one_prompt_without_its_last_newline(command, tmp_path, encoding):
    (tmp_path / "prompt.txt").write_bytes("first line\r\nsecond line\r\n".encode(encoding))
    _, out, _ = command("--prompt-file", str(tmp_path / "prompt.txt"), "--max-new-tokens", "3")
    assert out.startswith("first line\nsecond line") and not out.startswith("first line\nsecond line\n")


def test_unknown_characters_are_reported_on_stderr(command):
    _, out, err = command("--prompt", "aé", "--max-new-tokens", "3")
    assert "does not contain 'é': the model reads <|unknown|>" in err and "does not contain" not in out


def test_interactive_mode_continues_each_line_until_quit(command, monkeypatch):
    lines = iter(["abc", "abc", "", "/quit", "never read"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
    status, out, err = command("--interactive", "--max-new-tokens", "12")
    assert status == 0 and err.count("new tokens in") == 3 and next(lines) == "never read"
    first, second = out.split("abc")[1:3]
    assert first != second, "a repeated prompt gets another text"


def test_interactive_mode_ends_with_the_input(command, monkeypatch):
    def end(prompt=""):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    assert command("--interactive")[0] == 0


def test_ctrl_c_while_generating_returns_to_the_prompt(command, monkeypatch):
    lines = iter(["abc", "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("llmasos.generation.stream", interrupted)
    status, out, err = command("--interactive")
    assert status == 0 and out == "abc\n" and "stopped" in err


# Bad input


BAD_FLAGS = [
    (["--top-p", "2"], "top_p is 2.0"),
    (["--temperature", "-1"], "temperature is -1.0"),
    (["--top-k", "-2"], "top_k is -2"),
    (["--min-p", "2"], "min_p is 2.0"),
    (["--repetition-penalty", "0"], "repetition_penalty is 0.0"),
    (["--max-new-tokens", "0"], "max_new_tokens is 0"),
    (["--n", "0"], "n is 0"),
    (["--stop", ""], "stop string"),
    (["--n", "2", "--stream"], "not 2"),
    (["--prompt-file", "no/such/file"], "could not read no/such/file"),
]


@pytest.mark.parametrize("flags, sentence", BAD_FLAGS)
def test_a_bad_flag_is_one_sentence_on_stderr(command, flags, sentence):
    status, out, err = command(*flags)
    assert (status, out) == (2, "")
    assert sentence in err and err.count("\n") == 1


@pytest.mark.parametrize("name, flags, sentence", [
    ("storyworld-de-en", (), "this would be a beam search; set --temperature"),
    ("storyworld-gpt", ("--beams", "2"), "this would be a beam search; set --temperature"),
    ("storyworld-bert", (), "storyworld-bert does not generate text"),
])  # fmt: skip
def test_a_form_that_cannot_be_kept_is_one_sentence(command, name, flags, sentence):
    status, out, err = command("--prompt", "ein [MASK]", "--regex", "a|b", *flags, out_dir=name)
    assert (status, out) == (2, "") and sentence in err and err.count("\n") == 1


def test_a_sampled_translation_keeps_a_form(command):
    flags = ("--prompt", "ein Hund", "--regex", "a|b", "--temperature", "1")
    assert command(*flags, out_dir="storyworld-de-en")[1] in ("a\n", "b\n")


def test_the_schema_may_be_in_the_home_folder(command, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "schema.json").write_text('{"const": 7}')
    status, out, _ = command(
        "--prompt", "7", "--json-schema", "~/schema.json", "--temperature", "1", out_dir="storyworld-gpt"
    )
    assert (status, out) == (0, "77\n")


def test_a_prompt_file_that_is_not_utf8_is_an_error(command, tmp_path):
    (tmp_path / "binary").write_bytes(b"ab\xff\xfe")
    status, _, err = command("--prompt-file", str(tmp_path / "binary"))
    assert status == 2 and "not UTF-8 text at byte 2" in err


def test_a_missing_folder_or_one_without_a_model_is_an_error(command, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        status, out, err = command(out_dir=str(tmp_path / name))
        assert (status, out) == (2, "") and str(tmp_path / name) in err and err.count("\n") == 1


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"\xff" * 100])
def test_a_damaged_weight_file_is_an_error(command, folder, damage):
    path = Path(folder) / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    status, out, err = command()
    assert (status, out) == (2, "") and str(path) in err and err.count("\n") == 1


def test_a_tokenizer_that_does_not_match_the_model_is_an_error(command, folder):
    ByteTokenizer().save(folder)
    status, out, err = command()
    assert (status, out) == (2, "") and "does not belong to the model there" in err


def test_the_script_itself_runs(folder):
    process = subprocess.run(
        [sys.executable, "sample.py", folder, "--prompt", "abc", "--max-new-tokens", "5", "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("abc")


# The screen


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_the_prompt_in_bold_and_no_control_characters(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    screen = Screen(terminal)
    screen.prompt("Once")
    screen.text(" é😀\n\x1b[2J\x07")
    assert terminal.getvalue() == f"{BOLD}Once{RESET} é😀\n\ufffd[2J\ufffd"


def test_no_color_switches_the_bold_off(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Screen(terminal).prompt("Once")
    assert terminal.getvalue() == "Once"


def test_a_file_gets_the_bare_text():
    file = io.StringIO()
    screen = Screen(file)
    screen.prompt("Once")
    screen.text("\x07")
    assert file.getvalue() == "Once\x07"
