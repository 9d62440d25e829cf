r"""Numbers in a statement: the value at the end of a calculation, the only number of a sentence.

`result` gives the right side of a calculation ("42 + 66 = 108", "m + n = 256 + 37 = 293"); a single equation such as
`x = 5` stays. `only`, for questions whose reference is a number, takes the number out of a sentence ("Dana can travel
18 miles.") if there is one alone; otherwise the statement stays as it is: which of several is meant would be a guess.

Not covered: words for numbers ("two hundred"), values and units: metrics compare.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import marks
from promptmill.derive.answers.page import Page, Piece, folded

NUMBER = re.compile(  # 1.250,50; 1,20,000; 3,5; 1,250.5
    r"(?:(?<![\w.])|(?<=[\u2e80-\u9fff\uac00-\ud7af]))(?:[-+−]\s?)?(?:[$€£¥₹]\s?|\\\$\s?|US\$\s?)?(?:[-+−])?"
    r"(?:\d{1,3}(?:\.\d{3})+,\d{1,2}(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])|\d+,\d{1,2}(?![\d,])|"
    r"(?:\d{1,3}(?:[, \u202f\u00a0']\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?<!\d:\d)(?<!\d:\d\d)(?!:?\d)"
    r"(?:\s?(?:[x×]|\\times|\\cdot)\s?10\^?\{?-?\d+\}?|[eE][+-]?\d+)?(?:\s\d+/\d+|/\d+(?!/))?(?:\s?(?:\\?%|[€£₹])|°(?!\s?[CF]))?"
)
_VALUE = re.compile(
    r"[\s~≈$€£¥₹(]*[-+−]?\s?(?:\\?\$)?\d(?:[\d,.']|\s(?=\d{3}(?!\d)|\d+\s?/))*(?:\s?/\s?\d+)?(?:\s?(?:[x×]|\\times)\s?10\^?\{?-?\d+\}?|[eE][+-]?\d+)?\s?(?:\\?%|°|[€$£])?[\s.$)]*"
)
_ARITHMETIC = re.compile(r"(?:[\s\d.,+\-*/×÷x·^()$€£%−–\[\]{}]|\\(?:times|cdot|div|[$%,; ]))*")
_PREDICATE = re.compile(
    r"\b(?:is|are|was|were|equals|be)\s(?=[-+−~$€£\\*\d][^.!?]{0,60}$)(?!.*\b(?:is|are|was|were)\s)"
)
_ALGEBRA = re.compile(r"(?<![^\W_])[^\W\d_]\s?[-+*/−<>≤≥]\s?\d|\d\s?[-+*/−<>≤≥]\s?[^\W\d_](?![^\W_])")  # `x+1`, `3 - n`
_WORDS = re.compile(r"(?<!\\)\b[^\W\d_]{2,}")


def is_value(text: str) -> bool:
    """Whether a text is a number and nothing but a unit sign."""
    return _VALUE.fullmatch(text) is not None


def expected(answer: str | None) -> bool:
    """Whether a reference is a plain number, so that its question asks for one."""
    return answer is not None and len(answer) < 60 and is_value(answer.strip())


def is_unsolved(left: str) -> bool:
    """Whether the left side of an equation holds an unknown: "x + 3 = 15" is still to be solved."""
    return _ALGEBRA.search(left.rpartition("=")[2]) is not None


def are_several(text: str) -> bool:
    """Whether a text counts several things ("45 girls and 30 boys")."""
    return "\\" not in text and len(NUMBER.findall(text)) > 1 and _WORDS.search(text) is not None


def result(page: Page, found: Piece | None) -> Piece | None:
    """The right side of a calculation; any other statement as it is."""
    if found is None or "=" not in found.text or found.text.count("=") > 20:
        return found
    text = page.clear[found.start : found.end]
    if re.search(r"&|://|[a-z]_[a-z]|[<>!:\\]=|==|\\begin|,\s|\band\b|\bor\b|;", text):
        return found
    left, _, right = text.rpartition("=")
    chain = "=" in left
    if (
        not right.strip(" $*.")
        or (not chain and is_unsolved(left))
        or not (chain or (_ARITHMETIC.fullmatch(left) and re.search(r"\d", left)))
    ):
        return found
    start, end = found.start + len(left) + 1, found.end
    if left.count("$") % 2 and right.endswith("$"):
        end -= 1  # the maths began before the calculation
    return marks.piece(page, start, end, found.rule) or found


def only(page: Page, found: Piece) -> Piece | None:
    """The one number of a statement; None where it holds none, the statement where it holds several."""
    if is_value(found.text):
        inner = found.text[1:-1] if found.text[0] == "(" and found.text[-1] == ")" else found.text
        return found._replace(text=inner.lstrip("~≈ "))
    start, end = found.start, found.end
    text = page.clear[start:end]
    equals = max(text.rfind("="), text.rfind("≈"))
    if equals >= 0 and re.search(r"\d", text[equals:]):
        unsolved = is_unsolved(text[:equals])
        start += equals + 1
        text = page.clear[start:end]
    else:
        unsolved = False
    outside = NUMBER.sub("", text)
    if unsolved or "\\" in outside or "^" in outside or _ALGEBRA.search(text):
        return found
    values = list(NUMBER.finditer(text))
    if not values:
        return None if _WORDS.search(text) else found
    if len(values) > 1 and (told := _PREDICATE.search(text)) and values[-1].end() > told.end():
        values = [v for v in values if v.start() >= told.end()]
    if len(values) > 1 or re.search(r"\d\s?[-+*/×÷x]\s?\$?\d", text.replace(values[0][0], "0")):
        return found
    if (
        not _WORDS.search(text)
        and not text[: values[0].start()].strip(" $*")
        and text[values[0].end() :].strip(" $*.%")
        and not text[values[0].end() :].startswith(" ")
    ):
        return found  # an expression such as `2x`
    at, until = start + values[0].start(), start + values[0].end()
    if page.clear[at] == "$" and page.clear.startswith("$", until):
        at += 1  # maths between dollar signs, no money
    at, until = marks.narrow(page.clear, at, until)
    return Piece(folded(page.text[at:until]).strip(), at, until, found.rule)
