"""Dates and times of day."""

# ruff: noqa: E501 - tables

import pytest

from promptmill.evaluate.dates import Date, read_date

THIRD_OF_MARCH = Date({(2020, 3, 3)})


@pytest.mark.parametrize(
    "text",
    [
        "3 March 2020", "March 3, 2020", "3rd of March, 2020", "the 3rd March 2020", "March the 3rd, 2020", "Mar. 3, 2020",
        "2020-03-03", "2020/3/3", "2020.03.03", "03/03/2020", "3.3.2020", "3-3-2020", "Tuesday, 3 March 2020", "3 MARCH 2020",
    ],
)  # fmt: skip
def test_one_day_in_the_ways_that_people_write_it(text):
    assert read_date(text) == THIRD_OF_MARCH


def test_a_date_of_two_readings_is_equal_to_both():
    both = read_date("03/04/2020")
    assert both == read_date("3 April 2020")
    assert both == read_date("March 4, 2020")
    assert both != read_date("3 March 2020")
    assert read_date("25/11/2018") == read_date("11/25/2018")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("3 March 2020", "4 March 2020"),
        ("3 March 2020", "3 April 2020"),
        ("3 March 2020", "3 March 2021"),
        ("3 March 2020", "3 March"),
        ("3 March 2020", "March 2020"),
        ("3:30", "15:30"),
        ("12 am", "12 pm"),
    ],
)
def test_other_days_and_hours_are_others(one, other):
    assert read_date(one) != read_date(other)
    assert read_date(one) is not None
    assert read_date(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("March 2020", "2020-03"),
        ("Mar 2020", "March, 2020"),
        ("July 4th", "4 July"),
        ("3:30 PM", "15:30"),
        ("7 p.m.", "19:00"),
        ("12 am", "0:00"),
        ("12:00 pm", "12:00"),
        ("9:05:00", "09:05"),
    ],
)
def test_months_and_hours_are_equal_in_the_ways_that_people_write_them(one, other):
    assert read_date(one) == read_date(other)


@pytest.mark.parametrize(
    "text",
    ["2020", "2020-10", "2017-3", "3/4", "32 March 2020", "13/13/2020", "2020-13-01", "25:00", "3:60", "May", "13 pm"],
)
def test_what_may_be_a_number_or_is_impossible_is_no_date(text):
    assert read_date(text) is None
