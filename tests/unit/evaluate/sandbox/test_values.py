"""Plain values: what crosses comes out with exactly the same type; what else is sent is refused."""

import array
import collections
import datetime as dt
import enum
import json
import math
import operator
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.evaluate.sandbox.kinds import FIXED, MUTABLE
from promptmill.evaluate.sandbox.values import Graph, TooDeep, Unplain

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary()
    | st.integers(2**62, 2**70) | st.text(st.characters(categories=["Cs"]))
)  # fmt: skip
hashable = scalars.filter(lambda value: value == value)  # noqa: PLR0124 - NaN, which no set finds again
keys = st.recursive(hashable, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner), max_leaves=5)
values = st.recursive(
    scalars | st.sets(keys, max_size=4),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


def crossed(value, **options):
    return Graph().load(json.loads(json.dumps(Graph().dump(value, **options))))


def same(left, right):  # noqa: PLR0911 - one for each kind
    """Equal with equal types all the way down; NaN is NaN, and 0.0 is not -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (
            left == right and math.copysign(1, left) == math.copysign(1, right)
        )
    if isinstance(left, complex):
        return same(left.real, right.real) and same(left.imag, right.imag)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return left == right and sorted(str(type(e)) for e in left) == sorted(str(type(e)) for e in right)
    return left == right


zones = st.none() | st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)).map(dt.timezone)
finite = st.decimals(allow_nan=False)
moments = st.dates() | st.times(timezones=zones) | st.datetimes(timezones=zones) | st.timedeltas()
library = st.recursive(
    finite | st.fractions() | moments | st.integers() | st.text(max_size=3) | st.binary(max_size=3).map(bytearray)
    | st.lists(st.floats(), max_size=3).map(lambda xs: array.array("d", xs)),
    lambda inner: (
        st.lists(inner, max_size=4).map(collections.deque) | st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3).map(collections.OrderedDict)
        | st.dictionaries(st.integers(), inner, max_size=3).map(lambda d: collections.defaultdict(list, d))
        | st.dictionaries(st.integers(), inner, max_size=3).map(dict.values) | st.tuples(inner, inner)
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300)
@given(library)
def test_every_value_of_the_library_comes_out_as_it_went_in(value):
    assert repr(crossed(value)) == repr(value)
    assert type(crossed(value, subclasses=True)) is type(value)


@settings(max_examples=200)
@given(values)
def test_every_plain_value_comes_out_as_it_went_in(value):
    assert same(crossed(value), value)


def test_a_bool_is_no_int_and_a_tuple_no_list():
    assert same(
        crossed([True, 1, 1.0, -0.0, (1,), [1], {1}, frozenset({1})]),
        [True, 1, 1.0, -0.0, (1,), [1], {1}, frozenset({1})],
    )


def test_a_number_of_a_hundred_thousand_digits_crosses():
    assert crossed(-(7**120_000)) == -(7**120_000)


def test_an_object_that_stands_twice_is_one_object_on_the_other_side():
    inner = [1]
    out = crossed([inner, inner, (inner,)])
    assert out[0] is out[1] is out[2][0]


def test_a_list_that_holds_itself_does_so_on_the_other_side():
    value = []
    value.append(value)
    out = crossed(value)
    assert out[0] is out


class Colour(enum.IntEnum):
    RED = 3


class Text(str):
    __slots__ = ()

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - as programs write it


class Tally(collections.Counter):
    def __eq__(self, other):
        return True

    __hash__ = None


class Row(collections.namedtuple("Row", "x y")):  # noqa: PYI024, SLOT002 - as programs write it
    def total(self):
        return self.x + self.y


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 3), (Text("a"), "a"), (Tally("aab"), collections.Counter({"a": 2, "b": 1})), (Row(1, 2), (1, 2)),
    ],
)  # fmt: skip
def test_a_subclass_crosses_as_its_base_where_that_is_asked_for(value, plain):
    assert same(crossed(value, subclasses=True), plain)
    with pytest.raises(Unplain, match="is no plain value"):
        Graph().dump(value)


UTC = dt.timezone.utc  # noqa: UP017 - the same
EAST = dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")
NAIVE = dt.datetime(1, 1, 1)  # noqa: DTZ001 - programs have such
LIBRARY = [
    collections.deque([1, [2]], maxlen=3), collections.deque(), collections.Counter("aab"),
    collections.OrderedDict([("b", 1), ("a", 2)]), collections.defaultdict(list, a=[1]), collections.defaultdict(None),
    array.array("d", [1.5, -0.0, math.inf]), array.array("b", [-1]), bytearray(b"\0a"), Fraction(-7, 3),
    Fraction(2**200, 3),
    Decimal("1.50"), Decimal("-0"), Decimal("1E+999999"), Decimal("Infinity"), dt.date(2024, 2, 29),
    dt.datetime(2024, 2, 29, 23, 59, 58, 7, EAST, fold=1), NAIVE, dt.time(1, 2, tzinfo=UTC),
    dt.timedelta(-1, 5, 7), UTC, EAST, range(5, 1, -2), range(10**30), ..., NotImplemented, int, type(None), Fraction,
    collections.Counter, ValueError, len, operator.add, math.sqrt, {}.keys(), {1: 2, "a": 3}.keys(), {1: (2,)}.items(),
    slice, Point(1, [2]),
]  # fmt: skip


@pytest.mark.parametrize("value", LIBRARY, ids=repr)
def test_values_of_the_standard_library_come_out_as_genuine_ones(value):
    out = crossed([value], subclasses=True)[0]
    assert out == value
    assert repr(out) == repr(value)
    if not isinstance(value, Point):
        assert type(out) is type(value)
    assert repr(crossed(value)) == repr(value)  # the tests' side is as strict as it was, and takes them too


def test_a_view_of_values_keeps_what_it_shows():
    out = crossed({"a": 1, "b": [2]}.values())
    assert type(out) is type({}.values())
    assert list(out) == [1, [2]]


def test_parts_that_are_hidden_in_an_equal_value_cross_too():
    assert crossed(collections.deque([1], maxlen=3)).maxlen == 3
    assert crossed(collections.defaultdict(list))["new"] == []
    assert crossed(NAIVE.replace(fold=1)).fold == 1
    assert crossed(EAST).tzname(None) == "IST"
    assert crossed(Point(1, 2)).x == 1
    assert crossed(UTC) is UTC


def test_what_stands_twice_is_one_object_whatever_its_type():
    for value in [(1,), frozenset({1}), Point(1, 2), collections.deque(), bytearray(), math.nan, collections.Counter()]:
        out = crossed([value, value])
        assert out[0] is out[1]


def test_a_list_that_holds_nan_equals_one_that_holds_the_same():
    out = crossed([math.nan, [math.nan], float("nan")])
    assert out[:1] == out[1]
    assert out[0] is not out[2]


@pytest.mark.parametrize(
    "value", [object(), print, Ellipsis.__class__, memoryview(b"x"), {"a": object()}, [lambda: 1], Colour, iter([])]
)
def test_what_carries_behaviour_is_refused(value):
    with pytest.raises(Unplain, match="is no plain value"):
        Graph().dump(value, subclasses=True)


def test_nesting_beyond_100_levels_is_refused_on_both_sides():
    value = sent = []
    for _ in range(150):
        value, sent = [value], ["l", sent]
    with pytest.raises(TooDeep, match="it is nested too deep"):
        Graph().dump(value, subclasses=True)
    with pytest.raises(Unplain, match="it is no plain value"):
        Graph().load(sent)


@pytest.mark.parametrize(
    "sent",
    [
        {}, {"l": 1}, [], [1], [None], ["x"], ["l", {}], ["r", 0], ["r", -1], ["r", True], ["r"], ["r", "0"],
        ["i"], ["i", 5], ["i", "zz"], ["b", "0"], ["b", 3], ["c", 1], ["c", "1", 2], ["c", True, 2],
        ["g", "0x1", "0x2", "0x0"],
        ["g", 1, 2, 3], ["d", 1], ["d", ["l"], 1], ["s", ["l"]], ["f", ["d"]], ["i", "1", "2"],
        ["__class__"], ["eval", "1"], ["n", ["x"]], ["o", 1, "f", True], ["w", "eval"], ["w", "open"], ["w", "print"],
        ["w", "operator.attrgetter"], ["w", "os.system"], ["w"], ["w", 1], ["w", ["l"]], ["w", "int", 1], ["N", 1],
        ["F", 1, 0], ["F", 1, -2], ["F", True, 2], ["F", 1], ["F", "1", "2"], ["F", 1.5, 2], ["F", ["w", "int"], 1],
        ["F", 1, ["i", "0x" + "f" * 120_000]], ["m", "1" * 200_000], ["m", 5], ["m", "x"],
        ["m", "1E+99999999999999999999"],
        ["m", ["l"]], ["Y", 2024, 2, 30], ["Y", 2024, 2], ["Y", 2024.0, 2, 1], ["Y", True, 2, 1], ["Y", 2024, 2, 1, 5],
        ["M", 2024, 1, 1, 0, 0, 0, 0, "UTC", 0], ["M", 2024, 1, 1], ["M", 2024, 1, 1, 0, 0, 0, 0, None, 2],
        ["H", 25, 0, 0, 0, None, 0],
        ["S", 10**10, 0, 0], ["S", 1.5, 0, 0], ["Z", ["S", 2, 0, 0], None], ["Z", 5, None], ["Z", ["S", 0, 60, 0], 5],
        ["q", -1], ["q", "x"], ["q"], ["q", ["w", "int"]], ["a", "u", ""], ["a", "zz", ""], ["a", "d", "00"],
        ["a", ["l"], ""], ["a"],
        ["B", "0"], ["B", 5], ["B"], ["C", 1], ["C", ["l"], 1], ["O", 1], ["D"], ["D", 5], ["D", "list"],
        ["D", None, 1],
        ["k", ["l"]], ["p", 1], ["p", ["l"], 1], ["T", "P"], ["T", "P", ["l", "x"], 1],
        ["T", "P", ["t", "x"]], ["T", 5, ["t"]],
        ["T", "P", ["t", "__class__"], 1], ["T", "P", ["t", "x", "x"], 1, 2], ["T", "P", ["t", "x=1): pass #"], 1],
        ["T", "import os", ["t", "x"], 1], ["T", "P", ["t", *(f"x{n}" for n in range(101))], *range(101)],
        ["T", "x" * 20_000, ["t"]],
    ],
)  # fmt: skip
def test_what_no_dump_writes_is_refused(sent):
    with pytest.raises(Unplain, match="it is no plain value"):
        Graph().load(sent)


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from([*"ltdsfnibcgrwNFmYMHSZqaBCODkvpTou", "int", "list", "d"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


ALLOWED = {
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    range,
    type(...),
    type(NotImplemented),
    type,
    *MUTABLE,
    *FIXED,
}


@settings(max_examples=1000)
@given(json_like)
def test_whatever_is_sent_gives_a_plain_value_or_is_refused(sent):
    try:
        found = Graph().load(sent)
    except Unplain:
        return
    named = isinstance(found, tuple) and type(found).__bases__ == (tuple,)
    assert type(found) in ALLOWED or named
