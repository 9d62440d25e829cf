"""Values between two processes: exact types of a closed list (`kinds`), nothing that carries behaviour.

What comes out of `load` has exactly these types, whatever the other side sends: no subclass, no `__eq__` of a
stranger's making, no code. What is no such value is held where it is and mentioned by a number, if there is somebody
who holds (`Holder`).

Containers keep their identity within one call: each is numbered on both sides in the same order, and mentioned by its
number after that; what can be changed when it is first met, so that cycles survive, what cannot after what it holds. So
a function that changes its argument in place changes the caller's object, and a result that is the argument comes back
as the same object. NaN is numbered too: a list that holds it equals another that holds the same.
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Protocol

from promptmill.evaluate.sandbox.kinds import (
    BASES,
    FIXED,
    FIXED_TAGS,
    MUTABLE,
    MUTABLE_TAGS,
    NAMED_TUPLE,
    NAMES,
    NUMBERED,
    SCALAR_BASES,
    SCALARS,
    WORDS,
    Fixed,
    Mutable,
    is_named,
)

MAX_DEPTH = 100  # of what is taken; what is given may have some of that around it
MAX_GIVEN = 150
PLAIN = frozenset({type(None), bool, int, float, str})  # of JSON


class Unplain(Exception):  # noqa: N818 - it is the value that is not plain
    """A value that may not cross, and why in a few words."""


class TooDeep(Unplain):
    """A value that is nested too deep; its types may be plain."""


class Holder(Protocol):
    """Keeps what does not cross."""

    def give(self, value: Any) -> list[Any] | None:
        """What stands for a value after the tag; None where it may not be mentioned."""

    def take(self, *sent: Any) -> Any:
        """The value that something stands for."""


class Graph:
    """The numbered objects of one call.

    Args:
        holder: keeps what does not cross; without one that is refused.

    Attributes:
        objects: what has a number, in order.
    """

    def __init__(self, holder: Holder | None = None) -> None:
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._holder = holder

    def _number(self, value: Any) -> None:
        self._numbers[id(value)] = len(self.objects)
        self.objects.append(value)  # holds it, so its id stays its own

    def dump(self, value: Any, *, subclasses: bool = False, depth: int = 0) -> Any:
        """Return the JSON of a value.

        Args:
            value: what shall cross.
            subclasses: write a value of a subclass as its base, as a program's result may be; without, such values are
                refused.
            depth: how deep in another value it lies.

        Raises:
            Unplain: it, or something in it, is no plain value.
        """
        kind = type(value)
        if kind is float:
            return value if value == value else self._nan(value)  # noqa: PLR0124 - NaN alone differs from itself
        if kind in SCALARS:
            return SCALARS[kind](value)
        spec = MUTABLE.get(kind) or FIXED.get(kind)
        if spec is None:
            spec = self._other(value, kind, subclasses=subclasses)
        if not isinstance(spec, Mutable | Fixed):
            return spec
        return self._dump_parts(value, spec, subclasses=subclasses, depth=depth + 1)

    def _other(self, value: Any, kind: type, *, subclasses: bool) -> Any:
        """How to take a value of another type apart; or its JSON, in a list or as a scalar."""
        if kind in {type, ABCMeta, BuiltinFunctionType} and id(value) in NAMES:
            return ["w", NAMES[id(value)]]
        if issubclass(kind, tuple) and is_named(kind):
            return NAMED_TUPLE
        if subclasses:
            for base, plain in SCALAR_BASES.items():
                if issubclass(kind, base):
                    return self.dump(plain(value))
            for base in BASES:
                if issubclass(kind, base):
                    return MUTABLE.get(base) or FIXED[base]
        held = self._holder.give(value) if self._holder else None
        if held is None:
            raise Unplain(f"{_name(kind)} is no plain value")
        return ["o", *held]

    def _nan(self, value: float) -> Any:
        known = self._numbers.get(id(value))
        if known is not None:
            return ["r", known]
        self._number(value)
        return ["N"]

    def _dump_parts(self, value: Any, spec: Mutable | Fixed, *, subclasses: bool, depth: int) -> Any:
        if depth > (MAX_DEPTH if subclasses else MAX_GIVEN):
            raise TooDeep("it is nested too deep")
        known = self._numbers.get(id(value))
        if known is not None:
            return ["r", known]
        if isinstance(spec, Mutable):
            self._number(value)
            return [spec.tag, *self._contents(value, spec, subclasses=subclasses, depth=depth)]
        parts = [self.dump(part, subclasses=subclasses, depth=depth) for part in spec.parts(value)]
        if spec.tag in NUMBERED:
            self._number(value)
        return [spec.tag, *parts]

    def _contents(self, value: Any, spec: Mutable, *, subclasses: bool, depth: int) -> list[Any]:
        found = [] if spec.head is None else [self.dump(spec.head(value), subclasses=subclasses, depth=depth)]
        found += [self.dump(item, subclasses=subclasses, depth=depth) for item in spec.items(value)]
        return found

    def mutable(self) -> list[int]:
        """The numbers of the containers that can be changed in place."""
        return [number for number, value in enumerate(self.objects) if type(value) in MUTABLE]

    def contents(self, numbers: list[int], *, subclasses: bool = False) -> list[list[Any]]:
        """What the containers of these numbers hold now.

        Raises:
            Unplain: as `dump`.
        """
        values = [self.objects[number] for number in numbers]
        return [self._contents(each, MUTABLE[type(each)], subclasses=subclasses, depth=0) for each in values]

    def load(self, sent: Any, depth: int = 0) -> Any:
        """Return the value of JSON that somebody sent.

        Raises:
            Unplain: it is nothing that `dump` writes.
        """
        kind = type(sent)
        if kind in PLAIN:
            return sent
        if kind is not list or not sent or type(sent[0]) is not str or depth > MAX_DEPTH:
            raise Unplain("it is no plain value")
        tag, items = sent[0], sent[1:]
        try:
            if tag in MUTABLE_TAGS:
                return self._load_mutable(MUTABLE_TAGS[tag], items, depth + 1)
            if tag in FIXED_TAGS:
                made = FIXED_TAGS[tag].make(*[self.load(item, depth + 1) for item in items])
                if tag in NUMBERED:
                    self._number(made)
                return made
            return self._single(tag, *items)
        except (TypeError, ValueError, IndexError, KeyError, ArithmeticError, AttributeError) as error:
            raise Unplain("it is no plain value") from error

    def _load_mutable(self, spec: Mutable, items: list[Any], depth: int) -> Any:
        if spec.head is None:
            made = spec.make()
        else:
            made, items = spec.make(self.load(items[0], depth)), items[1:]
        self._number(made)
        spec.fill(made, [self.load(item, depth) for item in items])
        return made

    def _single(self, tag: str, *parts: Any) -> Any:
        if tag == "N" and not parts:
            self._number(float("nan"))
            return self.objects[-1]
        if tag == "o" and self._holder is not None:
            return self._holder.take(*parts)
        first, *rest = parts
        if tag == "r" and type(first) is int and first >= 0:
            return self.objects[first]
        if tag == "c" and {type(first), type(rest[0])} <= {float, int}:
            return complex(first, rest[0])
        if tag == "w" and not rest:
            return WORDS[first]
        if type(first) is str and tag in DIGITS:
            return DIGITS[tag](first, *rest)
        raise Unplain("it is no plain value")

    def fill(self, number: int, content: list[Any]) -> None:
        """Give a numbered container new content, in place.

        Raises:
            Unplain: as `load`.
            KeyError: it cannot be changed.
        """
        container = self.objects[number]
        spec = MUTABLE[type(container)]
        spec.fill(container, [self.load(item) for item in content[0 if spec.head is None else 1 :]])


def _hexadecimal(digits: str) -> int:
    return int(digits, 16)


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-32-le", "surrogatepass")


def _range(*digits: str) -> range:
    return range(*map(_hexadecimal, digits))


def _name(kind: type) -> str:
    return str(type.__getattribute__(kind, "__name__"))[:60]


DIGITS: dict[str, Callable[..., Any]] = {"i": _hexadecimal, "b": bytes.fromhex, "g": _range, "u": _text}
