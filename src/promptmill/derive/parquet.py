"""Parquet beside JSON Lines: the same rows, converted by DuckDB with their columns named, never guessed.

Not covered: reading.
"""

from __future__ import annotations

from pathlib import Path

from promptmill.errors import DataError

_SLICE = {"input_prompt": "VARCHAR", "output_prompt": "VARCHAR", "number_of_output_tokens": "BIGINT"}
_WHO = {"prompt_id": "VARCHAR", "sample": "BIGINT"}

COLUMNS: dict[str, dict[str, str]] = {
    "training": {**_SLICE, "remaining_tokens": "BIGINT"},
    "censored": {**_SLICE, "remaining_tokens_at_least": "BIGINT", **_WHO},
    "split": {**_SLICE, "remaining_tokens": "BIGINT", **_WHO},
    "index": {**_WHO, "split": "VARCHAR", "first_row": "BIGINT", "rows": "BIGINT"},
    "lengths": {
        "prompt_id": "VARCHAR",
        "input_prompt": "VARCHAR",
        "n_samples": "BIGINT",
        "n_censored": "BIGINT",
        **dict.fromkeys(("median", "q10", "q25", "q75", "q90", "mean"), "DOUBLE"),
    },
}


def write_parquet(jsonl: Path, columns: dict[str, str], *, longest_row: int = 0) -> Path:
    """Convert a JSON Lines file to Parquet beside it, atomically; return the new file.

    Args:
        jsonl: the rows.
        columns: name and DuckDB type of each column.
        longest_row: bytes of the longest row, where it may be above 16 MiB.

    Raises:
        DataError: the rows or the disk do not allow it.
    """
    import duckdb

    path = jsonl.with_suffix(".parquet")
    temporary = path.with_name(f".{path.name}.tmp")
    fields = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
    source = (
        f"read_json({_quoted(jsonl)}, format='newline_delimited', columns={{{fields}}}, "
        f"maximum_object_size={max(1 << 24, longest_row + 1)})"
    )
    try:
        with duckdb.connect(config={"temp_directory": str(path.parent)}) as database:
            database.execute(f"COPY (FROM {source}) TO {_quoted(temporary)} (FORMAT parquet, COMPRESSION zstd)")
        temporary.replace(path)
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be written: {reason}. Free space, or leave parquet out of formats.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
