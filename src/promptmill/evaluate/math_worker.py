r"""What runs in a worker process of the metric `math`: expressions, parsed and compared with math-verify.

`equality.equal` walks gold and answer again, and asks here about the leaves. Constants are compared by their value to
fifty digits, expressions with letters by their values at some points (an algebra system may take seconds to find out
that two expressions differ; one point shows it at once), and everything else by math-verify.

Text never reaches Python's `eval`: the LaTeX parser of latex2sympy2_extended builds trees from a grammar, and SymPy's
parser of Python text is replaced by one that refuses. Not covered: the time limit (`workers`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from promptmill.evaluate.equality import equal
from promptmill.evaluate.numbers import ROUNDED, Number
from promptmill.evaluate.shapes import Shape, readings

DIGITS = 50
_SAME = 10 ** (12 - DIGITS)
_POINTS = ((3, 7), (-5, 3), (11, 13), (-17, 29), (23, 5), (31, 37), (-41, 43), (47, 19))


class Question(msgspec.Struct, array_like=True):
    """Is the answer one of the golds?"""

    golds: list[str]
    answer: str


class Finding(msgspec.Struct, array_like=True):
    """Whether it is, and what could not be read on the way."""

    equal: bool
    unread: str = ""


_TRIGONOMETRY = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_DECIMAL = re.compile(r"[0-9]{1,4000}(?:\.[0-9]{0,1000})?|\.[0-9]{1,1000}")
_questions = msgspec.msgpack.Decoder(Question)
_WARM = (
    r"\frac{1}{2}", r"3\sqrt{13}", r"x^5-x^4+2x", r"(-\infty,2)\cup(3,\infty)", r"6-5i", r"\{1,2\}", r"y=2x+3",
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\cot x", r"2\pi", r"x\le 5", r"\log_2 3", r"n!", r"e^{-x}", r"\cos^2 x",
)  # fmt: skip


def load() -> Callable[[bytes], bytes]:
    """Import the libraries, close SymPy's parser of Python text, and return the check."""
    import logging

    logging.disable(logging.CRITICAL)
    import latex2sympy2_extended.latex2sympy2 as latex
    import math_verify.parser
    from sympy.parsing import sympy_parser

    for module in (latex, math_verify.parser, sympy_parser):
        module.parse_expr = _only_decimals
    sympy_parser.eval_expr = _only_decimals
    for text in _WARM:  # the grammar's tables are built by use; every worker inherits them
        parsed, _ = _understand(text, lower=True)
        _by_library(parsed, parsed)
    _same_letters(_parse("x+1", lower=True), _parse("1+x", lower=True))
    return check


def _only_decimals(text: object, *_: object, **__: object) -> Any:
    """In place of SymPy's `parse_expr`, which ends in `eval`: the digits of a number, exactly, and nothing else."""
    from sympy import Rational

    if not isinstance(text, str) or not _DECIMAL.fullmatch(text):
        raise ValueError("no text is evaluated here")
    return Rational(text)


def check(request: bytes) -> bytes:
    """Answer one `Question` with a `Finding`."""
    question = _questions.decode(request)
    try:
        found = _any(question)
    except Exception as error:  # noqa: BLE001 - worker boundary: whatever the library raises, it could not compare
        found = Finding(equal=False, unread=f"it ({type(error).__name__})")
    return msgspec.msgpack.encode(found)


def _any(question: Question) -> Finding:
    unread: list[str] = []
    for gold in question.golds:
        lower = not (_mixes_cases(gold) or _mixes_cases(question.answer))

        def leaf(one: Shape, other: Shape, lower: bool = lower) -> bool:  # noqa: FBT001 - bound here, not passed
            return _equal_leaves(one, other, lower=lower, unread=unread)

        for one in readings(gold):
            for other in readings(question.answer):
                if equal(one, other, leaf):
                    return Finding(equal=True)
    return Finding(equal=False, unread=", ".join(unread)[:200])


