"""Which files a recipe means, and their rows as JSON bytes, whatever the format.

Every format ends as `(number, bytes of one JSON value)`: a line, an item of an array, a table row. So one typed decoder
reads them all and each complaint has a place.

Not covered: what a row means (see `messages`, `chats`, `files`).
"""

from __future__ import annotations

import glob
import itertools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import msgspec

from promptmill.errors import ConfigError, DataError
from promptmill.io.items import iter_items
from promptmill.io.jsonl import UNREADABLE, check_start, fault_of, iter_lines, open_bytes
from promptmill.io.tables import iter_csv, iter_parquet
from promptmill.records import Prompt
from promptmill.registry import Head, did_you_mean

Format = Literal["auto", "json", "jsonl", "csv", "parquet", "text"]

_BY_SUFFIX: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "text",
    ".text": "text",
}
_PACKED = {".gz", ".zst"}
_PLACES = {"json": ": item ", "parquet": ": row "}
_PROMPTS_OBJECT = re.compile(rb'\s*\{\s*"prompts"\s*:\s*\[')

T = TypeVar("T")

log = logging.getLogger(__name__)


class BadRow(Exception):  # noqa: N818 - it never leaves this room: `Rows` turns it into a DataError with a place
    """A row does not hold what it should; the text says what and what to do."""


class DataFile(NamedTuple):
    """A file and the format it will be read in (never `auto`)."""

    path: Path
    format: Format

    def place(self, number: int) -> str:
        """Where a row stands, for a message."""
        return f"{self.path}{_PLACES.get(self.format, ':')}{number}"


class Rows(Iterator[Prompt]):
    """The prompts of some files: an iterator, and a source of heads.

    Args:
        path: a file, folder or pattern, or several.
        form: the format, or `auto`.
        columns: the columns that `read` can use; of a Parquet file nothing else is read.
        read: makes a prompt of `(bytes of a row, "file name:number")`, or raises `BadRow`.
        head: makes a head of the same, or a whole prompt.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        form: Format,
        *,
        columns: Sequence[str],
        read: Callable[[bytes, str], Prompt],
        head: Callable[[bytes, str], Head | Prompt] | None = None,
    ) -> None:
        self._path, self._form, self._columns = path, form, columns
        self._read = read
        self._head = head or read
        self._rows: Iterator[Prompt] = self._each(read)

    def __iter__(self) -> Iterator[Prompt]:  # noqa: PYI034 - the generator itself saves a call for each row
        """The prompts, in order.

        Raises:
            DataError: no such file, no row at all, or a row that cannot be read.
        """
        return self._rows

    def __next__(self) -> Prompt:
        """The next prompt."""
        return next(self._rows)

    def heads(self) -> Iterator[Head | Prompt]:
        """The same from the beginning, of which only id, source and meta are decoded."""
        return self._each(self._head)

    def _each(self, read: Callable[[bytes, str], T]) -> Iterator[T]:
        rows = 0
        for file in data_files(self._path, self._form):
            before, name = rows, file.path.name
            for number, line in _iter_raw(file, self._columns):
                try:
                    yield read(line, f"{name}:{number}")
                except BadRow as error:
                    raise DataError(f"{file.place(number)}: {error}") from error
                rows += 1
            if rows == before:
                log.warning("%s: no rows", file.path)
        if rows == 0:
            raise DataError(f"{self._path}: no rows. Check that this is the right file and that it was written whole.")


def first(rows: Iterator[Prompt], n: int | Literal["all"]) -> Iterator[Prompt]:
    """The first n prompts, or all.

    Raises:
        ConfigError: n is less than 1.
    """
    if n == "all":
        return rows
    if n < 1:
        raise ConfigError(f"source.n: {n}: is no number of problems. Give 1 or more, or all.")
    return itertools.islice(rows, n)


def decode_row(line: bytes) -> Any:
    """Decode one JSON value.

    Raises:
        BadRow: it is no JSON.
    """
    try:
        return msgspec.json.decode(line)
    except UNREADABLE as error:
        raise BadRow(fault_of(line, error)) from error


def value_of(row: dict[str, Any], column: str) -> Any:
    """The value of a column that the recipe names.

    Raises:
        BadRow: there is no such column.
    """
    if column not in row:
        raise BadRow(f"no column '{column}'.{did_you_mean(column, row)} There are: {', '.join(row)}.")
    return row[column]


def id_of(row: dict[str, Any], column: str | None, candidates: Sequence[str]) -> str | None:
    """The row's own id: the named column, or the first candidate that holds one.

    Raises:
        BadRow: the named column is missing, or the id is neither text nor a whole number.
    """
    name, value = column, None
    if column is not None:
        value = value_of(row, column)
    else:
        for name in candidates:
            if (value := row.get(name)) not in (None, ""):  # an empty cell of a table
                break
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
        raise BadRow(f"column '{name}' holds {kind(value)}, not an id. Name another column with id.")
    return None if value in (None, "") else str(value)


def kind(value: Any) -> str:
    """A JSON value in words, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return f"the {'truth value' if isinstance(value, bool) else 'number'} {value}".lower()
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"


