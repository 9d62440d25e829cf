"""The fork server: one small process that goes into the jail first and then forks a pair of processes for each program.

It starts with nothing but the standard library and never sees a test or a program: promptmill hands it two descriptors
for each job, and the pair reads its job from there. It kills pairs whose time is over and says how each ended. When
promptmill closes its end, or dies, the server ends, and with it, being the first process of its namespace, all others.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import json
import mmap
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from typing import Any, NamedTuple

from promptmill.evaluate.sandbox import jail, landlock, mounts, program, seccomp, syscalls, tests
from promptmill.evaluate.sandbox.frames import Broken, Channel
from promptmill.evaluate.sandbox.jail import FULL, Limits, Walls

# imported before the fork: what programs commonly use, and what has shared libraries that the jail does not show
WARM = (
    "array", "asyncio", "bisect", "bz2", "cmath", "collections", "copy", "ctypes", "dataclasses", "datetime", "decimal",
    "enum", "fractions", "functools", "hashlib", "heapq", "inspect", "itertools", "json", "lzma", "math", "operator",
    "queue", "random", "re", "statistics", "string", "struct", "textwrap", "threading", "typing", "unicodedata", "zlib",
)  # fmt: skip


class Pair(NamedTuple):
    """A running pair.

    Attributes:
        status: where to say how it ended.
        deadline: when its time is over.
        folder: its private folder, where no private file system takes its place.
        child: memory in which the process of the tests wrote the number of the program's.
    """

    status: int
    deadline: float
    folder: str
    child: mmap.mmap


def main() -> None:
    """Entry of the server's process: `server.main` with the number of the control socket as argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    settings = json.loads(control.recv(1 << 16))
    sys.modules["ssl"] = None  # type: ignore[assignment]  # asyncio would import it: more pages for each fork
    for name in WARM:
        importlib.import_module(name)
    del sys.modules["ssl"]
    full = settings["level"] == FULL
    try:
        code = _filter(needed=full)
        # after this the first child that ends takes the process namespace along
        namespaces = jail.enter_namespaces() if full else []
    except (OSError, NotImplementedError, KeyError, StopIteration) as error:
        control.send(json.dumps({"error": str(error) or type(error).__name__}).encode())
        return
    missing = sorted(set(jail.NAMESPACES.values()) - set(namespaces))
    if full and missing:
        control.send(json.dumps({"error": f"no own {missing[0]}"}).encode())
        return
    vars(builtins).update(exit=sys.exit, quit=sys.exit)  # as `site`, which was left out, would give them
    version = landlock.version() if code else 0
    walls = Walls(settings["level"], code, version, Limits(**settings["limits"]), mounts.library())
    gc.collect()
    gc.freeze()  # shared with the children as it is
    pid = os.fork()
    if pid == 0:
        syscalls.die_with_parent()
        control.send(json.dumps({"filter": bool(code), "landlock": walls.landlock, "namespaces": namespaces}).encode())
        serve(control, walls)
        os._exit(0)
    control.close()
    os.waitpid(pid, 0)


def _filter(*, needed: bool) -> bytes:
    """The filter of system calls, after a child of its own has shown that the kernel takes it."""
    try:
        code = seccomp.filter_code(syscalls.machine())
    except NotImplementedError:
        if needed:
            raise
        return b""
    pid = os.fork()
    if pid == 0:
        syscalls.no_new_privileges()
        seccomp.install(code)
        os._exit(7)
    works = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    if not works and needed:
        raise OSError(1, "seccomp: the kernel does not take a filter")
    return code if works else b""


def serve(control: socket.socket, walls: Walls) -> None:
    """Fork pairs as asked until the other end closes."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    running: dict[int, Pair] = {}
    poller = select.poll()
    poller.register(control, select.POLLIN)
    poller.register(wake, select.POLLIN)
    while True:
        now = time.monotonic()
        soonest = min((pair.deadline for pair in running.values()), default=now + 60)
        ready = {number for number, _ in poller.poll(max(0, soonest - now) * 1000 + 1)}
        if wake in ready:
            os.read(wake, 4096)
        if control.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(control, 16, 2)
            if not message:
                break
            pid, pair = _fork(control, descriptors, walls)
            running[pid] = pair
        _reap(running)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for pair in running.values():
        _end_program(pair)
        shutil.rmtree(pair.folder, ignore_errors=True)


def _fork(control: socket.socket, descriptors: list[int], walls: Walls) -> tuple[int, Pair]:
    job, status = descriptors
    folder = "" if walls.level == FULL else tempfile.mkdtemp(prefix="promptmill-")
    child = mmap.mmap(-1, 4)
    pid = os.fork()
    if pid == 0:
        try:
            control.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(status)
            run_pair(job, walls, folder, child)
        finally:
            os._exit(1)
    os.close(job)
    return pid, Pair(status, time.monotonic() + walls.limits.timeout_s, folder, child)


def run_pair(job: int, walls: Walls, folder: str, child: mmap.mmap) -> None:
    """Become the process of the tests, after forking that of the program. Never returns to the server's code."""
    to_program, from_tests = os.pipe()[::-1]
    from_program, to_tests = os.pipe()
    if walls.level == FULL:
        syscalls.unshare(syscalls.CLONE_NEWPID, "process namespace")
    folders = [os.path.join(folder, name) for name in ("program", "tests")]  # noqa: PTH118 - os alone in the jail
    if folder:
        for each in folders:
            os.mkdir(each, 0o700)  # noqa: PTH102 - as above
    pid = os.fork()
    if pid == 0:
        try:
            child.close()  # before foreign code could write another number into it
            jail.lock(walls, tuple(sorted((from_tests, to_tests))), folders[0])
            program.serve(Channel(from_tests, to_tests))
        finally:
            os._exit(0)
    child[:] = pid.to_bytes(4, "big")
    child.close()
    jail.lock(walls, tuple(sorted((job, from_program, to_program))), folders[1], parent=True)
    try:
        tests.judge(Channel(job, job), Channel(from_program, to_program), pid)
    except Broken:
        os._exit(3)
    os._exit(0)


def _end_program(pair: Pair) -> None:
    """Kill the program of a pair whose tests are over; the kernel should have done it when they ended."""
    pid = int.from_bytes(pair.child[:], "big")
    pair.child.close()
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _reap(running: dict[int, Pair]) -> None:
    """Kill what is late, and tell of each pair that ended."""
    now = time.monotonic()
    for pid, pair in running.items():
        if now >= pair.deadline:
            os.kill(pid, signal.SIGKILL)
    while True:
        try:
            pid, code = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        ended = running.pop(pid, None)  # programs whose tests are over come here too
        if ended is not None:
            _end_program(ended)
            message: dict[str, Any] = {"code": os.waitstatus_to_exitcode(code), "late": now >= ended.deadline}
            with contextlib.suppress(OSError):  # nobody waits for it any more
                os.write(ended.status, json.dumps(message).encode())
            os.close(ended.status)
            if ended.folder:
                shutil.rmtree(ended.folder, ignore_errors=True)
