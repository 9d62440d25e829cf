"""Who works in a folder: seen, kept apart from who only looks, and gone with its holder."""

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from promptmill.errors import RunError
from promptmill.io.locks import is_live, locked

HOLDER = (
    "import sys\nfrom pathlib import Path\nfrom promptmill.io.locks import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('open', flush=True)\n    sys.stdin.read()\n"
)


def test_who_works_in_a_folder_is_seen_and_not_disturbed(tmp_path):
    assert is_live(tmp_path / "nowhere") is None
    with locked(tmp_path / "r"):
        assert is_live(tmp_path / "r") == os.getpid()
        assert is_live(tmp_path / "r") == os.getpid()
    assert is_live(tmp_path / "r") is None
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "r")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "open\n"
        assert is_live(tmp_path / "r") == holder.pid
    finally:
        holder.kill()
        holder.communicate(timeout=120)
    assert is_live(tmp_path / "r") is None
    (tmp_path / "r" / "plain").touch()
    assert is_live(tmp_path / "r" / "plain") is None


def test_someone_who_only_looks_keeps_nobody_out(tmp_path):
    with locked(tmp_path / "r"):
        pass
    looking = True

    def look():
        while looking:
            is_live(tmp_path / "r")
            time.sleep(0.001)

    watchers = [threading.Thread(target=look) for _ in range(2)]
    for watcher in watchers:
        watcher.start()
    try:
        for _ in range(200):
            with locked(tmp_path / "r"):
                pass
    finally:
        looking = False
        for watcher in watchers:
            watcher.join(120)


def test_one_who_looks_and_stands_still_in_that_moment_keeps_nobody_out(tmp_path):
    with locked(tmp_path / "r"):
        pass
    done = threading.Event()

    def work():
        with locked(tmp_path / "r"):
            done.set()

    worker = threading.Thread(target=work)
    with (tmp_path / "r" / ".lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        worker.start()
        assert not done.wait(0.3)
    assert done.wait(120)
    worker.join(120)


def test_a_lock_that_nobody_put_a_number_into_is_refused_at_last(tmp_path, monkeypatch):
    monkeypatch.setattr("promptmill.io.locks.NAMELESS_S", 0.1)
    with locked(tmp_path / "r"):
        pass
    with (tmp_path / "r" / ".lock").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="r: process unknown works in this folder"), locked(tmp_path / "r"):
            pass
        with pytest.raises(RunError, match=r"\.lock: is held by a process that does not say who it is"):
            is_live(tmp_path / "r")
        file.write(b"999999999      \n")  # of another machine
        file.flush()
        assert is_live(tmp_path / "r") == 999999999