def data_files(path: str | Sequence[str], form: Format = "auto") -> list[DataFile]:
    """The files that a path, folder, pattern or list of them means: patterns and folders sorted, a list as given.

    Raises:
        ConfigError: no such format.
        DataError: nothing there, an unknown ending, or a folder with several formats.
    """
    if form not in get_args(Format):
        raise ConfigError(
            f"format: no '{form}'.{did_you_mean(form, get_args(Format))} There are: {', '.join(get_args(Format))}"
        )
    files: list[DataFile] = []
    for one in [path] if isinstance(path, str) else path:
        where = Path(one)
        if where.is_dir():
            files += _in_folder(where, form)
        elif not where.exists() and glob.has_magic(one):
            found = sorted(Path(name) for name in glob.glob(one, recursive=True) if not Path(name).is_dir())  # noqa: PTH207 - absolute patterns
            if not found:
                raise DataError(f"{one}: no file fits this pattern. Check it (working folder: {Path.cwd()}).")
            files += [DataFile(name, _format(name, form)) for name in found]
        else:
            files.append(DataFile(where, _format(where, form)))
    if not files:
        raise DataError("path: is an empty list. Name at least one file.")
    return files


def source_paths(path: str | Sequence[str], form: Format | None) -> list[Path]:
    """The files behind the option `path` of a source, for those who want to know them and not to read their rows.

    Args:
        path: a file, folder, pattern or list of them.
        form: the option `format`; None for a source of a plug-in, which may read any files.

    Raises:
        DataError: nothing there; see `data_files`.
    """
    if form is not None:
        found = [file.path for file in data_files(path, form)]
    else:
        found = []
        for one in [path] if isinstance(path, str) else path:
            if Path(one).is_dir():
                found += sorted(file for file in Path(one).rglob("*") if file.is_file())
            elif not Path(one).exists() and glob.has_magic(one):
                found += sorted(Path(name) for name in glob.glob(one, recursive=True) if Path(name).is_file())  # noqa: PTH207 - absolute patterns
            else:
                found.append(Path(one))
    for file in found:
        if not file.exists():
            raise DataError(f"{file}: no such file. Check the path (working folder: {Path.cwd()}).")
    if not found:
        raise DataError(f"{path}: no file is there. Check the path (working folder: {Path.cwd()}).")
    return found


def _in_folder(folder: Path, form: Format) -> list[DataFile]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_")))
    files = [DataFile(p, found) for p in paths if (found := _by_suffix(p)) and form in {"auto", found}]
    formats = sorted({file.format for file in files})
    if not files:
        raise DataError(f"{folder}: no data file in this folder. Known endings: {', '.join(_BY_SUFFIX)} (.gz, .zst).")
    if len(formats) > 1:
        raise DataError(f"{folder}: holds {' and '.join(formats)} files. Set format, or name a pattern like '*.jsonl'.")
    return [DataFile(file.path, _format(file.path, form)) for file in files]


def _by_suffix(path: Path) -> Format | None:
    suffixes = [suffix for suffix in path.suffixes if suffix not in _PACKED]
    return _BY_SUFFIX.get(suffixes[-1].lower()) if suffixes else None


def stem_of(name: str) -> str:
    """The name of a data file without its endings: `qwen2.5.jsonl.gz` is `qwen2.5`."""
    while (ending := Path(name).suffix).lower() in {*_BY_SUFFIX, *_PACKED}:
        name = name.removesuffix(ending)
    return name


def _format(path: Path, form: Format) -> Format:
    if form != "auto":
        return form
    found = _by_suffix(path)
    if found is None:
        with open_bytes(path):  # a missing file is the better complaint
            pass
        raise DataError(f"{path}: unknown ending. Set format to json, jsonl, csv, parquet or text.")
    return "jsonl" if found == "json" and _holds_lines(path) else found


def _holds_lines(path: Path) -> bool:
    """Whether a `.json` file is JSON Lines in truth: its first line is a whole value, and no `{"prompts": [...]}`."""
    with open_bytes(path) as file:
        start = check_start(path, file.readline(4096))
        if start.lstrip()[:1] not in {b"{", b'"'} or _PROMPTS_OBJECT.match(start):
            return False
        if not start.endswith(b"\n"):
            start += file.readline(1 << 24)
    try:
        row = msgspec.json.decode(start)
    except UNREADABLE:
        return False
    return not (isinstance(row, dict) and isinstance(row.get("prompts"), list))


def _iter_raw(file: DataFile, columns: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    path = file.path
    if file.format == "jsonl":
        return iter_lines(path)
    if file.format == "json":
        return iter_items(path)
    if file.format == "csv":
        return iter_csv(path)
    if file.format == "text":
        return _iter_text(path)
    return iter_parquet(path, columns)


def _iter_text(path: Path) -> Iterator[tuple[int, bytes]]:
    for number, line in iter_lines(path):
        try:
            yield number, msgspec.json.encode(line.decode().rstrip("\r\n"))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: {fault_of(line, error)}") from error
