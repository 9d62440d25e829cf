r"""JSON Lines: one record a line, split on `\n` only (a string may hold U+0085 or U+2028).

Reading gives file and line with every complaint, and knows the usual faults by name: NaN and Infinity, UTF-16, Latin-1,
a packed file under a plain name, a `.gz` or `.zst` that was cut off. Writing goes to a temporary name and is renamed
when whole, so a reader never sees half a file. Append-only files with a torn last line are the journal's business
(`generate.journal`).
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from promptmill.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `msgspec.json` raises for bytes that are no JSON of the wanted type; a thousand brackets end in the last."""

_FOREIGN_STARTS = {
    b"\xff\xfe": "is UTF-16. Convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"\xfe\xff": "is UTF-16. Convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)",
    b"\x1f\x8b": "is packed with gzip. Let its name end in .gz",
    b"\x28\xb5\x2f\xfd": "is packed with zstd. Let its name end in .zst",
    b"PAR1": "is a Parquet file. Let its name end in .parquet, or set format: parquet",
    b"PK\x03\x04": "is a zip archive. Unpack it first",
}


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain, `.gz` or `.zst` file for reading bytes.

    Raises:
        DataError: the file is missing, is a folder, cannot be read, or its packing is broken or cut off.
        MissingExtra: `.zst` without the extra `files`.
    """
    broken: tuple[type[Exception], ...] = (EOFError, zlib.error, gzip.BadGzipFile)
    unpack: Callable[[IO[bytes]], Any] = _as_it_is
    if path.suffix == ".gz":
        unpack = _gunzip
    elif path.suffix == ".zst":
        try:
            import zstandard
        except ImportError as error:
            raise MissingExtra("files", needed_for=f"{path}: reading .zst") from error
        broken = (*broken, zstandard.ZstdError)
        unpack = _unzstd
    try:
        with path.open("rb", buffering=1 << 18) as raw:
            yield unpack(raw)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path (working folder: {Path.cwd()}).") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder. Name the file in it.") from error
    except broken as error:
        raise DataError(f"{path}: the packing is broken or cut off ({error}). Fetch the file again.") from error
    except OSError as error:
        # Only what this file's own reads raise: an error of another file, met while reading, passes as it is.
        if error.filename not in (None, str(path)):
            raise
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _as_it_is(raw: IO[bytes]) -> IO[bytes]:
    return raw


def _gunzip(raw: IO[bytes]) -> Any:
    return gzip.GzipFile(fileobj=raw, mode="rb")


def _unzstd(raw: IO[bytes]) -> Any:
    return io.BufferedReader(_ZstdFrames(raw), 1 << 18)


class _ZstdFrames(io.RawIOBase):
    """Unpacks one zstd frame after another; a frame that is cut off is an error (not so in zstandard's own)."""

    def __init__(self, raw: IO[bytes]) -> None:
        import zstandard

        self._raw = raw
        self._unpacker = zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._plain:
            if not self._packed:
                self._packed = self._raw.read(1 << 16)
            if not self._packed:
                if self._frame is not None:
                    raise EOFError("the last frame has no end")
                return 0
            self._frame = self._frame or self._unpacker.decompressobj()
            self._plain = memoryview(self._frame.decompress(self._packed))
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._plain))
        buffer[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        return size


def check_start(path: Path, start: bytes) -> bytes:
    """Return the first bytes of a text file without a UTF-8 byte order mark.

    Raises:
        DataError: the bytes tell another kind of file.
    """
    for mark, what in _FOREIGN_STARTS.items():
        if start.startswith(mark):
            raise DataError(f"{path}: {what}.")
    return start.removeprefix(b"\xef\xbb\xbf")


def iter_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield `(line number from 1, line)` of every line that is not blank."""
    with open_bytes(path) as file:
        first = check_start(path, file.readline())
        for number, line in enumerate(itertools.chain((first,), file), 1):
            if line and not line.isspace():
                yield number, line


@overload
def iter_jsonl(path: Path) -> Iterator[Any]: ...
@overload
def iter_jsonl(path: Path, type: type[T]) -> Iterator[T]: ...
def iter_jsonl(path: Path, type: Any = Any) -> Iterator[Any]:  # noqa: A002 - msgspec's word
    """Yield one decoded row a line.

    Raises:
        DataError: a line is not JSON or not of `type`; names file and line.
    """
    decode = msgspec.json.Decoder(type).decode
    for number, line in iter_lines(path):
        try:
            yield decode(line)
        except UNREADABLE as error:
            raise DataError(f"{path}:{number}: {fault_of(line, error)}") from error


def fault_of(line: bytes, error: Exception) -> str:
    """Say in one sentence why a line cannot be decoded, and what to do."""
    if isinstance(error, msgspec.ValidationError):
        return f"{error}. Mend or remove it."
    if isinstance(error, RecursionError):
        return "is nested too deep. Mend or remove it."
    if b"\x00" in line:
        return "holds NUL bytes; the file is UTF-16 or damaged. Convert it to UTF-8."
    try:
        text = line.decode()
    except UnicodeDecodeError as wrong:
        return f"is not UTF-8 (byte 0x{line[wrong.start]:02x}). Convert the file to UTF-8 (iconv -f LATIN1 -t UTF-8)."
    constants: list[str] = []
    with suppress(ValueError, RecursionError):  # the constants met up to there are all that is asked
        json.loads(text, parse_constant=constants.append)
    if constants:
        return f"holds {constants[0]}, which is not valid JSON. Write null or a number instead."
    half = "holds half of a surrogate pair (\\ud800 to \\udfff), which is no character"
    said = half if _half_surrogate(text) else f"is not valid JSON ({str(error).removeprefix('JSON is malformed: ')})"
    return f"{said}. Mend or remove it."


def _half_surrogate(text: str) -> bool:
    r"""Whether a line is JSON but for a lone `\ud800`, which Python's `json` writes and reads."""
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False
    return False


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
    """A file that appears under its name only when the block ends well: flushed, fsynced, renamed.

    Raises:
        DataError: the path is a folder or cannot be written (no such folder, no permission, full disk).
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder, cannot be written as a file. Name a file in it.")
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb", buffering=1 << 20) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        # Reading errors inside the block carry their own file name; a failed write carries ours or none.
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            raise DataError(
                f"{path}: cannot be written: {error.strerror or error}. Free space or choose another path."
            ) from error
        raise
