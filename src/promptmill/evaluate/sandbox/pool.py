"""promptmill's side of the sandbox: starts the server, hands it jobs, believes nothing that comes back but its form."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Literal, NamedTuple

from promptmill.errors import ConfigError
from promptmill.evaluate.sandbox.frames import Broken, Channel
from promptmill.evaluate.sandbox.jail import Limits

Level = Literal["full", "rlimits-only"]
ROOT = str(Path(__file__).parents[3])
# the folder with promptmill may hold other packages too: it is on the path for this one import alone
START = (
    "import sys; sys.path.insert(0, sys.argv.pop()); from promptmill.evaluate.sandbox import server; sys.path.pop(0); "
    "server.main()"
)
PLANS = 20_000  # that are kept
GRACE_S = 60.0  # that the server has beyond the deadline to say that it is over: the machine may be busy


class Job(NamedTuple):
    """A program and the tests that it must pass.

    Attributes:
        program: the model's code.
        tests: code that must run without an error, one after another with shared names.
        setup: code that stands before the program and is known to the tests too.
        entry_point: the function that the tests call, where known.
    """

    program: str
    tests: tuple[str, ...]
    setup: str = ""
    entry_point: str | None = None


class Ruling(NamedTuple):
    """What became of a job.

    Attributes:
        passed: whether the tests passed; None where they could not be run.
        detail: why not.
        together: the tests ran in the program's own process, where a hostile program could forge this.
    """

    passed: bool | None
    detail: str
    together: bool


class Sandbox:
    """One fork server and its jobs; may be used from several threads.

    Attributes:
        level: full or rlimits-only.
        landlock: version of Landlock in use; 0 where the kernel has none.
        filter: whether system calls are filtered.
        namespaces: those that programs have of their own.
    """

    def __init__(self, limits: Limits, *, level: Level = "full", workers: int | None = None) -> None:
        self.level = level
        self.limits = limits
        self.landlock = 0
        self.filter = False
        self.namespaces: tuple[str, ...] = ()
        self._room = threading.BoundedSemaphore(workers or len(os.sched_getaffinity(0)))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._starts = 0
        self._together: set[int] = set()  # hashes of tests that were found to need the program's own process
        self._plans: dict[int, Any] = {}  # what was found out about tests, by their hashes; their process made it

    def start(self) -> None:
        """Start the server, if it does not run.

        Raises:
            ConfigError: this machine does not allow the isolation; names the step that was refused.
        """
        with self._lock:
            self._start()

    def _start(self) -> socket.socket:
        if self._control is not None:
            return self._control
        if sys.platform != "linux":
            raise ConfigError("metric code: the sandbox needs Linux. Run the workflow there, or in a container.")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-S", "-s", "-P", "-B", "-c", START, str(theirs.fileno()), ROOT],
                env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"},  # the same order of sets each time; no secrets
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,  # empty but for the traceback of a server that fails
                start_new_session=True,
            )
        ours.settimeout(60)
        try:
            ours.send(json.dumps({"level": self.level, "limits": self.limits._asdict()}).encode())
            said = json.loads(ours.recv(1 << 16) or b"{}")
        except (OSError, ValueError) as error:
            said = {"error": f"it does not start ({error})"}
        if "filter" not in said:
            ours.close()
            trace = _end(process)
            raise ConfigError(
                f"metric code: this machine does not allow the sandbox: {said.get('error') or trace}. See "
                "`promptmill doctor`, run where user namespaces are allowed, or set `sandbox: rlimits-only` for code "
                "that you trust."
            )
        self.landlock, self.filter = int(said["landlock"]), bool(said["filter"])
        self.namespaces = tuple(said["namespaces"])
        self._process, self._control = process, ours
        self._starts += 1
        return ours

    def judge(self, job: Job) -> Ruling:
        """Run a program against its tests.

        Raises:
            ConfigError: as `start`.
        """
        key = hash((job.tests, job.setup, job.entry_point))
        with self._room:
            together = key in self._together
            ruling = self._judge(job, key, together=together)
            if ruling.together and not together:
                self._together.add(key)
                ruling = self._judge(job, key, together=True)
        return ruling

    def _judge(self, job: Job, key: int, *, together: bool) -> Ruling:
        for _ in range(2):
            found = self._once({**job._asdict(), "together": together, "plan": self._plans.get(key)}, key)
            if found is not None:
                return found
        return Ruling(passed=None, detail="the sandbox's server died twice over this program", together=together)

    def _once(self, job: dict[str, Any], key: int = 0) -> Ruling | None:
        """One attempt; None where the server is gone, which is then cleared away."""
        ours, theirs = socket.socketpair()
        status, told = os.pipe()
        start = self._starts
        with ours:
            try:
                with theirs, self._lock:
                    control, start = self._start(), self._starts
                    socket.send_fds(control, [b"."], [theirs.fileno(), told])
            except OSError:
                os.close(status)
                self._drop(start)
                return None
            finally:
                os.close(told)
            wait = struct.pack("@ll", int(self.limits.timeout_s + GRACE_S), 0)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, wait)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
            channel = Channel(ours.fileno(), ours.fileno(), limit=64 << 20)
            said: Any = None
            try:
                channel.send(job)
                said = channel.receive()
            except Broken:
                pass  # killed before it could say anything: its status tells
            if isinstance(said, dict) and isinstance(said.get("plan"), list) and len(self._plans) < PLANS:
                self._plans[key] = said["plan"]  # for the next program with these tests
            ruling = self._ruling(said, status, together=job["together"])
            if ruling is None:
                self._drop(start)
            return ruling

    def _ruling(self, said: Any, status: int, *, together: bool) -> Ruling | None:
        if isinstance(said, dict) and {"passed", "detail", "together"} <= set(said):
            os.close(status)
            passed = said["passed"] if isinstance(said["passed"], bool) else None
            return Ruling(passed, _clean(str(said["detail"])), said["together"] is True)
        with os.fdopen(status, "rb") as file:
            ended = select.select([file], [], [], GRACE_S)[0]
            end = json.loads(file.read(4096) or b"{}") if ended else {}
        if not end:
            return None
        if end.get("late"):
            return Ruling(passed=False, detail=f"no verdict within {self.limits.timeout_s:g} s", together=together)
        detail = f"the tests ended without a verdict (code {end.get('code')}): a limit was reached"
        return Ruling(passed=False, detail=detail, together=together)

    def _drop(self, start: int | None = None) -> None:
        """End the server; with `start` that one alone, which another thread may have replaced already."""
        with self._lock:
            if start is not None and start != self._starts:
                return
            if self._control is not None:
                self._control.close()
                self._control = None
            if self._process is not None:
                _end(self._process)
                self._process = None

    def close(self) -> None:
        """End the server and everything in it."""
        self._drop()


def _end(process: subprocess.Popen[bytes]) -> str:
    """Wait for the server's end, help it along; the last line it wrote."""
    try:
        said = process.communicate(timeout=10)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        said = process.communicate(timeout=GRACE_S)[1]
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "its server ended"


def _clean(text: str) -> str:
    """One line without control characters: some of it is a program's text."""
    return "".join(c if c.isprintable() else " " for c in text)[:300].strip()
