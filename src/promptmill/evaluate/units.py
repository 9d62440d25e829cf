"""Units, currencies and names of numbers that stand beside a figure.

A unit has a dimension and a factor, so that 5 m and 500 cm are equal and 5 m and 5 s are not. Words that stand in no
table (`12 apples`) are kept as they are, in the singular. Not covered: temperatures (they have no common zero).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple


class Unit(NamedTuple):
    """What stands beside a number.

    Attributes:
        dimension: `length`, `money`, ...; for words that stand in no table the words; empty for no unit.
        factor: of the dimension's first unit; None for currencies and words, which are equal or not.
    """

    dimension: str
    factor: Fraction | None = None


NONE = Unit("")
_TABLE: dict[str, str] = {
    "length": "mm=0.001 millimeter=0.001 cm=0.01 centimeter=0.01 dm=0.1 m=1 meter=1 km=1000 kilometer=1000 "
    "in=0.0254 inch=0.0254 ft=0.3048 foot=0.3048 feet=0.3048 yd=0.9144 yard=0.9144 mi=1609.344 mile=1609.344",
    "mass": "mg=0.001 g=1 gram=1 kg=1000 kilogram=1000 kilo=1000 ton=1000000 tonne=1000000 oz=28.349523125 "
    "ounce=28.349523125 lb=453.59237 pound=453.59237",
    "time": "ms=0.001 millisecond=0.001 s=1 sec=1 second=1 min=60 minute=60 h=3600 hr=3600 hour=3600 day=86400 "
    "week=604800 month=2629800 yr=31557600 year=31557600",
    "volume": "ml=0.001 milliliter=0.001 cl=0.01 l=1 liter=1 gal=3.785411784 gallon=3.785411784",
    "angle": "degree=1 deg=1 ^\\circ=1",
    "speed": "mph=0.44704 kph=5/18 km/h=5/18 m/s=1",
}  # fmt: skip
_MONEY = {
    **dict.fromkeys(("$", "dollar", "usd", "us dollar", "us$", "buck"), ("dollar", 100)),
    **dict.fromkeys(("cent", "¢", "penny", "pennies"), ("dollar", 1)),
    **dict.fromkeys(("€", "euro", "eur"), ("euro", 100)),
    **dict.fromkeys(("£", "gbp", "pound sterling"), ("pound sterling", 100)),
    **dict.fromkeys(("¥", "yen", "jpy"), ("yen", 100)),
    **dict.fromkeys(("₹", "rupee", "rs", "inr"), ("rupee", 100)),
}
_KNOWN: dict[str, Unit] = {
    name: Unit(dimension, Fraction(factor))
    for dimension, line in _TABLE.items()
    for name, factor in (each.split("=") for each in line.split())
} | {name: Unit(currency, Fraction(hundredths, 100)) for name, (currency, hundredths) in _MONEY.items()}
_POWER = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_RAISED = re.compile(r"^(.*?)\s*\^\s*\{?([23])\}?$")
_SPELLING = re.compile(r"(?<=met|lit)re(?=s?\b)")

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_SMALL = {word: n for n, word in enumerate(f"{_ONES} eighteen nineteen".split())}
_TENTHS = "twenty thirty forty fifty sixty seventy eighty ninety"
_TENS = {word: n * 10 for n, word in enumerate(_TENTHS.split(), 2)}
_LARGE = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_PARTS = {
    "half": 2,
    "halve": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def known(name: str) -> bool:
    """Whether a unit stands in the tables, in singular or plural."""
    return _singular(name.casefold().strip()) in _KNOWN


def read_unit(text: str) -> Unit:
    """The unit that a text names; any words make one."""
    text = " ".join(_SPELLING.sub("er", text.casefold()).replace("\\", " \\").split()).strip(" .")
    if not text:
        return NONE
    power = 1
    first, _, rest = text.partition(" ")
    if first.rstrip(".") in _POWER and rest:
        power, text = _POWER[first.rstrip(".")], rest
    elif raised := _RAISED.match(text):
        text, power = raised[1], int(raised[2])
    unit = _KNOWN.get(_singular(text.replace(" \\circ", "\\circ")))
    if unit is None:
        name = " ".join(_singular(word) for word in text.split())
        return Unit(name if power == 1 else f"{name}^{power}")
    if power == 1:
        return unit
    return Unit(f"{unit.dimension}^{power}", None if unit.factor is None else unit.factor**power)


def _singular(word: str) -> str:
    if word in _KNOWN or len(word) < 3:
        return word
    for ending, other in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and not word.endswith("ss"):
            return word.removesuffix(ending) + other
    return word


def named_number(text: str) -> tuple[Fraction, str] | None:
    """The number that words name, and what stands after them: "twenty-one apples" is 21, "apples"."""
    words = text.casefold().replace("-", " ").split()
    total = part = 0
    used = 0
    for place, word in enumerate(words):
        if word in _SMALL or word in _TENS:
            if used and words[place - 1] in _SMALL:
                return None
            part += _SMALL.get(word, 0) + _TENS.get(word, 0)
        elif word in _LARGE and used:
            if word == "hundred":
                part *= 100
            else:
                total, part = total + part * _LARGE[word], 0
        elif word == "and" and used and words[place - 1] in _LARGE:
            pass
        else:
            break
        used = place + 1
    if used and used < len(words) and (parts := _PARTS.get(words[used].removesuffix("s"))):  # three quarters
        return Fraction(total + part, parts), " ".join(words[used + 1 :]).removeprefix("of ")
    return (Fraction(total + part), " ".join(words[used:])) if used else None
