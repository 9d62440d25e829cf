"""The few system calls that Python has no name for, through ctypes. Linux only.

Each raises `OSError` with the name of the call where the kernel refuses.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_NOATIME, MS_NODIRATIME = 32, 1024, 2048
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}

_libc: Any = ctypes.CDLL(None, use_errno=True)


def _check(result: int, name: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def machine() -> str:
    """The processor's name as the tables of call numbers know it."""
    return os.uname().machine


def call(number: int, name: str, *arguments: Any) -> int:
    """Make a system call by its number."""
    return _check(int(_libc.syscall(ctypes.c_long(number), *arguments)), name)


def unshare(flags: int, name: str) -> None:
    """Leave namespaces that are shared with the parent; `name` stands in the error."""
    _check(_libc.unshare(flags), f"unshare {name}")


def mount(  # noqa: PLR0917 - in the order of mount(2)
    source: str | None, target: str, kind: str | None, flags: int, data: str | None = None
) -> None:
    """Attach a file system, or show a folder at another place."""
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _check(_libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def unmount(target: str) -> None:
    """Take a mount away, at the latest when nothing uses it any more."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root() -> None:
    """Make the working directory, which must be a mount, the root."""
    call(PIVOT_ROOT[machine()], "pivot_root", b".", b".")


def prctl(option: int, argument: Any, third: Any = 0) -> int:
    """Set something of this process."""
    unused = ctypes.c_ulong(0)
    second = ctypes.c_ulong(argument) if isinstance(argument, int) else argument
    third = ctypes.c_ulong(third) if isinstance(third, int) else third
    return _check(int(_libc.prctl(option, second, third, unused, unused)), f"prctl {option}")


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it ends."""
    prctl(PR_SET_PDEATHSIG, 9)


def no_new_privileges() -> None:
    """No file that is executed can give rights any more."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Give up every capability for good (together with `no_new_privileges`)."""
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    nothing = (ctypes.c_uint32 * 6)()
    call(CAPSET[machine()], "capset", header, nothing)
