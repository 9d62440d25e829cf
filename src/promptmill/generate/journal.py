"""The journal: each outcome is appended to its part's file before anything else sees it.

While a part is open its outcomes stand in `part-00000.journal`, a line each, in the order they came. When every
request of the part has an outcome the part is committed: its lines sorted in the order of the requests, written under a
temporary name, fsynced and renamed to `part-00000.jsonl`; its `Summary` follows as `part-00000.done`; then the journal
goes. A kill at any instant therefore loses at most what was in flight. Lines are written at once and fsynced in groups
(`Journal.sync_in_thread`).

The next run reads summaries, not rows: what was asked (`plan`), how it ended, and a checksum. Only parts that are not
done are opened; of their lines an index of places (`Mark`) is kept in memory, never the texts.

A torn last line (no newline: the write was cut) is dropped; any other bad line is an error that names file and line.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO
from zlib import crc32

import msgspec
from msgspec.structs import replace

from promptmill.errors import RunError
from promptmill.generate.index import Mark, Summary, charged_tokens, iter_heads, mark_of, read_outcomes
from promptmill.io.jsonl import atomic
from promptmill.records import Completion, Outcome

AT_ONCE = 256
SMALL_BYTES = 1 << 25
_LEAVE = "Leave the folder of a run alone while it works. Run again: what is gone is asked again."
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Outcome).decode


class Journal:
    """The outcomes of one part, open for appending.

    Attributes:
        path: the committed file; the journal stands beside it.
        marks: the index by key, of what `load` read and `append` added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path.with_suffix(".journal")
        self.done = path.with_suffix(".done")
        self.marks: dict[str, Mark] = {}
        self._fd: int | None = None
        self._size = 0
        self._unsynced = False

    def load(self) -> None:
        """Read the index of what stands: a completion beats a failure, the first completion stays.

        Raises:
            RunError: a line is not an outcome.
        """
        self.marks.clear()
        for committed, path in ((True, self.path), (False, self.journal)):
            start = 0
            for head, size in iter_heads(path, torn=not committed):
                self._note(mark_of(head, committed=committed, start=start, size=size), head.key)
                start += size

    def append(self, outcome: Outcome) -> None:
        """Write one outcome, whole or not at all.

        Raises:
            RunError: the file cannot be written (full disk, lost mount); what was written before is safe.
        """
        descriptor = self._open() if self._fd is None else self._fd
        line = _encode(outcome) + b"\n"
        try:
            written = os.write(descriptor, line)
            while written < len(line):
                written += os.write(descriptor, line[written:])
        except OSError as error:
            with suppress(OSError):  # a disk that is gone; the next to open it cuts the torn line off
                os.ftruncate(descriptor, self._size)
            raise self._unwritable(error) from error
        self._note(_mark(outcome, start=self._size, size=len(line)), outcome.key)
        self._size += len(line)
        self._unsynced = True

    def _note(self, mark: Mark, key: str) -> None:
        known = self.marks.get(key)
        if known is None or known.kind:
            self.marks[key] = mark

    def settled(self, *, retry_refused: bool = False) -> set[str]:
        """The keys that need not be asked."""
        return {key for key, mark in self.marks.items() if not mark.kind or (mark.is_lasting and not retry_refused)}

    def at(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Completions by key, those that are there."""
        found: dict[str, Completion] = {}
        with self._sources() as sources:
            for key in keys:
                mark = self.marks.get(key)
                if mark is not None and not mark.kind:
                    outcome = _decode(self._line(sources, mark))
                    if isinstance(outcome, Completion):
                        found[key] = outcome
        return found

    async def sync_in_thread(self) -> None:
        """Bring what was appended to the disk without holding up the event loop.

        On a descriptor of its own, since `close` may come between.

        Raises:
            RunError: the disk does not take it, or the file is gone: whatever came would be lost.
        """
        if self._fd is not None and self._unsynced:
            self._unsynced = False
            own = os.dup(self._fd)
            try:
                await asyncio.to_thread(os.fsync, own)
                if os.fstat(own).st_nlink == 0 and self._fd is not None:  # else a commit has just removed it
                    raise RunError(f"{self.journal}: somebody deleted it while it was written. {_LEAVE}")
            except OSError as error:
                raise self._unwritable(error) from error
            except asyncio.CancelledError:
                self._unsynced = True  # nobody knows; closing does it
                raise
            finally:
                os.close(own)

    def close(self) -> None:
        """Sync and close; appending opens it again.

        Raises:
            RunError: the disk does not take it.
        """
        if self._fd is None:
            return
        try:
            if self._unsynced:
                os.fsync(self._fd)
                self._unsynced = False
        except OSError as error:
            raise self._unwritable(error) from error
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

    def commit(self, groups: Sequence[Sequence[str]], *, plan: str) -> Summary:
        """Write the finished part: the outcomes of these keys, prompt by prompt, in that order; the journal goes.

        Outcomes of other keys (an earlier, larger recipe) are kept behind them: they were paid for. Lines are copied
        as they are.

        Raises:
            RunError: the disk does not take it.
            KeyError: a key has no outcome.
        """
        self.close()
        wanted = dict.fromkeys(key for group in groups for key in group)
        order = [*wanted, *(key for key in self.marks if key not in wanted)]
        checksum = hashlib.blake2b(digest_size=16)
        crcs = bytearray()
        size = 0
        with self._sources() as sources, atomic(self.path) as file:
            for start in range(0, len(order), AT_ONCE):
                lines = [self._line(sources, self.marks[key]) for key in order[start : start + AT_ONCE]]
                # a newline is missing at the end of a file that was cut there
                lines = [line if line.endswith(b"\n") else line + b"\n" for line in lines]
                crcs += b"".join(crc32(line).to_bytes(4, "little") for line in lines)
                whole = b"".join(lines)
                file.write(whole)
                checksum.update(whole)
                size += len(whole)
        summary = replace(self.count(groups, plan=plan), size=size, blake2b=checksum.hexdigest(), crcs=bytes(crcs))
        with atomic(self.done) as file:
            file.write(_encode(summary))
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new names are on the disk before the old one goes
        finally:
            os.close(folder)
        self.journal.unlink(missing_ok=True)
        return summary

    def count(self, groups: Sequence[Sequence[str]], *, plan: str) -> Summary:
        """What the index says of these keys, prompt by prompt; the file itself (its size and checksum) is left out."""
        failures: dict[str, int] = {}
        keys = [key for group in groups for key in group]
        of_plan = [self.marks[key] for key in keys]
        for mark in of_plan:
            if mark.kind:
                failures[mark.kind] = failures.get(mark.kind, 0) + 1
        every = self.marks.values()
        return Summary(
            plan=plan,
            requests=len(keys),
            completions=sum(not mark.kind for mark in of_plan),
            truncated=sum(mark.finish == "length" for mark in of_plan),
            repeated=sum(self._repeated(group) for group in groups),
            failures=failures,
            asked=len(set(keys)),
            prompt_tokens=sum(mark.tokens[0] for mark in every),
            completion_tokens=sum(mark.tokens[1] for mark in every),
            cost=sum(mark.cost for mark in every),
            lines=len(self.marks),
            size=0,
            blake2b="",
        )

    def _repeated(self, group: Sequence[str]) -> int:
        texts = [self.marks[key].alike for key in dict.fromkeys(group) if not self.marks[key].kind]
        return len(texts) - len(set(texts))

    @contextmanager
    def _sources(self) -> Iterator[dict[bool, _Source | None]]:
        with ExitStack() as stack:
            yield {
                committed: _Source(stack.enter_context(path.open("rb", buffering=0))) if path.exists() else None
                for committed, path in ((True, self.path), (False, self.journal))
            }

    def _line(self, sources: dict[bool, _Source | None], mark: Mark) -> bytes:
        source = sources[mark.committed]
        line = b"" if source is None else source.read(mark)
        if len(line) != mark.size:
            path = self.path if mark.committed else self.journal
            raise RunError(f"{path}: lost what stood in it: the disk is gone, or another program changed the file. "
                           "Mend it and run again.")  # fmt: skip
        return line

    def _unwritable(self, error: OSError) -> RunError:
        return RunError(
            f"{self.journal}: cannot be written: {error.strerror}. Make room or mend the disk and run again: "
            "every outcome before this one is kept."
        )

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


def _mark(outcome: Outcome, *, start: int, size: int) -> Mark:
    kind, finish, tokens, cost, alike = "", "", (0, 0), 0.0, 0
    if isinstance(outcome, Completion):
        finish, tokens, cost = outcome.finish, charged_tokens(outcome), outcome.cost or 0.0
        alike = crc32(outcome.text.encode())
    else:
        kind = outcome.kind
    return Mark(
        committed=False, start=start, size=size, kind=kind, finish=finish, tokens=tokens, cost=cost, alike=alike
    )


class _Source:
    """A file whose lines are taken by their places: from memory where it is small, for a system call each is dear."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        self._whole = file.read() if os.fstat(self._descriptor).st_size <= SMALL_BYTES else None

    def read(self, mark: Mark) -> bytes:
        if self._whole is None:
            return os.pread(self._descriptor, mark.size, mark.start)
        return self._whole[mark.start : mark.start + mark.size]


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
