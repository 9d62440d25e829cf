"""A root folder that holds the standard library, /dev/null and an empty /tmp, and nothing else.

Built once by the server in a mount namespace of its own; everything in it is read-only. Each jailed process then lays a
small file system in memory over /tmp, its only writable place, gone with the process.
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from promptmill.evaluate.sandbox import syscalls
from promptmill.evaluate.sandbox.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT

TEMP = "/tmp"  # noqa: S108 - inside the jail
SEALED = "/sealed"  # may be read as far as the mounts go, but not by the rules of Landlock: shows that they hold
PLACES = ("/tmp", "/var/tmp", "/run", "/mnt", "/srv", "/media", "/opt")  # noqa: S108 - only ever covered, in private
KEPT = {os.ST_NOATIME: syscalls.MS_NOATIME, os.ST_NODIRATIME: syscalls.MS_NODIRATIME, os.ST_RELATIME: 1 << 21}


def library() -> tuple[str, ...]:
    """The folders of the standard library."""
    paths = sysconfig.get_paths()
    return tuple(sorted({os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")}))


def build_root() -> None:
    """Replace the file system that this process sees. Needs a mount namespace of its own and the right to mount."""
    syscalls.mount(None, "/", None, MS_REC | syscalls.MS_PRIVATE)
    sources = library()
    place = next(p for p in PLACES if Path(p).is_dir() and not any(s.startswith(f"{p}/") for s in sources))
    syscalls.mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for source in sources:
        _bind(source, f"{place}{source}")
        for packages in ("site-packages", "dist-packages"):
            if Path(place + source, packages).is_dir():
                syscalls.mount("tmpfs", f"{place}{source}/{packages}", "tmpfs", MS_RDONLY | MS_NOSUID, "size=4k")
    for folder in ("dev", TEMP.strip("/")):
        Path(place, folder).mkdir(exist_ok=True)
    Path(place, "dev", "null").touch()
    syscalls.mount("/dev/null", f"{place}/dev/null", None, MS_BIND)
    Path(place + SEALED).write_text("sealed")
    os.chdir(place)
    syscalls.pivot_root()
    syscalls.unmount(".")
    os.chdir("/")
    syscalls.mount(None, "/", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _bind(source: str, target: str) -> None:
    """Show a folder read-only at another place."""
    Path(target).mkdir(parents=True, exist_ok=True)
    syscalls.mount(source, target, None, MS_BIND | MS_REC)
    have = os.statvfs(target).f_flag  # flags that came with the mount may not be taken away in a user namespace
    kept = sum(flag for bit, flag in KEPT.items() if have & bit)
    kept |= MS_NOEXEC if have & os.ST_NOEXEC else 0
    syscalls.mount(None, target, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept)


def fresh_temp(size_mib: int) -> None:
    """Lay an empty, small file system over /tmp and go there. Needs a mount namespace of its own."""
    options = f"size={size_mib}m,nr_inodes=1024,mode=700"
    syscalls.mount("tmpfs", TEMP, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    os.chdir(TEMP)
