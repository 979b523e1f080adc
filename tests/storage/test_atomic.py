"""Atomic writes: the old file or the new one, never half of either, whatever happens in between."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from disk_helpers import small_disk

from llmasos.errors import UserError
from llmasos.storage import atomic
from llmasos.storage.atomic import clean_up, read_json, sha256_file, write_file, write_folder, write_json, write_text


def _run(code: str, *arguments) -> subprocess.CompletedProcess:
    """Run Python code in a separate process."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def _names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_complete_and_nothing_else_stays(tmp_path):
    with write_folder(tmp_path / "deep" / "checkpoint") as folder:
        assert not (tmp_path / "deep" / "checkpoint").exists()
        write_json(folder / "state.json", {"step": 100})
        (folder / "inner").mkdir()
        (folder / "inner" / "text.txt").write_text("x")
    assert read_json(tmp_path / "deep" / "checkpoint" / "state.json") == {"step": 100}
    assert _names(tmp_path / "deep") == ["checkpoint"]


def test_replacing_a_folder_leaves_no_file_of_the_old_one(tmp_path):
    for name in ("old.txt", "new.txt"):
        with write_folder(tmp_path / "c") as folder:
            write_text(folder / name, name)
    assert _names(tmp_path / "c") == ["new.txt"]
    assert _names(tmp_path) == ["c"]


@pytest.mark.parametrize("error", [RuntimeError("half-way"), KeyboardInterrupt()])
def test_an_error_half_way_leaves_the_old_folder_and_no_temporary(tmp_path, error):
    with write_folder(tmp_path / "c") as folder:
        write_text(folder / "a.txt", "good")
    with pytest.raises(type(error)):
        with write_folder(tmp_path / "c") as folder:
            write_text(folder / "a.txt", "bad")
            raise error
    assert (tmp_path / "c" / "a.txt").read_text() == "good"
    assert _names(tmp_path) == ["c"]


def test_an_error_half_way_leaves_the_old_file(tmp_path):
    write_text(tmp_path / "a.txt", "good")
    with pytest.raises(RuntimeError):
        with write_file(tmp_path / "a.txt") as temporary:
            temporary.write_text("ba")
            raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "good"
    assert _names(tmp_path) == ["a.txt"]


def test_text_keeps_its_newlines_and_characters(tmp_path):
    text = "one\r\ntwo\n\u00e9\U0001f600"
    write_text(tmp_path / "a.txt", text)
    assert (tmp_path / "a.txt").read_bytes() == text.encode("utf-8")


def test_json_keeps_the_name_of_a_file_that_is_no_utf_8(tmp_path):
    value = {"data": "n\udcff.txt", "prompt": "人"}
    write_json(tmp_path / "recipe.json", value)
    assert read_json(tmp_path / "recipe.json") == value and "人".encode() in (tmp_path / "recipe.json").read_bytes()


