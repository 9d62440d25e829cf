"""Keys by reference: which variable holds a key, and where in it; and words that may be shown instead of a key.

A reference is `NAME` (the variable is one key), `NAME[2]` (the third of a list) or `NAME[service][0]` (of an object of
services). References stand in recipes, rows and logs; the key itself is read when an endpoint is made and goes nowhere
but into its requests. `label` adds a short salted hash, so that a key that was exchanged under the same name shows.

The value of a variable may be: a key; keys with commas between them; a JSON text or list of texts; a JSON object from
service to any of these. No message holds any part of a value, nor a name that looks like a key (people write the key
where its variable belongs).

Not covered: key files, key rings, keys that are renewed while a run goes on.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from promptmill.errors import ConfigError
from promptmill.io.jsonl import UNREADABLE

SALT = b"promptmill key label"
PLACEHOLDER_CHARS = 16  # a shorter key ("EMPTY", "token") is a placeholder: taking it out would damage honest text
_REFERENCE = re.compile(r"([A-Za-z_]\w*)(?:\[([^\[\]]+)\])?(?:\[(\d{1,6})\])?", re.ASCII)


class _Reference(NamedTuple):
    name: str
    first: str | None
    second: str | None


def list_keys(name: str, service: str | None = None) -> list[str]:
    """References of all keys in a variable, in their order; of equal keys only the first.

    Raises:
        ConfigError: nothing usable is in it, or it holds several services and none is named.
    """
    where = _where(name, "api_keys_env")
    found = _content(_split(name, "api_keys_env").name, where)
    if isinstance(found, dict):
        service = _service(found, service, where)
        references = _numbered(f"{name}[{service}]", found[service], where)
    elif service is not None:
        raise ConfigError(f"{where} holds no services, so '{service}' is not in it. Leave the service out.")
    else:
        references = _numbered(name, found, where)
    distinct: dict[str, str] = {}
    for reference, key in references:
        distinct.setdefault(key, reference)
    return list(distinct.values())


def read_key(reference: str) -> str:
    """The key that a reference stands for.

    Raises:
        ConfigError: the variable is not set, or there is no such key in it.
    """
    name, first, second = _split(reference, "api_key_env")
    where = _where(name, "api_key_env")
    found = _content(name, where)
    index, place = first, name
    if isinstance(found, dict):
        service = _service(found, first, where)
        found, index, place = found[service], second, f"{name}[{service}]"
    elif second is not None:
        raise ConfigError(f"{where} holds no services. Write {name} or {name}[0].")
    keys = [key for _, key in _numbered(place, found, where)]
    if index is None and len(keys) == 1:
        return keys[0]
    if index is None or not index.isdecimal() or int(index) >= len(keys):
        asked = "several keys" if index is None else f"no key [{index}]"
        listed = f"{place}[0] to {place}[{len(keys) - 1}]" if len(keys) > 1 else place
        raise ConfigError(f"{where} holds {asked}. Name one: {listed}.")
    return keys[int(index)]


def label(reference: str) -> str:
    """What rows, logs and status show of a key: its reference and six digits of a salted hash.

    Raises:
        ConfigError: see `read_key`.
    """
    digest = hashlib.blake2b(read_key(reference).encode(), key=SALT, digest_size=3).hexdigest()
    return f"{reference} #{digest}"


class Mask:
    """Takes keys out of what servers say, however they write it: JSON escapes, %XX and HTML are seen through.

    Long keys go wherever they stand; short ones go from messages only (see PLACEHOLDER_CHARS).
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)
        long = [secret for secret in self._secrets if len(secret) >= PLACEHOLDER_CHARS]
        self._pattern = re.compile("|".join(map(_spelled, long)).encode()) if long else None
        self._text = re.compile("|".join(map(_spelled, self._secrets))) if self._secrets else None
        # the search for a pattern costs more than a request: first look for a stretch that each spelling keeps
        self._marks = [mark for secret in long for mark in _marks(secret)]

    def body(self, body: bytes) -> bytes:
        """The bytes without long keys."""
        if self._pattern is None or not any(mark in body for mark in self._marks):
            return body
        return self._pattern.sub(b"[key]", body)

    def text(self, text: str) -> str:
        """A message without keys."""
        return self._text.sub("[key]", text) if self._text else text


