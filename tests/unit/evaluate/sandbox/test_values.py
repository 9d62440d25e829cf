"""Plain values: what crosses comes out with exactly the same type; what else is sent is refused."""

import collections
import enum
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.evaluate.sandbox.values import Graph, Items, TooDeep, Unplain

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


@settings(max_examples=200, deadline=None)
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


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 3), (Text("a"), "a"), (Point(1, 2), (1, 2)), (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.OrderedDict(a=1), {"a": 1}), (collections.defaultdict(list, a=[1]), {"a": [1]}),
    ],
)  # fmt: skip
def test_a_subclass_crosses_as_its_built_in_base_where_that_is_asked_for(value, plain):
    assert same(crossed(value, subclasses=True), plain)
    with pytest.raises(Unplain, match="is no plain value"):
        Graph().dump(value)


def test_an_iterator_crosses_as_an_iterator_over_its_items():
    out = crossed((n * n for n in range(3)), subclasses=True)
    assert type(out) is Items
    assert next(out) == 0
    assert list(crossed(out)) == [1, 4]
    assert list(out) == [1, 4]  # sending it did not use it up


def test_an_iterator_without_end_is_refused():
    with pytest.raises(Unplain, match="an iterator gives more than 100,000 items"):
        Graph().dump(iter(int, 1), subclasses=True)


@pytest.mark.parametrize("value", [object(), len, int, Ellipsis, bytearray(b"x"), {"a": object()}, [lambda: 1]])
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
        ["__class__"], ["eval", "1"], ["n", ["x"]],
    ],
)  # fmt: skip
def test_what_no_dump_writes_is_refused(sent):
    with pytest.raises(Unplain, match="it is no plain value"):
        Graph().load(sent)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from("ltdsfnibcgr"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(json_like)
def test_whatever_is_sent_gives_a_plain_value_or_is_refused(sent):
    try:
        found = Graph().load(sent)
    except Unplain:
        return
    assert type(found) in {
        type(None),
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        list,
        tuple,
        dict,
        set,
        frozenset,
        range,
        Items,
    }
