"""The pool of processes, with entries of its own: what becomes of requests that sleep, die and grow."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from promptmill.errors import RunError
from promptmill.evaluate.workers import Reply, Workers

AMPLE_S = 120  # what must be answered may take its time on a busy machine
ENTRY = """
import os, time

def load():
    return check

def check(request):
    word, _, rest = request.partition(b" ")
    if word == b"compute":  # seconds of it
        end = time.process_time() + float(rest)
        while time.process_time() < end:
            pass
    if word == b"sleep":
        time.sleep(float(rest))
    if word == b"die":
        os._exit(3)
    if word == b"grow":
        kept = [bytearray(1 << 20) for _ in range(4096)]
    if word == b"pid":
        return str(os.getpid()).encode()
    if word == b"environment":
        return " ".join(sorted(os.environ)).encode()
    if word == b"try":
        try:
            exec(rest)
        except Exception as error:
            return type(error).__name__.encode()
        return b"done"
    return request

def broken():
    raise ValueError("no such library")
"""


@pytest.fixture
def entry(tmp_path, monkeypatch):
    (tmp_path / "entry_of_a_test.py").write_text(ENTRY)
    monkeypatch.syspath_prepend(tmp_path)
    return "entry_of_a_test:load"


@pytest.fixture
def pool(entry):
    made = Workers(entry, workers=2, memory_mb=512, checks=50)
    yield made
    made.close()


def test_a_request_is_answered_and_a_large_one_too(pool):
    assert pool.ask(b"hello", limit_s=AMPLE_S) == Reply(b"hello", "answered")
    assert pool.ask(b"x" * 60_000, limit_s=AMPLE_S).body == b"x" * 60_000


def test_a_late_worker_is_killed_and_its_answer_never_meets_the_next_request(pool):
    for n in range(5):
        assert pool.ask(b"compute 1000", limit_s=0.05) == Reply(None, "late")
        assert pool.ask(f"after {n}".encode(), limit_s=AMPLE_S).body == f"after {n}".encode()


def test_answers_that_come_just_at_the_limit_are_taken_or_dropped_but_never_mixed_up(pool):
    for n in range(60):
        reply = pool.ask(b"compute 0.01", limit_s=0.0095 + n * 0.00002)
        assert reply in {Reply(None, "late"), Reply(b"compute 0.01", "answered")}
        assert pool.ask(f"after {n}".encode(), limit_s=AMPLE_S).body == f"after {n}".encode()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what another process has computed")
def test_a_worker_that_waits_for_its_turn_is_not_late(pool):
    assert pool.ask(b"sleep 0.5", limit_s=0.05) == Reply(b"sleep 0.5", "answered")


def test_a_worker_that_stands_still_is_late_at_last(pool, monkeypatch):
    monkeypatch.setattr("promptmill.evaluate.workers.STILL_S", 0.1)
    assert pool.ask(b"sleep 1000", limit_s=0.05) == Reply(None, "late")
    assert pool.ask(b"hello", limit_s=AMPLE_S).body == b"hello"


def test_a_worker_that_dies_or_wants_too_much_memory_is_replaced(pool):
    assert pool.ask(b"die", limit_s=AMPLE_S) == Reply(None, "died")
    assert pool.ask(b"hello", limit_s=AMPLE_S).body == b"hello"
    assert pool.ask(b"grow", limit_s=AMPLE_S) == Reply(None, "died")
    assert pool.ask(b"hello", limit_s=AMPLE_S).body == b"hello"


def test_a_worker_is_replaced_after_its_share_of_checks(entry):
    pool = Workers(entry, workers=1, checks=3)
    pids = [pool.ask(b"pid", limit_s=AMPLE_S).body for _ in range(9)]
    assert [len(set(pids[start : start + 3])) for start in (0, 3, 6)] == [1, 1, 1]
    assert len(set(pids)) == 3
    pool.close()


def test_no_more_processes_work_than_were_asked_for(pool):
    found = set()
    threads = [threading.Thread(target=lambda: found.add(pool.ask(b"pid", limit_s=AMPLE_S).body)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert 1 <= len(found) <= 2


def test_when_the_keeper_is_killed_the_next_request_starts_another(pool):
    assert pool.ask(b"hello", limit_s=AMPLE_S).body == b"hello"
    keeper = pool.pids()[0]
    os.kill(keeper, signal.SIGKILL)
    until = time.monotonic() + 120
    while time.monotonic() < until:  # its children end a moment later; until then they may answer
        assert pool.ask(b"hello", limit_s=AMPLE_S) in {Reply(b"hello", "answered"), Reply(None, "broken")}
        if pool.pids()[:1] != [keeper]:
            break
        time.sleep(0.01)
    assert pool.ask(b"hello", limit_s=AMPLE_S).body == b"hello"
    assert pool.pids()[0] != keeper


def test_an_entry_that_cannot_be_loaded_is_one_clear_error(entry):
    pool = Workers(entry.replace("load", "broken"), workers=1)
    with pytest.raises(RunError, match=r"worker for entry_of_a_test:broken: ValueError: no such library\. Check"):
        pool.ask(b"hello", limit_s=1)


def test_workers_inherit_no_environment(pool, monkeypatch):
    monkeypatch.setenv("SECRET_CANARY", "sk-do-not-pass-on")
    names = pool.ask(b"environment ", limit_s=AMPLE_S).body.split()
    assert set(names) <= {b"PATH", b"PYTHONHASHSEED", b"LD_LIBRARY_PATH", b"LC_CTYPE"}


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os').system('touch {canary}')",
        "open('{canary}', 'w')",
        "__import__('os').open('{canary}', 0o101)",
        "__import__('subprocess').run(['touch', '{canary}'])",
        "__import__('socket').socket().connect(('127.0.0.1', 9))",
        "__import__('os').fork()",
        "__import__('os').mkdir('{canary}')",
        "__import__('os').kill(1, 0)",
    ],
)
def test_a_worker_may_not_write_nor_start_programs_nor_connect(pool, tmp_path, code):
    canary = tmp_path / "canary"
    assert pool.ask(f"try {code.format(canary=canary)}".encode(), limit_s=AMPLE_S).body == b"PermissionError"
    assert not canary.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_after_a_fork_the_child_has_workers_of_its_own(pool):
    first = pool.ask(b"pid", limit_s=AMPLE_S).body
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, pool.ask(b"pid", limit_s=AMPLE_S).body or b"none")
            pool.close()
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    assert os.read(reader, 100) not in {first, b"", b"none"}
    os.close(reader)
    assert pool.ask(b"pid", limit_s=AMPLE_S).body == first


def test_threads_that_end_do_not_take_the_workers_with_them(pool):
    thread = threading.Thread(target=pool.ask, args=(b"hello",), kwargs={"limit_s": AMPLE_S})
    thread.start()
    thread.join(120)
    assert not thread.is_alive()
    before = pool.pids()
    time.sleep(0.2)
    assert all(Path(f"/proc/{pid}").exists() for pid in before if Path("/proc").is_dir())
    assert pool.ask(b"hello", limit_s=AMPLE_S).body == b"hello"
    assert pool.pids()[0] == before[0]


def test_closing_twice_does_no_harm(pool):
    pool.ask(b"hello", limit_s=AMPLE_S)
    pool.close()
    pool.close()
    assert pool.pids() == []
