"""The store: answers that several runs share, one folder with one SQLite file.

    STORE/answers.sqlite      answers(key, line): 16 bytes of `Request.key` -> the completion as JSON

A run may look there before it asks, and put there what it was answered. Several runs may do so at once: SQLite's
write-ahead log lets all read while one writes, and writers wait for each other. A process that is killed while it
writes leaves nothing half. Only completions are kept: a failure of one run says nothing to another. The first answer to
a key stays. The journal of a run remains the truth for that run, so the store is not fsynced at each put: a power cut
may take the last answers from here, never the file.

Not for network file systems: SQLite's log needs memory that all its readers share, so one machine. Keep a `Store` out
of forked processes; each opens its own. A plain table was taken after measuring 100,000 rows of 2 KB: against one
WITHOUT ROWID it is 4.4 times as fast to fill, 3 to 4 times as fast to ask and half as large.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec

from promptmill.errors import RunError
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Completion

FILE = "answers.sqlite"
PATIENCE_S = 60.0  # how long a writer waits for the others
LOOK_S = 0.05
BATCH = 500  # keys in one question; larger ones are no faster
APPLICATION = 0x706D696C  # "pmil": SQLite's own place to say whose file it is
VERSION = 1

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Completion).decode


class Store:
    """The answers of one folder, made if it is not there. Threads may share it.

    Raises:
        RunError: the folder cannot be made or read, or the file in it is no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / FILE
        self._lock = threading.Lock()
        self._closed = False
        self._db: sqlite3.Connection | None = None
        with self._naming_the_file():
            path.mkdir(parents=True, exist_ok=True)
            if self._may_write():
                self._db = self._connect("rwc")
                self._prepare(self._db)
            else:
                with self._reading() as db:
                    self._check(db)

    @property
    def can_write(self) -> bool:
        """Whether answers may be put into it; else it is read alone."""
        return self._db is not None

    def find(self, keys: Iterable[str]) -> dict[str, Completion]:
        """The answers that are there, by key.

        Raises:
            RunError: the file is damaged, gone or locked for too long.
        """
        wanted = iter(dict.fromkeys(keys))
        found: dict[str, Completion] = {}
        with self._naming_the_file(), self._reading() as db:
            while batch := [bytes.fromhex(key) for key in islice(wanted, BATCH)]:
                marks = ",".join("?" * len(batch))
                rows = db.execute(f"SELECT key, line FROM answers WHERE key IN ({marks})", batch)  # noqa: S608 - marks
                found.update((key.hex(), self._decoded(key, line)) for key, line in rows)
        return found

    def put(self, completions: Iterable[Completion], give_up: Callable[[], bool] = lambda: False) -> int:
        """Keep answers, all or none of them; return how many were new.

        Args:
            completions: the answers.
            give_up: whether to wait no longer while another process writes, and keep none; asked again and again.

        Raises:
            RunError: the folder may not be written, the disk is full, or the file is damaged.
            TypeError: one of them is no completion; a failure is nobody's answer.
        """
        rows = [(bytes.fromhex(completion.key), _line(completion)) for completion in completions]
        if self._db is None:
            raise RunError(
                f"{self.path}: may not be written, only read. Change its rights, or name another store to keep answers."
            )
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with self._naming_the_file():
                try:
                    with self._lock:
                        return self._insert(self._db, rows)
                except sqlite3.OperationalError as error:
                    if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                        raise
            if give_up():
                return 0
            time.sleep(LOOK_S)  # without the lock: who reads must not wait for another process that writes

    def _insert(self, db: sqlite3.Connection, rows: Sequence[tuple[bytes, bytes]]) -> int:
        """Keep rows unless another process writes just now."""
        db.execute(f"PRAGMA busy_timeout = {int(LOOK_S * 1000)}")
        try:
            with self._transaction(db):
                before = db.total_changes
                db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
                return db.total_changes - before
        finally:
            db.execute(f"PRAGMA busy_timeout = {int(PATIENCE_S * 1000)}")

    def close(self) -> None:
        """Let go of the file. Closing twice is closing once."""
        with self._lock:
            if self._db is not None and not self._closed:
                self._db.close()
            self._closed = True

    def _may_write(self) -> bool:
        folder = self.path.parent
        return os.access(folder, os.W_OK | os.X_OK) and (not self.path.exists() or os.access(self.path, os.W_OK))

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read from.

        One that may write is kept. In a folder that may not be written SQLite cannot share its log with a writer that
        comes later; a connection for each look sees what stands at that moment.
        """
        if self._db is not None:
            with self._lock:
                yield self._db
            return
        if not self.path.exists():
            raise RunError(f"{self.path}: is not there, and the folder may not be written. Name another store.")
        log = self.path.with_name(f"{FILE}-wal")
        db = self._connect("ro" if log.exists() else "ro&immutable=1")
        try:
            yield db
        finally:
            db.close()

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make the table, if this process is the first; several may be at once."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if _is_blank(db):
                    # changing to the shared log does not wait for others as statements do, hence the loop
                    if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                        raise RunError(f"{self.path}: this disk cannot share memory. Put the store on a local disk.")
                    self._create(db)
                self._check(db)
                db.execute("PRAGMA synchronous = NORMAL")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def _create(self, db: sqlite3.Connection) -> None:
        with self._transaction(db):
            if _is_blank(db):
                db.execute("CREATE TABLE answers (key BLOB PRIMARY KEY NOT NULL, line BLOB NOT NULL)")
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {VERSION}")

    def _check(self, db: sqlite3.Connection) -> None:
        """See whose file it is."""
        owner, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if owner != APPLICATION:
            raise RunError(f"{self.path}: is a database, but no store of answers. Name another folder.")
        if version != VERSION:
            raise RunError(f"{self.path}: is a store of version {version}, this promptmill knows {VERSION}. Update it.")

    def _decoded(self, key: bytes, line: bytes) -> Completion:
        try:
            return _decode(line)
        except UNREADABLE as error:
            raise RunError(
                f"{self.path}: the answer {key.hex()} is damaged: {error}. Move the store away; runs keep their own."
            ) from error

    @staticmethod
    @contextmanager
    def _transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            if db.in_transaction:  # a full disk has ended it already
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: {str(error).rstrip('.')}. {_advice(error)}") from error
        except OSError as error:
            raise RunError(f"{self.path}: {error.strerror}. Mend the folder or name another store.") from error


def _line(completion: Completion) -> bytes:
    if not isinstance(completion, Completion):  # callers have outcomes, which can be failures
        raise TypeError(f"only completions are kept, not {type(completion).__name__}")
    return _encode(completion)


def _is_blank(db: sqlite3.Connection) -> bool:
    """Whether nobody has written into the file yet, or whoever began was killed."""
    owner = db.execute("PRAGMA application_id").fetchone()[0]
    return not owner and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0


def _code(error: sqlite3.Error) -> int:
    """SQLite's own number of an error, without the details; 0 for errors of the Python module."""
    number: int = getattr(error, "sqlite_errorcode", 0)
    return number & 0xFF


def _advice(error: sqlite3.Error) -> str:
    code = _code(error)
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return "Make room or mend the disk; what was kept before is kept."
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return "Move the file away or name another folder; runs keep their own answers."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "Another process holds it; end that, or wait."
    return "Mend the file's rights or name another store."