def test_a_killed_writer_leaves_the_old_folder_and_the_next_writer_cleans_up(tmp_path):
    with write_folder(tmp_path / "c") as folder:
        write_text(folder / "a.txt", "good")
    code = """
        import os, signal, sys
        from llmasos.storage.atomic import write_folder, write_text
        with write_folder(sys.argv[1]) as folder:
            write_text(folder / "a.txt", "half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert _run(code, tmp_path / "c").returncode == -signal.SIGKILL
    assert (tmp_path / "c" / "a.txt").read_text() == "good"
    assert len(_names(tmp_path)) == 2, "the killed process should have left its temporary behind"
    with write_folder(tmp_path / "c") as folder:
        write_text(folder / "a.txt", "new")
    assert _names(tmp_path) == ["c"]


def test_a_writer_killed_between_the_two_renames_loses_nothing(tmp_path):
    with write_folder(tmp_path / "c") as folder:
        write_text(folder / "a.txt", "good")
    code = """
        import os, signal, sys
        from llmasos.storage import atomic
        rename = os.rename
        def dying_rename(source, target):
            rename(source, target)
            os.kill(os.getpid(), signal.SIGKILL)
        atomic.os.rename = dying_rename
        with atomic.write_folder(sys.argv[1]) as folder:
            atomic.write_text(folder / "a.txt", "new")
    """
    assert _run(code, tmp_path / "c").returncode == -signal.SIGKILL
    assert not (tmp_path / "c").exists()
    clean_up(tmp_path / "c")
    assert (tmp_path / "c" / "a.txt").read_text() == "good"
    assert _names(tmp_path) == ["c"]


def test_temporaries_of_living_processes_and_of_other_names_are_left_alone(tmp_path):
    living = tmp_path / f".c.tmp-{os.getppid()}-0"
    other = tmp_path / ".c.d.tmp-999999999-0"
    living.mkdir()
    other.mkdir()
    clean_up(tmp_path / "c")
    assert living.exists() and other.exists()
    clean_up(tmp_path / "c.d")
    assert living.exists() and not other.exists()


def test_two_writers_of_one_folder_in_one_process_do_not_clean_up_each_other(tmp_path):
    with write_folder(tmp_path / "c") as first:
        write_text(first / "a.txt", "first")
        with write_folder(tmp_path / "c") as second:
            write_text(second / "a.txt", "second")
        assert (tmp_path / "c" / "a.txt").read_text() == "second"
    assert (tmp_path / "c" / "a.txt").read_text() == "first"
    assert _names(tmp_path) == ["c"]


def test_a_stale_temporary_under_our_own_recycled_pid_is_removed(tmp_path):
    stale = tmp_path / f".c.tmp-{os.getpid()}-123456"
    stale.mkdir()
    clean_up(tmp_path / "c")
    assert not stale.exists()


def test_a_name_with_pattern_characters_is_cleaned_up_too(tmp_path):
    stale = tmp_path / ".a[1]*.tmp-999999999-0"
    stale.mkdir()
    clean_up(tmp_path / "a[1]*")
    assert not stale.exists()


def test_a_full_disk_has_a_clear_error_and_loses_nothing(tmp_path):
    with write_folder(tmp_path / "c") as folder:
        write_text(folder / "a.txt", "good")
    with pytest.raises(UserError) as caught, small_disk():
        with write_folder(tmp_path / "c") as folder:
            write_text(folder / "a.txt", "x" * 1_000_000)
    message = str(caught.value)
    assert message.startswith(f"could not write {tmp_path / 'c' / 'a.txt'}: the file grew larger than is allowed")
    assert "what was there before is intact" in message and "\n" not in message
    assert (tmp_path / "c" / "a.txt").read_text() == "good"
    assert _names(tmp_path) == ["c"]


@pytest.mark.parametrize(
    "number, reason", [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")]
)
def test_each_error_of_the_operating_system_has_its_reason(tmp_path, monkeypatch, number, reason):
    write_text(tmp_path / "a.txt", "good")

    def refuse(path):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(atomic, "sync", refuse)
    with pytest.raises(UserError, match=reason):
        write_text(tmp_path / "a.txt", "bad")
    assert (tmp_path / "a.txt").read_text() == "good"
    assert _names(tmp_path) == ["a.txt"]


def test_a_failing_rename_restores_the_old_folder(tmp_path, monkeypatch):
    with write_folder(tmp_path / "c") as folder:
        write_text(folder / "a.txt", "good")
    rename = os.rename

    def refuse_second(source, target):
        if ".tmp-" in str(source):
            raise OSError(errno.EIO, "I/O error")
        rename(source, target)

    monkeypatch.setattr(atomic.os, "rename", refuse_second)
    with pytest.raises(UserError, match="disk reported an error"):
        with write_folder(tmp_path / "c") as folder:
            write_text(folder / "a.txt", "new")
    assert (tmp_path / "c" / "a.txt").read_text() == "good"
    assert _names(tmp_path) == ["c"]


def test_a_file_in_place_of_a_folder_and_the_reverse_are_errors(tmp_path):
    write_text(tmp_path / "taken", "mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="in the way"):
        with write_folder(tmp_path / "taken"):
            pass
    with pytest.raises(UserError, match="in the way"):
        write_text(tmp_path / "folder", "x")
    with pytest.raises(UserError, match="file, not a folder|in the way"):
        write_text(tmp_path / "taken" / "x.txt", "x")
    assert (tmp_path / "taken").read_text() == "mine"


def test_errors_that_are_not_the_disks_keep_their_type(tmp_path):
    with pytest.raises(FileNotFoundError):
        with write_folder(tmp_path / "c"):
            open(tmp_path / "missing")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_damaged_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match="a.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_missing_json_is_named(tmp_path):
    with pytest.raises(UserError, match="could not read .*missing.json: No such file"):
        read_json(tmp_path / "missing.json")


def test_nan_is_an_error_instead_of_invalid_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert _names(tmp_path) == []


def test_sha256_reads_beyond_one_chunk(tmp_path):
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
