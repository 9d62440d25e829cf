"""Shuts processes in: namespaces for the server, then, for each process that runs foreign code, everything else.

Two levels. `full`: a user, mount, process, network, IPC and host-name namespace; a root folder that holds the standard
library alone; a file system in memory as the only writable place; no capabilities; a filter of system calls; Landlock
where the kernel has it; limits. `rlimits-only`: the limits, a private folder, and the filter and Landlock where the
kernel has them; the files of this user that Landlock does not know of can be seen.
"""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import NamedTuple

from promptmill.evaluate.sandbox import landlock, mounts, seccomp, syscalls

NOBODY = 65534
THREADS = 64
FILES = 64
FULL, LIMITS = "full", "rlimits-only"


class Limits(NamedTuple):
    """What one process may use.

    Attributes:
        timeout_s: seconds of wall time for tests and program together; each may use as much CPU time.
        memory_mib: address space of each process.
        disk_mib: the private file system, and the size of a file.
    """

    timeout_s: float
    memory_mib: int
    disk_mib: int


class Walls(NamedTuple):
    """What is put around a process, found out once by the server.

    Attributes:
        level: full or rlimits-only.
        filter: code of the seccomp filter; empty where there is none.
        landlock: version of Landlock; 0 where there is none.
        limits: what one process may use.
        library: the folders of the standard library.
    """

    level: str
    filter: bytes
    landlock: int
    limits: Limits
    library: tuple[str, ...]


NAMESPACES = {
    "user": "user namespace",
    "mnt": "mount namespace",
    "pid_for_children": "process namespace",
    "net": "network namespace",
    "ipc": "IPC namespace",
    "uts": "host-name namespace",
}


def enter_namespaces() -> list[str]:
    """As `_enter`, with a look at what came of it.

    Returns:
        The names of the namespaces that are now others than before.

    Raises:
        OSError: as `_enter`.
    """
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)  # the new root will show none
    before = {name: os.stat(f"self/ns/{name}", dir_fd=proc).st_ino for name in NAMESPACES}
    _enter()
    # that of the children stands there once there is one: it is looked at by its absence
    after = {name: _inode(f"self/ns/{name}", proc) for name in NAMESPACES}
    os.close(proc)
    return [NAMESPACES[name] for name in NAMESPACES if after[name] != before[name]]


def _inode(path: str, folder: int) -> int | None:
    try:
        return os.stat(path, dir_fd=folder).st_ino
    except FileNotFoundError:
        return None


def _enter() -> None:
    """Put this process into namespaces of its own, with a root folder that holds nothing of the machine's.

    As root it becomes nobody outside, so that limits hold for it and no file is its own; as any other user it stays
    that user. Its children are in a process namespace of their own, it itself is not.

    Raises:
        OSError: the kernel, or who set up the machine, does not allow it; names the step.
    """
    if _is_root_with_rights():
        _root_becomes_nobody()
    else:
        uid, gid = os.geteuid(), os.getegid()
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS, "user namespace")
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        except OSError as error:
            raise OSError(error.errno, f"map of users: {error.strerror}") from error
        mounts.build_root()
    for flag, name in (
        (syscalls.CLONE_NEWNET, "network namespace"),
        (syscalls.CLONE_NEWIPC, "IPC namespace"),
        (syscalls.CLONE_NEWUTS, "host-name namespace"),
        (syscalls.CLONE_NEWPID, "process namespace"),
    ):
        syscalls.unshare(flag, name)
    # no name of the machine: a program has no use for it
    os_name = b"sandbox"
    syscalls.call({"x86_64": 170, "aarch64": 161}[syscalls.machine()], "sethostname", os_name, len(os_name))


def _is_root_with_rights() -> bool:
    """Whether this is root who may mount and become nobody; root of a container often may not. Leaves the namespace."""
    if os.geteuid() != 0:
        return False
    ranges = [[int(each) for each in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if not any(first <= NOBODY < first + count for first, _, count in ranges):
        return False  # root of a user namespace that knows nobody else
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS, "mount namespace")
    except PermissionError:
        return False
    return True


def _root_becomes_nobody() -> None:
    """Build the root folder as root, who may read everything, then be nobody in a new user namespace.

    The map of users must be written by a process with rights outside: one that is forked before.
    """
    me = os.open(f"/proc/{os.getpid()}", os.O_RDONLY | os.O_DIRECTORY)  # the new root will show no /proc
    ready, go = os.pipe()
    writer = os.fork()
    if writer == 0:
        os.close(go)
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            os.write(os.open(name, os.O_WRONLY, dir_fd=me), f"0 {NOBODY} 1".encode())
        os._exit(0)
    os.close(me)
    os.close(ready)
    mounts.build_root()
    os.setgroups([])
    syscalls.unshare(syscalls.CLONE_NEWUSER, "user namespace")
    os.write(go, b".")
    os.close(go)
    if os.waitpid(writer, 0)[1] != 0:
        raise OSError(1, "map of users: Operation not permitted")
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def lock(walls: Walls, keep: tuple[int, ...], folder: str, *, parent: bool = False) -> None:
    """Shut this process in for good, before it sees a byte of foreign code.

    Args:
        walls: what to put around it.
        keep: descriptors that stay open beside 0, 1 and 2, which lead nowhere; in rising order.
        folder: private folder; not used where a private file system takes its place.
        parent: it has a child that shall die with it.
    """
    os.setsid()
    _close_but(keep)
    if walls.level == FULL:
        syscalls.unshare(syscalls.CLONE_NEWNS, "mount namespace")
        mounts.fresh_temp(walls.limits.disk_mib)
        folder = mounts.TEMP
    else:
        os.chdir(folder)
    os.environ.clear()
    os.environ.update(HOME=folder, TMPDIR=folder, PATH="", LANG="C.UTF-8")
    if walls.level == FULL:
        # a second one without any map: no rights over the namespaces around it, and threads are counted alone
        syscalls.unshare(syscalls.CLONE_NEWUSER, "second user namespace")
        syscalls.drop_capabilities()
    # where threads are not counted alone, those of all other programs of this user would count
    _limit(walls.limits, threads=walls.level == FULL or not walls.filter)
    syscalls.die_with_parent()
    syscalls.no_new_privileges()
    if walls.landlock:
        landlock.restrict(walls.library, folder, walls.landlock, signals=parent)
    if walls.filter:
        seccomp.install(walls.filter)


def _close_but(keep: tuple[int, ...]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    start = 3
    for kept in keep:
        os.closerange(start, kept)
        start = kept + 1
    os.closerange(start, 1 << 20)


def _limit(limits: Limits, *, threads: bool) -> None:
    mib = 1 << 20
    seconds = int(limits.timeout_s) + 1
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, limits.memory_mib * mib),
        (resource.RLIMIT_FSIZE, limits.disk_mib * mib),
        (resource.RLIMIT_NOFILE, FILES),
        *([(resource.RLIMIT_NPROC, THREADS)] if threads else []),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)  # noqa: PLW2901 - as much as may be
        resource.setrlimit(what, (most, most))
    for quiet in (signal.SIGXFSZ, signal.SIGPIPE):  # an error in the program, not its death
        signal.signal(quiet, signal.SIG_IGN)
