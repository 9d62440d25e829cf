"""Who works in a run folder: a lock (`flock`, so it dies with its holder) that keeps a second process out.

The holder writes its number into the lock and takes it out at the end. Who only looks asks for the lock as well, for a
moment, and may stand still in that moment: so a lock in nobody's name, or in that of a process that is gone, is waited
for, and one in the name of a living process is not.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from promptmill.errors import RunError

LOOKS = 5  # how often a lock is tried that somebody holds
LOOK_S = 0.02
NAMELESS_S = 30.0  # that a lock in nobody's name is waited for: someone only looks, or is about to say who it is
NOBODY = b" " * 15 + b"\n"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder until the block ends; the folder is made if it is not there.

    Raises:
        RunError: another process works in it, or it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{path}: cannot be a run folder: {error.strerror}. Name another with --out.") from error
    try:
        _take(lock, path)
        try:
            yield
        finally:
            with suppress(OSError):  # a disk that is full or gone: the lock goes all the same
                os.pwrite(lock, NOBODY, 0)
    finally:
        os.close(lock)  # closing gives the lock back


def is_live(path: Path) -> int | None:
    """The number of the process that works in a run folder; None if nobody does.

    Looks by asking for the lock, shared with others who look, and giving it back at once (`_take` allows for that). A
    process on another machine is seen where the file system carries locks.

    Raises:
        RunError: the lock cannot be looked at.
    """
    try:
        lock = os.open(path / ".lock", os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RunError(f"{path / '.lock'}: cannot be read: {error.strerror}. Ask whoever owns the run.") from error
    looks, until = 0, time.monotonic() + NAMELESS_S
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                number = _holder(lock)
            else:
                return None
            looks += 1
            if number and (looks >= LOOKS or _is_here(number)):
                return int(number)
            if time.monotonic() > until:
                break
            time.sleep(LOOK_S)  # it has the lock and is about to write its number
    except OSError as error:
        raise RunError(f"{path}: cannot be locked: {error.strerror}. Look from the machine of the run.") from error
    finally:
        os.close(lock)
    raise RunError(f"{path / '.lock'}: is held by a process that does not say who it is. End it, or wait for it.")


def _holder(lock: int) -> str:
    """The number of the process that wrote itself into a lock last and has not taken it out again; or nothing."""
    number = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
    return number if number.isdecimal() else ""


def _is_here(number: str) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _take(lock: int, path: Path) -> None:
    """Take a lock. Who only looks (`is_live`) holds it for a moment, and writes no number into it."""
    looks, until = 0, time.monotonic() + NAMELESS_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(lock)
            looks += 1
            if (looks >= LOOKS and holder and _is_here(holder)) or time.monotonic() > until:
                raise RunError(
                    f"{path}: process {holder or 'unknown'} works in this folder. Wait for it, or use another --out."
                ) from error
            time.sleep(LOOK_S)
        except OSError as error:
            raise RunError(f"{path}: cannot be locked: {error.strerror}. Use an --out on a local disk.") from error
        else:
            break
    try:
        os.pwrite(lock, f"{os.getpid():<15}\n".encode(), 0)  # all at once, so who looks never finds half a number
    except OSError as error:
        raise RunError(
            f"{path / '.lock'}: cannot be written: {error.strerror}. Make room or mend the folder and run again: what "
            "was done is kept."
        ) from error
