"""Control: what a person says to a live run, through a file in its folder.

`RUN/control.json` is written whole or not at all by whoever steers (`promptmill set`, `pause`, `resume`, `stop`, or a
script) and is looked at by the run (`Watcher`). A file works over any file system that both can see and needs no port.

    {"concurrency": 64, "max_cost": 20.0}

What is not said is as in the recipe. What was said to an earlier process does not bind a later one: a run calls
`clear_control` when it starts. Not covered: changing what is asked; that is another recipe.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from promptmill.errors import RunError
from promptmill.io.jsonl import UNREADABLE, atomic

CONTROL = "control.json"
PATIENCE_S = 5.0  # how long two who steer at once wait for each other
Count = Annotated[int, msgspec.Meta(ge=1)]
Amount = Annotated[float, msgspec.Meta(gt=0)]
log = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was said to a live run; None is as in the recipe.

    Attributes:
        concurrency: requests in flight, or `auto`: found out while running.
        max_concurrency: most requests in flight that `auto` may reach.
        max_cost: money, in the currency of the recipe's prices.
        max_tokens: tokens of prompts and completions together.
        max_requests: requests sent.
        max_wall_s: seconds since this process began to ask.
        paused: start no request until this is false again.
        stop: start no request any more, wait for none, and end.
    """

    concurrency: Count | Literal["auto"] | None = None
    max_concurrency: Count | None = None
    max_cost: Amount | None = None
    max_tokens: Count | None = None
    max_requests: Count | None = None
    max_wall_s: Amount | None = None
    paused: bool = False
    stop: bool = False

    def __post_init__(self) -> None:
        """Refuse what a comparison cannot catch."""
        for name in ("max_cost", "max_wall_s"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ValueError(f"{name}: {value} is no limit. Name a number, or null for the recipe's own.")


def read_control(run: Path) -> Limits:
    """What stands in the folder of a run; all as in the recipe if nothing does.

    Raises:
        RunError: the file cannot be read or is not of this form.
    """
    path = run / CONTROL
    try:
        return msgspec.json.decode(path.read_bytes(), type=Limits)
    except FileNotFoundError:
        return Limits()
    except UNREADABLE as error:
        raise RunError(f"{path}: {error}. Mend or remove it.") from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. Mend or remove it.") from error


def write_control(run: Path, changes: dict[str, Any]) -> Limits:
    """Lay `changes` (names of `Limits`) over what stands; return the whole. A value of None is as in the recipe.

    Raises:
        RunError: a name or value is wrong, or what stands is.
        DataError: the folder cannot be written.
    """
    with _alone(run):
        before = msgspec.structs.asdict(read_control(run))
        try:
            after = msgspec.convert({**before, **changes}, Limits)
        except msgspec.ValidationError as error:
            raise RunError(f"{run / CONTROL}: {error}. Nothing was changed.") from error
        with atomic(run / CONTROL) as file:
            file.write(msgspec.json.encode(after) + b"\n")
    return after


def clear_control(run: Path) -> None:
    """Forget what was said to an earlier process: yesterday's `stop` or `pause` must not act today.

    Raises:
        RunError: the file cannot be removed.
    """
    try:
        (run / CONTROL).unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{run / CONTROL}: cannot be removed: {error.strerror}. Remove it and run again.") from error


class Watcher:
    """Looks whether something new was said; one `stat` a look while nothing was."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._path = run / CONTROL
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> Limits | None:
        """What stands now, if it is not what stood at the last look; None otherwise.

        A file that is wrong changes nothing and is told in the log, once.
        """
        mark = self._mark()
        if mark == self._seen:
            return None
        self._seen = mark
        try:
            return read_control(self._run)
        except RunError as error:
            log.warning("%s The limits stay as they were.", error)
            return None

    def _mark(self) -> tuple[int, int, int] | None:
        """What tells one version of the file from the next: it is replaced, so it has another number each time."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Let two who steer at once write one after the other: neither's word is lost."""
    try:
        lock = os.open(run / ".control.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(f"{run}: cannot be written: {error.strerror}. Only who may write there can steer.") from error
    try:
        _take(lock, run, until=time.monotonic() + PATIENCE_S)
        yield
    finally:
        os.close(lock)  # closing gives the lock back


def _take(lock: int, run: Path, *, until: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise RunError(f"{run}: another process has been steering for {PATIENCE_S:g} s. Try again.") from error
            time.sleep(0.02)
        except OSError as error:
            raise RunError(f"{run}: cannot be locked: {error.strerror}. Steer from the machine of the run.") from error
        else:
            return
