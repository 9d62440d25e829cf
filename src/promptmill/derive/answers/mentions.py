r"""Where a sentence names options: "option B", "(b)", "**B**", "solution 2", "the third one", or the text of an option.

More is read as a letter here than in `choices`, which looks at the beginning of a statement only, so what a mention is
worth depends on what is said of it: see `weighing`. Letters of a range ("A to D") are none, and the text of an option
does not count inside a longer one. A text that could be any word or number ("no", "21") counts at the end of its
sentence only.

Not covered: options in other words than their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from promptmill.derive.answers.choices import ORDINALS, Options
from promptmill.derive.answers.languages import BEFORE_LETTER
from promptmill.derive.answers.page import Page, lowered

_MOST = 16  # a sentence that names more says nothing
_LETTER = re.compile(
    rf"(?<![A-Za-z0-9À-ɏ_'.\\])(?:(?i:(?P<name>{BEFORE_LETTER}|ending|diagram|figure|graph|sentence))\s(?:number\s)?"
    r"(?:[(*_\"'`$\[{]|\\(?:mathbf|mathrm|textbf|text|boxed)(?=\{)){0,6}(?P<a>[A-Za-z])(?![A-Za-z0-9À-ɏ_'])|\((?P<b>[A-Za-z])\)|[*_\"'`]{1,3}\(?(?P<c>[A-Z])[).:]?[*_\"'`]{1,3}|"
    r"(?<=[|] )(?P<d>[A-Z])(?= [|])|(?P<e>[A-Z])(?=[).:](?:\s|\*|$)|\s?[✗✘❌×❎✓✔✅☑])|"
    r"(?P<f>[B-HJ-Z])(?![A-Za-z0-9À-ɏ_'^+]|\s?[=+*/<>^]|-\w|\.\w)|(?P<g>A)(?=[,;!?]|\.?$|\s(?:is|was|it\sis|and|or|nor|because|since|as|"
    r"fits)\b))[)*_\"'`$\]]{0,4}"
)
_NUMBERED = re.compile(
    r"\b(?:(?:option|choice|answer|solution|statement|ending|sentence)\s|sol\s?)(?:number\s|#)?\(?([1-9])(?![\w%]|[.,]\d)|"
    r"(?<![\w.,])([1-9])(?=\sis\s(?:the\s)?(?:correct|right|best)\b)"
)
# begins with a plain set of letters, so that it is looked for fast
_LONE = re.compile(
    r"[A-HJ-Z(](?:(?<=\()[a-z]\)|(?<=[A-Z])(?<![A-Za-z0-9À-ɏ_'.\\].)(?![A-Za-z0-9À-ɏ_'])(?!(?<=A)\s(?!(?:is|it\sis|was|fits|seems|would|and|or|nor|because|since|as)\b)[a-z]{2}))"
)
_COUNTING = (
    *("option", "choice", "solution", "statement", "answer", "letter", "ending", "alternative", "sentence", "sol"),
    *(
        " is correct",
        " is right",
        " is the correct",
        " is the right",
        "first one",
        "second one",
        "third one",
        "fourth one",
        "fifth one",
        "last one",
    ),
)
_JOINS = re.compile(r"(?:\W|\b(?:and|or|nor|the|an?|options?|choices?)\b)*")
_RANGE = re.compile(
    r"(?<!\w)[A-Z]\)?(?:\s?[-–—]\s?|\s(?:to|through)\s)\(?[A-Z](?!\w)|(?<!\w)[A-Z](?:\s?[/|]\s?[A-Z])+(?!\w)"
)
_MARKS = re.compile(r"[\s*_\"'$).]*(?:[,;—]\s?(?:because|since|as|so|for)\b.*)?", re.DOTALL)
_PAUSE = re.compile(r"[*_]*(?:[,.;:!—]|\s(?:and|or|but)\s)")
UNIT = re.compile(r"[\s*_\"'$).]*(?:[^\W\d_]{1,12}[\s*_.]*){0,2}")  # behind a value: "21 dollars"
_ARTICLE = re.compile(
    r"^(?:an?\s|the\s|(?:el|la|los|las|le|les|un|una|une|der|die|das|il|lo|gli|os?|as|um|uma|het|een)\s(?=\S{3})|it\s(?=\S+\s))"
)
_INTEGER = re.compile(r"\d{4,12}|\d{1,3}(?:,\d{3})+", re.ASCII)
_YEAR = re.compile(r"\d{4}")  # not any number by chance
_NAME = re.compile(r"[A-Z](?:\.|[^\W\d_]+)(?:\s[A-Z][\w.'-]*){1,3}")
COMMON = frozenset(("yes", "no", "true", "false", "both", "neither", "none", "not", "maybe", "one", "all"))


class Mention(NamedTuple):
    """An option that a sentence names.

    Attributes:
        option: which one, counted from 0.
        head: where its name begins ("option B").
        start: where the letter or the text stands.
        end: where that ends.
        letter: whether it is named by its letter.
        named: whether the letter has marks or a noun ("(B)", "option B"), so that it can be nothing else.
    """

    option: int
    head: int
    start: int
    end: int
    letter: bool
    named: bool


def mentions(page: Page, place: tuple[int, int], options: Options) -> list[Mention]:
    """The options that a sentence names, in order; none where it names very many."""
    found = [*_letters(page, place, options), *_counted(page, place, options), *_texts(page, place, options)]
    if len(found) > _MOST:
        return []
    return sorted((m for m in found if not any(_covers(o, m) for o in found)), key=lambda m: m.start)


def any_named(page: Page, start: int, end: int, options: Options) -> bool:
    """Whether options may be named between two places; fast, as most sentences name none."""
    if _LONE.search(page.clear, start, end):
        return True
    words = (*_COUNTING, *(plain for _, plain in _wordings(options)))
    return any(page.lower.find(word, start, end) >= 0 for word in words)


def joined(page: Page, one: Mention, other: Mention) -> bool:
    """Whether two mentions are parted by nothing but `and`, `or` and commas."""
    return one.end <= other.head and _JOINS.fullmatch(page.lower, one.end, other.head) is not None


def _letters(page: Page, place: tuple[int, int], options: Options) -> Iterator[Mention]:
    ranges = [match.span() for match in _RANGE.finditer(page.clear, *place)]
    for match in _LETTER.finditer(page.clear, *place):
        group = next(name for name in "abcdefg" if match[name])
        index = ord(match[group].upper()) - 65
        ranged = any(start <= match.start(group) < end for start, end in ranges)
        if index < len(options.texts) and not ranged:
            start, end = match.span(group)
            yield Mention(index, match.start(), start, end, letter=True, named=group not in "fg")


def _counted(page: Page, place: tuple[int, int], options: Options) -> Iterator[Mention]:
    for match in ORDINALS.finditer(page.lower, *place):
        if (index := options.counted(match[1] or match[2])) is not None:
            yield Mention(index, match.start(), *match.span(), letter=False, named=True)
    if any(c.isdigit() for text in options.texts for c in text):
        return
    for match in _NUMBERED.finditer(page.lower, *place):
        group = 1 if match[1] else 2
        if (index := int(match[group]) - 1) < len(options.texts):
            yield Mention(index, match.start(), *match.span(group), letter=True, named=True)


def _texts(page: Page, place: tuple[int, int], options: Options) -> Iterator[Mention]:
    start, end = place
    for index, plain in _wordings(options):
        weak = plain in COMMON or len(plain) < 3 or not (any(c.isalpha() for c in plain) or _YEAR.fullmatch(plain))
        at = page.lower.find(plain, start, end)
        for _ in range(4):
            if at < 0:
                break
            behind = at + len(plain)
            whole = not (page.lower[at - 1 : at].isalnum() or page.lower[behind : behind + 1].isalnum())
            if whole and (not weak or _ends(page, plain, behind, end) or _opens(page, start, at, behind)):
                yield Mention(index, at, at, behind, letter=False, named=False)
            at = page.lower.find(plain, behind, end)


def _ends(page: Page, plain: str, behind: int, end: int) -> bool:
    """Whether a sentence ends behind a word, or behind a value and its unit."""
    return (_MARKS if plain in COMMON else UNIT).fullmatch(page.lower, behind, end) is not None


def _opens(page: Page, start: int, at: int, behind: int) -> bool:
    """Whether a sentence begins with a word as a statement of its own: "No, it does not"."""
    return not page.clear[start:at].strip(" \n*_") and _PAUSE.match(page.lower, behind) is not None


@lru_cache(maxsize=512)
def _wordings(options: Options) -> tuple[tuple[int, str], ...]:
    """How the options are written, in lower case: without an article and a full stop; of names the last alone, too."""
    found = [(index, _ARTICLE.sub("", lowered(text).strip(" ."))) for index, text in enumerate(options.texts)]
    if all(_NAME.fullmatch(text.strip(" .")) for text in options.texts):
        last = [plain.rpartition(" ")[2] for _, plain in found]
        found += [(index, name) for index, name in enumerate(last) if last.count(name) == 1 and len(name) > 3]
    found += [(index, _regrouped(plain)) for index, plain in found if _INTEGER.fullmatch(plain)]
    return tuple((index, plain) for index, plain in found if len(plain) > 1)


def _regrouped(plain: str) -> str:
    """A whole number with its thousands parted, or, where they are, without."""
    return plain.replace(",", "") if "," in plain else f"{int(plain):,}"


def _covers(one: Mention, other: Mention) -> bool:
    """Whether a mention lies in a longer one, or is a text directly behind its letter."""
    longer = one.end - one.start > other.end - other.start
    return (longer and one.start <= other.start and other.end <= one.end) or (
        one.letter and not other.letter and 0 <= other.start - one.end < 4
    )
