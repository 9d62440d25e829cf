r"""Options that a response weighs without an announcement: which of them is left when all is said.

Read from the last sentence to the first. In each the options that it names are looked up, by letter or by text, and
what is said of them: that one fits ("D makes the most sense", "B ✅", "so (B)"), that one does not ("A is wrong", "rule
out C"), or nothing yet ("Option B: heat rises"). The first sentence from the end that speaks for exactly one option
decides; one that speaks for several, or names several without a word for any, leaves the question open. Where nothing
speaks for one, but against all others, the one that is left is the answer.

Worked example: "A is wrong. B fits because it is rigid. C and D are too thin." gives B.

Not covered: a weighing in a language other than English, except by signs such as ✅.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from promptmill.derive.answers import sentences
from promptmill.derive.answers.choices import Options, Picked
from promptmill.derive.answers.languages import BEFORE_LETTER
from promptmill.derive.answers.page import Page, Piece

_WINDOW = 6000
_MOST = 60
_NAME = rf"(?:{BEFORE_LETTER}|ending|alternatives?|choices|answers|diagram|figure|graph|sentence)"
_LETTER = re.compile(
    rf"(?<![\w'.\\])(?:(?i:{_NAME})\s(?:number\s)?[(*_\"'`$\[]{{0,4}}([A-Za-z])(?![\w'])[)*_\"'`$\]]{{0,4}}"
    r"|\[?\(([A-Za-z])\)\]?"
    r"|[*_\"'`]{1,3}\(?([A-Z])[).:]?[*_\"'`]{1,3}"
    r"|([A-Z])(?=[).:](?:\s|\*|$))"
    r"|([B-HJ-Z])(?![\w'^+=]|\s?[=+*/<>^]|-\w|\.\w)|(A)(?=[,;!?]|\.?$|\.\s|\s(?:is|was|and|or|nor|because|since|as|fits)\b))"
    r"(?=[\W_]|$)"
)
_AGAINST_BEFORE = re.compile(
    r"(?:\b(?:not|nor|neither|never|n't|cannot|unlike|than|versus|except|eliminat\w+|rul(?:e|es|ed|ing)\s(?:out\s)?|"
    r"discard\w*|exclud\w+|reject\w*|dismiss\w*|cross\w*\sout|wrong|incorrect|instead\sof|instinct\swas|initially|"
    r"at\sfirst|originally|first\sthought|mistak\w+|against|distractors?)|n't)\b[^.;]{0,50}$"
)
_AGAINST = re.compile(
    r"\b(?:not|incorrect|wrong|false|eliminated|invalid|implausible|unlikely|irrelevant|misstates?|ignores?|fails?|"
    r"contradicts?|lacks?|too|out|opposite|inconsistent|excluded|cannot|neither|doesn't|isn't|don't|aren't|can't|no)\b|"
    r"n't\b|[✗✘❌×❎🚫]"
)
_FOR = re.compile(
    r"\b(?:correct|right|best|accurate|yes|fits|matches|satisf\w+|works|holds|wins?|winner|the\sanswer|"
    r"makes?\s(?:the\smost\s)?sense|(?:the\s)?most\s(?:likely|plausible|appropriate|accurate|reasonable|logical|suitable|natural|"
    r"probable|consistent)|(?:is|are)\sleft|remains|stands)\b|[✓✔✅☑]"
)
_LEADS = re.compile(
    r"(?:\b(?:so|thus|hence|therefore|must\sbe|leaves(?:\s(?:us\s)?with)?|leaving|choose|chose|pick|select|go\s(?:for|with)|"
    r"going\swith|say|correction|confident\sin|listed\sas|labell?ed|marked|making\sit|namely|i\.e\.,?|finally|actually|"
    r"corresponds?\sto|matches|matching|gives|that's|it's|which\sis|this\sis|that\sis|prefer|would\sbe|should\sbe)|[→⇒:]|[=-]>|"
    r"\\rightarrow|\\implies)\W{0,6}(?:(?:only|clearly|the|just|then|be|is|it|for)\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_OPEN_WORDS = re.compile(
    r"\b(?:if|could|might|may|tempting|possib\w+|contender|unless|whether|suppose|assum\w+|consider\w*|perhaps|maybe|"
    r"either|between|let's|let\sme|look\w*|check\w*|examin\w+|analy[sz]\w+|test\w*|evaluat\w+|try|next|step)\b"
)
_CLAUSE = re.compile(
    r"[;—]|\s[-–]\s|,\s(?:but|while|whereas|since|because|so|not|which|although|though|unlike|as|and\sso|hence|thus)\b|"
    r"\s(?:but|while|whereas|because|since|although|though|rather\sthan|instead\sof|unlike)\s|[.!?:]\s"
)


class _Mention(NamedTuple):
    """An option that a sentence names, and where."""

    option: int
    start: int
    end: int
    named: bool
    by_text: bool


def decided(page: Page, start: int, end: int, options: Options) -> Picked:
    """The option that is left when everything that is said for and against the options is weighed."""
    start = max(start, end - _WINDOW)
    against: dict[int, Piece] = {}
    for first, last in _statements(page, start, end):
        if page.clear[last : last + 1] == "?":
            continue
        spoken = _spoken(page, first, last, options)
        if spoken is None:
            continue
        for_, neutral, denied = spoken
        if for_:
            return for_[0]._replace(unclear=len({p.text for p in for_}) > 1)
        if neutral:
            return neutral[0] if len({p.text for p in neutral}) == 1 else None
        against.update({ord(p.text) - 65: p for p in denied})
    return None


def _statements(page: Page, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences between two places, the last first."""
    found: list[tuple[int, int]] = []
    at = start
    while at < end:
        stop = sentences.end_of(page.clear, at, end)
        if page.clear[at:stop].strip():
            found.append((at, stop))
        at = max(stop, at) + 1
    yield from reversed(found[-_MOST:])


def _spoken(page, first, last, options):
    return None
