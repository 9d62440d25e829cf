"""Exceptions between two processes: the nearest type that both know, its arguments as plain values, and its text."""

from __future__ import annotations

import importlib
from typing import Any

from promptmill.evaluate.sandbox.values import Graph, Unplain

MAX_TEXT = 100_000
ENDINGS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "BaseExceptionGroup")
# beside the built-in ones, by the module that defines them
LIBRARY = {
    "_csv": "Error", "_queue": "Empty", "asyncio.exceptions": "CancelledError InvalidStateError IncompleteReadError",
    "asyncio.queues": "QueueEmpty QueueFull", "binascii": "Error", "configparser": "Error NoOptionError NoSectionError",
    "copy": "Error", "dataclasses": "FrozenInstanceError",
    "decimal": "DecimalException InvalidOperation DivisionByZero DivisionUndefined Inexact Overflow ConversionSyntax",
    "graphlib": "CycleError", "json.decoder": "JSONDecodeError", "pickle": "PicklingError UnpicklingError",
    "queue": "Full", "re": "error", "statistics": "StatisticsError", "string": "", "struct": "error",
    "xml.etree.ElementTree": "ParseError", "zlib": "error",
}  # fmt: skip
KNOWN = frozenset((module, name) for module, names in LIBRARY.items() for name in names.split())


def told(error: BaseException) -> list[Any]:
    """The program's side: the nearest known type of an exception, its text, its arguments, and its own type's name."""
    kind = next(each for each in type(error).__mro__ if _is_known(each))
    try:
        text = str(error)[:MAX_TEXT]
    except BaseException:  # noqa: BLE001 - its __str__ is the program's
        text = ""
    file = [error.filename] if isinstance(error, OSError) and error.filename is not None else []
    try:
        arguments = Graph().dump((*error.args, *file))
    except (Unplain, TypeError):
        arguments = None
    own = "" if kind is type(error) else type(error).__name__
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return [name, text, arguments, own]


def _is_known(kind: type) -> bool:
    return kind.__module__ == "builtins" or (kind.__module__, kind.__name__) in KNOWN


def raised(answer: dict[str, Any]) -> tuple[str, str]:
    """The tests' side: type and text of an exception that a program told, for people; hostile input."""
    found = answer.get("raised")
    if type(found) is not list or len(found) < 4 or not all(type(found[n]) is str for n in (0, 1, 3)):
        return "", ""
    return found[0], ": ".join(filter(None, (found[3], found[1])))[:500]


def exception(answer: dict[str, Any]) -> BaseException | None:
    """The tests' side: a genuine exception of a known type; None where that is none that a function may raise."""
    name = raised(answer)[0]
    module, _, last = name.rpartition(".")
    if module and (module, last) not in KNOWN:
        return None
    kind: Any = getattr(importlib.import_module(module or "builtins"), last, None)
    if not isinstance(kind, type) or not issubclass(kind, Exception if not module else BaseException):
        return None
    _, text, arguments, own = answer["raised"][:4]
    found = _made(kind, text[:MAX_TEXT], arguments)
    if own and hasattr(found, "__dict__"):
        found.__dict__[OWN] = own[:100]
    return found


OWN = "_promptmill_name"  # of an exception: what the program calls its type


def _made(kind: Any, text: str, arguments: Any) -> BaseException:
    """An exception with its arguments, where these give its text; with its text alone where they do not."""
    try:
        found: BaseException = kind(*Graph().load(arguments))
        if str(found) == text:
            return found
    except (Unplain, TypeError, ValueError, AttributeError, RecursionError, MemoryError):
        pass
    try:
        found = kind(text)
    except TypeError:  # it wants more, as those of Unicode and of JSON
        found = kind.__new__(kind, text)
    return found


def shown(error: BaseException) -> str:
    """Type and text of an exception in one line, as it is told to people."""
    own = getattr(error, OWN, "")
    try:
        text = str(error)[:200] if isinstance(error, Exception) else ""
    except (ValueError, RecursionError, MemoryError):  # numbers of many digits have no text
        text = ""
    return ": ".join(filter(None, (type(error).__name__, own, text)))
