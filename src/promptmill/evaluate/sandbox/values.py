"""Plain values between two processes: exact built-in types, nothing that carries behaviour.

None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range, and iterators as the list of what
they would give. What comes out of `load` has exactly these types, whatever the other side sends: no subclass, no
`__eq__` of a stranger's making, no code.

Lists, dicts and sets keep their identity within one call: each is numbered when it is first met, on both sides in the
same order, and mentioned by its number after that. So a function that changes its argument in place changes the
caller's object, a result that is the argument comes back as the same object, and cycles survive.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 100
MAX_ITEMS = 100_000  # that an iterator may give
SMALL = 1 << 63  # larger numbers travel as hexadecimal digits, whose length does not matter to their reading
BASES = (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)
LISTS = {"l": list, "t": tuple, "s": set, "f": frozenset}
MUTABLE = (list, dict, set)


class Unplain(Exception):  # noqa: N818 - it is the value that is not plain
    """A value that may not cross, and why in a few words."""


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
        if value is None or kind is bool or kind is str or kind is float:
            return value
        if kind is int:
            return value if -SMALL < value < SMALL else ["i", hex(value)]
        if kind in (list, tuple, dict, set, frozenset):
            return self._dump_many(value, kind, subclasses=subclasses, depth=depth + 1)
        if kind is complex:
            return ["c", value.real, value.imag]
        if kind is bytes:
            return ["b", value.hex()]
        if kind is range:
            return ["g", *(self.dump(each) for each in (value.start, value.stop, value.step))]
        if kind is Items:
            return self._iterator(value.rest(), subclasses=subclasses, depth=depth)
        if not subclasses:
            raise Unplain(f"{_name(kind)} is no plain value")
        for base in BASES:
            if isinstance(value, base):
                return self._dump_base(value, base, depth)
        if isinstance(value, Iterator):
            return self._iterator(value, subclasses=True, depth=depth)
        raise Unplain(f"{_name(kind)} is no plain value")

    def _dump_base(self, value: Any, base: type, depth: int) -> Any:
        """A value of a subclass, as its built-in base: read with the base's own methods."""
        if base in (int, float, complex, str, bytes):
            plain = getattr(base, {int: "__int__", float: "__float__", str: "__str__"}.get(base, "__getnewargs__"))
            inner = str.__str__(value) if base is str else plain(value)
            return self.dump(base(*inner) if isinstance(inner, tuple) else inner)
        return self.dump(base(base.__iter__(value)) if base is not dict else dict(dict.items(value)), subclasses=True,
                         depth=depth)  # fmt: skip

    def _iterator(self, items: Iterator[Any], *, subclasses: bool, depth: int) -> Any:
        found = []
        for item in items:
            if len(found) == MAX_ITEMS:
                raise Unplain(f"an iterator gives more than {MAX_ITEMS:,} items")
            found.append(self.dump(item, subclasses=subclasses, depth=depth + 1))
        return ["n", *found]

    def _dump_many(self, value: Any, kind: type, *, subclasses: bool, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise Unplain(f"it is nested deeper than {MAX_DEPTH} levels")
        if kind in MUTABLE:
            known = self._numbers.get(id(value))
            if known is not None:
                return ["r", known]
            self._number(value)
        return [
            "d" if kind is dict else next(tag for tag, each in LISTS.items() if each is kind),
            *self.content(value, subclasses=subclasses, depth=depth),
        ]

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
        if sent is None or kind is bool or kind is str or kind is float or kind is int:
            return sent
        if kind is not list or not sent or type(sent[0]) is not str or depth > MAX_DEPTH:
            raise Unplain("it is no plain value")
        tag, items = sent[0], sent[1:]
        try:
            return self._load_tagged(tag, items, depth + 1)
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise Unplain("it is no plain value") from error

    def _load_tagged(self, tag: str, items: list[Any], depth: int) -> Any:
        if tag == "r":
            if type(items[0]) is not int or items[0] < 0:
                raise Unplain("it is no plain value")
            return self.objects[items[0]]
        if tag in ("l", "d", "s"):
            made: Any = {"l": list, "d": dict, "s": set}[tag]()
            self._number(made)
            self.fill(made, items, depth)
            return made
        if tag in LISTS:
            return LISTS[tag](self.load(item, depth) for item in items)
        if tag == "n":
            return Items(tuple(self.load(item, depth) for item in items))
        if tag == "i" and type(items[0]) is str:
            return int(items[0], 16)
        if tag == "b" and type(items[0]) is str:
            return builtins.bytes.fromhex(items[0])
        if tag == "c" and {type(items[0]), type(items[1])} <= {float, int}:
            return complex(items[0], items[1])
        if tag == "g":
            return range(*(self.load(item, depth) for item in items))
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
