"""What an answer is made of."""

# ruff: noqa: E501 - tables

import pytest

from promptmill.evaluate.shapes import _SEPARATOR as SEPARATOR
from promptmill.evaluate.shapes import enclosed, readings, split


def shape(text):
    """Kind and parts of the likeliest reading."""
    first = readings(text)[0]
    return first.kind, [item.text for item in first.items]


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("5 cm", "number", []), ("1,234", "number", []), ("March 3, 2020", "date", []), ("Paris", "text", []),
        ("", "empty", []), ("2x+1", "expression", []), ("xy", "expression", []), ("no", "text", []),
        (r"\{2, 1\}", "set", ["2", "1"]), ("{2,1}", "set", ["2", "1"]), (r"\{5\}", "set", ["5"]), (r"\emptyset", "set", []),
        ("no solution", "set", []), ("1, 2", "list", ["1", "2"]), ("1 and 2", "list", ["1", "2"]), ("1; 2", "list", ["1", "2"]),
        ("1, 2, and 3", "list", ["1", "2", "3"]), (r"1 \pm \sqrt{2}", "list", [r"1 + \sqrt{2}", r"1 - \sqrt{2}"]),
        ("(1, 2)", "tuple", ["1", "2"]), ("[1, 2)", "[)", ["1", "2"]), ("(1, 2]", "(]", ["1", "2"]), ("[1, 2]", "[]", ["1", "2"]),
        ("]1, 2[", "tuple", ["1", "2"]), ("]1, 2]", "(]", ["1", "2"]), ("[1; 2[", "[)", ["1", "2"]),
        ("x < 3", "tuple", [r"-\infty", "3"]), (r"x \ge 3", "[)", ["3", r"\infty"]), (r"1 \le x < 2", "[)", ["1", "2"]),
        ("2 > x > 1", "tuple", ["1", "2"]), (r"x \in [0, 1]", "[]", ["0", "1"]), (r"(1,2) \cup (3,4)", "union", ["(1,2)", "(3,4)"]),
        (r"\mathbb{R}", "tuple", [r"-\infty", r"\infty"]), (r"\{x : x > 3\}", "tuple", ["3", r"\infty"]),
        (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", "matrix", ["1 & 2", "3 & 4"]),
        ("[[1, 2], [3, 4]]", "matrix", ["1 & 2", "3 & 4"]), (r"\begin{array}{cc} 1 & 2 \end{array}", "matrix", ["1 & 2"]),
        ("(x + 1)", "expression", []), ("(x+1)(x-1)", "expression", []), ("(A)", "text", []),
    ],
)  # fmt: skip
def test_an_answer_is_taken_apart(text, kind, parts):
    assert shape(text) == (kind, parts)


def test_a_named_value_is_the_value_and_remembers_its_name():
    (found,) = readings("x = 5")
    assert (found.kind, found.name, found.value.value) == ("number", "x", 5)
    assert readings("(x, y) = (1, 2)")[0].kind == "tuple"
    assert readings("x + y = 5")[0].kind == "expression"


def test_figures_between_commas_may_be_one_number_or_several():
    assert [one.kind for one in readings("100,200,300")] == ["number", "list"]


def test_parts_are_split_outside_of_brackets_only():
    assert split("1, (2, 3), [4, 5)", SEPARATOR) == ["1", "(2, 3)", "[4, 5)"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(1, 2)", ("(", "1, 2", ")")),
        (r"\{1\}", ("{", "1", "}")),
        ("[1, 2)", ("[", "1, 2", ")")),
        ("(1)(2)", None),
        ("1", None),
        ("", None),
    ],
)
def test_one_pair_of_brackets_around_all_of_it(text, found):
    assert enclosed(text) == found


@pytest.mark.parametrize(
    "text", ["(" * 900, "{" * 900 + "}" * 900, "[" * 500 + "1" + "]" * 500, "1," * 900, r"\pm" * 600]
)
def test_hostile_nesting_ends(text):
    assert len(readings(text)) >= 1
