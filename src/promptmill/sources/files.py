"""Plain prompts: JSON, JSON Lines, CSV, Parquet or text, also packed with gzip or zstd.

A row is a text, or an object with a column that holds a text, a list of texts (user turns, as in MT-Bench) or a list of
messages. Worked rows:

    "Name three rivers."                                        a line of JSONL, an item of a JSON array
    {"prompts": ["Name three rivers."], "count": 1}             a whole JSON file, as other tools write it
    {"question_id": 81, "turns": ["Compose ...", "Rewrite ..."]}    MT-Bench: two user turns

Not covered: whole conversations with their schemas (see `chats`), problems with reference answers (see `problems`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from promptmill.records import Prompt, content_id
from promptmill.sources.messages import to_messages
from promptmill.sources.rows import BadRow, Format, Rows, decode_row, id_of, kind, value_of

TEXTS = ("prompt", "text", "question", "instruction", "input", "turns")
IDS = ("id", "prompt_id", "question_id", "conversation_id", "conversation_hash")


def prompts(
    *,
    path: str | Sequence[str],
    text: str | None = None,
    id: str | None = None,  # noqa: A002 - the recipe's word
    language: str | None = None,
    meta: Sequence[str] = (),
    format: Format = "auto",  # noqa: A002 - the recipe's word
) -> Iterator[Prompt]:
    """Read plain prompts from JSON, JSON Lines, CSV, Parquet or text files.

    Args:
        path: a file, a folder, a pattern like 'data/*.jsonl', or a list of them; .gz and .zst are unpacked.
        text: the column with the prompt; by default the first of prompt, text, question, instruction, input, turns.
        id: the column with the id; by default the data's own where it has one, else a hash of the text.
        language: the column with the language; by default 'language', where there is one.
        meta: further columns to keep with each prompt.
        format: auto (by the file's ending), json, jsonl, csv, parquet, or text with one prompt a line.

    Yields:
        Prompts with `text`, or with `messages` where the column holds turns.

    Raises:
        DataError: a file is missing, empty or broken, or a row holds no text.
    """
    rows = TextRows(text=text, id=id, language=language, meta=meta)
    return Rows(path, format, columns=rows.columns, read=rows.read)


class TextRows:
    """Reads one row: JSON bytes -> `Prompt`."""

    def __init__(
        self,
        *,
        text: str | None = None,
        id: str | None = None,  # noqa: A002 - as in `prompts`
        language: str | None = None,
        meta: Sequence[str] = (),
    ) -> None:
        self._text, self._id, self._language, self._meta = text, id, language, tuple(meta)
        texts, ids = (text,) if text else TEXTS, (id,) if id else IDS
        self.columns = (*texts, *ids, language or "language", *self._meta)

    def read(self, line: bytes, source: str) -> Prompt:
        """Make a prompt of one row.

        Raises:
            BadRow: the row is no JSON, or holds no text where it should.
        """
        row = decode_row(line)
        if isinstance(row, str):
            if self._text or self._id or self._language or self._meta:
                raise BadRow("is a text without columns, but the recipe names columns. Leave out text, id and meta.")
            return Prompt(id=content_id(row), source=source, text=row)
        if not isinstance(row, dict):
            raise BadRow(f"is {kind(row)}, not a text or an object. Mend or remove it.")
        column = self._column(row)
        value = value_of(row, column)
        if isinstance(value, list):
            messages = to_messages(value, column)
            return Prompt(id=self._own(row, messages), source=source, messages=messages, meta=self._notes(row))
        if not isinstance(value, str):
            raise BadRow(f"column '{column}' holds {kind(value)}, not a text. Mend or remove the row.")
        return Prompt(id=self._own(row, value), source=source, text=value, meta=self._notes(row))

    def _column(self, row: dict[str, Any]) -> str:
        if self._text:
            return self._text
        # A null beside a full column is that column's turn to speak; a null alone is named as what it is.
        found = [name for name in TEXTS if name in row]
        column = next((name for name in found if row[name] is not None), next(iter(found), None))
        if column is None:
            there = ", ".join(row) or "none"
            raise BadRow(f"no column {', '.join(TEXTS)}. There are: {there}. Name the column with text.")
        return column

    def _own(self, row: dict[str, Any], content: Any) -> str:
        own = id_of(row, self._id, IDS)
        return content_id(content) if own is None else own

    def _notes(self, row: dict[str, Any]) -> dict[str, Any]:
        column = self._language or "language"
        value = value_of(row, column) if self._language else row.get(column)
        if value is not None and not isinstance(value, str):
            raise BadRow(f"column '{column}' holds {kind(value)}, not a text. Map another column with language.")
        notes: dict[str, Any] = {} if value is None else {"language": value}
        return notes | {name: value_of(row, name) for name in self._meta}
