"""Plain values between two processes: exact built-in types, nothing that carries behaviour.

None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range, and iterators as the list of what
they would give. What comes out of `load` has exactly these types, whatever the other side sends: no subclass, no
`__eq__` of a stranger's making, no code.

Lists, dicts and sets keep their identity within one call: each is numbered when it is first met, on both sides in the
same order, and mentioned by its number after that. So a function that changes its argument in place changes the
caller's object, a result that is the argument comes back as the same object, and cycles survive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

MAX_DEPTH = 100  # of what is taken; what is given may have some of that around it
MAX_GIVEN = 150
MAX_ITEMS = 100_000  # that an iterator may give
SMALL = 1 << 63  # larger numbers travel as hexadecimal digits, whose length does not matter to their reading
SURROGATE = re.compile("[\ud800-\udfff]")
BASES = (int, float, complex, str, bytes, list, tuple, dict, set, frozenset)
AS_THEY_ARE = (type(None), bool, float)
SCALARS: dict[type, Callable[[Any], Any]] = {
    int: lambda n: n if -SMALL < n < SMALL else ["i", hex(n)],
    # a pair of surrogates would come out of JSON as one character
    str: lambda t: t if t.isascii() or not SURROGATE.search(t) else ["u", t.encode("utf-32-le", "surrogatepass").hex()],
    complex: lambda n: ["c", n.real, n.imag],
    bytes: lambda b: ["b", b.hex()],
    range: lambda r: ["g", *map(hex, (r.start, r.stop, r.step))],
}
CONTAINERS: dict[type, str] = {list: "l", tuple: "t", dict: "d", set: "s", frozenset: "f"}
MUTABLE = {"l": list, "d": dict, "s": set}


class Unplain(Exception):  # noqa: N818 - it is the value that is not plain
    """A value that may not cross, and why in a few words."""


class TooDeep(Unplain):
    """A value that is nested too deep; its types may be plain."""


class Graph:
    """The numbered objects of one call.

    Attributes:
        objects: what has a number, in order.
    """

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self._numbers: dict[int, int] = {}

    def _number(self, value: Any) -> None:
        self._numbers[id(value)] = len(self.objects)
        self.objects.append(value)  # holds it, so its id stays its own

    def dump(self, value: Any, *, subclasses: bool = False, depth: int = 0) -> Any:
        """Return the JSON of a value.

        Args:
            value: what shall cross.
            subclasses: write a Counter as a dict and a generator as its items, as a program's result may be; without,
                such values are refused.
            depth: how deep in another value it lies.

        Raises:
            Unplain: it, or something in it, is no plain value.
        """
        kind = type(value)
        if kind in AS_THEY_ARE:
            return value
        if kind in SCALARS:
            return SCALARS[kind](value)
        if kind in CONTAINERS:
            return self._dump_many(value, kind, subclasses=subclasses, depth=depth + 1)
        if kind is Items:
            return self._iterator(value.rest(), subclasses=subclasses, depth=depth)
        if subclasses:
            for base in BASES:
                if isinstance(value, base):
                    return self._dump_base(value, base, depth)
            if isinstance(value, Iterator):
                return self._iterator(value, subclasses=True, depth=depth)
        raise Unplain(f"{_name(kind)} is no plain value")

    def _dump_base(self, value: Any, base: Any, depth: int) -> Any:
        """A value of a subclass, as its built-in base: read with the base's own methods."""
        if base in CONTAINERS:
            inner = dict(dict.items(value)) if base is dict else base(base.__iter__(value))
            return self.dump(inner, subclasses=True, depth=depth)
        if base in (complex, bytes):
            return self.dump(base(*base.__getnewargs__(value)))
        return self.dump({int: int.__int__, float: float.__float__, str: str.__str__}[base](value))

    def _iterator(self, items: Iterator[Any], *, subclasses: bool, depth: int) -> Any:
        found: list[Any] = []
        for item in items:
            if len(found) == MAX_ITEMS:
                raise Unplain(f"an iterator gives more than {MAX_ITEMS:,} items")
            found.append(self.dump(item, subclasses=subclasses, depth=depth + 1))
        return ["n", *found]

    def _dump_many(self, value: Any, kind: type, *, subclasses: bool, depth: int) -> Any:
        if depth > (MAX_DEPTH if subclasses else MAX_GIVEN):
            raise TooDeep("it is nested too deep")
        tag = CONTAINERS[kind]
        if tag in MUTABLE:
            known = self._numbers.get(id(value))
            if known is not None:
                return ["r", known]
            self._number(value)
        return [tag, *self.content(value, subclasses=subclasses, depth=depth)]

    def content(self, value: Any, *, subclasses: bool = False, depth: int = 0) -> list[Any]:
        """What a container holds; for a dict keys and values in turn."""
        items = value if type(value) is not dict else [each for pair in value.items() for each in pair]
        return [self.dump(item, subclasses=subclasses, depth=depth) for item in items]

    def load(self, sent: Any, depth: int = 0) -> Any:
        """Return the value of JSON that somebody sent.

        Raises:
            Unplain: it is nothing that `dump` writes.
        """
        kind = type(sent)
        if kind in AS_THEY_ARE or kind is int or kind is str:
            return sent
        if kind is not list or not sent or type(sent[0]) is not str or depth > MAX_DEPTH:
            raise Unplain("it is no plain value")
        tag, items = sent[0], sent[1:]
        try:
            if tag in MUTABLE:
                made = MUTABLE[tag]()
                self._number(made)
                self.fill(made, items, depth + 1)
                return made
            if tag in HOLDERS:
                return HOLDERS[tag](self.load(item, depth + 1) for item in items)
            return self._single(tag, *items)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise Unplain("it is no plain value") from error

    def _single(self, tag: str, first: Any, *rest: Any) -> Any:
        if tag == "r" and type(first) is int and first >= 0:
            return self.objects[first]
        if tag == "c" and {type(first), type(rest[0])} <= {float, int}:
            return complex(first, rest[0])
        if type(first) is str and tag in DIGITS:
            return DIGITS[tag](first, *rest)
        raise Unplain("it is no plain value")

    def fill(self, container: Any, items: list[Any], depth: int = 0) -> None:
        """Give a list, dict or set new content, in place."""
        loaded = [self.load(item, depth) for item in items]
        if type(container) is list:
            container[:] = loaded
            return
        container.clear()
        if type(container) is set:
            container.update(loaded)
        else:
            container.update(zip(loaded[::2], loaded[1::2], strict=True))


def _hexadecimal(digits: str) -> int:
    return int(digits, 16)


def _text(digits: str) -> str:
    return bytes.fromhex(digits).decode("utf-32-le", "surrogatepass")


def _range(*digits: str) -> range:
    return range(*map(_hexadecimal, digits))


class Items:
    """An iterator over values that came from the other side; it can be sent back without being used up."""

    def __init__(self, items: tuple[Any, ...]) -> None:
        self._items = items
        self._next = 0

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> Any:
        if self._next == len(self._items):
            raise StopIteration
        self._next += 1
        return self._items[self._next - 1]

    def rest(self) -> Iterator[Any]:
        """What is not yet given, without giving it."""
        return iter(self._items[self._next :])


def _name(kind: type) -> str:
    return str(type.__getattribute__(kind, "__name__"))[:60]


DIGITS: dict[str, Callable[..., Any]] = {"i": _hexadecimal, "b": bytes.fromhex, "g": _range, "u": _text}
HOLDERS: dict[str, Callable[[Iterator[Any]], Any]] = {
    "t": tuple,
    "f": frozenset,
    "n": lambda items: Items(tuple(items)),
}
