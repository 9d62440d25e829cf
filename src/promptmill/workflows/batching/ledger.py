"""The ledger of a run's batch files: what was written, sent and collected, so that a crash sends nothing twice.

    RUN/batch/
      ledger.json                  this ledger, written whole or not at all before and after every step
      requests-00000.jsonl         request files, kept: they say which requests wait for an answer
      requests-00000.output.jsonl  what came back, as it came
      requests-00000.errors.jsonl

A request file goes `written -> uploading -> uploaded -> submitting -> submitted` and ends as `collected`, `expired`,
`cancelled` or `failed`. `submitting` is entered before the server is asked to start a batch: after a crash the batch is
looked for by its mark before the server is asked again. Names are never used twice, so a mark names one file for ever.

Every request is known to the server by `custom_id` = `pm-<run>-<key>`: the key is the hash of its content and equal in
every run that asks the same; the run's own eight digits, drawn once, tell its results from those of another run.

Not covered: what is in the files, and the server (see `sending`, `collecting`).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from promptmill.errors import RunError
from promptmill.io.jsonl import UNREADABLE, atomic

State = Literal[
    "written", "uploading", "uploaded", "submitting", "submitted", "collected", "expired", "cancelled", "failed"
]
FOLDER = "batch"
UNSENT = frozenset({"written", "uploading", "uploaded"})
WAITING = UNSENT | {"submitting", "submitted"}
"""States in which an answer may still come, so that the requests are not asked again."""
_CUSTOM_ID = re.compile(r"pm-([0-9a-f]{8})-([0-9a-f]{32})")


class RequestFile(msgspec.Struct, kw_only=True):
    """One request file.

    Attributes:
        name: its name in the folder.
        lines: requests in it.
        bytes: its size.
        checksum: BLAKE2b of its content.
        url: the page that answers its lines.
        endpoint: number of the recipe's endpoint that it was written for.
        server: that endpoint's address.
        state: where it is on its way.
        file_id: the server's name of the uploaded file.
        batch_id: the server's name of the batch.
        status: what the server said last about the batch.
        written_at: Unix time.
        submitting_at: Unix time before which no batch of it can exist.
        expires_at: Unix time.
        counts: what became of its lines, counted from the results.
    """

    name: str
    lines: int
    bytes: int
    checksum: str
    url: str
    endpoint: int
    server: str
    state: State = "written"
    file_id: str | None = None
    batch_id: str | None = None
    status: str | None = None
    written_at: float = 0.0
    submitting_at: float | None = None
    expires_at: float | None = None
    counts: dict[str, int] = {}


class Ledger(msgspec.Struct, kw_only=True):
    """All request files of a run.

    Attributes:
        run: eight hex digits that tell this run from others.
        asks: fingerprint of the prompts and of what is asked about them.
        files: in the order of their names.
    """

    run: str
    asks: str
    files: list[RequestFile] = []

    def custom_id(self, key: str) -> str:
        """The name under which the server knows a request."""
        return f"pm-{self.run}-{key}"

    def mark(self, file: RequestFile) -> dict[str, str]:
        """The metadata of a file's batch."""
        return {"promptmill_run": self.run, "promptmill_file": file.name}

    @property
    def next_name(self) -> str:
        """The name of the next request file."""
        return f"requests-{len(self.files):05d}.jsonl"

    @property
    def waiting(self) -> list[RequestFile]:
        """The files whose answers may still come."""
        return [file for file in self.files if file.state in WAITING]


def new_ledger(asks: str) -> Ledger:
    """A ledger without files."""
    return Ledger(run=secrets.token_hex(4), asks=asks)


def load_ledger(out: Path) -> Ledger | None:
    """The ledger of a run folder, if there is one.

    Raises:
        RunError: it is damaged.
    """
    path = out / FOLDER / "ledger.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        raise RunError(f"{path}: cannot be read: {error}. Bring back a copy of it, or move the folder away.") from error


def save_ledger(out: Path, ledger: Ledger) -> None:
    """Write the ledger, whole or not at all."""
    with atomic(out / FOLDER / "ledger.json") as file:
        file.write(msgspec.json.format(msgspec.json.encode(ledger), indent=1))


def parse_custom_id(custom_id: str) -> tuple[str, str] | None:
    """`(run, key)` of a request's name; None if it is no name that promptmill gave."""
    match = _CUSTOM_ID.fullmatch(custom_id)
    return (match[1], match[2]) if match else None


def iter_keys(out: Path, file: RequestFile) -> Iterator[bytes]:
    """The keys of the requests of a file.

    Raises:
        RunError: the file is missing, or is not as it was written.
    """

    class Line(msgspec.Struct):
        custom_id: str

    path = out / FOLDER / file.name
    digest = hashlib.blake2b(digest_size=16)
    decode = msgspec.json.Decoder(Line).decode
    try:
        with path.open("rb") as lines:
            for line in lines:
                digest.update(line)
                named = parse_custom_id(decode(line).custom_id)
                if named is None:
                    break
                yield bytes.fromhex(named[1])
    except (OSError, *UNREADABLE) as error:
        raise RunError(f"{path}: cannot be read: {error}. {_GIVE_UP.format(name=file.name)}") from error
    if digest.hexdigest() != file.checksum:
        raise RunError(f"{path}: is not as it was written. {_GIVE_UP.format(name=file.name)}")


def check_file(out: Path, file: RequestFile) -> None:
    """Raise a RunError unless a request file is as it was written."""
    for _ in iter_keys(out, file):
        pass


def since(file: RequestFile) -> float:
    """Unix time before which the server cannot have a batch of this file, its clock a day off at most."""
    return (file.submitting_at or time.time()) - 86_400


_GIVE_UP = "Bring back a copy of it, or give it up (promptmill batch cancel RUN {name} --give-up) and write again."
