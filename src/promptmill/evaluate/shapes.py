r"""What an answer is made of: sets, tuples, intervals, lists, matrices, assignments, dates, and leaves.

    {2, 1}  \{2,1\}       set: no order, no repetition
    1, 2    1 and 2       list: no order
    1 \pm \sqrt{2}        list of two
    (1, 2)                tuple or open interval: order
    [1, 2)  [1, 2]  x<3   interval: order, and whether the ends belong to it
    A \cup B              union: no order
    \begin{pmatrix}...    matrix, row by row
    x = 5   x \in [0, 1]  a named value

Not covered: whether two of them are equal (`equality`), and anything that must be computed (`math_worker`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from promptmill.evaluate.dates import read_date
from promptmill.evaluate.numbers import read_spelled
from promptmill.evaluate.spelling import dense, spell
from promptmill.evaluate.text import words


class Shape(NamedTuple):
    """One reading of a text.

    Attributes:
        kind: `number`, `date`, `text`, `expression`, `empty`; `set`, `tuple`, `list`, `union`, `matrix`; or an interval
            by its brackets, such as `[)`.
        text: the spelling.
        items: the parts, of what has parts.
        value: a `Number`, a date, or the words of a text.
        name: for `x = 5` the `x`.
    """

    kind: str
    text: str
    items: tuple[Shape, ...] = ()
    value: object = None
    name: str = ""


_OPEN, _CLOSE = "([{", ")]}"
_SEPARATOR = re.compile(r"\s*[,;]\s*(?:and|or)?(?![a-zA-Z])\s*|\s+(?:and|or)\s+")
_CUP = re.compile(r"\\cup(?![a-zA-Z])|(?<=[)\]}])\s*U\s*(?=[(\[\\{])")
_NAMED = re.compile(
    r"(?P<name>(?:\\?[a-zA-Z]|\\[a-zA-Z]+)(?:_\{?\w+\}?)?(?:\([a-zA-Z]\))?'?)\s*(?:=(?!=)|\\in(?![a-zA-Z]))\s*(?P<rest>[^=<>]+)$"
)
_PAIR = re.compile(r"\((?P<names>[a-zA-Z](?:\s*,\s*[a-zA-Z])+)\)\s*=\s*(?P<rest>\(.*)$")
_MATRIX = re.compile(r"\\begin\{[pbB]?(?:small)?matrix\*?\}(?P<body>.*)\\end\{[pbB]?(?:small)?matrix\*?\}$")
_TURNED_BRACKETS = re.compile(r"(?P<low>[\[\]])(?P<ends>[^\[\]]+)(?P<high>[\[\]])")  # ]0, 1[ as in French
_BUILT = re.compile(
    r"\\?\{\s*(?P<name>[a-zA-Z])(?:\s*\\in\s*\\mathbb\{R\})?\s*(?:\\mid|\||:)\s*(?P<condition>[^{}|]*?)\\?\}"
)
_CASES = re.compile(r"\\begin\{(?:cases|aligned|align\*?)\}(?P<body>.*)\\end\{[a-z*]+\}$")
_ARRAY = re.compile(r"[(\[]?\s*\\begin\{array\}\s*\{[^{}]*\}(?P<body>.*)\\end\{array\}\s*[)\]]?$")
_COMPARE = re.compile(r"\\(?:le|ge|ne)(?![a-zA-Z])|[<>]")
_LESS = {"<", r"\le"}
_TURNED = {">": "<", r"\ge": r"\le"}
_LETTER = re.compile(r"\\?[a-zA-Z](?:\([a-z]\))?|\\[a-z]+")
_MEASURED = re.compile(
    r"(?P<value>.*(?:\\pi|[\d})\]]))\s+(?:(?:square|sq|cubic|cu)\.?\s+)?(?:[a-z]{3,}|cm|mm|km|kg|ft|in|m|g|s|h)(?:\s[a-z]{2,}){0,3}(?:\s?\^\s?\{?[23]\}?)?"
)
_WORD = re.compile(r"(?<![\\a-zA-Z])(?:[^\W\d_]{3,}|[^\x00-\x7f\d\W]+)")
_PRODUCT = re.compile("(?=.*[xyz])[a-cf-hj-np-z]{2,3}|[a-ckmnpqr]{2}")  # xy and ab are products, no and up are words
_OPTION = re.compile(r"\(?[A-Z]\)")
_MINUTES = re.compile(r"\^\\circ\s*\d+(?:\.\d+)?\s*'")  # 13 degrees 15'
_COMMAND = re.compile(r"\\[a-zA-Z]+")
_LETTERS = re.compile(r"[^\W\d_]{2,}")
_EMPTY = {r"\emptyset", r"\{\}", "{}", "no solution", "no solutions", "none", "empty set", "no real solutions"}
_REALS = {r"\mathbb{R}", "all real numbers", "all reals", r"x \in \mathbb{R}", "all real x"}


@lru_cache(maxsize=4096)
def readings(text: str) -> tuple[Shape, ...]:
    """Every reading of a text, the likeliest first; one for almost all."""
    return tuple(_readings(spell(text)))


def _readings(text: str) -> Iterator[Shape]:
    if not text:
        yield Shape("empty", text)
        return
    number = read_spelled(text)
    if number is not None:
        yield Shape("number", text, value=number)
        if re.fullmatch(r"[+-]?\d+(?:,\d+)+", text):  # 100,200,300 is a number or a list
            yield Shape("list", text, tuple(_leaf(part) for part in text.split(",")))
        return
    if (date := read_date(text)) is not None:
        yield Shape("date", text, value=date)
        return
    yield _read(text, depth=0)


def _read(text: str, *, depth: int) -> Shape:
    text = _strip_braces(text.strip())
    number = read_spelled(text)
    if number is not None:
        return Shape("number", text, value=number)
    if text.casefold() in _EMPTY:
        return Shape("set", text)
    if text in _REALS:
        return _read(r"(-\infty,\infty)", depth=depth + 1)
    if depth > 8 or _is_text(text):
        return _leaf(text)
    return _parts(text, depth) or _leaf(text)


def _parts(text: str, depth: int) -> Shape | None:
    for reader in (_signed_twice, _list, _relation, _named, _cases, _tabled, _union, _bracketed):
        found = reader(text, depth)
        if found is not None:
            return found
    return None


def _leaf(text: str) -> Shape:
    number = read_spelled(text)
    if number is not None:
        return Shape("number", text, value=number)
    if (date := read_date(text)) is not None:
        return Shape("date", text, value=date)
    if _is_text(text):
        return Shape("text", text, value=words(text))
    measured = _MEASURED.fullmatch(text)
    return Shape("expression", measured["value"].removeprefix("$") if measured else text.removeprefix("$"))


def _is_text(text: str) -> bool:
    """Whether a text is words and no mathematics."""
    if _PRODUCT.fullmatch(text):
        return False
    plain = _COMMAND.sub(" ", text)
    if _LETTERS.fullmatch(text) or _OPTION.fullmatch(text) or _MINUTES.search(text):
        return True
    found = [word for word in _WORD.findall(plain) if word not in {"and", "or"}]
    if not found:
        return False
    if "\\" not in text and "=" not in text and "^" not in text:
        return True
    return len(found) > 1 and sum(map(len, found)) * 2 > len(text)


def _signed_twice(text: str, depth: int) -> Shape | None:
    r"""`a \pm b` is a list of two."""
    starts = text.startswith((r"\pm", r"\mp"))
    if not re.search(r"\\(?:pm|mp)(?![a-zA-Z])", text) or len(split(text, _SEPARATOR)) > 1:
        return None
    if text[0] in "([\\{" and not starts:
        return None
    first = re.sub(r"\\pm(?![a-zA-Z])", "+", re.sub(r"\\mp(?![a-zA-Z])", "-", text))
    second = re.sub(r"\\pm(?![a-zA-Z])", "-", re.sub(r"\\mp(?![a-zA-Z])", "+", text))
    named = _NAMED.match(first)
    if named:
        first, second = named["rest"], _NAMED.match(second)["rest"]  # type: ignore[index]
    both = tuple(_read(each.removeprefix("+"), depth=depth + 1) for each in (first, second))
    return Shape("list", text, both, name=named["name"] if named else "")


def _list(text: str, depth: int) -> Shape | None:
    parts = split(text, _SEPARATOR)
    if len(parts) < 2 or not all(parts):
        return None
    return Shape("list", text, _flat(_read(part, depth=depth + 1) for part in parts))


def _flat(items: Iterator[Shape]) -> tuple[Shape, ...]:
    """Items, where one that stands for two values is both of them."""
    flat: list[Shape] = []
    for item in items:
        flat += item.items if item.kind == "list" else (item,)
    return tuple(flat)


def _named(text: str, depth: int) -> Shape | None:
    pair = _PAIR.match(text)
    if pair:
        return _read(pair["rest"], depth=depth + 1)
    found = _NAMED.match(text)
    if found is None:
        return None
    value = _read(found["rest"], depth=depth + 1)
    return None if value.name else value._replace(name=dense(found["name"]), text=text)


def _relation(text: str, depth: int) -> Shape | None:
    r"""`-2 \le x < 7` and `x > 3` are intervals."""
    sides = _COMPARE.split(text)
    signs = _COMPARE.findall(text)
    if signs == [r"\ne"]:
        return _apart(sides[0].strip(), sides[1].strip(), depth)
    if len(sides) not in {2, 3} or r"\ne" in signs or len({sign in _LESS for sign in signs}) != 1:
        return None
    if signs[0] not in _LESS:
        sides, signs = sides[::-1], [_TURNED[sign] for sign in signs[::-1]]
    sides = [side.strip() for side in sides]
    if len(sides) == 3:
        low, name, high = sides
    elif _LETTER.fullmatch(sides[0]):
        low, name, high, signs = r"-\infty", sides[0], sides[1], ["<", *signs]
    else:
        low, name, high, signs = sides[0], sides[1], r"\infty", [*signs, "<"]
    if not _LETTER.fullmatch(name) or not low or not high or name in (low, high):
        return None
    brackets = ("(" if signs[0] == "<" else "[") + (")" if signs[1] == "<" else "]")
    items = tuple(_read(side, depth=depth + 1) for side in (low, high))
    return Shape("tuple" if brackets == "()" else brackets, text, items, name=name)


def _apart(name: str, value: str, depth: int) -> Shape | None:
    r"""`x \ne 3` is all but one number."""
    if not _LETTER.fullmatch(name) or not value:
        return None
    return _read(rf"(-\infty,{value}) \cup ({value},\infty)", depth=depth + 1)._replace(name=name)


def _cases(text: str, depth: int) -> Shape | None:
    found = _CASES.fullmatch(text)
    if found is None or r"\begin" in found["body"]:
        return None
    lines = [line.replace("&", "").strip(" ,;") for line in found["body"].split(r"\\")]
    return _read(", ".join(filter(None, lines)), depth=depth + 1)


def _tabled(text: str, depth: int) -> Shape | None:
    matrix = _MATRIX.fullmatch(text) or _ARRAY.fullmatch(text)
    if matrix is None or r"\begin" in matrix["body"]:
        return None
    rows = [row for row in re.split(r"\\\\(?:\[[^\]]*\])?", matrix["body"]) if row.strip()]
    return _matrix(text, [[cell.strip() for cell in row.split("&")] for row in rows], depth)


def _union(text: str, depth: int) -> Shape | None:
    parts = split(text, _CUP)
    return Shape("union", text, tuple(_read(part, depth=depth + 1) for part in parts)) if len(parts) > 1 else None


def _bracketed(text: str, depth: int) -> Shape | None:
    built = _BUILT.fullmatch(text)
    if built:
        return _read(built["condition"], depth=depth + 1)
    turned = _TURNED_BRACKETS.fullmatch(text)
    if turned:
        text = f"{'(' if turned['low'] == ']' else '['}{turned['ends']}{')' if turned['high'] == '[' else ']'}"
    inside = enclosed(text)
    if inside is None:
        return None
    opening, body, ending = inside
    parts = split(body, _SEPARATOR)
    if not all(parts) or (len(parts) == 1 and opening != "{"):
        return _read(body, depth=depth + 1) if opening + ending == "()" and all(parts) else None
    if opening == "[" and ending == "]" and all(part[0] == "[" and part[-1] == "]" for part in parts):
        return _matrix(text, [split(part[1:-1], _SEPARATOR) for part in parts], depth)
    items = tuple(_read(part, depth=depth + 1) for part in parts)
    if opening == "{":
        return Shape("set", text, _flat(iter(items)))
    return Shape("tuple" if opening + ending == "()" else opening + ending, text, items)


def _matrix(text: str, rows: Sequence[Sequence[str]], depth: int) -> Shape | None:
    if depth > 6 or len({len(row) for row in rows}) != 1:
        return None
    lines = (Shape("row", " & ".join(row), tuple(_read(cell, depth=depth + 1) for cell in row)) for row in rows)
    return Shape("matrix", text, tuple(lines))


def enclosed(text: str) -> tuple[str, str, str] | None:
    r"""The opening, the inside and the ending of a text that one pair of brackets encloses."""
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return "{", text[2:-2].strip(), "}"
    if len(text) < 2 or text[0] not in _OPEN or text[-1] not in _CLOSE:
        return None
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in _OPEN) - (sign in _CLOSE)
        if depth == 0:
            return (text[0], text[1:-1].strip(), text[-1]) if place == len(text) - 1 else None
    return None


def split(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The parts of a text between separators that stand in no brackets."""
    parts, start, depth, place = [], 0, 0, 0
    for found in pattern.finditer(text):
        between = text[place : found.start()]
        depth += sum(sign in _OPEN for sign in between) - sum(sign in _CLOSE for sign in between)
        depth += between.count(r"\begin") - between.count(r"\end")
        place = found.start()
        if depth == 0:
            parts.append(text[start : found.start()].strip())
            start = found.end()
    return [*parts, text[start:].strip()]


def _strip_braces(text: str) -> str:
    while text[:1] == "{" and (inside := enclosed(text)) and "," not in text:
        text = inside[1]
    return text