def _spelled(secret: str) -> str:
    """A pattern for a key in which each character may be written in any of the usual ways."""
    spelled = []
    for c in secret:
        number = ord(c)
        ways = [rf"\\{{1,4}}(?i:u00{number:02x})", f"(?i:%{number:02x})"]
        ways.append(f"(?i:&#(?:{number}|x{number:x});)")
        if c in '"\\/':
            ways.append(r"\\{1,4}" + re.escape(c))
        if html.escape(c) != c:
            ways.append(html.escape(c))
        spelled.append("(?:" + "|".join([*ways, re.escape(c)]) + ")")  # itself last: an escape starts with one of them
    return "".join(spelled)


def _marks(secret: str) -> list[bytes]:
    """A text that holds the key holds one of these: its longest run of letters and digits, which no server escapes
    in part, in each spelling.
    """
    core = max(re.findall(r"[A-Za-z0-9]+", secret), key=len, default="")
    spellings = ("{0}", "\\u00{1:02x}", "\\u00{1:02X}", "%{1:02x}", "%{1:02X}", "&#{1};", "&#x{1:x};", "&#x{1:X};")
    return ["".join(spelling.format(c, ord(c)) for c in core).encode() for spelling in spellings]


def _split(reference: str, option: str) -> _Reference:
    found = _REFERENCE.fullmatch(reference.strip())
    if found is None:
        raise ConfigError(
            f"{option}: this is not the name of an environment variable. Put the key into a variable and write the "
            "variable's name, as NAME, NAME[2] or NAME[service][0]."
        )
    return _Reference(*found.groups())


def _where(name: str, option: str) -> str:
    # a long name in small letters, or without a single _, may be the key itself
    readable = len(name) < 20 or name in os.environ or (name.isupper() and "_" in name)
    shown = name if readable else "named there (not shown, it looks like a key)"
    return f"{option}: the environment variable {shown}"


def _content(name: str, where: str) -> Any:
    """What a variable holds: a text, or what its JSON says."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"{where} is not set or empty. Export it first.")
    if value[0] not in '[{"':
        return value
    try:
        return msgspec.json.decode(value)
    except UNREADABLE:
        raise ConfigError(f"{where} holds JSON that cannot be read. Check its quotes and brackets.") from None


def _service(found: dict[str, Any], service: str | None, where: str) -> str:
    if service is None and len(found) == 1:
        service = next(iter(found))
    if service in found:
        return service
    names = ", ".join(repr(name) for name in sorted(found))
    if not names:
        raise ConfigError(f"{where} holds an empty JSON object. Put keys into it.")
    asked = "several services" if service is None else f"no service '{service}'"
    raise ConfigError(f"{where} holds {asked}. Name one of: {names}.")


def _numbered(place: str, found: Any, where: str) -> list[tuple[str, str]]:
    """Each key with its reference; a text without commas is one key and needs no number."""
    if isinstance(found, str) and "," not in found:
        return [(place, _checked(found, where))]
    keys = found.split(",") if isinstance(found, str) else found
    if not isinstance(keys, list) or any(not isinstance(key, str) for key in keys):
        raise ConfigError(f"{where} holds something that is no text where a key belongs. Write keys as JSON texts.")
    if not keys:
        raise ConfigError(f"{where} holds an empty list. Put keys into it.")
    return [(f"{place}[{index}]", _checked(key, where)) for index, key in enumerate(keys)]


def _checked(key: str, where: str) -> str:
    key = key.strip()
    if not key:
        raise ConfigError(f"{where} holds an empty key. Take it out, or write the key.")
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{where} holds characters that no key has. Export it again.")
    return key
