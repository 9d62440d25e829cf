"""Read chosen metadata of a GGUF file (versions 2 and 3, little-endian), without its tensors.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The `gguf` package reads the same in seconds where
this takes a tenth of one, because it makes several arrays for each of the 100,000 strings of a vocabulary.

Not covered: tensors, writing, big-endian files.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

from promptmill.errors import DataError

_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def read_fields(path: Path, keys: Collection[str]) -> dict[str, Any]:
    """Return those of `keys` that the file has.

    Raises:
        DataError: the file cannot be read, is no GGUF file, or ends early.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _fields(data, keys)
    except (OSError, ValueError, struct.error) as error:
        raise DataError(f"{path}: is not a readable GGUF file: {error}. Check that it is whole.") from error


def _fields(data: mmap.mmap, keys: Collection[str]) -> dict[str, Any]:
    magic, version, _tensors, count = struct.unpack_from("<4sIQQ", data, 0)
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    found: dict[str, Any] = {}
    at = 24
    for _ in range(count):
        key, at = _string(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        value, at = _value(data, at + 4, kind)
        if key in keys:
            found[key] = value
            if len(found) == len(keys):
                break
    return found


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    """Return the value at an offset and the offset behind it."""
    if kind == _STRING:
        return _string(data, at)
    if kind in _NUMBERS:
        form = "<" + _NUMBERS[kind]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if kind != _ARRAY:
        raise ValueError(f"value of unknown type {kind} at byte {at}")
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner in _NUMBERS:
        form = f"<{count}{_NUMBERS[inner]}"
        return list(struct.unpack_from(form, data, at)), at + struct.calcsize(form)
    values = []
    for _ in range(count):
        value, at = _value(data, at, inner)
        values.append(value)
    return values, at


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError(f"it ends inside a text at byte {at}")
    return data[at + 8 : end].decode(), end
