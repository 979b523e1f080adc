"""A run never touches files that are not its own, and needs nothing outside its checkpoints."""

import json
import os
import shutil
from pathlib import Path

import pytest
from task_helpers import RUNS, assert_same_weights, ctrl_c, evaluate, resume, stopping, the_error, train, workplace

from llmasos.cli.cli import run as run_command
from llmasos.cli.export import main as export_main
from llmasos.cli.sample import main as sample_main
from llmasos.storage import read_json
from llmasos.training.checkpoints import all_checkpoints, latest_checkpoint, model_folder
from llmasos.training.log import read_metrics
from llmasos.training.run_folder import is_free, run_lock

FLAGS = (*RUNS["text"], "--steps", "8", "--eval-interval", "2")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A complete run, and one that was stopped after step 5 of 8, with checkpoints 4 and 5."""
    with workplace(tmp_path_factory.mktemp("run-folder")):
        assert train(*FLAGS, "--out", "whole") == 0
        with stopping("stopped", 4, ctrl_c):
            assert train(*FLAGS, "--out", "stopped") == 130
        yield


@pytest.fixture
def run(place):
    """A copy of the stopped run."""
    shutil.rmtree("run", ignore_errors=True)
    shutil.copytree("stopped", "run")
    return Path("run")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a folder."""
    return {path.as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plant(path: Path) -> dict[str, bytes]:
    """Write a file that is not ours; returns its path and content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mine")
    return {path.as_posix(): b"mine"}


# Other people's files


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "checkpoints", "checkpoints/notes.txt", "checkpoints/best-model/model.safetensors", "recipe.json",
     "tokenizer/mine.txt", "tensorboard/events", "metrics.jsonl", "results.json", "without-init/x", "origin.json"],
)  # fmt: skip
def test_a_new_run_needs_an_empty_folder(place, tmp_path, name, capsys):
    planted = plant(tmp_path / "out" / name)
    assert train(*FLAGS, "--out", str(tmp_path / "out")) == 2
    assert "choose another --out" in the_error(capsys) and contents(tmp_path / "out") == planted


def test_a_resumed_run_leaves_other_files_alone(run):
    planted = {}
    for name in ("notes.txt", "checkpoints/best-model/model.safetensors", "checkpoints/step-00000004/notes.txt",
                 "checkpoints/step-00000006/notes.txt", "checkpoints/step-00000001/model.safetensors",
                 "checkpoints/step-00000005-copy/state.json", "tokenizer/mine", "tensorboard/mine"):  # fmt: skip
        planted |= plant(run / name)
    assert resume("run") == 0
    assert planted.items() <= contents(run).items()
    assert_same_weights("whole", "run")


def test_rotation_removes_only_what_this_run_wrote_and_nobody_changed(run):
    shutil.copytree("whole/checkpoints/step-00000008", run / "checkpoints/step-00000003")  # another run's, renamed
    shutil.copytree(run / "checkpoints/step-00000004", run / "checkpoints/step-00000001")  # a copy
    (run / "checkpoints/step-00000004/config.json").write_text("{}")  # changed
    before = [contents(run / f"checkpoints/step-0000000{n}") for n in (1, 3, 4)]
    assert resume("run") == 0
    assert [contents(run / f"checkpoints/step-0000000{n}") for n in (1, 3, 4)] == before
    assert not (run / "checkpoints/step-00000005").exists(), "ours is removed as always"


def test_a_checkpoint_of_another_run_is_not_continued(run, capsys):
    shutil.copytree("whole/checkpoints/step-00000008", run / "checkpoints/step-00000008")
    assert latest_checkpoint(run, say=print).name == "step-00000005"
    assert "step-00000008 was not written here by this run; it is skipped" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["plain", "resume"])
def test_a_run_whose_checkpoints_were_moved_away_keeps_its_numbers(run, how, capsys):
    shutil.rmtree(run / "checkpoints")
    before = contents(run)
    assert (resume("run") if how == "resume" else train(*FLAGS, "--out", "run")) == 2
    says = "its checkpoints are gone; put them back" if how == "resume" else "already holds a run"
    assert says in the_error(capsys) and contents(run) == before


def test_a_run_that_never_took_a_step_may_be_replaced_unless_a_stranger_is_in_it(place, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr("llmasos.training.trainer.Trainer.train", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(*RUNS["bert"], "--out", "unused")
    assert (Path("unused/tokenizer/vocab.txt")).exists() and is_free(Path("unused"))
    plant(Path("unused/tokenizer/mine.txt"))
    assert not is_free(Path("unused"))
    Path("unused/tokenizer/mine.txt").unlink()
    assert train(*FLAGS, "--out", "unused") == 0
    assert not Path("unused/tokenizer/vocab.txt").exists(), "another tokenizer's file would be in the way"
    assert_same_weights("whole", "unused")


def test_a_link_to_a_folder_is_followed_and_both_names_are_one_run(place, tmp_path, capsys):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert train(*FLAGS, "--out", str(tmp_path / "link")) == 0
    assert (tmp_path / "link").is_symlink() and len(all_checkpoints(tmp_path / "real")) >= 2
    with run_lock(tmp_path / "real"):
        assert resume(str(tmp_path / "link"), "--steps", "9") == 2
    assert "another process is training in" in the_error(capsys)


def test_what_a_killed_process_left_is_cleaned_up_and_what_a_living_one_writes_is_not(run):
    dead = [run / "checkpoints" / ".step-00000003.tmp-999999999-0", run / ".recipe.json.tmp-999999999-1"]
    living = run / "checkpoints" / f".step-00000003.tmp-{os.getppid()}-0"
    for path in (*dead, living):
        plant(path / "x")
    assert resume("run") == 0
    assert not any(path.exists() for path in dead) and living.exists()


# Damage outside the checkpoints


def damage(path: Path, how: str) -> None:
    """Change a digit, cut the file in half, replace it by a folder with a file in it, or remove it."""
    data = path.read_bytes()
    if how == "digit":
        first = next((i for i, byte in enumerate(data) if byte in b"345678"), 0)
        path.write_bytes(data[:first] + bytes([data[first] ^ 1]) + data[first + 1 :])
    elif how == "half":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.unlink()
        if how == "folder":
            plant(path / "mine")


@pytest.mark.parametrize(
    "name, how",
    [("recipe.json", "digit"), ("recipe.json", "missing"), ("recipe.json", "folder"), ("origin.json", "digit"),
     ("origin.json", "folder"), ("tokenizer/vocab.json", "half"), ("tokenizer/vocab.json", "folder")],
)  # fmt: skip
def test_damaged_settings_never_give_other_weights_and_are_written_again(run, name, how, capsys):
    damage(run / name, how)
    assert resume("run") == 0
    assert name in capsys.readouterr().out
    assert read_json(run / "recipe.json") | {"out_dir": ""} == read_json(Path("stopped/recipe.json")) | {"out_dir": ""}
    assert_same_weights("whole", "run")
    assert (how == "folder") == any(path.read_bytes() == b"mine" for path in run.rglob("mine"))


def test_settings_that_may_not_be_read_are_not_called_changed(run, monkeypatch, capsys):
    (run / "recipe.json").write_text("{}")  # root may read everything, so only the question is answered differently
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "recipe.json")
    assert resume("run") == 0
    assert "recipe.json may not be read, and is written again" in capsys.readouterr().out
    (run / "recipe.json").unlink()
    assert resume("run", "--steps", "10") == 0
    assert "recipe.json is missing, and is written again" in capsys.readouterr().out


def test_nothing_outside_the_checkpoints_is_needed(run, capsys):
    shutil.move(run / "checkpoints", "checkpoints")
    shutil.rmtree(run)
    run.mkdir()
    shutil.move("checkpoints", run)
    capsys.readouterr()
    assert run_command(sample_main, ["run", "--max-new-tokens", "3", "--device", "cpu"]) == 0
    assert evaluate("run") == 0 and "stories.txt" in capsys.readouterr().out, "the recipe names the data"
    shutil.rmtree("exported", ignore_errors=True)
    assert run_command(export_main, ["run", "exported"]) == 0
    assert resume("run") == 0
    assert_same_weights("whole", "run")


def test_what_was_changed_on_resume_is_known_even_if_the_next_checkpoint_was_never_written(run):
    with stopping("run", 5, lambda: (_ for _ in ()).throw(KeyboardInterrupt)):
        assert resume("run", "--steps", "10") == 130
    assert resume("run") == 0 and all_checkpoints(run)[-1].name == "step-00000010"


@pytest.mark.parametrize("content", [b"mine", b'{"step": "x"}\n[1]\n\xff\xfe\nnull\n', None])
def test_metrics_never_stop_a_resume_and_no_line_is_lost(run, content, capsys):
    if content is None:
        damage(run / "metrics.jsonl", "folder")
    else:
        (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes() + content)
    before = read_metrics(Path("stopped"))
    assert resume("run") == 0
    assert "damaged lines are skipped" in capsys.readouterr().out and (run / "metrics.jsonl.old").exists()
    now = [line["step"] for line in read_metrics(run)]
    assert now[-1] == 8 and (content is None or now[: len(before)] == [line["step"] for line in before])


@pytest.mark.parametrize("how", ["missing", "empty", "half"])
def test_metrics_that_are_lost_are_missed(run, how, capsys):
    if how == "empty":
        (run / "metrics.jsonl").write_bytes(b"")
    else:
        damage(run / "metrics.jsonl", how)
    assert resume("run") == 0
    assert "metrics.jsonl lacks the validation at step 4" in capsys.readouterr().out
    assert resume("run", "--steps", "10") == 0
    assert "lacks" not in capsys.readouterr().out, "the next validations are there"


def test_a_line_torn_by_a_kill_is_no_damage(run, capsys):
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'{"step": 6, "lo')
    assert resume("run") == 0
    assert "damaged" not in capsys.readouterr().out and not (run / "metrics.jsonl.old").exists()


@pytest.mark.parametrize("how", ["half", "folder", "other"])
def test_results_never_stop_a_resume(place, how, capsys):
    shutil.rmtree("finished", ignore_errors=True)
    shutil.copytree("whole", "finished")
    if how == "other":
        Path("finished/results.json").write_text(json.dumps({"mine": 1}))
    else:
        damage(Path("finished/results.json"), how)
    assert resume("finished") == 0
    assert read_json(Path("finished/results.json")) == read_json(Path("whole/results.json"))
    assert Path("finished/results.json.old").exists()


def test_weights_of_init_that_changed_before_the_first_checkpoint_are_noticed(place, monkeypatch, capsys):
    shutil.copytree(model_folder("whole"), "base", ignore=shutil.ignore_patterns("state.json"))
    flags = ("--task", "language-modeling", "--data", "stories.txt", "--init-from", "base", "--steps", "2")
    with monkeypatch.context() as patched:
        patched.setattr("llmasos.training.trainer.Trainer.train", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(*flags, "--out", "tuned")
    other = model_folder("stopped") / "model.safetensors"
    right = Path("base/model.safetensors").read_bytes()
    shutil.copy(other, "base/model.safetensors")
    assert resume("tuned") == 2 and "the weights of --init-from have changed" in the_error(capsys)
    Path("base/model.safetensors").write_bytes(right)
    assert resume("tuned") == 0


# Remedies


@pytest.mark.parametrize("out", ["x" * 300, "stories.txt", "stories.txt/x"])
def test_a_folder_that_cannot_be_made_is_one_sentence(place, out, capsys):
    assert train(*FLAGS, "--out", out) == 2
    assert "choose a" in the_error(capsys)


def test_a_file_that_may_not_be_read_is_not_called_damaged(run, monkeypatch, capsys):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("llmasos.storage.checksums.sha256_file", refuse)
    assert resume("run") == 2
    error = the_error(capsys)
    assert "Permission denied; " in error and "allow yourself to read it" in error and "new run" not in error
