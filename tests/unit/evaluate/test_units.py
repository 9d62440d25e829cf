"""Units, currencies and names of numbers beside a figure."""

# ruff: noqa: E501 - tables

from fractions import Fraction

import pytest

from promptmill.evaluate.numbers import equal_numbers, read_number
from promptmill.evaluate.units import NONE, Unit, known, named_number, read_unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("km", Unit("length", Fraction(1000))),
        ("Kilometres", Unit("length", Fraction(1000))),
        ("square meters", Unit("length^2", Fraction(1))),
        ("sq. ft.", Unit("length^2", Fraction(381, 1250) ** 2)),
        ("cm^3", Unit("length^3", Fraction(1, 10**6))),
        ("mL", Unit("length^3", Fraction(1, 10**6))),
        ("m/s", Unit("length/time", Fraction(1))),
        ("miles per hour", Unit("length/time", Fraction(44704, 100000))),
        ("meters per second squared", Unit("length/time^2", Fraction(1))),
        ("kg / m^3", Unit("mass/length^3", Fraction(1000))),
        ("dollars per hour", Unit("dollar", Fraction(1))),
        ("mW", Unit("power", Fraction(1, 1000))),
        ("MW", Unit("power", Fraction(10**6))),
        ("cents", Unit("dollar", Fraction(1, 100))),
        ("apples", Unit("apple")),
        ("cups of tea", Unit("cup of tea")),
        ("apples per day", Unit("apple/time")),
        ("", NONE),
    ],
)
def test_a_unit_has_a_dimension_and_where_it_is_known_a_factor(text, unit):
    assert read_unit(text) == unit


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("km", True), ("Inches", True), ("kN", True), ("KN", False), ("kn", False), ("apples", False)],
)
def test_symbols_with_capitals_are_known_as_they_are_written(name, is_known):
    assert known(name) is is_known


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("5 km", "5000 m", True), ("5 km", "5 m", False), ("5 km", "5", True), ("3.2 kg", "3200 g", True),
        ("1.5 hours", "90 min", True), ("1 year", "12 months", True), ("1 year", "365 days", False),
        ("1 L", "1000 cm^3", True), ("1 m^3", "1000 liters", True), ("5 cm²", "0.0005 m²", True),
        ("60 km/h", "60 km per hour", True), ("36 km/h", "10 m/s", True), ("10 m/s", "10 m/s^2", False),
        ("5 mW", "5 MW", False), ("5 mW", "0.005 W", True), ("5 kN", "5000 newtons", True), ("100 kPa", "0.1 MPa", True),
        ("5 Ω", "5 ohms", True), ("5 Ω", "5 Ohm", True), ("5 µm", "0.005 mm", True), ("5 μm", "5 micrometers", True),
        ("20 °C", "20 degrees Celsius", True), ("20 °C", "20 degrees", True), ("20 °C", "20 °F", False),
        ("20 °C", "68 °F", False), ("90°", "90 degrees", True), ("300 K", "300 kelvin", True),
        ("$5", "€5", False), ("$5", "500 cents", True), ("£5", "5 pounds", True), ("5 pounds", "80 ounces", True),
        ("£5", "80 ounces", False), ("$1.5M", "1500000 dollars", True), ("$2k", "2,000", True), ("$5", "5 dollars per hour", True),
        ("12.5%", "0.125", True), ("12.5 per cent", "12.5%", True), ("12.5%", "12.5", True), ("0.5%", "50%", False),
        ("10%", "$10", False), ("12 apples", "12 oranges", False), ("12 apples", "twelve apples", True),
    ],
)  # fmt: skip
def test_measures_are_equal_if_they_are_as_much_of_the_same(one, other, same):
    assert equal_numbers(read_number(one), read_number(other)) is same
    assert equal_numbers(read_number(other), read_number(one)) is same


@pytest.mark.parametrize("text", ["2m", "5N", "2nm", "2mv", "2ma", "5 k", "5 a", "2M", "5k", "3kv", "2 xy"])
def test_letters_that_may_be_variables_are_no_units(text):
    assert read_number(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("twelve", (12, "")),
        ("twenty-one apples", (21, "apples")),
        ("two hundred and five", (205, "")),
        ("three quarters of a cup", (Fraction(3, 4), "a cup")),
        ("one two", None),
        ("a dozen", None),
    ],
)
def test_words_name_a_number_and_what_stands_after_it(text, found):
    assert named_number(text) == found


def test_a_unit_of_any_length_is_read_in_no_time():
    assert read_unit("m/" * 900).factor is None
    assert read_number("5 " + "m per " * 300) is None
