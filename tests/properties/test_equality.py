"""Metrics: an answer in another spelling is right, one with another digit is wrong, and nothing raises."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from promptmill.evaluate.math import math
from promptmill.evaluate.numbers import equal_numbers, numeric, read_number
from promptmill.evaluate.text import cem, exact, f1, normalise
from promptmill.records import Reference

WIDE = str.maketrans("0123456789", "０１２３４５６７８９")  # noqa: RUF001 - full-width digits are what is tested
BRIEF = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
whole = st.integers(-(10**12), 10**12)


@pytest.fixture(scope="module")
def metric():
    made = math(workers=1, limit_s=120)
    yield made
    made.close()


def renderings(value):
    """Ways to write an integer."""
    plain, grouped = str(value), f"{value:,}"
    yield from (plain, grouped, f"{plain}.0", f"{plain}.", f"${plain}$", rf"\boxed{{{plain}}}", rf"\text{{{plain}}}")
    yield from (rf"\({plain}\)", f"**{plain}**", f" {plain} ", plain.translate(WIDE), grouped.replace(",", r",\!"))
    yield from (f"{plain} apples", f"{plain}\\text{{ cm}}", f"{plain}e0", rf"\frac{{{plain}}}{{1}}", f"{2 * value}/2")
    yield from (f"x = {plain}", plain.replace("-", "\u2212"), f"{value * 100}%")
    if value >= 0:
        yield from (f"${plain}.00", f"\\${plain}", f"+{plain}", f"00{plain}", f"{plain} dollars", f"{plain}^\\circ")


@BRIEF
@given(whole)
def test_every_rendering_of_a_number_equals_the_number_both_ways(metric, value):
    for text in renderings(value):
        assert metric(Reference(answer=str(value)), text).value == 1.0, text
        assert metric(Reference(answer=text), str(value)).value == 1.0, text


@BRIEF
@given(whole, st.data())
def test_another_digit_is_another_number_in_every_rendering(metric, value, data):
    digits = list(str(abs(value)))
    place = data.draw(st.integers(0, len(digits) - 1))
    digits[place] = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != digits[place]]))
    other = int("".join(digits)) * (-1 if value < 0 else 1)
    assume(other not in {value, 100 * value, value * 10000} and value != 100 * other)  # percent and figure
    text = data.draw(st.sampled_from(list(renderings(other))))
    assert metric(Reference(answer=str(value)), text).value == 0.0, text


@BRIEF
@given(st.fractions(max_denominator=999), st.fractions(max_denominator=999))
def test_fractions_are_equal_if_and_only_if_their_values_are(one, other):
    def texts(value):
        yield f"{value.numerator}/{value.denominator}"
        yield rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
        yield rf"\dfrac{{{value.numerator * 3}}}{{{value.denominator * 3}}}"
        yield f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
        if value > 1 and value.denominator > 1:
            over = value.numerator % value.denominator
            yield rf"{value.numerator // value.denominator}\frac{{{over}}}{{{value.denominator}}}"

    for mine, its in itertools.product(texts(one), texts(other)):
        assert equal_numbers(read_number(mine), read_number(its)) is (one == other), (mine, its)


@BRIEF
@given(st.integers(-(10**15), 10**15), st.integers(0, 12))
def test_decimals_are_exact(digits, places):
    value = Fraction(digits, 10**places)
    sign, text = "-" if digits < 0 else "", str(abs(digits)).rjust(places + 1, "0")
    written = f"{sign}{text[: len(text) - places]}.{text[len(text) - places :]}"
    assert read_number(written).value == value
    assert numeric()(Reference(answer=written), f"{digits}e-{places}").value == 1.0
    assert numeric()(Reference(answer=written), f"{digits + 1}e-{places}").value == 0.0


items = st.lists(
    st.one_of(st.integers(-99, 99).map(str), st.sampled_from([r"\sqrt{2}", r"\frac{1}{3}", "x+1", r"2\pi"])),
    min_size=2,
    max_size=4,
    unique=True,
)


@settings(BRIEF, max_examples=60)
@given(items, st.randoms(use_true_random=False))
def test_sets_are_equal_in_any_order_and_tuples_are_not(metric, values, random):
    other = list(values)
    random.shuffle(other)
    mine, its = ", ".join(values), ", ".join(other)
    assert metric(Reference(answer=rf"\{{{mine}\}}"), rf"\{{{its}\}}").value == 1.0
    assert metric(Reference(answer=mine), its).value == 1.0
    assert metric(Reference(answer=f"({mine})"), f"({its})").value == float(values == other)
    assert metric(Reference(answer=mine), ", ".join(other[1:])).value == 0.0


@BRIEF
@given(st.integers(-50, 50), st.integers(1, 50), st.sampled_from("[("), st.sampled_from("])"))
def test_an_interval_is_the_inequality_with_its_ends(metric, low, length, opening, ending):
    high = low + length
    interval = f"{opening}{low}, {high}{ending}"
    signs = {"(": "<", ")": "<", "[": r"\le", "]": r"\le"}
    said = f"{low} {signs[opening]} x {signs[ending]} {high}"
    turned = f"{high} {'>' if ending == ')' else '>='} x {'>' if opening == '(' else '>='} {low}"
    assert metric(Reference(answer=interval), said).value == 1.0
    assert metric(Reference(answer=said), turned).value == 1.0
    other = f"{'(' if opening == '[' else '['}{low}, {high}{ending}"
    assert metric(Reference(answer=other), said).value == 0.0


expressions = st.recursive(
    st.one_of(st.integers(1, 9).map(str), st.sampled_from(["x", "y", r"\pi", r"\sqrt{2}"])),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]}+{two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"{two[0]} \\cdot {two[1]}"),
        st.tuples(inner, inner).map(lambda two: rf"\frac{{{two[0]}}}{{{two[1]}}}"),
        inner.map(lambda one: f"({one})^{{2}}"),
    ),
    max_leaves=5,
)


@settings(BRIEF, max_examples=60)
@given(expressions)
def test_an_expression_equals_itself_rewritten_and_not_itself_and_one_more(metric, expression):
    gold = Reference(answer=expression)
    assert metric(gold, f"{expression} + 3 - 3").value == 1.0
    assert metric(gold, rf"2 \cdot \frac{{{expression}}}{{2}}").value == 1.0
    assert metric(gold, f"{expression} + 1").value == 0.0
    assert metric(Reference(answer=f"{expression} + 1"), expression).value == 0.0


TEX = r"\frac { } ( ) [ ] 1 2.5 x , = \sqrt ^ _ $ \ % \pm \cup \text{ \begin{pmatrix} \end{pmatrix} & \\ cm - / !"
pieces = st.sampled_from([" ", "<", "\\le", "\\{", "\\}", "é", *TEX.split()])


@settings(BRIEF, max_examples=200)
@given(st.lists(pieces, max_size=12).map("".join), st.lists(pieces, max_size=12).map("".join))
def test_no_text_of_a_model_makes_the_metric_raise(metric, gold, answer):
    assert metric(Reference(answer=gold), answer).value in {0.0, 1.0, None}


@BRIEF
@given(st.text(max_size=60))
def test_any_text_equals_itself(text):
    for judge in (exact(), cem(), f1()):
        value = judge(Reference(answer=text), text).value
        assert value == 1.0, (text, judge)


@BRIEF
@given(st.text(max_size=40), st.text(max_size=40))
def test_f1_is_symmetric_and_between_nought_and_one(one, other):
    value = f1()(Reference(answer=one), other).value
    assert 0.0 <= value <= 1.0
    assert value == f1()(Reference(answer=other), one).value
    if exact()(Reference(answer=one), other).value == 1.0 and normalise(one):
        assert value == 1.0
