r"""Options that a response weighs without announcing one: which is left when all is said.

The sentences are read from the last to the first, each for what it says of the options that it names (`verdicts`). The
first from the end that speaks for exactly one option decides, or one that ends in an option ("... is Mars."). One that
names several without a word for any leaves the question open. A list that goes through all options is taken as a whole:
the one that is called right there. Where all but one are spoken against, that one is the answer.

Worked example: "A is wrong. B fits because it is rigid. C and D are too thin." gives B.

Not covered: what was said more than sixty sentences before the end.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import sentences, verdicts
from promptmill.derive.answers.choices import Options, Picked
from promptmill.derive.answers.mentions import UNIT, Mention, any_named
from promptmill.derive.answers.page import Page, Piece
from promptmill.derive.answers.verdicts import Said

_WINDOW = 6000
_MOST = 60  # sentences
_LATE = 12  # of them: so near to the end may a sentence decide that only names an option
_LONGEST = 600  # characters of one sentence
_SHORT = 40  # characters of a response that needs no full stop
_ASIDE = re.compile(r"\s*\([^()]{12,}(?:\)\W*)?")
_COPULA = re.compile(r"(?:है|हैं|です|である|だ|입니다|이다|d[iıuü]r|است)[।。]?")
_MARKER = re.compile(r"\s*[*_-]{0,3}\s?(?:[a-z]|\d)")
_LONE_VERDICT = re.compile(r"[ *_]*(?:in)?correct|[ *_]*(?:wrong|right|true|false|no|yes)")
_WORD = re.compile(r"\w")
_COMMITS = re.compile(
    r"(?:\A(?:\W*\w{3,12}ly\b)?|\b(?:that|ist|est|es|è|é|är|er|jest|je|is|are|was|would\sbe|must\sbe|(?:is|are|was|were)\s(?:on|at|in|from|called|named)|as|be|with|to)|是|は)\W*(?:(?:the|la|el|il|le|die|der|das|de)\s)?\W*$"
)


def weighed(page: Page, start: int, end: int, options: Options) -> Picked:
    """The option that is left when all that is said for and against the options is weighed."""
    start = max(start, end - _WINDOW)
    if not any_named(page, start, end, options):
        return None
    places = _statements(page, start, end)
    said = [verdicts.said_in(page, place, options) for place in places if any_named(page, *place, options)]
    entries = [one for one in said if one.entry]
    right = {m.option: m for one in entries for m in one.good[:1]}
    if right and len({m.option for one in entries for m in _all(one)}) >= len(options.texts) - 1:
        return _piece(next(iter(right.values()))) if len(right) == 1 else None
    if len(entries) > 1:
        said = [one for one in said if not one.entry]
    lone = {m.option for one in said for m in one.bare if _is_lone(page, one, m)}
    if len(lone) > 1:  # a list of the options
        said = [one for one in said if not any(_is_lone(page, one, m) for m in one.bare)]
    return _decided(page, said, options, entries=entries, places=places)


def _decided(
    page: Page, said: list[Said], options: Options, *, entries: list[Said], places: list[tuple[int, int]]
) -> Piece | None:
    """What the first sentence from the end decides that speaks for an option or only names some."""
    decisive = next((one for one in said if one.good or one.bare), None)
    if decisive is None:
        return _left_over(said, entries, options)
    if (other := _before_others(page, said, decisive, options)) is not None:
        return other
    if decisive.good:
        return _best(decisive)
    named = {m.option for one in said for m in (*one.good, *one.bare, *one.open)}
    alone = len(named) == 1 and not _is_begun(page, said, decisive)
    late = decisive.place in places[:_LATE]
    if late and _commits(page, decisive, options, alone=alone, last=decisive.place == places[0]):
        return _piece(decisive.bare[0])
    return _left_over(said, entries, options)


def _before_others(page: Page, said: list[Said], last: Said, options: Options) -> Piece | None:
    """The option that a sentence commits to, where the next names all others ("It is NaOH. The rest ...")."""
    others = {m.option for m in (*last.bare, *last.open)}
    if last.good or len(others) < 2 or len(others) != len(options.texts) - 1:
        return None
    earlier = said[said.index(last) + 1 :][:1]
    if not earlier or earlier[0].good or {m.option for m in earlier[0].bare} & others:
        return None
    return _piece(earlier[0].bare[0]) if _commits(page, earlier[0], options, alone=False, last=False) else None


def _is_begun(page: Page, said: list[Said], decisive: Said) -> bool:
    """Whether the sentence before only turns to an option ("Let's start with C.")."""
    before = said[said.index(decisive) + 1 :][:1]
    return bool(before) and bool(before[0].open) and page.lower.find("let", *before[0].place) >= 0


def _is_lone(page: Page, said: Said, mention: Mention) -> bool:
    """Whether a sentence is the text of an option and nothing else."""
    return not page.clear[said.place[0] : mention.start].strip(" \n*_-•") and not page.clear[
        mention.end : said.place[1]
    ].strip(" *_,;")


def _all(said: Said) -> list[Mention]:
    return [*said.good, *said.bad, *said.bare]


def _piece(mention: Mention) -> Piece:
    return Piece(chr(65 + mention.option), mention.start, mention.end, "weighed")


def _best(said: Said) -> Picked:
    """The one option that a sentence speaks for, unless it leaves another open behind it ("but it might be Lyon")."""
    best = said.good[0]
    if any(m.start > best.end and m.option != best.option for m in said.open) or best.option in {
        m.option for m in said.bad
    }:
        return None
    return _piece(best) if len({m.option for m in said.good}) == 1 else None


def _left_over(said: list[Said], entries: list[Said], options: Options) -> Picked:
    """The only option that nothing is said against, if it is named."""
    against = {m.option for one in (*said, *entries) for m in one.bad}
    left = [m for one in (*said, *entries) for m in one.bare if m.option not in against]
    return _piece(left[0]) if left and len(against) == len(options.texts) - 1 else None


def _statements(page: Page, start: int, end: int) -> list[tuple[int, int]]:
    """The sentences between two places, the last first; questions and asides left out."""
    found: list[tuple[int, int]] = []
    at = start
    while at < end:
        stop = max(sentences.end_of(page.clear, at, end), at)
        if page.clear[stop : stop + 2] == ". " and _MARKER.fullmatch(page.clear, at, stop):  # "b. udp"
            stop = max(sentences.end_of(page.clear, stop + 1, end), stop)
        asked = page.clear[stop : stop + 1] == "?" or _ASIDE.fullmatch(page.clear, at, stop)
        if found and found[-1][1] == at - 1 and _LONE_VERDICT.fullmatch(page.lower, at, stop):
            found[-1] = (found[-1][0], stop)  # "Option B: Kidney. Incorrect."
        elif not asked and stop - at <= _LONGEST and _WORD.search(page.clear, at, stop):
            found.append((at, stop))
        at = stop + 1
    return found[-_MOST:][::-1]


def _commits(page: Page, said: Said, options: Options, *, alone: bool, last: bool) -> bool:
    """Whether a sentence that names one option and says nothing of it means it.

    It does where it ends in the option ("... is Mars."), calls it by name ("... is option D, as we know") or gives
    letter and text; and, if no other option is spoken of (`alone`) and it is the `last`, where it is whole.
    """
    if len({m.option for m in said.bare}) != 1:
        return False
    mention = said.bare[-1]
    own = options.texts[mention.option]
    tail = verdicts.behind(page, mention, (mention.end, said.place[1]), options)
    tail = tail if said.entry else verdicts.CLAUSE.split(tail, maxsplit=1)[0]
    tail = tail.strip(" .*_\"'`$)}!(")
    if said.entry:
        return not tail and _is_entry_alone(page, said, mention, alone=alone, last=last)
    if _COPULA.fullmatch(tail):
        return alone and last  # "... Delhi है"
    if not mention.letter and any(c.isdigit() for c in own):
        tail = UNIT.sub("", tail)
    named = not tail or mention.named
    if named and _COMMITS.search(verdicts.clause_before(page, mention, said.place[0])):
        return True
    told = mention.named or page.clear[mention.head - 2 : mention.head] == ", "  # "... is Kyoto, B."
    if (told and last and not tail) or {m.letter for m in said.bare} == {True, False}:
        return True  # "... (option D).", "in a department store (C)"
    whole = not tail or page.clear[said.place[1] : said.place[1] + 1] in {".", "!"}
    short = page.clear.strip() == page.clear[slice(*said.place)].strip()[:_SHORT]
    return alone and last and (whole or short) and not mention.letter


def _is_entry_alone(page: Page, said: Said, mention: Mention, *, alone: bool, last: bool) -> bool:
    """Whether "D) mantle" stands alone on its line and opens no list of options; or a letter alone at the end."""
    start, end = said.place
    rest = page.clear[end + 1 : end + 80].split("\n")[0].strip(" *_")
    letter = last and mention.letter and page.clear[start:end].strip(" \n*_(") == chr(65 + mention.option)
    opens = page.clear[max(0, start - 200) : start].rstrip().endswith(":")
    return (alone or letter) and not rest and not opens
