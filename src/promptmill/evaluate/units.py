"""Units, currencies and names of numbers that stand beside a figure.

A unit has a dimension and a factor, so that 5 m and 500 cm are equal and 5 m and 5 s are not. The case of symbols with
capitals counts (`mW` and `MW`). Words that stand in no table (`12 apples`) are kept as they are, in the singular.

Not covered: converting temperatures (they have no common zero), and units that are made of others (`N m`, `kg m/s^2`).
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
    "in=0.0254 inch=0.0254 ft=0.3048 foot=0.3048 feet=0.3048 yd=0.9144 yard=0.9144 mi=1609.344 mile=1609.344 "
    "nm=1e-9 nanometer=1e-9 \\mu_m=1e-6 micrometer=1e-6 micron=1e-6",
    "mass": "\\mu_g=1e-6 mg=0.001 milligram=0.001 g=1 gram=1 kg=1000 kilogram=1000 kilo=1000 ton=1000000 tonne=1000000 "
    "oz=28.349523125 ounce=28.349523125 lb=453.59237 pound=453.59237",
    "time": "ns=1e-9 nanosecond=1e-9 \\mu_s=1e-6 microsecond=1e-6 ms=0.001 millisecond=0.001 s=1 sec=1 second=1 min=60 "
    "minute=60 h=3600 hr=3600 hour=3600 day=86400 week=604800 month=2629800 yr=31557600 year=31557600",
    "length^3": "ml=1e-6 milliliter=1e-6 cc=1e-6 cl=1e-5 dl=1e-4 l=0.001 liter=0.001 gal=0.003785411784 "
    "gallon=0.003785411784",
    "angle": "degree=1 deg=1 ^\\circ=1",
    "length/time": "mph=0.44704 kph=5/18 kmh=5/18 kmph=5/18",
    "celsius": "^\\circ_c=1 degree_celsius=1 celsius=1 degree_c=1 degree_centigrade=1",
    "fahrenheit": "^\\circ_f=1 degree_fahrenheit=1 fahrenheit=1 degree_f=1",
    "kelvin": "K=1 kelvin=1",
    "force": "N=1 newton=1 kN=1000 kilonewton=1000",
    "energy": "J=1 joule=1 kJ=1000 kilojoule=1000 MJ=1000000 megajoule=1000000 kWh=3600000 kwh=3600000 "
    "kilowatt-hour=3600000 cal=4.184 calorie=4.184 kcal=4184 kilocalorie=4184",
    "power": "W=1 watt=1 mW=0.001 milliwatt=0.001 kW=1000 kilowatt=1000 MW=1000000 megawatt=1000000 "
    "GW=1e9 gigawatt=1e9",
    "voltage": "V=1 volt=1 mV=0.001 millivolt=0.001 kV=1000 kilovolt=1000",
    "current": "A=1 amp=1 ampere=1 mA=0.001 milliamp=0.001 milliampere=0.001",
    "resistance": "\\Omega=1 ohm=1 k_\\Omega=1000 kiloohm=1000",
    "frequency": "Hz=1 hertz=1 kHz=1000 kilohertz=1000 MHz=1000000 megahertz=1000000 GHz=1e9 gigahertz=1e9",
    "pressure": "Pa=1 pascal=1 kPa=1000 kilopascal=1000 MPa=1000000 megapascal=1000000 bar=100000 atm=101325",
    "amount": "mol=1 mole=1 mmol=0.001 millimole=0.001",
}  # fmt: skip
_MONEY = {
    **dict.fromkeys(("$", "dollar", "usd", "us dollar", "us$", "buck"), ("dollar", 100)),
    **dict.fromkeys(("cent", "¢", "penny", "pennies"), ("dollar", 1)),
    **dict.fromkeys(("€", "euro", "eur"), ("euro", 100)),
    **dict.fromkeys(("£", "gbp", "pound sterling"), ("pound sterling", 100)),
    **dict.fromkeys(("¥", "yen", "jpy"), ("yen", 100)),
    **dict.fromkeys(("₹", "rupee", "rs", "inr"), ("rupee", 100)),
}
_EXACT: dict[str, Unit] = {
    name.replace("_", " "): Unit(dimension, Fraction(factor))
    for dimension, line in _TABLE.items()
    for name, factor in (each.split("=") for each in line.split())
} | {name: Unit(currency, Fraction(hundredths, 100)) for name, (currency, hundredths) in _MONEY.items()}
_KNOWN = {name: unit for name, unit in _EXACT.items() if name == name.casefold()}  # the others only as written: mW, MW
PRODUCTS = {"nm", "ns", "cc"}
"""Units that are products of letters where no space stands before them."""
_CURRENCIES = {currency for currency, _ in _MONEY.values()}
POUND, STERLING, DEGREE = _EXACT["pound"], _EXACT["£"], _EXACT["degree"]
TEMPERATURES = {"celsius", "fahrenheit"}
_POWER = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_RAISED = re.compile(r"^(.*?)\s*(?:\^\s*\{?([23])\}?|(squared|cubed))$")
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
SCALES_OF_MONEY = {**SCALES, "k": 1000, "m": 10**6, "mn": 10**6, "mio": 10**6, "b": 10**9, "bn": 10**9}


def known(name: str) -> bool:
    """Whether a unit stands in the tables, in singular or plural."""
    return _found(name.strip()) is not None


def read_unit(text: str) -> Unit:
    """The unit that a text names; any words make one."""
    text = " ".join(text.replace("\\", " \\").split()).replace(" \\circ", "\\circ").strip(" .")
    if not text:
        return NONE
    parts = [part.strip() for part in text.replace(" per ", "/").split("/")]
    return _quotient(_single(parts[0]), _single(parts[1])) if len(parts) == 2 and all(parts) else _single(text)


def _single(text: str) -> Unit:
    """A unit without a division in it."""
    power = 1
    first, _, rest = text.partition(" ")
    if first.rstrip(".").casefold() in _POWER and rest:
        power, text = _POWER[first.rstrip(".").casefold()], rest
    elif raised := _RAISED.match(text):
        text, power = raised[1], int(raised[2] or _POWER[raised[3]])
    unit = _found(text)
    if unit is None:
        name = _folded(text)
        return Unit(name if power == 1 else f"{name}^{power}")
    if power == 1:
        return unit
    return Unit(f"{unit.dimension}^{power}", None if unit.factor is None else unit.factor**power)


def _quotient(over: Unit, under: Unit) -> Unit:
    """One unit per another; money stays money, since `$5` is how `5 dollars per hour` is written."""
    if over.dimension in _CURRENCIES:
        return over
    factor = None if over.factor is None or under.factor is None else over.factor / under.factor
    return Unit(f"{over.dimension}/{under.dimension}", factor)


def _found(text: str) -> Unit | None:
    return _EXACT.get(text) or _KNOWN.get(_folded(text))


def _folded(text: str) -> str:
    """A name in lower case and in the singular."""
    return " ".join(_singular(word) for word in _SPELLING.sub("er", text.casefold()).split())


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
