"""The process behind `workers`: it loads libraries once, forks a child for each slot, and another when one ends.

    parent ── control pipe ──> keeper ── fork ──> child of slot 0 <── requests, answers ── parent
                                      └─ fork ──> child of slot 1 ...

A child answers requests that come through its slot's pipe. When the parent finds it too slow it tells the keeper, which
kills it and forks the next one: libraries are warm, so this takes milliseconds. The keeper has no threads (a process
with threads must not fork) and ends with its parent: the control pipe closes, however the parent died, and the children
end with the keeper.

Children are fenced: no environment (see `workers`), no file larger than 0 bytes, a limit on memory, and an audit hook
that refuses sockets, programs and writing. This keeps in what a library might do by mistake with hostile text; it is no
sandbox for hostile code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import struct
import sys
from collections.abc import Callable
from typing import Any

HEADER = struct.Struct("<cI")
READY, ANSWER, LAST, BROKEN = b"R", b"A", b"L", b"E"
KILL = struct.Struct("<II")

Check = Callable[[bytes], bytes]
_STARTING = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "ctypes.")
_CHANGING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.kill", "shutil.")
_FORBIDDEN = ("socket.", *_STARTING, *_CHANGING)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def keep(config: dict[str, Any]) -> None:
    """Run until the control pipe closes.

    Args:
        config: `entry` ("module:function", which returns a `Check`), `slots` (pairs of file descriptors: requests,
            answers), `control` (file descriptor), `memory_mb` and `checks` (after how many a child is replaced).
    """
    sys.dont_write_bytecode = True
    os.chdir("/")
    try:
        module, _, name = config["entry"].partition(":")
        check = getattr(importlib.import_module(module), name)()
    except Exception as error:  # noqa: BLE001 - worker boundary: the parent is told, whatever it was
        write_frame(config["slots"][0][1], BROKEN, f"{type(error).__name__}: {error}".encode()[:2000])
        return
    gc.collect()
    gc.freeze()  # children share these pages for longer
    _Keeper(config, check).run()


def write_frame(fd: int, kind: bytes, body: bytes) -> None:
    """Send one frame; frames of up to a page are written whole or not at all."""
    data = HEADER.pack(kind, len(body)) + body
    while data:
        data = data[os.write(fd, data) :]


def read_frame(fd: int) -> tuple[bytes, bytes] | None:
    """Wait for one frame; None when the other side is gone."""
    head = _read(fd, HEADER.size)
    if head is None:
        return None
    kind, size = HEADER.unpack(head)
    body = _read(fd, size)
    return None if body is None else (kind, body)


def _read(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            return None
        data += more
    return data


class _Keeper:
    """Forks children, kills those the parent names, and replaces whichever ended."""

    def __init__(self, config: dict[str, Any], check: Check) -> None:
        self._config, self._check = config, check
        self._slots: list[tuple[int, int]] = [tuple(pair) for pair in config["slots"]]
        self._pids: dict[int, int] = {}
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        os.set_blocking(self._wake, False)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for slot in range(len(self._slots)):
            self._fork(slot)
        control = self._config["control"]
        while True:
            ready, _, _ = select.select([control, self._wake], [], [])
            if control in ready:
                order = _read(control, KILL.size)
                if order is None:
                    break
                self._kill(*KILL.unpack(order))
            self._reap()
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _kill(self, slot: int, pid: int) -> None:
        if self._pids.get(pid) == slot:  # not reaped yet, so the number is still this child's
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake, 512):
                pass
        with contextlib.suppress(ChildProcessError):
            while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                slot = self._pids.pop(pid, None)
                if slot is not None:
                    self._fork(slot)

    def _fork(self, slot: int) -> None:
        keeper = os.getpid()
        pid = os.fork()
        if pid:
            self._pids[pid] = slot
            return
        try:
            signal.set_wakeup_fd(-1)
            for fd in (
                self._config["control"],
                *(fd for n, pair in enumerate(self._slots) if n != slot for fd in pair),
            ):
                os.close(fd)  # a pipe that another child held open would not tell that its own child is gone
            _end_with(keeper)
            _serve(*self._slots[slot], self._check, self._config)
        finally:
            os._exit(0)


def _serve(requests: int, answers: int, check: Check, config: dict[str, Any]) -> None:
    """The child: answer a number of requests, then end."""
    _fence(config["memory_mb"])
    os.set_blocking(requests, False)
    with contextlib.suppress(BlockingIOError):
        while os.read(requests, 65536):  # what a killed child left unread
            pass
    os.set_blocking(requests, True)
    write_frame(answers, READY, os.getpid().to_bytes(4, "little"))
    for left in reversed(range(config["checks"])):
        frame = read_frame(requests)
        if frame is None:
            return
        write_frame(answers, ANSWER if left else LAST, check(frame[1]))


def _end_with(keeper: int) -> None:
    """Be killed when the keeper is; at once if it is gone already."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(0)


def _fence(memory_mb: int) -> None:
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(_refuse)


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    if event.startswith(_FORBIDDEN) or (event == "open" and _writes(args)):
        raise PermissionError(event)


def _writes(args: tuple[Any, ...]) -> bool:
    _, mode, flags = args
    return bool(set(mode) & set("wax+")) if isinstance(mode, str) else bool((flags or 0) & _WRITING)
