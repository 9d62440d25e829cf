"""Whether two answers, taken apart, mean the same.

`equal` walks two shapes and asks `leaf` about expressions that are no plain numbers. In the process of the run `leaf`
raises `Unsure`: what plain numbers and spelling decide is decided there, and a worker goes on with a `leaf` that can
compute (`math_worker`). So there is one set of rules.

Not covered: anything that must be computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from promptmill.evaluate.numbers import Number, equal_numbers
from promptmill.evaluate.shapes import Shape
from promptmill.evaluate.spelling import dense
from promptmill.evaluate.text import words


class Unsure(Exception):  # noqa: N818 - not an error: the walk needs somebody who can compute
    """Spelling and plain numbers do not decide."""


_ALIKE = {("list", "tuple"), ("tuple", "list"), ("list", "[]")}
Leaf = Callable[[Shape, Shape], bool]


def equal(gold: Shape, answer: Shape, leaf: Leaf) -> bool:
    """Whether two shapes mean the same. The gold comes first: an answer may leave out what the gold names, and more."""
    if dense(gold.text) == dense(answer.text) and gold.text:
        return True
    kinds = {gold.kind, answer.kind}
    if _both_equations(gold, answer):
        return kinds != {"number"} and leaf(_whole(gold), _whole(answer))
    if kinds == {"number"}:
        assert isinstance(gold.value, Number)
        assert isinstance(answer.value, Number)
        return equal_numbers(gold.value, answer.value, rounded=True)
    if kinds & {"text", "date", "empty"}:
        return _words_or_dates(gold, answer)
    if not gold.items and not answer.items and "expression" in kinds:
        return leaf(gold, answer)
    return _groups(gold, answer, leaf)


def _both_equations(gold: Shape, answer: Shape) -> bool:
    """Whether neither is the value of the other's name: x = 5 and y = 5, x = 2 and 2x = 4."""
    if gold.name and answer.name:
        return gold.name != answer.name
    unnamed = answer if gold.name else gold
    return bool(gold.name or answer.name) and unnamed.kind == "expression" and "=" in unnamed.text


def _whole(shape: Shape) -> Shape:
    """A named value as the equation that it is."""
    return Shape("expression", shape.text)


def _words_or_dates(gold: Shape, answer: Shape) -> bool:
    if gold.kind == answer.kind:
        return gold.value == answer.value
    if {gold.kind, answer.kind} == {"text", "expression"}:
        return bool(words(gold.text)) and words(gold.text) == words(answer.text)
    return False


def _groups(gold: Shape, answer: Shape, leaf: Leaf) -> bool:
    """Two shapes of which one at least has parts."""
    one, other = gold.kind, answer.kind
    if {one, other} in ({"set", "list"}, {"list", "union"}) or one == other in {"set", "list"}:
        return _unordered(gold, answer, leaf)
    if one == other == "union":
        return _unordered(gold, answer, leaf) or leaf(gold, answer)
    no_interval = {one, other} <= {"[]", "list", "tuple"} and len(gold.items) > 2
    if one == other or (one, other) in _ALIKE or no_interval:
        return _ordered(gold, answer, leaf)
    if {one, other} & {"expression", "union"}:
        return leaf(gold, answer)
    if {one, other} == {"number", "set"} and max(len(gold.items), len(answer.items)) == 1:  # {5} is taken for 5
        return equal((gold.items or (gold,))[0], (answer.items or (answer,))[0], leaf)
    return "matrix" in {one, other} and _ordered(_vector(gold), _vector(answer), leaf)


def _vector(shape: Shape) -> Shape:
    """A matrix of one column as the tuple of its rows' only cells."""
    if shape.kind == "matrix" and all(len(row.items) == 1 for row in shape.items):
        return shape._replace(items=tuple(row.items[0] for row in shape.items))
    return shape if shape.kind in {"tuple", "[]", "list"} else shape._replace(items=())


def _ordered(gold: Shape, answer: Shape, leaf: Leaf) -> bool:
    if len(gold.items) != len(answer.items) or not gold.items:
        return False
    return _every(lambda pair: equal(*pair, leaf), zip(gold.items, answer.items, strict=True))


def _every(holds: Callable[[tuple[Shape, Shape]], bool], pairs: Iterator[tuple[Shape, Shape]]) -> bool:
    """As `all`, but one that is surely false decides before one that is unsure is asked."""
    unsure = None
    for pair in pairs:
        try:
            if not holds(pair):
                return False
        except Unsure as error:
            unsure = error
    if unsure is not None:
        raise unsure
    return True


def _unordered(gold: Shape, answer: Shape, leaf: Leaf) -> bool:
    """Whether each item has its equal on the other side; repetitions count in lists and not in sets."""
    if "set" not in {gold.kind, answer.kind} and len(gold.items) != len(answer.items):
        return False
    left = list(answer.items)
    for mine in gold.items:
        found = next((place for place, its in enumerate(left) if equal(mine, its, leaf)), None)
        if found is not None:
            left.pop(found)
        elif "set" not in {gold.kind, answer.kind} or not any(equal(mine, its, leaf) for its in answer.items):
            return False
    return all(any(equal(mine, its, leaf) for mine in gold.items) for its in left)
