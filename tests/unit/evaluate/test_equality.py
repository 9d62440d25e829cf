"""Whether two answers, taken apart, mean the same."""

# ruff: noqa: E501 - tables

import pytest

from promptmill.evaluate.equality import Unsure, equal
from promptmill.evaluate.shapes import readings


def unsure(_one, _other):
    raise Unsure


def same(gold, answer, leaf=unsure):
    return equal(readings(gold)[0], readings(answer)[0], leaf)


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        (r"\{1, 2\}", r"\{2, 1\}"), (r"\{1, 2\}", r"\{1, 2, 2\}"), (r"\{1, 2\}", "2 and 1"), ("1, 2", "2, 1"),
        (r"\{5\}", "5"), ("5", r"\{5\}"), (r"\emptyset", "no solution"), ("(1, 2)", "(1,2)"), ("(1, 2)", "1, 2"),
        ("(0.5, 3)", r"(\frac{1}{2}, 3)"), ("[1, 2)", r"1 \le x < 2"), ("(1, 2)", "1 < x < 2"), ("(0,1)", "]0,1["),
        (r"(-\infty, 3]", r"x \le 3"), (r"(1,2) \cup (3,4)", r"(3,4) \cup (1,2)"), ("x = 5", "5"), ("5", "x = 5"),
        ("x=1, y=2", "y=2, x=1"), ("[1, 2, 3]", "1, 2, 3"), ("1, 2, 3", "[1, 2, 3]"), ("[[1, 2], [3, 4]]", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)"), ("3 March 2020", "2020-03-03"), ("The Beatles", "beatles"),
        (r"\{(1,2), (3,4)\}", "(3,4), (1,2)"),
    ],
)  # fmt: skip
def test_these_are_equal_without_computing(gold, answer):
    assert same(gold, answer) is True


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("1, 2", "1, 1, 2"), ("1, 1, 2", "1, 2"), (r"\{1, 2\}", r"\{1, 3\}"), (r"\{1, 2\}", "(1, 2)"), ("(1, 2)", "(2, 1)"),
        ("(1, 2)", "(1, 2, 3)"), ("(1, 2)", "[1, 2]"), ("[1, 2]", "[1, 2)"), ("[1, 2)", "(1, 2]"), ("x < 3", r"x \le 3"),
        ("[1, 2]", "1, 2"), ("x = 5", "y = 5"), ("[1, 2, 3]", "3, 2, 1"), ("[1, 2, 3]", r"\{1, 2, 3\}"),
        ("[[1, 2], [3, 4]]", "[[1, 3], [2, 4]]"), (r"\begin{pmatrix} 1 & 2 \end{pmatrix}", "(1, 2)"),
        ("3 March 2020", "3 April 2020"), ("Paris", "Lyon"), (r"\emptyset", "0"), ("5", "Paris"),
    ],
)  # fmt: skip
def test_these_differ_and_nobody_has_to_compute(gold, answer):
    assert same(gold, answer) is False


@pytest.mark.parametrize(
    ("gold", "answer"), [("x+1", "1+x"), ("(x+1, 2)", "(1+x, 2)"), (r"\{\sqrt{8}\}", r"\{2\sqrt{2}\}")]
)
def test_what_must_be_computed_is_left_open(gold, answer):
    with pytest.raises(Unsure):
        same(gold, answer)


def test_a_part_that_surely_differs_decides_before_one_that_must_be_computed():
    assert same("(x+1, 2)", "(1+x, 3)") is False


def test_only_expressions_are_handed_to_who_can_compute():
    asked = []

    def leaf(one, other):
        asked.append((one.text, other.text))
        return True

    assert same("(x+1, 2)", "(1+x, 2)", leaf) is True
    assert asked == [("x+1", "1+x")]
