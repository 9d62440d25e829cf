"""The types that cross between two processes by value, a closed list: how each is taken apart and made again.

What crosses is a tag and plain parts; what is made of them is a genuine object of the built-in type or of the standard
library's, by that type's own constructor. A tag says which one: nothing is looked up by a name that was sent but in the
tables below. Subclasses are never made. Types beyond these (a program's own classes, functions) do not cross; they are
held by number, see `held` and `handles`.
"""

from __future__ import annotations

import builtins
import math
import operator
import re
from array import array
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from types import BuiltinFunctionType, EllipsisType, NoneType, NotImplementedType
from typing import Any, NamedTuple

MAX_BITS = 400_000  # of a fraction's parts: their common divisor is looked for
MAX_DIGITS = 100_000  # of a Decimal
MAX_FIELDS = 100  # of a named tuple
SMALL = 1 << 63  # larger numbers travel as hexadecimal digits, whose length does not matter to their reading
SURROGATE = re.compile("[\ud800-\udfff]")


class Mutable(NamedTuple):
    """A container that can be changed in place.

    Attributes:
        tag: stands for its type.
        head: what an empty one is made with, where that is anything.
        make: makes an empty one.
        items: what it holds, read with its built-in type's own methods.
        fill: gives an empty one its content.
    """

    tag: str
    head: Callable[[Any], Any] | None
    make: Callable[..., Any]
    items: Callable[[Any], Iterable[Any]]
    fill: Callable[[Any, list[Any]], None]


class Fixed(NamedTuple):
    """A value that cannot be changed.

    Attributes:
        tag: stands for its type.
        parts: what it is made of.
        make: makes it of its parts, which may be any plain values.
    """

    tag: str
    parts: Callable[[Any], Iterable[Any]]
    make: Callable[..., Any]


def _exact(kind: type, *values: Any) -> None:
    if any(type(value) is not kind for value in values):
        raise TypeError(kind.__name__)


def _fraction(numerator: Any, denominator: Any) -> Fraction:
    _exact(int, numerator, denominator)
    if denominator < 1 or max(numerator.bit_length(), denominator.bit_length()) > MAX_BITS:
        raise ValueError("a fraction")
    return Fraction(numerator, denominator)


def _decimal(text: Any) -> Decimal:
    _exact(str, text)
    if len(text) > MAX_DIGITS + 100:
        raise ValueError("a decimal")
    return Decimal(text)


def _zone(moment: Any) -> timezone | None:
    """The zone of a time or of a moment, as its distance from UTC."""
    zone = moment.tzinfo
    if zone is None or type(zone) is timezone:
        return zone
    distance = moment.utcoffset()
    return None if distance is None else timezone(distance)


def _checked(kind: type, *fields: Any) -> Any:
    """A date, a time or a moment of whole numbers; a zone and which of two equal hours it is stand last."""
    numbers, (zone, fold) = (fields, (None, 0)) if kind is date else (fields[:-2], fields[-2:])
    _exact(int, *numbers, fold)
    if zone is not None:
        _exact(timezone, zone)
    return kind(*numbers) if kind is date else kind(*numbers, tzinfo=zone, fold=fold)


def _span(*fields: Any) -> timedelta:
    _exact(int, *fields)
    return timedelta(*fields)


def _timezone(distance: Any, name: Any) -> timezone:
    _exact(timedelta, distance)
    if name is None:
        return timezone(distance)
    _exact(str, name)
    return timezone(distance, name)


