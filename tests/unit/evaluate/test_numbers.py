"""Plain numbers: exact, whatever separators, signs and units they are written with."""

# ruff: noqa: E501, RUF001 - tables of pairs, and the odd signs that people type

from fractions import Fraction

import pytest

from promptmill.evaluate.dates import read_date
from promptmill.evaluate.numbers import equal_numbers, gsm8k, numeric, read_number
from promptmill.evaluate.units import NONE, named_number, read_unit
from promptmill.records import Reference

WORKED = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nIn all 48+24 = <<48+24=72>>72 clips.\n#### 1,072"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-5", -5), ("+5", 5), ("- 5", -5), ("005", 5), ("5.", 5), (".5", Fraction(1, 2)), ("-.5", Fraction(-1, 2)),
        ("1,234", 1234), ("1,234.5", Fraction(2469, 2)), ("1.234", Fraction(617, 500)), ("1.234.567", 1234567),
        ("1.234,5", Fraction(2469, 2)), ("1 234 567", 1234567), ("3,14", Fraction(157, 50)), ("12,34,567", None),
        ("1.2e5", 120000), ("1.2E-1", Fraction(3, 25)), (r"3 \times 10^{8}", 300000000), ("3x10^8", 300000000),
        ("3/4", Fraction(3, 4)), (r"\frac34", Fraction(3, 4)), (r"-\frac{3}{4}", Fraction(-3, 4)), ("1 3/4", Fraction(7, 4)),
        (r"1\frac{3}{4}", Fraction(7, 4)), ("-1 3/4", Fraction(-7, 4)), ("1½", Fraction(3, 2)), ("1.5/2", Fraction(3, 4)),
        ("$18.00", 18), (r"\$18", 18), ("18 dollars", 18), ("USD 18", 18), ("-$5", -5), ("15th", 15), ("two", 2),
        ("two hundred and five", 205), ("twenty-one", 21), ("３．５", Fraction(7, 2)), ("2 million", 2000000),
        ("1/0", None), ("", None), ("-", None), ("5x", None), ("5 + 3", None), ("2^3", None), ("1e9999", None), ("x", None),
        ("1, 2", None), ("3:30", None), ("9" * 2000, None), ("1_000", None), ("0x10", None), ("NaN", None), ("one two", None),
    ],
)  # fmt: skip
def test_a_number_is_read_exactly_or_not_at_all(text, value):
    found = read_number(text)
    assert (None if found is None else found.value) == value


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0.1", "0.10", True), ("0.1", "0.1000000000000000055511151231257827", False), ("1/3", "0.3333333333333333", False),
        ("12 apples", "12", True), ("12 apples", "12 apple", True), ("12 apples", "12 pears", False), ("5 m", "500 cm", True),
        ("5 m", "5 s", False), ("1 hour", "60 min", True), ("$1", "100 cents", True), ("$1", "€1", False), ("5 cm²", "5 cm^2", True),
        ("5 cm^2", "5 square centimetres", True), ("5 cm^2", "5 cm", False), ("50%", "0.5", True), ("50%", "50", True),
        ("50%", "5", False), ("50%", "50 percent", True), ("0.5%", "50%", False), ("101_2", "101", True), ("101_2", "101_3", False),
        ("1 week", "7 days", True), ("36 km/h", "10 m/s", True), ("1 kg", "1000 grams", True), ("12 inches", "1 foot", True),
    ],
)  # fmt: skip
def test_numbers_are_equal_if_value_and_unit_are(one, other, same):
    assert equal_numbers(read_number(one), read_number(other)) is same
    assert equal_numbers(read_number(other), read_number(one)) is same


def test_a_rounding_is_accepted_only_where_it_is_asked_for_and_long_enough():
    third, decimal = read_number("1/3"), read_number("0.333333")
    assert not equal_numbers(third, decimal)
    assert equal_numbers(third, decimal, rounded=True)
    assert not equal_numbers(third, read_number("0.33333"), rounded=True)
    assert not equal_numbers(read_number("0.333333"), read_number("0.3333333"), rounded=True)
    assert equal_numbers(read_number("-2/3"), read_number("-0.666667"), rounded=True)


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("", ""),
        ("cm", "length"),
        ("cubic feet", "length^3"),
        ("years old", "year old"),
        ("berries", "berry"),
        ("glass", "glass"),
    ],
)
def test_units_are_known_or_are_words_in_the_singular(text, dimension):
    assert read_unit(text).dimension == dimension
    assert read_unit("") == NONE


def test_number_words_end_where_other_words_begin():
    assert named_number("three thousand four hundred apples") == (3400, "apples")
    assert named_number("apples") is None


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("1072", 1.0),
        ("1,072", 1.0),
        ("$1,072.00", 1.0),
        ("so it is\n#### 1072", 1.0),
        ("1073", 0.0),
        ("107.2", 0.0),
        ("many", 0.0),
    ],
)
def test_gsm8k_takes_the_number_behind_the_hashes(answer, value):
    for gold in (WORKED, "1,072", "1072"):
        assert gsm8k()(Reference(answer=gold), answer).value == value


def test_a_reference_without_a_number_is_not_graded():
    assert gsm8k()(Reference(answer="#### many"), "5").value is None
    assert gsm8k()(Reference(), "5").value is None
    assert numeric()(Reference(answer="Paris"), "5").value is None


def test_numeric_takes_any_alias_and_says_what_is_wrong():
    reference = Reference(answer="half", aliases=("0.5", "1/2"))
    assert numeric()(reference, "5e-1").value == 1.0
    assert numeric()(reference, "0.6").detail == "another number"
    assert numeric()(reference, "a half").detail == "the answer is no number"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("November 25, 2018", "25th of Nov 2018", True), ("2018-11-25", "11/25/2018", True), ("03/04/2020", "2020-03-04", True),
        ("03/04/2020", "3 April 2020", True), ("03/04/2020", "4 May 2020", False), ("December 1972", "Dec. 1972", True),
        ("Friday, May 3, 2019", "May 3 2019", True), ("3:30 PM", "15:30", True), ("12 AM", "0:00", True), ("12 pm", "12:00", True),
        ("3:30", "3:31", False), ("May 3", "May 3, 2019", False),
    ],
)  # fmt: skip
def test_dates_and_times_are_equal_if_they_can_mean_the_same(one, other, same):
    assert (read_date(one) == read_date(other)) is same


@pytest.mark.parametrize(
    "text", ["13/13/2020", "2020", "25:00", "May", "1/2", "3:4", "13 PM", "Maybe 3 2019 or so", "0 May 2020"]
)
def test_what_is_no_date_is_not_read_as_one(text):
    assert read_date(text) is None
