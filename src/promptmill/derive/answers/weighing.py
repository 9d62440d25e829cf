r"""Options that a response weighs without announcing one: which is left when all is said.

The sentences are read from the last to the first. In each the options that it names are looked up, by letter or by
text, and what is said of them: that one fits ("D makes the most sense", "B ✅", "so (B)"), that one does not ("A is
wrong", "rule out C"), or nothing ("Option B: heat rises"). The first sentence from the end that speaks for exactly one
option decides. One that names several without a word for any leaves the question open, and so does a list that goes
through the options without a verdict. Where all but one are spoken against, that one is the answer.

Worked example: "A is wrong. B fits because it is rigid. C and D are too thin." gives B.

Not covered: a weighing in a language other than English, except by signs such as ✅.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from promptmill.derive.answers import sentences
from promptmill.derive.answers.choices import Options, Picked
from promptmill.derive.answers.languages import CORRECT, MOST
from promptmill.derive.answers.mentions import UNIT, Mention, any_named, joined, mentions
from promptmill.derive.answers.page import Page, Piece

_WINDOW = 6000
_MOST = 60  # sentences
_LONGEST = 600  # of one sentence
_SHORT = 40
_LATE = 12
_BAD_BEFORE = re.compile(
    r"(?:n't|\b(?:not|nor|neither|never|cannot|unlike|than|versus|except|over|eliminat\w+|rul(?:e|es|ed|ing)\sout|discard\w*|"
    r"exclud\w+|reject\w*|dismiss\w*|cross\w*\sout|instead\sof|from))"
    r"(?:(?:\W|\b(?:[a-z]|and|or|nor|options?|choices?|answers?|both|be|is|the|as|out)\b)*|\s[^,.;:]{0,40})$|"
    r"\b(?:wrong|incorrect|instinct|initially|at\sfirst|originally|first\sthought|mistake\w*|distractors?)\b[^,;.]{0,30}$"
)
_BAD = (
    r"not|incorrect(?:ly)?|wrong|false|eliminated|invalid|implausible|unlikely|irrelevant|misstates?|ignores?|fails?|"
    r"contradicts?|lacks?|tempting|contender|too|out|opposite|inconsistent|excluded|cannot|neither|no|falsch|fausse?|faux|incorrect[ao]s?|errad[ao]|"
    r"sbagliat[ao]|неверн\w+|неправильн\w+|nicht|pas|não|не"
)
_GOOD = (
    r"correct|right|best|accurate|yes|fits|matches|satisf\w+|works|holds|wins?|winner|the\sanswer|the\sonly|"
    r"makes?\s(?:the\smost\s|more\s|perfect\s)?sense|left|remains|stands|better|strong(?:er|est)|preferable|stimmt|richtig|korrekt|juste|exacte?|correct[ao]s?|"
    r"corrett[ao]|верн\w+|правильн\w+"
)
_GOOD = rf"{_GOOD}|{MOST}"
_VERDICT = re.compile(rf"(?P<bad>\b(?:{_BAD})\b|n't\b|[✗✘❌×❎🚫])|(?P<good>\b(?:{_GOOD})\b|[✓✔✅☑])")
_ENTRY_VERDICT = re.compile(  # at the beginning or at the end of what an entry of a list says
    rf"^\W*(?:(?:this\s)?(?:is|are|looks?|seems?)\s)?(?:the\s|also\s|clearly\s)?(?:(?P<bad>(?:{_BAD})\b|[✗✘❌×❎🚫])|"
    rf"(?P<good>(?:{_GOOD})\b|[✓✔✅☑]))"
)
_PRAISE = re.compile(rf"\b(?:correct|right|best|accurate|{MOST}|strongest)\b|(?:{CORRECT})")
_LEADS = re.compile(
    r"(?:\b(?:so|thus|hence|therefore|must\sbe|leaves(?:\sus\swith)?|leaving|choose|chose|pick|select|go\s(?:for|with)|"
    r"going\swith|say|correction|confident\sin|listed\sas|labell?ed|marked|making\sit|namely|i\.e\.,?|finally|actually|"
    r"corresponds?\sto|matches|matching|gives|i'd|that's|it's|which\sis|this\sis|that\sis|prefer|would\sbe|should\sbe|what|only|also|daher|somit|folglich|donc|"
    r"entonces|luego|quindi|dus|portanto|logo|zatem|więc|значит|итак)|"
    r"[→⇒:]|[=-]>|(?<=[\"'])\s=|\\rightarrow|\\implies)\W{0,6}(?:(?:only|clearly|the|just|then|be|is|it|for)\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"\b(?:if|could|might|may|possib\w+|unless|whether|suppose|assum\w+|consider\w*|perhaps|maybe|"
    r"either|between\s[^,;]{0,40}$|let's|let\sme|look(?:ing)?\sat|check\w*|examin\w+|analy[sz]\w+|test\w*|evaluat\w+|try|approach|definition|"
    r"step\s\d|doubt\w*|(?:some|others|people|many|you|one)\s(?:\w+\s)?(?:would|will))\b"
)
_ASIDE = re.compile(r"\s*\([^()]{12,}(?:\)\W*)?")
_TELLS = re.compile(r"\W*(?:says?|refers?|describes?|is\sabout|talks?|(?:is|are)\san?)\b")  # "Option B refers to ..."
_CLAUSE = re.compile(
    r"[;—]|\s[-–]\s|,\s(?:but|while|whereas|since|because|so|not|which|although|though|unlike|as|and\sso|hence|thus|da|weil|car|porque|perché|denn)\b|"
    r"\s(?:but|while|whereas|because|since|although|though)\s|[.!?]\s"
)
_ENTRY = re.compile(r"[\s|*_>+•\-–]{0,8}(?:\(?[A-Za-z][).:|]|(?i:option|choice|answer|solution)\s\(?[A-Za-z1-9]\)?\s?[:.\-–—(])")
_COMMITS = re.compile(r"(?:\A|\b(?:that|ist|est|es|è|é|är|er|jest|je|is|are|was|would\sbe|must\sbe|as|be|with|to)|是|は)\W*(?:the\s)?\W*$")

class _Said(NamedTuple):
    """A sentence, whether it is an entry of a list, and the options that it speaks for, speaks against, only names, leaves open."""

    place: tuple[int, int]
    listed: bool
    good: list[Mention]
    bad: list[Mention]
    bare: list[Mention]
    open: list[Mention]


def weighed(page: Page, start: int, end: int, options: Options) -> Picked:
    """The option that is left when all that is said for and against the options is weighed."""
    start = max(start, end - _WINDOW)
    if not any_named(page, start, end, options):
        return None
    places = _statements(page, start, end)
    said = [_read(page, place, options) for place in places if any_named(page, *place, options)]
    entries = [one for one in said if one.listed]
    chosen = {m.option: m for one in entries for m in one.good[:1]}
    covered = {m.option for one in entries for m in (*one.good, *one.bad, *one.bare)}
    if chosen and len(covered) >= len(options.texts) - 1:  # a list that goes through the options
        return _piece(next(iter(chosen.values()))) if len(chosen) == 1 else None
    against: dict[int, Mention] = {}
    for one in said:
        if one.good and not (one.listed and len(entries) > 1):
            if any(m.start > one.good[0].end and m.option != one.good[0].option for m in one.open):
                return None  # "I'd say it's Paris, but it might also be Lyon."
            return _piece(one.good[0]) if len({m.option for m in one.good}) == 1 else None
        if one.bare and one.place not in places[:_LATE]:
            return None
        if one.bare and not (one.listed and len(entries) > 1):
            alone = len({m.option for other in said for m in (*other.good, *other.bare, *other.open)}) == 1
            last = one.place == places[0]
            return _piece(one.bare[0]) if _commits(page, one, options, alone=alone, last=last) else None
        against.update({m.option: m for m in one.bad})
    left = [m for one in said for m in one.bare if m.option not in against]
    alone = len(against) == len(options.texts) - 1
    return _piece(left[0]) if alone and left else None


def _piece(mention: Mention) -> Piece:
    return Piece(chr(65 + mention.option), mention.start, mention.end, "weighed")


def _statements(page: Page, start: int, end: int) -> list[tuple[int, int]]:
    """The sentences between two places, the last first; questions left out."""
    found: list[tuple[int, int]] = []
    at = start
    while at < end:
        stop = max(sentences.end_of(page.clear, at, end), at)
        asked = page.clear[stop : stop + 1] == "?" or _ASIDE.fullmatch(page.clear, at, stop)
        if not asked and re.search(r"\w", page.clear[at:stop]) and stop - at <= _LONGEST:
            found.append((at, stop))
        at = stop + 1
    return found[-_MOST:][::-1]


def _read(page: Page, place: tuple[int, int], options: Options) -> _Said:
    """What one sentence says of the options that it names."""
    named = mentions(page, place, options)
    said = _Said(place, _ENTRY.match(page.clear, place[0], place[1] + 2) is not None, [], [], [], [])
    for number, mention in enumerate(named):
        others = [m for m in named[number + 1 :] if m.option != mention.option]
        verdict = _verdict(page, mention, place, others, options)
        {"good": said.good, "bad": said.bad, "bare": said.bare, "open": said.open}[verdict].append(mention)
    told = {m.option for m in (*said.good, *said.bad)}
    bare = [m for m in said.bare if m.option not in told]
    together = [m for m in bare for g in said.good if joined(page, g, m)]  # "so the mantle and the crust differ"
    return said._replace(bare=bare, good=[*said.good, *together])


def _verdict(
    page: Page, mention: Mention, place: tuple[int, int], others: list[Mention], options: Options
) -> str:
    """What is said of an option: good, bad, bare (nothing), or open (it may be, it is asked)."""
    entry = mention.start - place[0] < 16 and _ENTRY.match(page.clear, place[0], place[1] + 2) is not None
    head = max((m.end() for m in _CLAUSE.finditer(page.lower, place[0], mention.head)), default=place[0])
    before, after = page.lower[head : mention.head], _behind(page, mention, place[1], others, options)
    if not entry:
        clause = _CLAUSE.search(after)
        after = after[: clause.start() if clause else 90]
    told = (_ENTRY_VERDICT if entry else _VERDICT).search(after)
    if _BAD_BEFORE.search(before) or (told and told["bad"]):
        return "bad"
    near = re.split(r"[,:]\s", before)[-1]
    if _OPEN.search(near) or (not entry and (_OPEN.search(after) or _TELLS.match(after))):
        return "open"
    if told or _LEADS.search(page.clear, max(place[0], mention.head - 60), mention.head):
        return "good"
    if not entry and _PRAISE.search(near):
        return "good"
    return "open" if re.match(r"\W*if\b", before) else "bare"


def _behind(page: Page, mention: Mention, end: int, others: list[Mention], options: Options) -> str:
    """What follows an option and is said of it: not its own text, and nothing that is said of the next one."""
    at = mention.end
    for other in others:  # "A and B are wrong" tells of both, "A fits, B does not" of each
        if not joined(page, mention, other):
            end = other.head
            break
        at = other.end
    own = options.texts[mention.option].lower().strip(" .") if at == mention.end else ""
    text = page.lower.find(own, at, at + len(own) + 6) if own else -1
    return page.lower[text + len(own) if text >= 0 else at : end]


def _commits(page: Page, said: _Said, options: Options, *, alone: bool, last: bool) -> bool:
    """Whether a sentence that names one option and says nothing of it means it.

    It does where it ends in the option or calls it by name ("... is option D, as everyone knows"), and, where no other
    option is spoken of, where it is nothing but the option and opens no list, or the end of a whole sentence.
    """
    if len({m.option for m in said.bare}) != 1:
        return False
    mention = said.bare[-1]
    tail = _behind(page, mention, said.place[1], [], options)
    tail = (tail if said.listed else _CLAUSE.split(tail, maxsplit=1)[0]).strip(" .*_\"'`$)}!(")
    if said.listed:
        before = page.clear[max(0, said.place[0] - 200) : said.place[0]].rstrip()
        rest = page.clear[said.place[1] + 1 : said.place[1] + 80].split("\n")[0].strip(" *_")
        single = last and mention.letter and page.clear[slice(*said.place)].strip(" \n*_(") == chr(65 + mention.option)
        return (alone or single) and not tail and not rest and not before.endswith(":")
    tail = UNIT.sub("", tail) if not mention.letter and any(c.isdigit() for c in options.texts[mention.option]) else tail
    head = max((m.end() for m in _CLAUSE.finditer(page.lower, said.place[0], mention.head)), default=said.place[0])
    if _COMMITS.search(page.lower[head : mention.head]) and (not tail or mention.named):
        return True
    if mention.named and last and not tail:
        return True
    if {m.letter for m in said.bare} == {True, False}:
        return True  # by letter and by text: "a department store (C)"
    whole = not tail or page.clear[said.place[1] : said.place[1] + 1] in {".", "!"}
    return alone and last and (whole or page.clear.strip() == page.clear[slice(*said.place)].strip()[:_SHORT]) and not mention.letter
