"""One spelling for what can be written in many ways."""

# ruff: noqa: E501 - tables

import pytest

from promptmill.evaluate.spelling import closing, dense, spell, unboxed


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        (r"$\dfrac12$.", r"\frac{1}{2}"), (r"\tfrac{1}{2}", r"\frac{1}{2}"), (r"\frac1{2}", r"\frac{1}{2}"),
        (r"\frac{\frac12}{3}", r"\frac{\frac{1}{2}}{3}"), (r"\sqrt5", r"\sqrt{5}"), (r"\sqrt[3]8", r"\sqrt[3]{8}"),
        (r"\text{ Evelyn }", "Evelyn"), (r"\textbf{(A)}", "(A)"), (r"\mathrm{kg}", "kg"), (r"5\,\text{cm}", "5 cm"),
        (r"\left( 1, 2 \right)", "( 1, 2 )"), (r"\$18.00", "$18.00"), (r"50\%", "50%"), ("10,\\!080", "10,080"),
        ("1{,}234", "1,234"), ("x**2", "x^2"), ("**42**", "42"), ("`42`", "42"), ('"Paris"', "Paris"),
        ("x <= 3", r"x \le 3"), ("x != 3", r"x \ne 3"), ("Infinity", r"\infty"), ("infinity", r"\infty"),
        ("sqrt(2)", r"\sqrt{2}"), ("sin(x)", r"\sin (x)"), (r"\(x+1\)", "x+1"), (r"\[ 5 \]", "5"), ("= 5", "5"),
        (r"\approx 3.14", "3.14"), ("~5", "5"), ("~ 5", "5"), (r"90^{\circ}", r"90^\circ"), ("{5}", "5"), ("Paris.", "Paris"),
        (r"\\frac{1}{2}", r"\frac{1}{2}"), ("", ""), ("...", "..."),
    ],
)  # fmt: skip
def test_what_means_nothing_is_taken_away(text, spelled):
    assert spell(text) == spelled


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (r"\boxed{5}", "5"),
        (r"so \boxed{\frac{1}{2}} it is", r"\frac{1}{2}"),
        (r"\boxed{3} is wrong, it is \boxed{4}", "4"),
        (r"\boxed{3} and \boxed{4}", "3, 4"),
        (r"\boxed{3}, \boxed{3}", "3"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"\boxed{5", "5"),
        (r"\fbox{5}", "5"),
        ("no box", "no box"),
    ],
)
def test_boxes_are_opened(text, inside):
    assert unboxed(text) == inside


def test_a_brace_closes_where_it_was_opened_and_escaped_ones_do_not_count():
    assert closing("{a{b}c}d", 0) == 6
    assert closing(r"{a\}b}", 0) == 5
    assert closing("{a", 0) == 2


@pytest.mark.parametrize(
    ("text", "without"), [("x + 1", "x+1"), ("( 1, 2 )", "(1,2)"), ("1 234", "1 234"), ("5 cm", "5cm"), ("a b", "ab")]
)
def test_blanks_that_mean_nothing_are_left_out_and_those_between_figures_are_not(text, without):
    assert dense(text) == without
