"""Dates and times of day as people write them.

    November 25, 2018   25th of Nov 2018   2018-11-25   25.11.2018   11/25/2018   December 1972   3:30 PM   15:30

`03/04/2020` is either of two dates and equal to both. Not covered: languages other than English, time zones, years
before 1000, and dates without a year that are not written with a month's name.
"""

from __future__ import annotations

import re

_MONTHS = "january february march april may june july august september october november december".split()  # noqa: SIM905 - one line, easy to read
MONTHS = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
_MONTH = rf"(?P<month>{MONTHS})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_YEAR = r"(?P<year>[12]\d{3})"
_FORMS = tuple(
    re.compile(_WEEKDAY + form, re.IGNORECASE)
    for form in (
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?",
        rf"{_MONTH}\s+(?:the\s+)?{_DAY}(?:,?\s+{_YEAR})?",
        rf"{_MONTH},?\s+(?:of\s+)?{_YEAR}",
        rf"{_YEAR}\s*[-/.]\s*(?P<number>\d{{1,2}})\s*[-/.]\s*(?P<day>\d{{1,2}})",
        rf"{_YEAR}-(?P<number>0[1-9])",  # 2020-10 is a difference
        rf"(?P<first>\d{{1,2}})\s*[-/.]\s*(?P<second>\d{{1,2}})\s*[-/.]\s*{_YEAR}",
    )
)
_CLOCK = re.compile(
    r"(?P<hour>\d{1,2})(?::(?P<minute>[0-5]\d))?(?::(?P<second>[0-5]\d))?\s*(?P<half>[ap]\.?\s?m\.?)?", re.IGNORECASE
)


class Date(frozenset[tuple[int | None, ...]]):
    """The (year, month, day) or (hour, minute, second) that a text can mean; equal where one is common to both."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Date) and not self.isdisjoint(other)

    def __hash__(self) -> int:
        return 0


def read_date(text: str) -> Date | None:
    """Read a text that is one date or one time of day."""
    if not 4 <= len(text) <= 40 or not any(map(str.isdigit, text)):
        return None
    for form in _FORMS:
        found = form.fullmatch(text)
        if found:
            dates = {date for date in _dates(found.groupdict()) if _possible(date)}
            return Date(dates) if dates else None
    return _read_clock(text)


def _dates(found: dict[str, str | None]) -> list[tuple[int | None, ...]]:
    year = int(found["year"]) if found["year"] else None
    if found.get("first"):
        first, second = int(found["first"] or 0), int(found["second"] or 0)
        return [(year, first, second), (year, second, first)]
    name = found.get("month")
    month = 1 + next(n for n, full in enumerate(_MONTHS) if full.startswith(name.casefold()[:3])) if name else None
    if month is None:
        month = int(found["number"] or 0)
    day = found.get("day")
    return [(year, month, int(day) if day else None)]


def _possible(date: tuple[int | None, ...]) -> bool:
    _, month, day = date
    return month is not None and 1 <= month <= 12 and (day is None or 1 <= day <= 31)


def _read_clock(text: str) -> Date | None:
    found = _CLOCK.fullmatch(text.strip())
    if found is None or not (found["minute"] or found["half"]):
        return None
    hour, minute = int(found["hour"]), int(found["minute"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    elif hour > 23 or len(found["minute"]) != 2:
        return None
    return Date({(None, None, None, hour, minute, int(found["second"] or 0))})
