"""The lock on a file: one holder at a time, and a killed holder does not hold it."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from llmasos.errors import UserError
from llmasos.storage.lock import lock


def test_only_one_thread_at_a_time_is_inside(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(20):
            with lock(tmp_path / "folder" / "x.lock"):
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert most == 1 and inside == 0


def test_a_waiting_process_reports_it_and_gets_the_lock_when_the_holder_is_killed(tmp_path):
    code = """
import sys, time
from llmasos.storage.lock import lock
with lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "x.lock"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    said = []

    def waiting():
        said.append("waiting")
        os.kill(holder.pid, signal.SIGKILL)

    with lock(tmp_path / "x.lock", waiting):
        assert said == ["waiting"]
    assert holder.wait() == -signal.SIGKILL
    holder.stdout.close()


def test_a_lock_that_cannot_be_created_has_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="could not write"):
        with lock(tmp_path / "file" / "x.lock"):
            pass


def test_a_file_system_that_takes_no_files_has_a_clear_error(tmp_path, monkeypatch):
    """Like /proc, which exists as a folder but accepts no new files."""

    def refuse(*arguments):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UserError, match="could not write .*my-run: no such file or directory; .*; choose another path"):
        with lock(tmp_path / ".my-run.lock"):
            pass
