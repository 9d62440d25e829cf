"""The keeper alone, spoken to over its pipes as the parent does: frames, children, orders to kill, the fence."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptmill.evaluate import keeper
from promptmill.evaluate.keeper import ANSWER, BROKEN, KILL, LAST, READY, read_frame, write_frame

SRC = str(Path(__file__).parents[3] / "src")
ENTRY = """
import os, resource, time

def load():
    return check

def check(request):
    word, _, rest = request.partition(b" ")
    if word == b"sleep":
        time.sleep(float(rest))
    if word == b"limits":
        return str((resource.getrlimit(resource.RLIMIT_FSIZE), resource.getrlimit(resource.RLIMIT_AS)[0])).encode()
    return str(os.getpid()).encode() + b" " + request

def broken():
    raise RuntimeError("no tables")
"""
START = "import json, sys; sys.path[:0] = json.loads(sys.argv[2]); from promptmill.evaluate.keeper import keep; "


class Kept:
    """A keeper and the parent's ends of its pipes."""

    def __init__(self, folder, entry="entry_of_the_keeper:load", slots=1, checks=100):
        (folder / "entry_of_the_keeper.py").write_text(ENTRY)
        pairs = [(os.pipe(), os.pipe()) for _ in range(slots)]
        control = os.pipe()
        theirs = [(requests[0], answers[1]) for requests, answers in pairs]
        config = {"entry": entry, "slots": theirs, "control": control[0], "memory_mb": 512, "checks": checks}
        passed = [control[0], *(fd for pair in theirs for fd in pair)]
        given = [json.dumps(config), json.dumps([SRC, str(folder)])]
        self.process = subprocess.Popen(
            [sys.executable, "-c", START + "keep(json.loads(sys.argv[1]))", *given],
            pass_fds=passed, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for fd in passed:
            os.close(fd)
        self.control = control[1]
        self.slots = [(requests[1], answers[0]) for requests, answers in pairs]

    def frame(self, slot=0):
        """The next frame of a slot; nothing waits longer than two minutes."""
        assert select.select([self.slots[slot][1]], [], [], 120)[0]
        return read_frame(self.slots[slot][1])

    def ready(self, slot=0):
        kind, body = self.frame(slot)
        assert kind == READY
        return int.from_bytes(body, "little")

    def ask(self, request, slot=0):
        write_frame(self.slots[slot][0], ANSWER, request)
        return self.frame(slot)

    def end(self):
        with contextlib.suppress(OSError):
            os.close(self.control)
        self.process.wait(120)
        for fd in (each for pair in self.slots for each in pair):
            os.close(fd)


@pytest.fixture
def start(tmp_path):
    made = []

    def kept(**options):
        made.append(Kept(tmp_path, **options))
        return made[-1]

    yield kept
    for each in made:
        each.end()


def gone(pid):
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            if "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def pipe():
    reads, writes = os.pipe()
    yield reads, writes
    for number in (reads, writes):
        with contextlib.suppress(OSError):  # closed by the test
            os.close(number)


def test_frames_arrive_whole_and_in_order(pipe):
    write_frame(pipe[1], ANSWER, b"")
    write_frame(pipe[1], LAST, b"x" * 5000)
    assert [read_frame(pipe[0]), read_frame(pipe[0])] == [(b"A", b""), (b"L", b"x" * 5000)]


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 7])
def test_a_frame_that_is_cut_off_is_none(pipe, cut):
    os.write(pipe[1], (b"A" + (9).to_bytes(4, "little") + b"123456789")[:cut])
    os.close(pipe[1])
    assert read_frame(pipe[0]) is None


def test_a_child_says_who_it_is_and_answers(start):
    kept = start()
    pid = kept.ready()
    assert kept.ask(b"one") == (ANSWER, f"{pid} one".encode())
    assert kept.ask(b"two") == (ANSWER, f"{pid} two".encode())


def test_after_its_share_of_checks_a_child_says_that_it_was_the_last_and_another_takes_its_place(start):
    kept = start(checks=2)
    first = kept.ready()
    assert [kept.ask(b"a")[0], kept.ask(b"b")[0]] == [ANSWER, LAST]
    second = kept.ready()
    assert second != first
    assert gone(first)
    assert kept.ask(b"c") == (ANSWER, f"{second} c".encode())


