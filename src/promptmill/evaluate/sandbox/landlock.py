"""Landlock: what a jailed process may open, whatever the mounts say; no TCP, no abstract sockets, no signals to others.

A layer behind the namespaces (full) and the only wall around files where there are none (rlimits-only). Kernels from
5.13 have it; what later versions added is used where it is there. The numbers are equal on all processors.
"""

from __future__ import annotations

import ctypes
import os
import struct

from promptmill.evaluate.sandbox import syscalls

CREATE, ADD, RESTRICT = 444, 445, 446
READ_FILE, READ_DIR, WRITE_FILE, TRUNCATE = 1 << 2, 1 << 3, 1 << 1, 1 << 14
FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # rights known since version
NOT_IN_TEMP = 1 | 1 << 6 | 1 << 9 | 1 << 11 | 1 << 15  # execute; make devices and sockets; control devices


def version() -> int:
    """The kernel's version of Landlock; 0 where there is none."""
    try:
        return syscalls.call(CREATE, "landlock", None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(readable: tuple[str, ...], writable: str, known: int, *, signals: bool = False) -> None:
    """Shut this process in for good; needs `no_new_privileges` before.

    Args:
        readable: files and folders that may be read.
        writable: a folder in which everything may be done with plain files; /dev/null may always be written.
        known: `version()`.
        signals: allow signals to processes outside; the kernel needs it to send those that a parent's death sends.
    """
    files = FILES[max(since for since in FILES if since <= known)]
    fields = [files]
    if known >= 4:
        fields.append(3)  # bind and connect TCP
    if known >= 6:
        fields.append(1 if signals else 3)  # abstract sockets, signals
    attributes = struct.pack(f"={len(fields)}Q", *fields)
    size = ctypes.c_size_t(len(attributes))
    rules = syscalls.call(CREATE, "landlock_create_ruleset", attributes, size, ctypes.c_uint32(0))
    for path in readable:
        _allow(rules, path, READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE)  # noqa: PTH112 - hot path
    _allow(rules, writable, files & ~NOT_IN_TEMP)
    _allow(rules, "/dev/null", (READ_FILE | WRITE_FILE | TRUNCATE) & files)
    syscalls.call(RESTRICT, "landlock_restrict_self", ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights, handle)
    syscalls.call(ADD, "landlock_add_rule", ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint32(0))
    os.close(handle)
