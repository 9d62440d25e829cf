"""CSV and Parquet, row by row, as the bytes of one JSON object a row: one decoder then serves every format.

CSV goes through the standard library, strictly: a row with too many or too few fields is an error with its line.
Parquet goes through DuckDB, which reads only the wanted columns.

Not covered: writing tables (the rooms that make them do that), numbers in CSV (every cell is text).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from promptmill.errors import DataError
from promptmill.io.jsonl import check_start, open_bytes

_LONGEST_CELL = 1 << 28


def iter_csv(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield `(line number of the row's end, JSON object of the row)`; the first line names the columns.

    A path with `.tsv` in its name is split at tabs, every other at commas.

    Raises:
        DataError: not UTF-8, not CSV, or a row whose number of fields differs from the header's.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # the default of 128 KiB is for other times
    encode = msgspec.json.Encoder().encode
    with open_bytes(path) as file:
        check_start(path, file.peek(4)[:4] if hasattr(file, "peek") else b"")
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        rows = csv.reader(text, delimiter="\t" if ".tsv" in path.suffixes else ",", strict=True)
        try:
            header = next(rows, [])
            if len(set(header)) < len(header):
                raise DataError(f"{path}:1: a column name stands twice: {', '.join(header)}. Rename one.")
            if len(header) == 1 and (sign := next((each for each in ";\t|" if each in header[0]), None)):
                raise DataError(
                    f"{path}:1: is split at {sign!r}, not at commas. Write it with commas, or tabs and the ending .tsv."
                )
            for cells in filter(None, rows):
                if len(cells) != len(header):
                    raise DataError(
                        f"{path}:{rows.line_num}: {len(cells)} fields, the header has {len(header)}. Quote commas."
                    )
                yield rows.line_num, encode(dict(zip(header, cells, strict=True)))
        except csv.Error as error:
            raise DataError(f"{path}:{rows.line_num}: is not valid CSV ({error}). Mend the line.") from error
        except UnicodeDecodeError as error:
            # The decoder works in blocks, so the line is known only to be at or after the last whole row.
            raise DataError(
                f"{path}: after line {rows.line_num}: is not UTF-8 (byte 0x{error.object[error.start]:02x}). "
                "Convert the file to UTF-8 (iconv -f LATIN1 -t UTF-8)."
            ) from error
        finally:
            text.detach()


def parquet_columns(path: Path) -> list[str]:
    """The names of a Parquet file's columns.

    Raises:
        DataError: missing, or no Parquet file.
    """
    rows = _query(path, "select column_name from (describe select * from read_parquet(?))")
    return [name for batch in rows for (name,) in batch]


def iter_parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, bytes]]:
    """Yield `(row number from 1, JSON object of the row)`, in the order of the file.

    Only `columns` are read; every other column is null, so that a complaint can still name what is there.

    Raises:
        DataError: missing, or no Parquet file.
    """
    fields = ", ".join(
        f"{_quoted(name)} := {_quoted(name) if name in columns else 'null'}" for name in parquet_columns(path)
    )
    number = 0
    for batch in _query(path, f"select to_json(struct_pack({fields}))::varchar from read_parquet(?)"):  # noqa: S608 - quoted
        for (text,) in batch:
            number += 1
            yield number, text.encode()


def _query(path: Path, statement: str) -> Iterator[list[tuple[str]]]:
    import duckdb

    with open_bytes(path):
        pass  # a missing file gets the same words as everywhere
    # One thread: order is kept without a buffer, and the rows' way through Python is the slower part anyway.
    with duckdb.connect(config={"threads": 1, "memory_limit": "512MB"}) as connection:
        try:
            result = connection.execute(statement, [str(path)])
            while batch := result.fetchmany(2048):
                yield batch
        except duckdb.Error as error:
            line = str(error).splitlines()[0]
            raise DataError(f"{path}: cannot be read as Parquet ({line}). Fetch or write the file again.") from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
