r"""Plain numbers: read exactly, compared exactly. Metrics `numeric` and `gsm8k`.

    1,234.50   .5   -7   1.2e5   3 \cdot 10^{8}   3/4   \frac{3}{4}   1 \frac{4}{5}   12%   $18   90^\circ   5 cm   15th

Never a float: every number is a fraction of integers, so 0.1 + 0.2 is not asked and 0.333 is not 1/3. The reading of
separators: `1,234` is one thousand and more, since groups of three follow the comma; `1.234` is a decimal; `1.234,5`
and `1.234.567` leave no doubt and are read the European way; `3,14` is a decimal here, and in `math` a list as well.

Not covered: anything with a letter, a root or a power in it that is no unit (see `math`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from promptmill.evaluate import units
from promptmill.evaluate.dates import MONTHS
from promptmill.evaluate.spelling import MAX_LENGTH, spell
from promptmill.evaluate.units import NONE, Unit
from promptmill.records import Reference, Verdict

MAX_DIGITS = 1000
ROUNDED = 6  # significant digits from which on a decimal may stand for what it is the rounding of


class Number(NamedTuple):
    """A number as it was written.

    Attributes:
        value: exactly.
        unit: what stands beside it.
        percent: whether a percent sign follows.
        places: digits after the point; None for what is no decimal, such as a fraction.
        digits: significant digits that were written.
        base: the base in a subscript, `101_2`, else None.
    """

    value: Fraction
    unit: Unit = NONE
    percent: bool = False
    places: int | None = 0
    digits: int = 0
    base: str | None = None


_DIGITS = (
    r"(?:[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+(?:\.\d{3}|,\d+)|\d{1,3}(?: \d{3})+(?:\.\d+)?"
    r"|0,\d+|\d+,\d{1,2}|\d+,\d{4,}|\d+\.?\d*|\.\d+)"
)
_POWER = r"[+-]?\d{1,6}"
_FIGURES = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<money>[$€£¥₹]|(?:US\$|(?i:usd|eur|gbp|rs)\.?)(?=\s*\d)|)\s*(?P<sign2>[+-]?)\s*(?:"
    r"(?P<whole>\d+|\d{1,3}(?:,\d{3})+)"
    r"\s*(?:\\frac\{(?P<mn>\d+)\}\{(?P<md>\d+)\}|\s(?P<sn>\d+)\s*/\s*(?P<sd>\d+))"
    rf"|\\frac\{{\s*(?P<num>-?\s*{_DIGITS})\s*\}}\{{\s*(?P<den>-?\s*{_DIGITS})\s*\}}"
    rf"|(?P<a>{_DIGITS})\s*/\s*(?P<b>-?\s*{_DIGITS})"
    rf"|(?P<n>{_DIGITS})(?:[eE](?P<exp>{_POWER})(?![0-9a-zA-Z])"
    rf"|\s*(?:\\cdot|\*|x)\s*10\s*(?:\^|\*\*)\s*(?:\{{\s*(?P<pow>{_POWER})\s*\}}|\(?(?P<pow2>{_POWER})\)?))?)"
)
_REPEATING = re.compile(
    r"(?P<sign>[+-]?)(?P<sign2>)(?P<money>)(?P<n>\d{1,99})\.(?P<fixed>\d{0,20}?)"
    r"(?:\\(?:overline|bar|dot)\s*\{?(?P<period>\d{1,99})\}?|(?P<again>\d{1,20}?)(?P=again){2,20}\s*(?:\.\.\.|\\ldots))"
)
_TOGETHER = re.compile(r"(?<=[a-z])\s*(?:,\s*|\s)(?:and\s+)?(?=\d)")
_PLAIN = re.compile(r"-?\d{1,300}(?:\.(\d{1,300}))?")
_BASE = re.compile(r"_\s*\{?\s*([1-9]\d?|[a-z]{3,12})\s*\}?$")
_ORDINAL = re.compile(r"(?:st|nd|rd|th)(?![a-z])", re.IGNORECASE)
_UNIT = re.compile(r"(?:[^\W\d_]|[ .'°/$€£¥₹¢^{}-]|\^\\circ|\\(?:mu|Omega)(?![a-zA-Z])|(?<=\^)[23]|(?<=\^\{)[23])*")
_MONTH = re.compile(rf"(?:of )?(?:{MONTHS})", re.IGNORECASE)  # 5 May is a date
_PERCENT = re.compile(r"(?:%|per ?cent(?:age)?(?: points?)?|pct)\.?(?![a-z])\s*", re.IGNORECASE)


@lru_cache(maxsize=8192)
def read_number(text: str) -> Number | None:
    """Read a text that is one number, with its unit if it has one; None for anything else."""
    plain = _PLAIN.fullmatch(text)
    if plain:
        return _plain(text, plain[1])
    if len(text) > MAX_LENGTH:
        return None
    return read_spelled(spell(text))


def _plain(text: str, decimals: str | None) -> Number:
    if decimals is None:
        return Number(Fraction(int(text)), digits=len(text.lstrip("-0")))
    places = len(decimals)
    return Number(
        Fraction(int(text.replace(".", "")), 10**places), places=places, digits=len(text.replace(".", "").lstrip("-0"))
    )


def read_spelled(text: str) -> Number | None:
    """As `read_number`, of a text that `spell` made."""
    if len(text) > MAX_DIGITS + 200:
        return None
    found = _FIGURES.match(text)
    if found is None:
        named = units.named_number(text) if text[:1].isalpha() else None
        return _with_rest(Number(named[0]), " " + named[1], "") if named else None
    if repeating := _REPEATING.match(text):
        found, number = repeating, _repeating(repeating)
    else:
        number = _value(found)
    if number is None:
        return None
    if (found["sign"] + found["sign2"]).count("-") == 1:
        number = number._replace(value=-number.value)
    single = _with_rest(number, text[found.end() :], found["money"])
    return _together(text) if single is None else single


def _value(found: re.Match[str]) -> Number | None:
    """The figures of a match, without sign and unit."""
    if found["whole"] is not None:
        over, under = found["mn"] or found["sn"], found["md"] or found["sd"]
        return _fraction(over, under, found["whole"])
    if found["n"] is None:
        return _fraction(found["num"] or found["a"], found["den"] or found["b"], "0")
    number = _decimal(found["n"])
    power = found["exp"] or found["pow"] or found["pow2"]
    if number is None or power is None:
        return number
    if abs(int(power)) > MAX_DIGITS:
        return None
    return number._replace(
        value=number.value * Fraction(10) ** int(power), places=max(0, (number.places or 0) - int(power))
    )


def _repeating(found: re.Match[str]) -> Number | None:
    """A decimal whose last digits repeat for ever."""
    fixed, period = found["fixed"], found["period"] or found["again"]
    value = Fraction(int(found["n"] + fixed), 10 ** len(fixed))
    return Number(value + Fraction(int(period), 10 ** len(fixed) * (10 ** len(period) - 1)), places=None)


def _together(text: str) -> Number | None:
    """The sum of measures that are said together: 1 hour 30 minutes, 5 feet and 6 inches."""
    parts = _TOGETHER.split(text)
    if not 1 < len(parts) <= 4:
        return None
    total, dimension = Fraction(0), ""
    for part in parts:
        number = read_spelled(part)
        if (
            number is None
            or number.unit.factor is None
            or number.unit.dimension != (dimension or number.unit.dimension)
        ):
            return None
        total, dimension = total + number.value * number.unit.factor, number.unit.dimension
    return Number(total, Unit(dimension, Fraction(1)), places=None)


def _fraction(over: str, under: str, whole: str) -> Number | None:
    parts = _decimal(whole), _decimal(over), _decimal(under)
    if any(part is None for part in parts):
        return None
    values = [part.value for part in parts if part is not None]
    return Number(values[0] + values[1] / values[2], places=None) if values[2] else None


def _decimal(text: str) -> Number | None:
    """A decimal with any separators, exactly."""
    text = text.replace(" ", "")
    if len(text) > MAX_DIGITS:
        return None
    negative, text = text.startswith("-"), text.removeprefix("-")
    if "." in text and ("," in text[text.rfind(".") :] or text.count(".") > 1):  # 1.234,5 and 1.234.567
        text = text.replace(".", "").replace(",", ".")
    elif "," in text:
        groups = text.partition(".")[0].split(",")
        thousands = groups[0] != "0" and all(len(group) == 3 for group in groups[1:])
        text = text.replace(",", "" if thousands else ".")
    whole, _, decimals = text.partition(".")
    value = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))
    return Number(-value if negative else value, places=len(decimals), digits=len((whole + decimals).lstrip("0")))


def _with_rest(number: Number, rest: str, money: str) -> Number | None:
    """What stands behind the figures: a unit, a percent sign, a base, or nothing; None if it is something else."""
    text = rest.strip()
    if not text:
        return number._replace(unit=units.read_unit(money)) if money else number
    base = _BASE.match(text)
    if base and not rest[:1].isspace():
        return number._replace(base=base[1])
    percent = _PERCENT.match(text)
    if percent:
        number, text, rest = number._replace(percent=True), text[percent.end() :], " "
    ordinal = _ORDINAL.match(text)
    if ordinal and number.places == 0 and not rest[:1].isspace():
        text, rest = text[ordinal.end() :].strip(), " "
    scales = units.SCALES_OF_MONEY if money else units.SCALES
    if scale := scales.get(text.partition(" ")[0].casefold()):
        number, text = number._replace(value=number.value * scale), text.partition(" ")[2]
    if not _is_unit(text, attached=not rest[:1].isspace()):
        return None
    return number._replace(unit=units.read_unit(money or text))


def _is_unit(text: str, *, attached: bool) -> bool:
    """Whether what follows a number is a unit and no algebra: `5 m` and `5cm` are, `5x` and `5r^2` are not."""
    if not text:
        return True
    if _UNIT.fullmatch(text) is None or _MONTH.fullmatch(text):
        return False
    if text.startswith("^") and not text.startswith(r"^\circ"):
        return False
    letters = re.sub(r"[^\w]|\d|_|\\circ", "", text)
    if not letters or units.known(text) or units.read_unit(text).factor is not None:
        return not attached or (len(letters) > 1 and text not in units.PRODUCTS)
    if len(letters) < 3:
        return False
    return not text.startswith("-") and "^" not in text.replace(r"^\circ", "")


def equal_numbers(one: Number, other: Number, *, rounded: bool = False) -> bool:
    r"""Whether two numbers are equal.

    A unit on one side only says nothing (`5` is `5 cm`); two units are converted where both are known and must be the
    same words otherwise. A percentage on one side is equal to its figure and to its hundredth: the question, not the
    answer, says which is meant. A base on both sides must be the same.

    Args:
        one: a number.
        other: another.
        rounded: accept a decimal of six significant digits or more for the fraction that it is the rounding of.
    """
    if one.unit.dimension and other.unit.dimension:
        one, other = _meant(one, other), _meant(other, one)
    if not _comparable(one, other):
        return False
    if one.unit.dimension and other.unit.dimension:
        one = one._replace(value=one.value * (one.unit.factor or 1))
        other = other._replace(value=other.value * (other.unit.factor or 1))
    if _same(one, other, rounded=rounded):
        return True
    if one.percent == other.percent:
        return False
    if one.percent:
        return _same(_hundredth(one), other, rounded=rounded)
    return _same(one, _hundredth(other), rounded=rounded)


def _meant(one: Number, other: Number) -> Number:
    """A number whose unit has two meanings, in that of the other: pounds may be money, degrees a temperature."""
    unit, dimension = one.unit, other.unit.dimension
    if unit == units.POUND and dimension == units.STERLING.dimension:
        return one._replace(unit=units.STERLING)
    return one._replace(unit=other.unit) if unit == units.DEGREE and dimension in units.TEMPERATURES else one


def _comparable(one: Number, other: Number) -> bool:
    """Whether base, unit and percent sign of two numbers allow that they are equal."""
    if one.percent != other.percent and (one.unit.dimension or other.unit.dimension):
        return False  # 15% and $15
    if one.base is not None and other.base is not None and one.base != other.base:
        return False
    return not one.unit.dimension or not other.unit.dimension or one.unit.dimension == other.unit.dimension


def _hundredth(number: Number) -> Number:
    return number._replace(value=number.value / 100, places=None if number.places is None else number.places + 2)


def _same(one: Number, other: Number, *, rounded: bool) -> bool:
    if one.value == other.value:
        return True
    if not rounded or (one.places is None) == (other.places is None):
        return False  # two decimals, or two fractions: what was written is what was meant
    decimal, exact = (one, other) if other.places is None else (other, one)
    return decimal.digits >= ROUNDED and _round(exact.value, decimal.places or 0) == decimal.value


def _round(value: Fraction, places: int) -> Fraction:
    """Half away from zero, as people do."""
    scaled = abs(value) * 10**places
    whole = Fraction((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator), 10**places)
    return whole if value >= 0 else -whole


def numeric() -> Callable[[Reference, str], Verdict]:
    """Exact numbers: integers, decimals, fractions, with or without a unit; nothing is rounded."""
    return _numeric


def _numeric(reference: Reference, answer: str) -> Verdict:
    golds = [text for text in (reference.answer, *reference.aliases) if text is not None]
    wanted = [number for gold in golds if (number := read_number(gold)) is not None]
    if not wanted:
        return Verdict(value=None, method="number", detail="the reference is no number", settled=False)
    return _judge(wanted, answer)


def _judge(wanted: list[Number], answer: str) -> Verdict:
    found = read_number(answer)
    if found is None:
        return Verdict(value=0.0, method="number", detail="the answer is no number")
    if any(equal_numbers(gold, found) for gold in wanted):
        return _RIGHT
    return other_number(wanted[0], found)


_RIGHT = Verdict(value=1.0, method="number")
_WRONG = Verdict(value=0.0, method="number", detail="another number")
_OTHER_UNIT = Verdict(value=0.0, method="number", detail="the same number of something else", settled=False)


def other_number(gold: Number, answer: Number) -> Verdict:
    """The verdict on a wrong number; where only the words beside it differ (apples, fruit), they may mean the same."""
    worded = gold.unit.dimension and answer.unit.dimension and None in {gold.unit.factor, answer.unit.factor}
    return _OTHER_UNIT if worded and gold.value == answer.value else _WRONG


def gsm8k() -> Callable[[Reference, str], Verdict]:
    """GSM8K: the number after `####` of a worked reference, compared exactly."""
    return _gsm8k


def final_number(text: str) -> str:
    """What stands after the last `####`, else the whole text."""
    return text.rpartition("####")[2].strip()


def _gsm8k(reference: Reference, answer: str) -> Verdict:
    gold = read_number(final_number(reference.answer or ""))
    if gold is None:
        return Verdict(value=None, method="number", detail="the reference has no number after ####", settled=False)
    return _judge([gold], final_number(answer))
