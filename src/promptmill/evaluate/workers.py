"""A bounded pool of warm worker processes, each of which can be killed at any moment.

For checks that no thread can stop: a symbolic library may compute for hours, and its own timeout is a signal, which
works in a main thread only. Here the limit is a kill: a check that is not answered in time ends with its process, and
the next one is forked from a keeper that has the libraries loaded (`keeper`).

The limit counts what the worker computes, where the system tells (Linux), so that an answer does not depend on what
else the machine does; a worker that does not compute at all is late after `STILL_S`.

A pool may be called from any number of threads; who finds all workers busy waits, and the wait does not count against
the limit. Processes start with the first check and end with this process, also when it is killed. After a fork of this
process the child gets a pool of its own.

Not covered: what is checked (`math_worker`), and hostile code (the sandbox).
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
import weakref
from typing import Any, NamedTuple

from promptmill.errors import RunError
from promptmill.evaluate.keeper import ANSWER, BROKEN, HEADER, KILL, READY, write_frame

START_S = 120.0
STILL_S = 60.0  # that a check may take beyond its limit while its process waits for its turn
MAX_REQUEST = 60_000  # fits an empty pipe, so sending never waits
_BOOT = (
    "import json, sys; config = json.loads(sys.argv[1]); sys.path[:] = config['path']; "
    "from promptmill.evaluate.keeper import keep; keep(config)"
)
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "PATH")


class Reply(NamedTuple):
    """What became of a check.

    Attributes:
        body: the answer, or None.
        why: `answered`, `late` (killed at the limit), `died` (it ended by itself: out of memory, a crash) or `broken`
            (all of them ended, and again when they were started anew).
    """

    body: bytes | None
    why: str


def _computed_s(pid: int | None) -> float | None:
    """Seconds that a process has computed for; None where the system does not tell, or the process has ended."""
    if pid is None or sys.platform != "linux":
        return None
    try:
        return time.clock_gettime(~pid << 3 | 2)  # the clock that clock_getcpuclockid(3) names
    except OSError:
        return None


class _Slot:
    """The parent's ends of one worker's pipes."""

    def __init__(self, number: int, requests: int, answers: int) -> None:
        self.number, self.requests, self.answers = number, requests, answers
        self.pid: int | None = None
        self._buffer = b""
        weakref.finalize(self, _close, (requests, answers))  # not before a thread that waits here has let go
        self._poll = select.poll()
        self._poll.register(answers, select.POLLIN)

    def ask(self, request: bytes, limit_s: float) -> tuple[bytes, bytes] | None:
        """Send a request; the next frame, or None when the worker has computed for `limit_s` seconds, or stands still.

        Raises:
            BrokenPipeError: there is no worker and no keeper.
        """
        pid, left = self.pid, limit_s
        before, end = _computed_s(pid), time.monotonic() + limit_s + STILL_S
        write_frame(self.requests, ANSWER, request)
        while (frame := self.receive(time.monotonic() + max(left, 0.01))) is None:
            now = _computed_s(pid)
            if before is None or now is None or time.monotonic() > end:
                break
            left = limit_s - (now - before)
            if left <= 0:
                break
        return frame

    def receive(self, until: float) -> tuple[bytes, bytes] | None:
        """The next frame, or None when `until` (monotonic) is over or the keeper is gone."""
        while True:
            if len(self._buffer) >= HEADER.size:
                kind, size = HEADER.unpack_from(self._buffer)
                end = HEADER.size + size
                if len(self._buffer) >= end:
                    body, self._buffer = self._buffer[HEADER.size : end], self._buffer[end:]
                    if kind != ANSWER:  # a new worker says who it is, an old one that it ends
                        self.pid = int.from_bytes(body, "little") if kind == READY else None
                    return kind, body
            left = until - time.monotonic()
            if not self._poll.poll(max(0.0, left) * 1000):  # what is there is taken, however late we come
                return None
            data = os.read(self.answers, 65536)
            if not data:
                return BROKEN, b"its process ended"
            self._buffer += data


class _Running:
    """A keeper and its slots."""

    def __init__(self, process: subprocess.Popen[bytes], control: int, slots: list[_Slot]) -> None:
        self.process, self.control, self.slots = process, control, slots
        self.warm = False
        self.free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for slot in reversed(slots):
            self.free.put(slot)


class Workers:
    """Processes that answer requests, each within a time limit.

    Args:
        entry: "module:function" that loads what is needed and returns `bytes -> bytes`; runs in the keeper.
        workers: how many may work at a time.
        memory_mb: address space that each may use.
        checks: after how many answers a worker is replaced (caches of libraries grow).
    """

    def __init__(self, entry: str, *, workers: int, memory_mb: int = 1024, checks: int = 5000) -> None:
        self._config = {"entry": entry, "memory_mb": memory_mb, "checks": checks}
        self._workers = workers
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._owner = os.getpid()
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def ask(self, request: bytes, *, limit_s: float) -> Reply:
        """Send one request and wait for its answer, until its worker has computed `limit_s` seconds for it.

        Raises:
            RunError: the processes cannot be started.
        """
        reply = self._ask(request, limit_s)
        return self._ask(request, limit_s) if reply.why == "broken" else reply  # the keeper ended under this request

    def _ask(self, request: bytes, limit_s: float) -> Reply:
        running = self._start()
        slot = running.free.get()
        frame: tuple[bytes, bytes] | None = None
        try:
            self._await_ready(running, slot)
            frame = slot.ask(request, limit_s)
        except BrokenPipeError:
            frame = BROKEN, b""
        finally:
            if frame is None:  # late or interrupted: an answer that nobody waits for must not meet the next request
                self._kill(running, slot)
            running.free.put(slot)
        if frame is None:
            return Reply(None, "late")
        return self._reply(running, *frame)

    def _reply(self, running: _Running, kind: bytes, body: bytes) -> Reply:
        if kind == BROKEN:
            self._forget(running)
            return Reply(None, "broken")
        if kind == READY:  # the next child is there already, so the one that was asked has ended
            return Reply(None, "died")
        return Reply(body, "answered")

    def pids(self) -> list[int]:
        """The processes as far as they are known: the keeper, and the workers that were used."""
        running = self._running
        if running is None:
            return []
        return [running.process.pid, *(slot.pid for slot in running.slots if slot.pid is not None)]

    def close(self) -> None:
        """End all processes; the next request would start them again."""
        if self._running is not None:
            self._forget(self._running)

    def _await_ready(self, running: _Running, slot: _Slot) -> None:
        until = time.monotonic() + START_S
        while slot.pid is None:
            frame = slot.receive(until)
            if frame is None or frame[0] == BROKEN:
                if frame is not None and running.warm:
                    raise BrokenPipeError
                why = "it did not start in time" if frame is None else frame[1].decode(errors="replace")
                self._forget(running)
                raise RunError(f"worker for {self._config['entry']}: {why}. Check that its libraries are whole.")
            running.warm = running.warm or frame[0] == READY

    def _kill(self, running: _Running, slot: _Slot) -> None:
        with self._lock, contextlib.suppress(BrokenPipeError):  # without a keeper there is no worker either
            if self._running is running and slot.pid is not None:
                os.write(running.control, KILL.pack(slot.number, slot.pid))
        slot.pid = None

    def _forget(self, running: _Running) -> None:
        """End a keeper; the next request starts another."""
        with self._lock:
            if self._running is running:
                self._running = None
                if self._finalizer is not None:
                    self._finalizer()

    def _start(self) -> _Running:
        with self._lock:
            if self._owner != os.getpid():  # a fork: the pipes belong to the parent
                self._owner, self._running = os.getpid(), None
                if self._finalizer is not None:
                    self._finalizer.detach()
            if self._running is None:
                self._running = self._launch()
            return self._running

    def _launch(self) -> _Running:
        pairs = [(os.pipe(), os.pipe()) for _ in range(self._workers)]
        control = os.pipe()
        theirs = [(requests[0], answers[1]) for requests, answers in pairs]
        config = {
            **self._config,
            "slots": theirs,
            "control": control[0],
            "path": [os.path.abspath(entry) for entry in sys.path],  # noqa: PTH100 - '' is the working folder
        }
        environment = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
        passed = [control[0], *(fd for pair in theirs for fd in pair)]
        process = subprocess.Popen(  # noqa: S603 - our own code, with no shell
            [sys.executable, "-P", "-c", _BOOT, json.dumps(config)],
            env=environment | {"PYTHONHASHSEED": "0"},  # the order of terms must not depend on the process
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for this process; the keeper sees the pipe close
        )
        for fd in passed:
            os.close(fd)
        slots = [_Slot(n, requests[1], answers[0]) for n, (requests, answers) in enumerate(pairs)]
        self._finalizer = weakref.finalize(self, _end, process, control[1])
        return _Running(process, control[1], slots)


def _close(descriptors: tuple[int, ...]) -> None:
    for fd in descriptors:
        os.close(fd)


def _end(process: subprocess.Popen[bytes], control: int) -> None:
    """Close the control pipe, which ends the keeper and its children, and make sure of it."""
    os.close(control)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
