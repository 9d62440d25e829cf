r"""One spelling for what can be written in many ways: LaTeX, Unicode and plain typing of an answer.

    spell("$\\dfrac12$.")      ->  \frac{1}{2}
    spell("2π√5")              ->  2\pi \sqrt{5}
    spell("\\text{ Evelyn }")  ->  Evelyn

Texts only: nothing is computed, and no pattern backtracks. Not covered: what the text means (`numbers`, `shapes`).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from promptmill.evaluate.signs import SIGNS

MAX_LENGTH = 2000  # an answer, not an essay

_NAMES = {
    "dfrac": r"\frac", "tfrac": r"\frac", "cfrac": r"\frac", "leq": r"\le", "geq": r"\ge", "neq": r"\ne",
    "leqslant": r"\le", "geqslant": r"\ge", "times": r"\cdot", "ast": r"\cdot", "lbrace": r"\{", "rbrace": r"\}",
    "varnothing": r"\emptyset", "degree": r"^\circ", "infin": r"\infty", "lbrack": "[", "rbrack": "]",
    "varphi": r"\phi", "Reals": r"\mathbb{R}", "R": r"\mathbb{R}", "div": "/", "lt": "<", "gt": ">", "ne": r"\ne",
    "ldots": r"\ldots", "dots": r"\ldots", "cdots": r"\ldots", "colon": ":", "langle": "(", "rangle": ")",
}  # fmt: skip
_FUNCTIONS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|exp"
_WORD_NAMES = {"infinity": r"\infty ", "inf": r"\infty ", "pi": r"\pi ", "theta": r"\theta ", "sqrt": r"\sqrt "}

_COMPARISONS = {"<=": r"\le ", "=<": r"\le ", ">=": r"\ge ", "!=": r"\ne "}
_COMPARED = re.compile("|".join(_COMPARISONS))
_SIGN = re.compile("|".join(SIGNS))
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_TO_PLAIN = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ₀₁₂₃₄₅₆₇₈₉", "0123456789+-n0123456789")
_COMMAND = re.compile(r"(?<!\\)\\([a-zA-Z]+)")
_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|\\(?:quad|qquad|enspace|thinspace)(?![a-zA-Z])|~")
_SIZES = re.compile(r"\\(?:(?:left|right)\.?|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![a-zA-Z])")
_WORDING = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf|tt)?|math(?:rm|bf|it|sf)|mbox|hbox|operatorname|bm|boldsymbol|emph|underline)\s*\{"
)
_OPERATOR = re.compile(rf"\\(?:operatorname|mathrm|text)\s*\{{\s*({_FUNCTIONS})\s*\}}")
_PLAIN_FUNCTION = re.compile(rf"(?<![a-zA-Z\\])({_FUNCTIONS})(?=\s*[\^({{\\0-9]|\s+[a-zA-Z](?![a-zA-Z]))")
_PLAIN_NAME = re.compile(rf"(?<![a-zA-Z\\])({'|'.join(_WORD_NAMES)}|Infinity)(?![a-zA-Z])")
_DOUBLED = re.compile(r"\\\\(?=[a-zA-Z(\[{}%$])")
_BLACKBOARD = re.compile(r"\\mathbb\s*([A-Z])")
_GEOMETRY = re.compile(r"\\(?:angle|measuredangle|triangle)(?![a-zA-Z])\s*|\\overline\{([A-Z]+)\}")
_CHOOSE = re.compile(r"\{? ?(\w{1,20}) ?\\choose ?(\w{1,20}) ?\}?")
_PYTHON_POWER = re.compile(r"(?<=[\w)])\*\*(?=[\w(-])")
_DELIMITERS = re.compile(r"(?<!\\)\\[()\[\]]")
_DEGREES = re.compile(r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![a-zA-Z])\s*")
_GROUPING = re.compile(r"\{\s*,\s*\}|,\s*\\!\s*")
_ROOT = re.compile(r"\\sqrt\s*(\[\d{1,3}\])?\s*(?:(\d+(?:\.\d+)?|[a-zA-Z](?![a-zA-Z])|\\pi(?![a-zA-Z]))|\(([^()]*)\))")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BETWEEN = re.compile(r"(?:[\s,;.$&]|\\text\s*\{\s*(?:and|or)\s*\}|and|or|\\\(|\\\)|\\quad|\\,)*")
_SPACE_INSIDE = re.compile(r"(?<!\d) +| +(?!\d)")


@lru_cache(maxsize=8192)
def spell(text: str) -> str:
    """The one spelling of a text. Texts of equal spelling mean the same; others may."""
    text = _COMPARED.sub(lambda found: _COMPARISONS[found[0]], _unicode(unboxed(text)))
    if not text.isascii() or "\\" in text or "$" in text or "*" in text or "`" in text or "{" in text:
        text = _latex(text)
    if not text.isdecimal():
        text = _PLAIN_NAME.sub(lambda found: _WORD_NAMES[found[1].lower()], text)
        text = _PLAIN_FUNCTION.sub(r"\\\1 ", text)
        if "\\frac" in text or "\\sqrt" in text:
            text = _fractions(text)
            text = _ROOT.sub(lambda found: f"\\sqrt{found[1] or ''}{{{found[2] or found[3]}}}", text)
    return _bare(" ".join(text.split()))


def dense(spelled: str) -> str:
    """A spelling without spaces that mean nothing."""
    return _SPACE_INSIDE.sub("", spelled)


def unboxed(text: str, *, depth: int = 0) -> str:
    r"""What stands in `\boxed`: of several the last, unless nothing but commas and "and" stands between them."""
    contents: list[tuple[int, int, str]] = []
    place = 0
    while found := _BOX.search(text, place):
        end = closing(text, found.end() - 1)
        contents.append((found.start(), end + 1, text[found.end() : end]))
        place = end
    if not contents:
        return text
    kept = [contents[-1]]
    for before in reversed(contents[:-1]):
        if not _BETWEEN.fullmatch(text, before[1], kept[0][0]):
            break
        kept.insert(0, before)
    if len(kept) == 1 and depth < 3:
        return unboxed(kept[0][2], depth=depth + 1)
    return ", ".join(dict.fromkeys(content.strip() for _, _, content in kept))


def closing(text: str, opening: int) -> int:
    """Where the brace that opens at `opening` closes; the end of the text where it does not."""
    depth = 0
    for place in range(opening, len(text)):
        if text[place] in "{}" and not (place and text[place - 1] == "\\" and text[place - 2 : place] != "\\\\"):
            depth += 1 if text[place] == "{" else -1
            if depth == 0:
                return place
    return len(text)


def _unicode(text: str) -> str:
    if text.isascii():
        return text
    text = _RAISED.sub(lambda found: f"^{{{found[0].translate(_TO_PLAIN)}}}", text)
    text = _LOWERED.sub(lambda found: f"_{{{found[0].translate(_TO_PLAIN)}}}", text)
    text = _SIGN.sub(lambda found: SIGNS[found[0]], text)
    return unicodedata.normalize("NFKC", text)


def _latex(text: str) -> str:
    if r"\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)
    text = _GROUPING.sub(",", text).replace(r"\!", "")
    text = text.replace(r"\$", "\x01")
    if text.count("$") % 2 == 0:  # they enclose mathematics; a single one is money
        text = text.replace("$", " ")
    text = _DELIMITERS.sub(" ", text.replace("\x01", "$").replace(r"\%", "%"))
    text = text if text.lstrip().startswith("**") else _PYTHON_POWER.sub("^", text)
    text = text.replace("**", "").replace("`", "")
    text = _BLACKBOARD.sub(r"\\mathbb{\1}", text)
    text = _CHOOSE.sub(r"\\binom{\1}{\2}", _GEOMETRY.sub(r"\1", text))
    text = _SIZES.sub("", text)
    text = _OPERATOR.sub(r"\\\1 ", text)
    text = _unworded(text)
    text = _COMMAND.sub(lambda found: _NAMES.get(found[1], found[0]), text)
    return _DEGREES.sub(r"^\\circ ", _SPACES.sub(" ", text))


def _unworded(text: str) -> str:
    """Without `text{...}` and its kin around words."""
    while found := _WORDING.search(text):
        end = closing(text, found.end() - 1)
        text = f"{text[: found.start()]} {text[found.end() : end]} {text[end + 1 :]}"
    return text


def _fractions(text: str) -> str:
    """Braces around numerator and denominator of every fraction, the last one first since it may stand in another."""
    place = len(text)
    while (place := text.rfind("\\frac", 0, place)) >= 0:
        first = _argument(text, place + 5)
        second = first and _argument(text, first[1])
        if first and second:
            text = f"{text[:place]}\\frac{{{first[0]}}}{{{second[0]}}}{text[second[1] :]}"
    return text


def _argument(text: str, place: int) -> tuple[str, int] | None:
    """The argument of a command that begins at or after `place`, and where it ends."""
    while place < len(text) and text[place] == " ":
        place += 1
    if place >= len(text):
        return None
    if text[place] == "{":
        end = closing(text, place)
        return text[place + 1 : end].strip(), end + 1
    command = _COMMAND.match(text, place)
    if command:
        return command[0] + " ", command.end()
    return (text[place], place + 1) if text[place].isalnum() else None


def _bare(text: str) -> str:
    """Without what encloses a whole answer and says nothing: quotes, a full stop, braces around one thing, `=`, `~`."""
    while True:
        before = text
        text = text.strip(" \"'*")
        if text.endswith((".", ",", ";", ":")) and not text.endswith("..."):
            text = text[:-1]
        if text[:1] == "{" and closing(text, 0) == len(text) - 1 and "," not in text:
            text = text[1:-1]
        text = text.removeprefix("=").removeprefix(r"\approx ").removeprefix("~")
        if text == before:
            return text