def _mixes_cases(text: str) -> bool:
    """Whether a letter stands there in both cases: then R and r are two things, else a matter of style."""
    letters = {sign for sign in text if sign.isalpha()}
    return any(sign.swapcase() in letters for sign in letters)


def _equal_leaves(gold: Shape, answer: Shape, *, lower: bool, unread: list[str]) -> bool:
    (one, constant), (other, another) = _meaning(gold, lower=lower), _meaning(answer, lower=lower)
    for shape, parsed in ((gold, one), (answer, other)):
        if parsed is None:
            unread.append(shape.text[:60])
    if one is None or other is None:
        return False
    if constant is not None and another is not None:
        return _same_value(constant, another, gold, answer) or _same_angle(constant, another, gold, answer)
    if _is_plain(one) and _is_plain(other):
        probed = _same_letters(one, other)
        return _by_library(one, other) if probed is None else probed
    if _is_equation_of_zero(other) and _is_plain(one):
        return False  # the library takes the right side of an equation for the answer
    return _by_library(one, other) or _proportional(one, other)


def _meaning(shape: Shape, *, lower: bool) -> tuple[Any, Any]:
    from sympy import Rational

    if isinstance(shape.value, Number):
        exact = Rational(shape.value.value.numerator, shape.value.value.denominator)
        return exact, exact
    return _understand(shape.text, lower=lower)


@lru_cache(maxsize=2048)
def _understand(text: str, *, lower: bool) -> tuple[Any, Any]:
    """The expression of a spelling and, if it is constant, its value."""
    parsed = _parse(text, lower=lower)
    return parsed, None if parsed is None else _compute(parsed)


def _parse(text: str, *, lower: bool) -> Any:
    """The expression that a spelling means, as SymPy's objects; None where the grammar does not know it."""
    from latex2sympy2_extended import latex2sympy, normalize_latex
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig
    from math_verify.grader import should_treat_as_complex

    try:
        return latex2sympy(
            normalize_latex(text.replace("%", r"\%"), _spelling()),
            is_real=not should_treat_as_complex(text),
            convert_degrees=_TRIGONOMETRY.search(text) is not None,
            normalization_config=None,
            conversion_config=ConversionConfig(lowercase_symbols=lower),
        )
    except Exception:  # noqa: BLE001 - worker boundary: the grammar raises bare Exception for what it does not know
        return None


@lru_cache(maxsize=1)
def _spelling() -> Any:
    from latex2sympy2_extended import NormalizationConfig

    return NormalizationConfig(units=False, malformed_operators=True, nits=True, boxed="none")  # units: see `shapes`


def _is_equation_of_zero(parsed: Any) -> bool:
    from sympy import Eq

    return isinstance(parsed, Eq) and parsed.rhs.is_zero and not parsed.lhs.is_Symbol


def _is_plain(parsed: Any) -> bool:
    from sympy import Expr

    return isinstance(parsed, Expr)


def _compute(parsed: Any) -> Any:
    """The value of an expression without letters, to `DIGITS` digits or exactly; None for anything else."""
    from sympy import Expr, I, Symbol, nan, zoo

    try:
        if not isinstance(parsed, Expr):
            return None
        letters = parsed.free_symbols
        if letters and {str(letter) for letter in letters} == {"i"}:  # the imaginary unit
            parsed = parsed.subs(dict.fromkeys(letters, I))
        elif letters:
            return None
        exact = parsed.doit()
        value = exact if exact.is_Rational else exact.evalf(DIGITS)
    except Exception:  # noqa: BLE001 - worker boundary: any error of the library means that it has no value
        return None
    if value.has(nan, zoo, Symbol) or not (value.is_number or value.is_infinite):
        return None
    return value


