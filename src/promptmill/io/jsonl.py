r"""JSON Lines: one record a line, split on `\n` only (a string may hold U+0085 or U+2028).

Reading gives file and line with every complaint. Writing goes to a temporary name and is renamed when whole, so a
reader never sees half a file. Append-only files with a torn last line are the journal's business (`generate.journal`).
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from promptmill.errors import DataError, MissingExtra

T = TypeVar("T")


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, `.gz` or `.zst` file for reading bytes.

    Raises:
        DataError: the file is missing, is a folder or cannot be read.
        MissingExtra: `.zst` without the extra `files`.
    """
    if path.suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise MissingExtra("files", needed_for=f"{path}: reading .zst") from error
    try:
        raw = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path (working folder: {Path.cwd()}).") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder. Name the file in it.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    with raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as unpacked:
                yield unpacked  # type: ignore[misc]
        elif path.suffix == ".zst":
            import io

            with zstandard.ZstdDecompressor().stream_reader(raw) as stream:
                yield io.BufferedReader(stream, 1 << 20)
        else:
            yield raw


def iter_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield `(line number from 1, line)` of every line that is not blank."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            if not line.isspace():
                yield number, line


def iter_jsonl(path: Path, type: type[T] | Any = Any) -> Iterator[T]:  # noqa: A002 - msgspec's word
    """Yield one decoded row a line.

    Raises:
        DataError: a line is not JSON or not of `type`; names file and line.
    """
    decode = msgspec.json.Decoder(type).decode
    for number, line in iter_lines(path):
        try:
            yield decode(line)
        except msgspec.DecodeError as error:
            raise DataError(f"{path}:{number}: {error}. Mend or remove the line.") from error


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write rows to `path`, atomically; return how many."""
    encode = msgspec.json.Encoder().encode
    count = 0
    with atomic(path) as file:
        for row in rows:
            file.write(encode(row) + b"\n")
            count += 1
    return count


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name only when the block ends well: flushed, fsynced, renamed."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
