"""Conversations: LMSYS-Chat-1M, WildChat, ShareGPT and OpenAI `messages`, from JSONL, JSON, CSV or Parquet.

| schema | column of the turns | a turn | id |
|---|---|---|---|
| LMSYS-Chat-1M | `conversation` | `role`, `content` | `conversation_id` |
| WildChat | `conversation` | `role`, `content`, ... | `conversation_hash` |
| ShareGPT | `conversations` | `from`, `value` | `id` |
| OpenAI | `messages` | `role`, `content` | `id`, if any |

The schema is told row by row from the columns, so nothing depends on how the rows are spread over files. A row with
plain role/content turns (a million of them in LMSYS) is decoded in one go into a struct that holds only the needed
columns; any other row, and any broken one, takes the slower way, which knows every form and every complaint.

Not covered: choosing turns or languages (see `select`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Message, Prompt, content_id
from promptmill.sources.messages import SAME, to_messages
from promptmill.sources.rows import BadRow, Format, decode_row, id_of, kind, read_rows, value_of

TURNS = ("conversation", "conversations", "messages")
IDS = ("conversation_id", "conversation_hash", "id")


def chats(
    *,
    path: str | Sequence[str],
    messages: str | None = None,
    id: str | None = None,  # noqa: A002 - the recipe's word
    language: str | None = None,
    model: str | None = None,
    meta: Sequence[str] = (),
    format: Format = "auto",  # noqa: A002 - the recipe's word
) -> Iterator[Prompt]:
    """Read conversations in the LMSYS-Chat-1M, WildChat, ShareGPT or OpenAI schema.

    Args:
        path: a file, a folder, a pattern like 'chats/*.jsonl', or a list of them; .gz and .zst are unpacked.
        messages: the column with the turns; by default conversation, conversations or messages.
        id: the column with the id; by default conversation_id, conversation_hash or id, else a hash of the turns.
        language: the column with the language; by default 'language', where there is one.
        model: the column with the model's name; by default 'model', where there is one.
        meta: further columns to keep with each prompt.
        format: auto (by the file's ending), json, jsonl, csv or parquet.

    Yields:
        Prompts with all turns as `messages`.

    Raises:
        DataError: a file is missing, empty or broken, or a row holds no conversation.
    """
    rows = ChatRows(messages=messages, id=id, language=language, model=model, meta=meta)
    return read_rows(path, format, rows.columns, rows.read)


class ChatRows:
    """Reads one row: JSON bytes -> `Prompt`."""

    def __init__(
        self,
        *,
        messages: str | None = None,
        id: str | None = None,  # noqa: A002 - as in `chats`
        language: str | None = None,
        model: str | None = None,
        meta: Sequence[str] = (),
    ) -> None:
        self._messages, self._id, self._meta = messages, id, tuple(meta)
        self._named = {name: column for name, column in (("language", language), ("model", model)) if column}
        self._turns = (messages,) if messages else TURNS
        self._ids = (id,) if id else IDS
        self._notes = {name: self._named.get(name, name) for name in ("language", "model")}
        self.columns = (*self._turns, *self._ids, *self._notes.values(), *self._meta)
        self._decode = (
            msgspec.json.Decoder(self._row_type()).decode if len(set(self.columns)) == len(self.columns) else None
        )

    def _row_type(self) -> Any:
        """A struct of the needed columns alone; what the recipe names must be there, the rest may be missing."""
        fields: list[Any] = []
        renamed = dict(self._notes)
        for kind_of, type_, names, named in (
            ("turns", tuple[Message, ...] | None, self._turns, self._messages),
            ("id", str | int | None, self._ids, self._id),
        ):
            for place in range(3):
                given = place < len(names)
                fields.append((f"{kind_of}{place}", type_) if named and given else (f"{kind_of}{place}", type_, None))
                renamed[f"{kind_of}{place}"] = names[place] if given else f"<no {kind_of}{place}>"
        fields += [(name, str | None) if name in self._named else (name, str | None, None) for name in self._notes]
        return msgspec.defstruct("Row", fields, rename=renamed, kw_only=True, gc=False)

    def read(self, line: bytes, source: str) -> Prompt:
        """Make a prompt of one row.

        Raises:
            BadRow: the row is no JSON object or holds no conversation.
        """
        if self._decode is None or self._meta:
            return self._read_any(line, source)
        try:
            row = self._decode(line)
        except UNREADABLE:
            return self._read_any(line, source)
        messages = row.turns0
        if messages is None:
            messages = row.turns1 if row.turns1 is not None else row.turns2
            if messages is None:
                return self._read_any(line, source)
        for message in messages:
            if message.role not in SAME:
                return self._read_any(line, source)
        own = row.id0
        if own is None:
            own = row.id1 if row.id1 is not None else row.id2
        meta = {}
        if row.language is not None:
            meta["language"] = row.language
        if row.model is not None:
            meta["model"] = row.model
        return Prompt(id=content_id(messages) if own is None else str(own), source=source, messages=messages, meta=meta)

    def _read_any(self, line: bytes, source: str) -> Prompt:
        """The same for every known form of a row, with the complaints."""
        row = decode_row(line)
        if not isinstance(row, dict):
            raise BadRow(
                f"is {kind(row)}, not an object with a conversation. For plain texts use the source 'prompts'."
            )
        column = self._messages or next((name for name in TURNS if row.get(name) is not None), None)
        if column is None:
            there = ", ".join(row)
            raise BadRow(f"no column {' or '.join(TURNS)}. There are: {there}. Name the column with messages.")
        messages = to_messages(value_of(row, column), column)
        own = id_of(row, self._id, IDS)
        return Prompt(
            id=content_id(messages) if own is None else own, source=source, messages=messages, meta=self._notes_of(row)
        )

    def _notes_of(self, row: dict[str, Any]) -> dict[str, Any]:
        notes = {}
        for name, column in self._notes.items():
            value = value_of(row, column) if name in self._named else row.get(column)
            if value is not None and not isinstance(value, str):
                raise BadRow(f"column '{column}' holds {kind(value)}, not a text. Map another column with {name}.")
            if value is not None:
                notes[name] = value
        return notes | {column: value_of(row, column) for column in self._meta}
