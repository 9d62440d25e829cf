"""Conversations: LMSYS-Chat-1M, WildChat, ShareGPT and OpenAI `messages`, from JSONL, JSON, CSV or Parquet.

| schema | column of the turns | a turn | id |
|---|---|---|---|
| LMSYS-Chat-1M | `conversation` | `role`, `content` | `conversation_id` |
| WildChat | `conversation` | `role`, `content`, ... | `conversation_hash` |
| ShareGPT | `conversations` | `from`, `value` | `id` |
| OpenAI | `messages` | `role`, `content` | `id`, if any |

The schema is told row by row from the columns, so nothing depends on how the rows are spread over files. A row with
plain role/content turns (a million of them in LMSYS) is decoded in one go into a struct that holds only the needed
columns; any other row, and any broken one, takes the slower way, which knows every form and every complaint. Where the
selection begins with steps that look at id and language alone, only those are decoded (`heads`): a row that such a step
drops is checked to be JSON, but its turns are not.

Not covered: choosing turns or languages (see `select`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from promptmill.errors import DataError
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Message, Prompt, content_id
from promptmill.registry import Head
from promptmill.sources.messages import SAME, to_messages
from promptmill.sources.rows import BadRow, Format, Rows, decode_row, id_of, kind, value_of

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
    return Rows(path, format, columns=rows.columns, read=rows.read, head=rows.head)


class ChatRows:
    """Reads rows, one at a time.

    Attributes:
        columns: the columns that are looked at.
        read: (JSON bytes of a row, where it is from) -> `Prompt`; raises `BadRow` when it holds no conversation.
        head: the same with the turns left undecoded, where the row has an id of its own.
    """

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
        plain = not self._meta and len(set(self.columns)) == len(self.columns)
        self.read: Callable[[bytes, str], Prompt] = self._fast() if plain else self._read_any
        self.head: Callable[[bytes, str], Head | Prompt] = self._fast_head() if plain else self._read_any

    def _row_type(self, turns: Any) -> Any:
        """A struct of the needed columns alone; what the recipe names must be there, the rest may be missing."""
        fields: list[Any] = []
        renamed = dict(self._notes)
        for kind_of, type_, names, named in (
            ("turns", turns, self._turns, self._messages),
            ("id", str | int | None, self._ids, self._id),
        ):
            for place in range(3):
                given = place < len(names)
                fields.append((f"{kind_of}{place}", type_) if named and given else (f"{kind_of}{place}", type_, None))
                renamed[f"{kind_of}{place}"] = names[place] if given else f"<no {kind_of}{place}>"
        fields += [(name, str | None) if name in self._named else (name, str | None, None) for name in self._notes]
        return msgspec.defstruct("Row", fields, rename=renamed, kw_only=True, gc=False)

    def _fast(self) -> Callable[[bytes, str], Prompt]:
        """`read` for rows with plain turns; whatever else it meets, it leaves to `_read_any`."""
        decode = msgspec.json.Decoder(self._row_type(tuple[Message, ...] | None)).decode
        read_any, same = self._read_any, SAME

        def read(line: bytes, source: str) -> Prompt:
            try:
                row = decode(line)
            except UNREADABLE:
                return read_any(line, source)
            messages, own, language, model = row.turns0, row.id0, row.language, row.model
            if messages is None:
                messages = row.turns1 if row.turns1 is not None else row.turns2
            if own is None:
                own = row.id1 if row.id1 is not None else row.id2
            if messages is None or own is None:
                return read_any(line, source)
            for message in messages:
                if message.role not in same:
                    return read_any(line, source)
            meta = {"language": language, "model": model}
            if language is None or model is None:
                meta = {name: value for name, value in meta.items() if value is not None}
            return Prompt(id=str(own), source=source, messages=messages, meta=meta)

        return read

    def _fast_head(self) -> Callable[[bytes, str], Head | Prompt]:
        decode = msgspec.json.Decoder(self._row_type(msgspec.Raw)).decode
        read = self.read

        def whole(line: bytes, source: str) -> Prompt:
            try:
                return read(line, source)
            except BadRow as error:
                raise DataError(f"{source}: {error}") from error

        def head(line: bytes, source: str) -> Head | Prompt:
            try:
                row = decode(line)
            except UNREADABLE:
                return read(line, source)
            own, language, model = row.id0, row.language, row.model
            if own is None:
                own = row.id1 if row.id1 is not None else row.id2
            if own is None:  # its id is a hash of its turns
                return read(line, source)
            meta = {"language": language, "model": model}
            if language is None or model is None:
                meta = {name: value for name, value in meta.items() if value is not None}
            return Head(id=str(own), source=source, meta=meta, line=line, decode=whole)

        return head

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