def _pairs(items: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    return chain.from_iterable(items)


def _unpaired(flat: tuple[Any, ...] | list[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _factory(value: Any = None) -> Any:
    if value is not None and not callable(value):
        raise TypeError("a factory")
    return value


def is_named(kind: type) -> bool:
    """Whether a type is a named tuple without behaviour of its own."""
    fields = vars(kind).get("_fields")
    if kind.__bases__ != (tuple,) or type(fields) is not tuple or len(fields) > MAX_FIELDS:
        return False
    own = {name for name in vars(kind) if not name.startswith("_")} | {"__eq__", "__str__", "__bool__"} & set(
        vars(kind)
    )
    return own == set(fields) and all(type(name) is str for name in fields)


@lru_cache(maxsize=256)
def _named(name: str, fields: tuple[str, ...]) -> Any:
    return namedtuple(name, fields, module="solution")  # refuses what is no name  # noqa: PYI024 - its fields are not known here


def _named_tuple(name: Any, fields: Any, *values: Any) -> Any:
    _exact(str, name)
    _exact(tuple, fields)
    _exact(str, *fields)
    if len(fields) > MAX_FIELDS or sum(map(len, fields)) + len(name) > 10_000:
        raise ValueError("a named tuple")
    return _named(name, fields)(*values)


def _refill(made: Any, loaded: list[Any]) -> None:
    made.clear()
    made.update(_unpaired(loaded))


def _refill_counter(made: Any, loaded: list[Any]) -> None:
    made.clear()
    dict.update(made, _unpaired(loaded))  # its own would add


def _refill_list(made: Any, loaded: list[Any]) -> None:
    made[:] = loaded


def _refill_set(made: Any, loaded: list[Any]) -> None:
    made.clear()
    made.update(loaded)


def _refill_deque(made: Any, loaded: list[Any]) -> None:
    made.clear()
    made.extend(loaded)


def _refill_bytes(made: Any, loaded: list[Any]) -> None:
    made[:] = bytes.fromhex(loaded[0])


def _array(code: Any) -> array[Any]:
    if code not in tuple("bBhHiIlLqQfd"):
        raise ValueError("an array")
    return array(code)


def _refill_array(made: Any, loaded: list[Any]) -> None:
    made[:] = array(made.typecode, bytes.fromhex(loaded[0]))


MUTABLE: dict[type, Mutable] = {
    list: Mutable("l", None, list, list.__iter__, _refill_list),
    dict: Mutable("d", None, dict, lambda v: _pairs(dict.items(v)), _refill),
    set: Mutable("s", None, set, set.__iter__, _refill_set),
    Counter: Mutable("C", None, Counter, lambda v: _pairs(dict.items(v)), _refill_counter),
    OrderedDict: Mutable("O", None, OrderedDict, lambda v: _pairs(OrderedDict.items(v)), _refill),
    defaultdict: Mutable(
        "D",
        lambda v: v.default_factory,
        lambda factory: defaultdict(_factory(factory)),
        lambda v: _pairs(dict.items(v)),
        _refill,
    ),
    deque: Mutable("q", lambda v: v.maxlen, lambda most: deque(maxlen=most), deque.__iter__, _refill_deque),
    bytearray: Mutable("B", None, bytearray, lambda v: (bytearray.hex(v),), _refill_bytes),
    array: Mutable("a", lambda v: v.typecode, _array, lambda v: (array.tobytes(v).hex(),), _refill_array),
}
FIXED: dict[type, Fixed] = {
    tuple: Fixed("t", tuple.__iter__, lambda *items: items),
    frozenset: Fixed("f", frozenset.__iter__, lambda *items: frozenset(items)),
    Fraction: Fixed("F", lambda v: (v.numerator, v.denominator), _fraction),
    Decimal: Fixed("m", lambda v: (Decimal.__str__(v),), _decimal),
    datetime: Fixed(
        "M",
        lambda v: (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond, _zone(v), v.fold),
        lambda *fields: _checked(datetime, *fields),
    ),
    date: Fixed("Y", lambda v: (v.year, v.month, v.day), lambda *fields: _checked(date, *fields)),
    time: Fixed(
        "H",
        lambda v: (v.hour, v.minute, v.second, v.microsecond, _zone(v), v.fold),
        lambda *fields: _checked(time, *fields),
    ),
    timedelta: Fixed("S", lambda v: (v.days, v.seconds, v.microseconds), _span),
    timezone: Fixed("Z", lambda v: (*v.__getinitargs__(), None)[:2], _timezone),
    type({}.keys()): Fixed("k", iter, lambda *items: dict.fromkeys(items).keys()),
    type({}.values()): Fixed("v", iter, lambda *items: dict(enumerate(items)).values()),
    type({}.items()): Fixed("p", _pairs, lambda *items: dict(_unpaired(items)).items()),
}  # fmt: skip
FIXED |= {
    type(OrderedDict().keys()): FIXED[type({}.keys())],
    type(OrderedDict().values()): FIXED[type({}.values())],
    type(OrderedDict().items()): FIXED[type({}.items())],
}
NAMED_TUPLE = Fixed("T", lambda v: (type(v).__name__, type(v)._fields, *tuple.__iter__(v)), _named_tuple)
NUMBERED = frozenset({"t", "f", "T"})  # values that keep their identity, though they cannot be changed
MUTABLE_TAGS = {each.tag: each for each in MUTABLE.values()}
FIXED_TAGS = {each.tag: each for each in (*FIXED.values(), NAMED_TUPLE)}

SCALARS: dict[type, Callable[[Any], Any]] = {
    int: lambda n: n if -SMALL < n < SMALL else ["i", hex(n)],
    # a pair of surrogates would come out of JSON as one character
    str: lambda t: t if t.isascii() or not SURROGATE.search(t) else ["u", t.encode("utf-32-le", "surrogatepass").hex()],
    complex: lambda n: ["c", n.real, n.imag],
    bytes: lambda b: ["b", b.hex()],
    range: lambda r: ["g", *map(hex, (r.start, r.stop, r.step))],
    NoneType: lambda _: None,
    bool: bool,
    EllipsisType: lambda _: ["w", "..."],
    NotImplementedType: lambda _: ["w", "NotImplemented"],
}
# a subclass is read as the first of these that it derives from, with that one's methods
BASES: tuple[type, ...] = (
    Counter, OrderedDict, defaultdict, dict, list, tuple, set, frozenset, deque, bytearray, array,
    Fraction, Decimal, datetime, date, time, timedelta,
)  # fmt: skip
SCALAR_BASES: dict[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    complex: lambda n: complex(n.real, n.imag),
    bytes: lambda b: bytes(*bytes.__getnewargs__(b)),
}


def _words() -> dict[str, Any]:
    """What crosses by its name: types, and functions that only compute."""
    functions = "abs all any ascii bin chr divmod hash hex isinstance len max min oct ord pow repr round sorted sum"
    found = {name: getattr(builtins, name) for name in functions.split()}
    found |= {name: value for name, value in vars(builtins).items() if type(value) is type}
    found |= {kind.__name__: kind for kind in (*MUTABLE, *FIXED) if kind in BASES or kind is timezone}
    for module in (math, operator):
        inside = {
            f"{module.__name__}.{name}": value for name, value in vars(module).items() if not name.startswith("_")
        }
        found |= {name: value for name, value in inside.items() if type(value) is BuiltinFunctionType}
    return {**found, "NoneType": NoneType, "...": ..., "NotImplemented": NotImplemented}


WORDS = _words()
NAMES = {id(value): name for name, value in reversed(WORDS.items())}
