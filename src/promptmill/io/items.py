"""Large JSON files, one item after another: `[...]`, or `{"prompts": [...], "count": n}` as other tools write it.

ShareGPT is one array of 600 MB. The file is never decoded as a whole: a regular expression that knows strings and
brackets finds where each item ends, and the item's bytes are handed on to be decoded by type. What is held is one
item and one chunk.

Not covered: judging an item's inside (the decoder does that), and arrays deeper in an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from promptmill.errors import DataError
from promptmill.io.jsonl import UNREADABLE, check_start, fault_of, open_bytes

_CHUNK = 1 << 20
_LARGEST_ITEM = 1 << 28
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|["\[\]{}]', re.DOTALL)
_SCALAR = re.compile(rb"[^\s,\]}]+(?=[\s,\]}])")
_SPACE = re.compile(rb"\s*")


def iter_items(path: Path, key: str = "prompts") -> Iterator[tuple[int, bytes]]:
    """Yield `(item number from 1, its bytes)` of a JSON array, or of the array `key` in a JSON object.

    Raises:
        DataError: the file is no such JSON, is cut off, or its `count` is not the number of items.
    """
    with open_bytes(path) as file:
        text = _Text(path, file)
        first = text.peek()
        if first == b"[":
            yield from text.array()
        elif first == b"{":
            yield from _member(text, key)
        elif first:
            raise DataError(
                f"{path}: is neither a JSON array nor an object with '{key}'. Set format, if it is no JSON."
            )
        if text.peek():
            raise DataError(f"{path}: goes on after the end of the JSON value. For JSON Lines set format: jsonl.")


def _member(text: _Text, key: str) -> Iterator[tuple[int, bytes]]:
    """The items of `{..., key: [...], ...}`; `count`, wherever it stands, is compared."""
    keys: list[str] = []
    items, count = -1, None
    text.take(b"{")
    while text.peek() not in {b"}", b""}:
        name = text.decoded(text.value())
        keys.append(str(name))
        text.take(b":")
        if name == key and text.peek() == b"[":
            items = 0
            for items, item in text.array():
                yield items, item
        else:
            value = text.value()
            count = text.decoded(value) if name == "count" else count
        if text.peek() != b"}":
            text.take(b",")
    text.take(b"}")
    if items < 0:
        raise DataError(f"{text.path}: no array '{key}' in the object; its keys are {', '.join(keys)}. Write a list.")
    if count not in {None, items}:
        raise DataError(f"{text.path}: count is {count}, but there are {items} {key}. The file was cut or edited.")


class _Text:
    """A window on the file: `buffer[at:]` is what was read and not yet used."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path = path
        self.item = 0
        self._file = file
        self._buffer = check_start(path, file.read(_CHUNK))
        self._at = 0

    def peek(self) -> bytes:
        """The next byte that is not white space; empty at the end of the file."""
        while True:
            self._at = _SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._more():
                return b""

    def take(self, wanted: bytes) -> None:
        """Step over one byte that must be there."""
        found = self.peek()
        if found != wanted:
            self._fail(f"expected '{wanted.decode()}'", found)
        self._at += 1

    def array(self) -> Iterator[tuple[int, bytes]]:
        """The items of the array that begins here."""
        self.take(b"[")
        if self.peek() == b"]":
            self._at += 1
            return
        while True:
            self.item += 1
            yield self.item, self.value()
            if self.peek() == b"]":
                self._at += 1
                return
            self.take(b",")

    def value(self) -> bytes:
        """The bytes of the JSON value that begins here."""
        first = self.peek()
        if first in {b"{", b"["}:
            return self._nested()
        pattern = _STRING if first == b'"' else _SCALAR
        while (found := pattern.match(self._buffer, self._at)) is None:
            if first in {b"", b",", b"]", b"}", b":"}:
                self._fail("expected a value", first)
            if not self._more():
                self._fail("", b"")
        self._at = found.end()
        return found[0]

    def decoded(self, value: bytes) -> object:
        try:
            return msgspec.json.decode(value)
        except UNREADABLE as error:
            raise DataError(f"{self.path}: {fault_of(value, error)}") from error

    def _nested(self) -> bytes:
        depth, searched = 0, 0
        while True:
            for found in _STRING_OR_BRACKET.finditer(self._buffer, self._at + searched):
                token = self._buffer[found.start()]
                if token in b"[{":
                    depth += 1
                elif token in b"]}":
                    depth -= 1
                    if depth == 0:
                        start, self._at = self._at, found.end()
                        return self._buffer[start : self._at]
                elif found.end() - found.start() == 1:  # a string whose end is not yet read
                    searched = found.start() - self._at
                    break
            else:
                searched = len(self._buffer) - self._at
            if not self._more():
                self._fail("", b"")

    def _more(self) -> bool:
        """Drop what was used and read on; as much again as is held, so that a long item costs linear time."""
        rest = self._buffer[self._at :]
        if len(rest) > _LARGEST_ITEM:
            raise DataError(f"{self.path}: item {self.item}: is larger than {_LARGEST_ITEM >> 20} MiB or has no end.")
        chunk = self._file.read(max(_CHUNK, len(rest)))
        self._buffer, self._at = rest + chunk, 0
        return bool(chunk)

    def _fail(self, what: str, found: bytes) -> None:
        where = f"{self.path}: item {self.item}" if self.item else f"{self.path}"
        if not found or self._at >= len(self._buffer) or not what:
            raise DataError(f"{where}: the file ends inside the JSON. It was cut off: fetch or write it again.")
        raise DataError(f"{where}: {what}, found '{found.decode(errors='replace')}'. Mend the JSON.")
