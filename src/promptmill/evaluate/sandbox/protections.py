"""What this machine offers against a hostile program, found by trying: each line is an attempt that must fail.

Nothing is assumed from a version or a setting: a small program is judged in the sandbox, tries to break one wall, and
the wall stands if it could not.
"""

from __future__ import annotations

from typing import NamedTuple

from promptmill.errors import ConfigError
from promptmill.evaluate.sandbox.jail import NAMESPACES, Limits
from promptmill.evaluate.sandbox.pool import Job, Level, Sandbox

LIMITS = Limits(timeout_s=60.0, memory_mib=256, disk_mib=4)  # a busy machine is no missing wall
# name -> what a program tries; an exception means that the wall holds
ATTEMPTS = {
    "no file of the machine is seen": "open('/etc/passwd').read(1)",
    "nothing can be written outside a private folder": "open(os.__file__, 'a')",
    "the private folder is small": "[open(f'f{n}', 'wb').write(bytes(1 << 20)) for n in range(8)]",
    "no network": "socket.socket()",
    "no new process": "os.fork()",
    "no signal to other processes": "os.kill(os.getppid() or 1, 0)",
    "first of its own process tree": "assert os.getpid() > 1",
    "no environment of the parent": "assert set(os.environ) - {'HOME', 'TMPDIR', 'PATH', 'LANG'}",
    "no descriptor of the parent": "assert [n for n in range(3, 999) if is_open(n) and not is_pipe(n)]",
    "system calls are filtered": "os.setpriority(os.PRIO_PROCESS, 0, 19)",
    "memory is limited": "bytearray(300 << 20)",
    "file size is limited": "open('f', 'wb').truncate(5 << 20)",
    "open files are limited": "[os.dup(0) for n in range(999)]",
    "threads are limited": "[threading.Thread(target=time.sleep, args=(99,), daemon=True).start() for _ in range(200)]",
    "CPU time is limited": "assert resource.getrlimit(resource.RLIMIT_CPU)[1] > 61 or resource.getrlimit(0)[1] < 0",
}
PROGRAM = """
import os, resource, socket, stat, threading, time
def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
def is_pipe(number):
    return stat.S_ISFIFO(os.fstat(number).st_mode)
def attempt():
    try:
        {body}
    except (OSError, AssertionError, MemoryError, RuntimeError):
        return "stopped"
    return "went through"
"""


class Protection(NamedTuple):
    """One wall.

    Attributes:
        name: what it keeps out, or of what the program has its own.
        active: whether it held.
        detail: more, where there is more to say.
    """

    name: str
    active: bool
    detail: str = ""


def protections(level: Level = "full") -> list[Protection]:
    """Try every wall of a level.

    Raises:
        ConfigError: the level is not available here; says which step was refused.
    """
    sandbox = Sandbox(LIMITS, level=level, workers=1)
    try:
        sandbox.start()
        found = [Protection(f"own {name}", name in sandbox.namespaces) for name in NAMESPACES.values()]
        for name, body in ATTEMPTS.items():
            job = Job(PROGRAM.format(body=body), ("assert attempt() == 'stopped'",))
            found.append(Protection(name, sandbox.judge(job).passed is True))
        version = f"version {sandbox.landlock}" if sandbox.landlock else "not in this kernel, or switched off"
        if level == "full":
            sealed = Job(PROGRAM.format(body="open('/sealed').read()"), ("assert attempt() == 'stopped'",))
            found.append(Protection("Landlock", sandbox.judge(sealed).passed is True, version))
        else:
            found.append(Protection("Landlock", sandbox.landlock > 0, version))
    finally:
        sandbox.close()
    return found


def report() -> list[str]:
    """Lines for people: the best level that this machine has, and each wall."""
    try:
        level: Level = "full"
        found = protections(level)
        lines = ["sandbox for code: full"]
    except ConfigError as error:
        level = "rlimits-only"
        lines = [f"sandbox for code: only rlimits-only. {error}"]
        try:
            found = protections(level)
        except ConfigError as other:
            return [f"sandbox for code: none. {other}"]
    for wall in found:
        state = "active" if wall.active else "NOT active"
        lines.append(f"    {wall.name}: {state}{f' ({wall.detail})' if wall.detail else ''}")
    return lines