def test_a_child_that_is_killed_by_order_is_replaced_and_its_request_forgotten(start):
    kept = start()
    first = kept.ready()
    write_frame(kept.slots[0][0], ANSWER, b"sleep 1000")
    write_frame(kept.slots[0][0], ANSWER, b"never read")
    os.write(kept.control, KILL.pack(0, first))
    second = kept.ready()
    assert second != first
    assert kept.ask(b"new") == (ANSWER, f"{second} new".encode())


def test_an_order_for_another_slot_or_a_child_that_is_gone_kills_nobody(start):
    kept = start(slots=2)
    pids = [kept.ready(0), kept.ready(1)]
    os.write(kept.control, KILL.pack(1, pids[0]) + KILL.pack(0, kept.process.pid) + KILL.pack(0, os.getpid()))
    os.write(kept.control, KILL.pack(0, pids[0]))  # this one holds; the others were read before it
    assert kept.ready(0) not in pids
    assert kept.ask(b"still here", 1) == (ANSWER, f"{pids[1]} still here".encode())


def test_slots_do_not_hold_each_others_pipes(start):
    """When a child ends its pipe must say so, which it would not while another child holds an end of it."""
    kept = start(slots=2)
    pids = [kept.ready(0), kept.ready(1)]
    kept.process.send_signal(signal.SIGSTOP)  # so that nobody takes the place of the one that ends
    os.kill(pids[0], signal.SIGKILL)
    assert kept.ask(b"x", 1) == (ANSWER, f"{pids[1]} x".encode())
    kept.process.send_signal(signal.SIGCONT)
    assert kept.ready(0) not in pids


def test_everything_ends_when_the_control_pipe_closes(start):
    kept = start(slots=2)
    pids = [kept.ready(0), kept.ready(1)]
    write_frame(kept.slots[0][0], ANSWER, b"sleep 1000")
    os.close(kept.control)
    assert kept.process.wait(120) == 0
    assert all(map(gone, pids))
    assert kept.frame(1) is None


def test_children_end_with_a_keeper_that_was_killed(start):
    kept = start()
    pid = kept.ready()
    write_frame(kept.slots[0][0], ANSWER, b"sleep 1000")
    kept.process.kill()
    assert gone(pid)


def test_an_entry_that_fails_is_told_and_nothing_is_forked(start):
    kept = start(entry="entry_of_the_keeper:broken")
    assert kept.frame() == (BROKEN, b"RuntimeError: no tables")
    assert kept.process.wait(120) == 0


def test_a_child_may_write_no_byte_to_a_file_and_use_so_much_memory(start):
    kept = start()
    pid = kept.ready()
    assert kept.ask(b"limits") == (ANSWER, str(((0, 0), 512 << 20)).encode())
    assert kept.ask(b"x")[1] == f"{pid} x".encode()


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("127.0.0.1", 80))), ("socket.__new__", (None, 2, 1, 0)), ("os.system", (b"true",)),
        ("subprocess.Popen", ("true", ["true"], None, None)), ("os.exec", ("true", [], None)), ("os.fork", ()),
        ("os.remove", ("x", -1)), ("os.rename", ("a", "b", -1, -1)), ("shutil.rmtree", ("x",)), ("os.kill", (1, 9)),
        ("ctypes.dlopen", ("libc.so.6",)), ("open", ("x", "w", 0)), ("open", ("x", "r+", 0)), ("open", ("x", "xb", 0)),
        ("open", ("x", None, os.O_RDWR)), ("open", ("x", None, os.O_CREAT)), ("open", ("x", "a", os.O_RDONLY)),
    ],
)  # fmt: skip
def test_the_fence_refuses_what_a_library_has_no_business_with(event, arguments):
    with pytest.raises(PermissionError, match=event):
        keeper._refuse(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("open", ("x", "r", 0)), ("open", ("x", "rb", os.O_CLOEXEC)), ("open", ("x", None, os.O_RDONLY)),
        ("open", ("x", None, None)), ("import", ("math", None, None, None, None)), ("compile", ("1", "x")),
        ("os.listdir", (".",)),
    ],
)  # fmt: skip
def test_the_fence_lets_reading_and_importing_through(event, arguments):
    assert keeper._refuse(event, arguments) is None
