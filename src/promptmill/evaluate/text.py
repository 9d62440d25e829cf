"""Texts: metrics `exact`, `f1`, `cem` and `em_mc`.

Texts are compared in the form of SQuAD's evaluation (Rajpurkar et al. 2016): lower case, no punctuation, no English
articles, single spaces; before that Unicode's compatibility form, so that full-width letters are letters. Scripts
without spaces between words (Chinese, Japanese, Thai) are compared sign by sign.

An answer that differs is not settled: it may say the same in other words, and a judge may find so.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import lru_cache

from promptmill.records import Reference, Verdict
from promptmill.registry import Metric

LETTERS = string.ascii_uppercase
_PUNCTUATION = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Cf"}
_DASHES = re.compile("[\u2010-\u2015\u2212]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SIGNS = re.compile(r"(?P<kept>(?<=\d)[./:,-](?=\d)|(?<![\w.])[-.](?=\d)|(?<=\w)[+#]+(?![^\W_]))|[^\w\s]|_")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PARTS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\s\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)
_LETTER = re.compile(r"[\s(\[*]*([A-Za-z])[\s)\].:*]*")
_LABELLED = re.compile(r"[\s(\[*]*([A-Za-z])(?:[)\].:]|\s-)[\s*]*(\S.*)", re.DOTALL)


@lru_cache(maxsize=8192)
def normalise(text: str) -> str:
    """A text in the form in which texts are compared; empty for what is nothing but punctuation and articles."""
    if not text.isascii():
        text = _DASHES.sub("-", unicodedata.normalize("NFKC", text))
    text = _THOUSANDS.sub("", text.casefold())
    text = _SIGNS.sub(_kept, text)
    return " ".join(_ARTICLES.sub(" ", text).split() or text.split())  # "A" is an answer, too


def _kept(found: re.Match[str]) -> str:
    """A sign that is no letter: gone if it is punctuation, unless it belongs to a figure (-5, 1/2) or a name (C++)."""
    sign = found[0]
    if found["kept"] or not (sign in string.punctuation or unicodedata.category(sign) in _PUNCTUATION):
        return sign
    return ""


def words(text: str) -> tuple[str, ...]:
    """The words of a normalised text; in scripts without spaces, the signs."""
    return tuple(_PARTS.findall(normalise(text)))


def exact() -> Metric:
    """The answer equals the reference or an alias, apart from case, punctuation, articles and spaces."""
    return _exact


def _exact(reference: Reference, answer: str) -> Verdict:
    return _any(reference, answer, "exact", lambda gold, said: gold == said)


def cem() -> Metric:
    """Cover exact match: the reference or an alias stands in the answer as whole words, case and punctuation apart."""
    return _cem


def _cem(reference: Reference, answer: str) -> Verdict:
    return _any(reference, answer, "cem", _within)


def _within(gold: tuple[str, ...], said: tuple[str, ...]) -> bool:
    return any(said[place : place + len(gold)] == gold for place in range(len(said) - len(gold) + 1))


def f1() -> Metric:
    """F1 of the words that answer and reference share, as SQuAD counts it; the best of reference and aliases."""
    return _f1


def _f1(reference: Reference, answer: str) -> Verdict:
    golds = _golds(reference)
    if not golds:
        return _no_reference("f1")
    said = words(answer)
    value = max(_overlap(words(gold), said) for gold in golds)
    return Verdict(value=value, method="f1", settled=value == 1.0)


def _overlap(gold: tuple[str, ...], said: tuple[str, ...]) -> float:
    if not gold or not said:
        return float(gold == said)
    common = sum((Counter(gold) & Counter(said)).values())
    return 2 * common / (len(gold) + len(said))


def _golds(reference: Reference) -> list[str]:
    return [text for text in (reference.answer, *reference.aliases) if text is not None]


def _no_reference(method: str) -> Verdict:
    return Verdict(value=None, method=method, detail="there is no reference answer", settled=False)


def _any(
    reference: Reference, answer: str, method: str, holds: Callable[[tuple[str, ...], tuple[str, ...]], bool]
) -> Verdict:
    golds = _golds(reference)
    if not golds:
        return _no_reference(method)
    said = words(answer)
    for gold in golds:
        wanted = words(gold)
        if (holds(wanted, said) and wanted) or (not wanted and gold.strip() == answer.strip()):  # `+` has no words
            return Verdict(value=1.0, method=method)
    if not answer.strip():
        return Verdict(value=0.0, method=method, detail="the answer is empty")
    return Verdict(value=0.0, method=method, detail="another text", settled=False)


def em_mc() -> Metric:
    """Multiple choice: the answer is the right option's letter, or the text of that option and of no other."""
    return _em_mc


def _em_mc(reference: Reference, answer: str) -> Verdict:
    right = option_of(reference.answer or "", reference.choices)
    if right is None:
        return Verdict(value=None, method="em_mc", detail="the reference is none of the options", settled=False)
    chosen = chosen_option(answer, reference.choices)
    if chosen is None:
        return Verdict(value=0.0, method="em_mc", detail="the answer names no option")
    if _plain(reference.choices[chosen]) == _plain(reference.choices[right]):  # real sets have an option twice
        return Verdict(value=1.0, method="em_mc")
    return Verdict(value=0.0, method="em_mc", detail=f"option {LETTERS[chosen]} instead of {LETTERS[right]}")


def option_of(text: str, choices: tuple[str, ...]) -> int | None:
    """The option that a reference means: its text comes before its letter."""
    if text in choices:
        return choices.index(text)
    found = _by_text(text, choices)
    return _by_letter(text, choices) if found is None else found


def chosen_option(answer: str, choices: tuple[str, ...]) -> int | None:
    """The option that an answer means: a letter, the text of one option, or both where they agree."""
    letter = _by_letter(answer, choices)
    if letter is not None:
        return letter
    found = _by_text(answer, choices)
    if found is not None:
        return found
    labelled = _LABELLED.fullmatch(answer)
    if labelled and (letter := _by_letter(labelled[1], choices)) is not None:
        by_text = _by_text(labelled[2], choices)
        return letter if by_text in {None, letter} else None
    return None


def _by_letter(text: str, choices: tuple[str, ...]) -> int | None:
    found = _LETTER.fullmatch(unicodedata.normalize("NFKC", text))
    index = LETTERS.index(found[1].upper()) if found else len(choices)
    return index if index < len(choices) else None


def _by_text(text: str, choices: tuple[str, ...]) -> int | None:
    """The option with this text, the first of several that are spelled alike; None where it could be one of two."""
    plain = _plain(text)
    same = [n for n, choice in enumerate(choices) if _plain(choice) == plain]
    if same:
        return same[0] if len({choices[n].strip() for n in same}) == 1 else None
    said = words(text)
    if not said or any(map(str.isdigit, text)):  # words drop signs, and with figures a sign may be the difference
        return None
    by_words = [n for n, choice in enumerate(choices) if words(choice) == said]
    return by_words[0] if len(by_words) == 1 else None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".")
