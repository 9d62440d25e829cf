"""The journal: each outcome is appended to its part's file before anything else sees it.

While a part is open its outcomes stand in `part-00000.journal`, a line each, in the order they came. When every
request of the part has a lasting outcome the part is committed: sorted in the order of the requests, written under a
temporary name, fsynced and renamed to `part-00000.jsonl`; then the journal goes. A kill at any instant therefore
loses at most what was in flight. Lines are written at once and fsynced in groups (`Journals.sync`).

A torn last line (no newline: the write was cut) is dropped; any other bad line is an error that names file and line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from promptmill.errors import RunError
from promptmill.io.jsonl import UNREADABLE, atomic
from promptmill.records import Completion, Failure, Outcome

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Outcome).decode
LASTING = frozenset({"refused"})
"""Failures that asking again cannot change; all others are asked again by the next run."""


class Journal:
    """The outcomes of one part, open for appending.

    Attributes:
        path: the committed file; the journal stands beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_suffix(".journal")
        self._fd: int | None = None
        self._size = 0
        self._unsynced = False

    def append(self, outcome: Outcome) -> None:
        """Write one outcome, whole or not at all.

        Raises:
            RunError: the file cannot be written (full disk, lost mount); what was written before is safe.
        """
        descriptor = self._open() if self._fd is None else self._fd
        line = memoryview(_encode(outcome) + b"\n")
        written = 0
        with self._naming_the_file():
            try:
                while written < len(line):
                    written += os.write(descriptor, line[written:])
            except OSError:
                os.ftruncate(descriptor, self._size)
                raise
        self._size += len(line)
        self._unsynced = True

    def sync(self) -> None:
        """Bring what was appended to the disk.

        Raises:
            RunError: the disk does not take it.
        """
        if self._fd is not None and self._unsynced:
            with self._naming_the_file():
                os.fsync(self._fd)
            self._unsynced = False

    async def sync_in_thread(self) -> None:
        """The same without holding up the event loop; on a descriptor of its own, since `close` may come between."""
        if self._fd is not None and self._unsynced:
            self._unsynced = False
            own = os.dup(self._fd)
            try:
                with self._naming_the_file():
                    await asyncio.to_thread(os.fsync, own)
            finally:
                os.close(own)

    def close(self) -> None:
        """Sync and close; appending opens it again."""
        if self._fd is not None:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = None

    def __iter__(self) -> Iterator[Outcome]:
        """Every outcome, committed, then journalled; a key can come twice (failure, then completion)."""
        yield from read_outcomes(self.path)
        yield from read_outcomes(self.journal, torn=True)

    def read(self) -> dict[str, Outcome]:
        """All outcomes by key, committed and journalled; a completion beats a failure, the first completion stays."""
        outcomes: dict[str, Outcome] = {}
        for outcome in self:
            if not isinstance(outcomes.get(outcome.key), Completion):
                outcomes[outcome.key] = outcome
        return outcomes

    def commit(self, keys: Iterable[str]) -> None:
        """Write the outcomes of `keys`, in that order, as the finished part; the journal goes.

        Outcomes of other keys (an earlier, larger recipe) are kept behind them: they were paid for.
        """
        self.close()
        outcomes = self.read()
        with atomic(self.path) as file:
            for key in dict.fromkeys(keys):
                file.write(_encode(outcomes.pop(key)) + b"\n")
            for outcome in outcomes.values():
                file.write(_encode(outcome) + b"\n")
        self.journal.unlink(missing_ok=True)

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.journal}: cannot be written: {error.strerror}. Make room or mend the disk and run again: "
                "every outcome before this one is kept."
            ) from error

    def _open(self) -> int:
        try:
            self._fd = os.open(self.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            self._size = _whole_length(self.journal)
            os.ftruncate(self._fd, self._size)  # a torn last line goes before the next one comes
        except OSError as error:
            raise RunError(
                f"{self.journal}: cannot be opened: {error.strerror}. Mend the folder and run again."
            ) from error
        return self._fd


def read_outcomes(path: Path, *, torn: bool = False) -> Iterator[Outcome]:
    """Yield the outcomes of a file, if it is there.

    Args:
        path: a committed part or a journal.
        torn: drop a last line without a newline instead of complaining.

    Raises:
        RunError: a line is not an outcome; names file and line.
    """
    if not path.exists():
        return
    try:
        opened = path.open("rb")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. Mend the folder and run again.") from error
    with opened as file:
        for number, line in enumerate(file, 1):
            if torn and not line.endswith(b"\n"):
                return
            try:
                yield _decode(line)
            except UNREADABLE as error:
                raise RunError(
                    f"{path}:{number}: is not an outcome: {error}. Remove the line to have its request asked again."
                ) from error


def is_lasting(outcome: Outcome) -> bool:
    """Whether an outcome settles its request: a completion, or a failure that asking again cannot change."""
    return not isinstance(outcome, Failure) or outcome.kind in LASTING


def _whole_length(path: Path) -> int:
    """Length in bytes up to and including the last newline."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - (1 << 16))
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