def _same_value(one: Any, other: Any, gold: Shape, answer: Shape) -> bool:
    """Equal to fifty digits, or one is written as a decimal of six digits or more and is the other's rounding."""
    from sympy import Abs, Float

    if one == other:
        return True
    if one.is_infinite or other.is_infinite:
        return False
    if one.is_Rational and other.is_Rational:
        pass
    elif bool(Abs(one - other) <= _SAME * max(Abs(one), Abs(other))):
        return True
    for shape, exact in ((gold, other), (answer, one)):
        written = shape.value
        if isinstance(written, Number) and written.places is not None and written.digits >= ROUNDED and exact.is_real:
            rounding = abs(Float(exact, DIGITS) - Float(written.value.numerator, DIGITS) / written.value.denominator)
            if bool(rounding <= Float(10, DIGITS) ** -written.places / 2):
                return True
    return False


def _same_angle(one: Any, other: Any, gold: Shape, answer: Shape) -> bool:
    """Whether degrees on one side are the radians of the other: 90 degrees and half of pi."""
    from sympy import pi

    for shape, degrees, radians, written in ((gold, one, other, answer.text), (answer, other, one, gold.text)):
        angle = isinstance(shape.value, Number) and shape.value.unit.dimension == "angle"
        if angle and r"\pi" in written and bool(abs(degrees * pi.evalf(DIGITS) / 180 - radians) <= _SAME * 1000):
            return True
    return False


def _same_letters(one: Any, other: Any) -> bool | None:
    """Whether two expressions have one value at every probed point; None where too few points have a value.

    Where both are imaginary by a root or a logarithm of something negative, the point says nothing: they were written
    for numbers of which both are real.
    """
    from sympy import I

    real = not one.has(I) and not other.has(I)
    letters = sorted(one.free_symbols | other.free_symbols, key=str)
    difference = one - other
    seen = 0
    for place in range(len(_POINTS)):
        at = {letter: _fraction(_POINTS[(place + 3 * n) % len(_POINTS)], n) for n, letter in enumerate(letters)}
        try:
            value = difference.subs(at).doit().evalf(DIGITS)
            first = one.subs(at).doit().evalf(DIGITS)
            size = abs(first) + 1
        except Exception:  # noqa: BLE001, S112 - worker boundary: no value at this point
            continue
        if not value.is_number or value.is_finite is False or (real and not first.is_real and not value.is_real):
            continue
        seen += 1
        if bool(abs(value) > _SAME * size):
            return False
    return True if seen >= 4 else None


def _proportional(one: Any, other: Any) -> bool:
    """Whether one equation or inequality is the other, multiplied by a number: x - 2 = 0 and 4 = 2x."""
    from sympy import Eq, Ge, Gt, Le, Lt, Ne

    turned = {Eq: Eq, Ne: Ne, Ge: Le, Le: Ge, Gt: Lt, Lt: Gt}
    if type(one) not in turned or type(other) not in turned:
        return False
    if not all(map(_is_plain, (one.lhs, one.rhs, other.lhs, other.rhs))):
        return False
    left, right = one.lhs - one.rhs, other.lhs - other.rhs
    letters = sorted(left.free_symbols | right.free_symbols, key=str)
    at = {letter: _fraction(_POINTS[n % len(_POINTS)], n + 1) for n, letter in enumerate(letters)}
    try:
        size, other_size = left.subs(at).doit(), right.subs(at).doit()
        ratio = size / other_size
        if not letters or not ratio.is_real or ratio.is_zero or not ratio.is_finite:
            return False
        wanted = type(one) if bool(ratio > 0) else turned[type(one)]
        return wanted is type(other) and _same_letters(left, right * ratio) is True
    except Exception:  # noqa: BLE001 - worker boundary: the library cannot say
        return False


def _fraction(pair: tuple[int, int], shift: int) -> Any:
    from sympy import Rational

    return Rational(pair[0], pair[1] + 2 * shift)


def _by_library(one: Any, other: Any) -> bool:
    from math_verify import verify

    return bool(verify(one, other, timeout_seconds=None, allow_set_relation_comp=True))
