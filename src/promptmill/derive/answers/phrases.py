r"""Announced answers: "The answer is ...", "**Final answer:** ...", "La réponse est ...", "答案是...", "C is correct".

`announced` walks the announcements of a response from the last to the first, as `(start of the answer, place of the
noun, announcement)`. What is asked ("Is the answer A?"), doubted ("I don't think the answer is A") or told of others
("a wrong answer is") is passed over. The readers of choices and of open answers ask for one after another until one of
them says something.

At most 200 uses of a noun are looked at, from the end, so a text of nothing but announcements costs its length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from promptmill.derive.answers import declarations, lines, marks, numbers, sentences
from promptmill.derive.answers.choices import Options, Picked
from promptmill.derive.answers.languages import (
    OPTION_NOUNS,
    RESULT_NOUNS,
    SIGN_NOUNS,
    Announcement,
    announcements,
)
from promptmill.derive.answers.page import Page, Piece

_MOST = 200
_DOUBT = re.compile(
    r"(?:(?:n't|\bnot|never)\s+(?:really\s)?(?:think|believe|say|mean|sure|certain|know|claim|that|"
    r"clear)\b[^.!?\n,;]{0,60}"
    r"|\b(?:doubt|whether|nor|mistaken|neither|unlikely that|not as if)\b[^.!?\n,;]{0,60}"
    r"|\b(?:one|some|you|people|students|many|others|someone)\s(?:\w{1,12}\s)?(?:might|may|could|would|will)\s"
    r"(?:\w{1,12}\s)?(?:say|think|assume|guess|expect|believe|argue|suppose)\b[^.!?\n]{0,60}"
    r"|\b(?:wrong|incorrect|previous|first|long|initial|your|student's|possible|user's|other|expected|sample|"
    r"example|falsche|"
    r"partial|intermediate|alternative|no|any|each|every|earlier|original|old|both|these|those)\s"
    r"|\bif\s(?:the\s)?(?:correct\s|final\s)?"
    r"|(?:^|[\n.,;:]\s?|\bor\s)\s{0,2}is\s(?:the\s)?(?:correct\s)?"
    r"|\bwhat(?:'s| is| was)\s(?:the\s)?(?:correct\s)?(?:final\s)?)$"
)
_RIGHT = re.compile(
    r"(?:^|[\n.*_>|#])[\s*_#>|-]*$|\b(?:final|correct|right|best|appropriate|accurate|suitable|my|likely|only|remaining|logical|"
    r"plausible|reasonable|proper|valid|chosen|selected|true|numerical|richtige|korrekte|bonne|meilleure|juste|endgültige|beste|"
    r"cuối cùng|최종)\s(?:is\s)?$"
)
_LINE_LABEL = re.compile(r"(?:^|[\n*_>|#.])[\s*_#>|-]{0,8}(?:(?:final|my|correct|the|overall)\s)?$")
_HEADING = re.compile(
    r"^[ \t]{0,3}(?:#{1,6}[ \t]*|\*{1,3}[ \t]*|_{1,2}|\\(?:sub)*section\*?\{|"
    r"[-=]{2,}\s?)?(?:\d{1,2}[.)][ \t]*)?(?:✅[ \t]*)?"
    r"(?:the[ \t])?(?:final[ \t]|correct[ \t])?(?:answer|antwort|réponse(?: finale)?|respuesta(?: final)?|"
    r"resposta(?: final)?|"
    r"risposta(?: finale)?|endgültige antwort|odpowiedź|ответ|答案|最终答案|最終答案|答え|最終的な答え|정답|최종 답)"
    r"[ \t]*[:：]?[ \t]*(?:\*{1,3}|_{1,2}|\}|[-=]{2,})?[ \t]*[:：]?[ \t]*$",
    re.MULTILINE,
)
_SKIP = re.compile(
    r"[\s*_:>|#\"'=-]*(?:\s?\b(?:simply|just|therefore|thus|then|clearly|definitely|indeed|hence|actually|now|thereby|"
    r"approximately|about|exactly|equal to|probably|most likely|likely|obviously|certainly)\b[\s:,]*){0,3}"
)
_RULER = re.compile(r"(?<=\n)[=-]{3,100}[ \t]*(?=\n)")
_VALUE_LIKE = re.compile(r"[\s*_:`]{0,12}[^\w\s]{0,3}[\d\\$]")
_HTML = re.compile(r"(?:</(?:b|i|u|p|em|strong|span|h\d)>\s{0,4})+")
_FENCE = re.compile(r"`{0,3}(?:python|java|javascript|json|sql|bash|cpp|c\+\+)\n|```[a-z]")
_CALL = re.compile(r"(?!sqrt|log|ln|sin|cos|tan|exp|arc|max|min)[a-z_]\w{2,40}\([^()\n]{0,80}\)(?:\.|\s*(?:#|\n|$))")
_ITEM = re.compile(r"(?:1[.)]|[-*•])[ \t]")
_NOTHING = re.compile(
    r"(?:not\b|n't\b|unknown|unclear|undetermined|uncertain|unavailable|impossible to|cannot|can't|could not|never\b|"
    r"given\b|see\b|(?:any|some)thing\b|whatever\b|up to you|"
    r"listed\b|stated\b|described\b|explained\b|mentioned\b|as follows|below|above|"
    r"correct\b|incorrect\b|wrong\b|"
    r"right\b(?! (?:angle|triangle))|"
    r"in (?:the|a|an|this|its|simplest|terms|lowest|our|your)\b|found (?:by|in)|obtained|calculated|computed|derived|"
    r"expected|required|needed|supposed|always\b|simple\b|easy\b|clear\b|obvious|straightforward|already|still\b|based|"
    r"dependent|reasonable|the same\b|also\b|consistent|unique\b|indeed\b|verified|confirmed|going to|hard to|"
    r"difficult|"
    r"left\b|to be\b|positive\b(?= (?:because|since))|what\b|that (?:there|we|it is not)|n/a\b|tbd\b|"
    r"a (?:bit|little)\b|accurate\b|by \w+ing\b|different\b|based\b|limited to\b|step \d|"
    r"todo\b|provided|shown|"
    r"written|wrapped|surrounded|presented|returned|submitted|in\s?<|in\s?\\+boxed|"
    r"expressed|enclosed|within\b|inside\b|placed|put\b|boxed|formatted|too\b|quite\b|very\b|valid\b|"
    r"invalid|complete\b|"
    r"likely (?:to|not)\b|probably not|none of (?:these|them)\s+(?:are|is)|i (?:don't|do not|am not|'m not|"
    r"cannot|can't))"
)
_IS_THE_ANSWER = re.compile(
    r"\s(?:is|are|would be|must be)\s(?:therefore\s|thus\s|indeed\s)?(?:the|our|my)\s(?:final\s|correct\s|right\s)?"
    r"(?:answer|solution)(?=[\s*_.!]*(?:\n|$|[.!]\s))"
)
_POINTS = re.compile(
    r"\b(?:this|that|these|those|it|which|what|who|here|there|none|nothing|neither|not|if|i|you|we|one|both|where|how|why|"
    r"whether|answer|option|choice|number|value)\b"
)


class Announced(NamedTuple):
    """Where an announced answer begins, where its noun stands, and how it was announced."""

    start: int
    noun: int
    how: Announcement | None


def announced(page: Page, start: int, end: int, *, choice: bool) -> Iterator[Announced]:
    """Announcements between two places, the last first."""
    found: list[Announced] = []
    for how in announcements(page.lower, page.words):
        if how.label and not choice and how.noun in _CHOICE_NOUNS:
            continue
        for at in _places(page.lower, how.noun, start, end):
            begin = _begins(page, at, how, (start, end), choice=choice)
            found += [Announced(begin, at, how)] if begin is not None else []
    found += [Announced(heading.end(), heading.start(), None) for heading in _headings(page, start, end)]
    found.sort(key=lambda a: (a.start, -a.noun), reverse=True)
    behind = -1
    for one in found:
        if one.start != behind:
            behind = one.start
            yield one


_CHOICE_NOUNS = OPTION_NOUNS | {
    *("option", "choice", "alternative", "solution", "statement", "letter", "conclusion"),
}
_NEGATED = re.compile(r"\b(?:no|nicht|pas|non|não|nie|не|inte|ikke|niet|not|never|değil|isn't|kein|keine)\b")
_HEADING_NOUNS = (
    *("answer", "antwort", "réponse", "respuesta", "resposta", "risposta", "odpowiedź", "ответ", "答案", "答え"),
    *("정답", "최종 답"),
)


def _places(text: str, word: str, start: int, end: int) -> Iterator[int]:
    """Where a word stands, the last first, 200 times at most."""
    at = text.rfind(word, start, end)
    for _ in range(_MOST):
        if at < 0:
            return
        yield at
        at = text.rfind(word, start, at)


def _headings(page: Page, start: int, end: int) -> list[re.Match[str]]:
    if "\n" not in page.clear[start:end] or not any(noun in page.lower for noun in _HEADING_NOUNS):
        return []
    # line by line and only where a noun stands, so that no long text is searched by pattern
    found: list[re.Match[str]] = []
    for noun in _HEADING_NOUNS:
        for at in _places(page.lower, noun, start, end):
            line = page.lower.rfind("\n", start, at) + 1
            if at - line < 40 and (match := _HEADING.match(page.lower, max(line, start), end)):
                found.append(match)
    return found


def _begins(page: Page, at: int, how: Announcement, within: tuple[int, int], *, choice: bool) -> int | None:
    """Where the answer begins that a noun at a place announces."""
    start, end = within
    behind = at + len(how.noun)
    before = page.lower[at - 1] if at > start else " "
    within_word = how.spaced and before.isalpha() and ord(before) < 0x2E80
    if within_word or (page.lower[behind : behind + 1] in _QUOTES and before == page.lower[behind]):
        return None  # or a key of JSON
    tail = how.tail.match(page.lower, behind, end)
    if not tail or _NEGATED.search(tail[0]):
        return None
    before = page.lower[max(start, at - 90) : at]
    before = before[max(before.rfind(". "), before.rfind("? "), before.rfind("! ")) + 1 :]
    doubted = (_DOUBT.search(before) and not _SURE.search(before)) or ("would" in tail[0] and _UNREAL.search(before))
    said = how.noun in RESULT_NOUNS and tail[0].rstrip(" *_")[-1:] not in {"=", "|"} and not choice
    only_last = how.noun == "output"  # of a program: examples of it stand in many responses
    announces = not only_last and _announces(how, before, tail[0], choice=choice)
    if doubted or _is_conditional(page, before, tail, end):
        return None
    if not (announces or (said and _is_last(page, tail.end(), end))):
        return None
    return tail.end()


def _is_conditional(page: Page, before: str, tail: re.Match[str], end: int) -> bool:
    """Whether an answer holds in one case only ("If ... the answer is A, else B", "could be C, but I need ...")."""
    conditions = (_ELSE if _IF.search(before) else None, _BUT if _MAY.search(tail[0]) else None)
    stop = sentences.end_of(page.lower, tail.end(), end) if any(conditions) else tail.end()
    return any(one is not None and one.search(page.lower, tail.end(), stop) for one in conditions)


def _is_last(page: Page, start: int, end: int) -> bool:
    """Whether a result that is a value is the last thing that is said: one on the way has others behind it."""
    value = _VALUE_LIKE.match(page.clear, start, end)
    return value is not None and not page.clear[sentences.end_of(page.clear, value.end(), end) + 1 : end].strip(
        " \n*_$.`"
    )


def _announces(how: Announcement, before: str, tail: str, *, choice: bool) -> bool:
    """Whether a noun that is more often used otherwise announces an answer here."""
    plural = tail[:1] == "s" and tail[1:2] not in {"", "e"}
    sign = tail.strip(" *_\"'`")
    if _CODE.search(before[before.rfind("\n") + 1 :]) or (
        sign[-1:] == "=" and (len(sign) > 2 or _INDENTED.search(before))
    ):
        return False
    if plural and (how.label or not choice) and not tail.rstrip(" *:").endswith(("is", "are")):
        return False
    if how.noun in SIGN_NOUNS:
        return len(sign) < 2 and _LINE_LABEL.search(before) is not None
    if not how.label or how.noun in OPTION_NOUNS:
        return True
    if choice:
        return not plural and _RIGHT.search(before) is not None
    label = _LINE_LABEL.search(before) is not None and tail.rstrip(" *_\"'`").endswith((":", "."))
    return label or _FINAL.search(before) is not None


_IF = re.compile(r"\b(?:if|when)\b")
_MAY = re.compile(r"\b(?:could|may|might)\sbe\b")
_BUT = re.compile(r"\b(?:(?:but|though)\b.{0,30}\b(?:need|cannot|can't)|depend\w*|without|unless)\b")
_SLOT = re.compile(r"[\[<][a-z_ ]{3,40}[\]>]")
_ELSE = re.compile(r"\b(?:otherwise|or\selse|else|if|when)\b")  # "if it is diploid the answer is A, otherwise B"
_TAGS = (", right", ", correct", ", isn't it", ", no", ", yes")  # "The answer is B, right?"
_INDENTED = re.compile(r"\n[ \t]{2,40}$")
_CODE = re.compile(r"[^_\s]_$|[&?]$|[=!<>]=\s$|print\(|\bdef\s|\breturn\s|\[['\"]$")
_QUOTES = ('"', "'")
_FINAL = re.compile(r"\bfinal\s$|\bendgültige[sn]?\s$")
_UNREAL = re.compile(r"\bif\b[^.]*\b(?:were|had|asked)\b")
_SURE = re.compile(r"\bthat is the (?:correct |final )?$|\bboth\s\w+\s(?:the\s)?$")


def choice(page: Page, start: int, end: int, options: Options) -> Picked:
    """The option that the last announcement names which names one."""
    best: Picked = None
    place = -1
    for one in announced(page, start, end, choice=True):
        picked = _read_choice(page, one, end, options)
        if picked is not None:
            best, place = picked, one.start
            break
    for at, picked in declarations.declared(page, max(start, place), end, options):
        if at > place:
            return picked
    return best


def _read_choice(page: Page, one: Announced, end: int, options: Options) -> Picked:
    start = _content(page, one, end)
    if start is None:
        return None
    stop = sentences.end_of(page.clear, start, end)
    line = page.clear.find("\n", start, end)
    line = end if line < 0 else line
    if page.clear[stop : stop + 1] == "?" and not page.lower.endswith(_TAGS, start, stop):
        return None
    lead = options.lead(page, start, min(line, start + 600))
    if lead is not None:  # "C. The mitochondria": the sentence does not end behind the letter
        stop = max(stop, min(line, lead[2] + 200))
    elif _NOTHING.match(page.lower, start, end) and not page.lower.startswith("not", start):
        colon = page.clear.find(":", start, stop)
        if colon < 0 and not options.by_text(page, start, stop, ""):
            return None
        start = max(start, colon + 1)
    stop = max(stop, start)
    picked = options.pick(page, start, stop, "phrase")
    colon = page.clear.find(":", start, stop) if picked is None else -1
    return picked if colon < 0 else options.pick(page, colon + 1, stop, "phrase")


def _content(page: Page, one: Announced, end: int) -> int | None:
    """Where the answer begins behind an announcement: the next line, if its own holds nothing more."""
    at = one.start
    for _ in range(4):
        while at < end and (page.clear[at] in " \t*_:#>|}\"'`" or page.clear.startswith(("..", "…", ". "), at)):
            at += 1
        if ruler := _RULER.match(page.clear, at, end) or _HTML.match(page.clear, at, end):
            at = ruler.end()
        if at < end and page.clear[at] != "\n":
            break
        gap = at
        while at < end and page.clear[at].isspace():
            at += 1
        if page.clear.count("\n", gap, at) > 3:
            return None
    # marks that open the answer belong to it: give back what stands directly before
    while at > max(one.noun, 1) and page.clear[at - 1] in "*_\"'`" and page.clear[at : at + 1] not in " \n":
        at -= 1
    return at if at < end else None


def open_answer(page: Page, start: int, end: int, *, number: bool) -> Piece | None:
    """What the last announcement says that says something."""
    kept: Piece | None = None
    told = _told(page, start, end)
    for one in announced(page, start, end, choice=False):
        if told is not None and one.noun < told.end:
            break
        found = _read_open(page, one, end)
        if found is None:
            continue
        if not number:
            return found
        value = numbers.only(page, found)
        if value is not None:
            return value
        kept = kept or found
    return kept or (told if told is None or not number else numbers.only(page, told))


def _told(page: Page, start: int, end: int) -> Piece | None:
    """What is told to be the answer ("x = 5 is the answer.")."""
    places = (*_places(page.lower, " answer", start, end), *_places(page.lower, " solution", start, end))
    for at in sorted(places, reverse=True):
        line = max(page.clear.rfind("\n", start, at) + 1, start)
        said = _IS_THE_ANSWER.search(page.lower, max(line, at - 40), min(end, at + 40))
        if said is None:
            continue
        begin = max(
            line, page.clear.rfind(". ", line, said.start()) + 1, page.clear.rfind(", ", line, said.start()) + 1
        )
        opened = lines.CONCLUDES.match(page.clear, begin, said.start())
        begin = opened.end() if opened else begin
        found = marks.piece(page, begin, said.start(), "phrase")
        if found is not None and (numbers.is_value(found.text) or _is_named(found.text)):
            return found
    return None


def _is_named(text: str) -> bool:
    """Whether a subject is a name or an equation, not a pronoun or a clause."""
    return len(text.split()) <= 6 and not _POINTS.search(text.lower())


def _read_open(page: Page, one: Announced, end: int) -> Piece | None:
    start = _content(page, one, end)
    if start is None:
        return None
    skipped = _SKIP.match(page.lower, start, end)
    if skipped and skipped.end() > start and page.clear[start] not in "*_\"'`-=":
        start = skipped.end()
    stop = sentences.end_of(page.clear, start, end)
    if nothing := _NOTHING.match(page.lower, start, end):
        colon = page.clear.find(":", nothing.end(), min(nothing.end() + 12, end))
        if colon < 0 or page.clear[nothing.end() : colon].strip():
            return None
        moved = _content(page, Announced(colon + 1, one.noun, one.how), end)
        if moved is None:
            return None
        start, stop = moved, sentences.end_of(page.clear, moved, end)
    if (page.clear[stop : stop + 1] == "?" and one.how is not None) or _introduces(page.clear, start, stop, end):
        return None
    if page.clear[max(one.noun, one.start - 3) : start].rstrip(" *_").endswith("|"):
        stop = min(stop, page.clear.find("|", start, stop) % (len(page.clear) + 1))
    bold = _bold(page.clear, start, stop)
    start, stop = bold or (start, sentences.without_reasons(page.clear, start, stop))
    if one.how and one.how.ending and (cling := one.how.ending.search(page.clear, max(start, stop - 16), stop)):
        stop = cling.start() if cling.start() > start else stop
    found = numbers.result(page, marks.piece(page, start, stop, "phrase"))
    asked = (
        found is not None
        and found.text[:1] in "[<{"
        and (marks.is_placeholder(found.text) or _SLOT.fullmatch(found.text) is not None)
    )  # "[your answer here]"
    return None if asked or (found is not None and _is_cut(page, found, end)) else found


def _is_cut(page: Page, found: Piece, end: int) -> bool:
    """Whether the response ends inside a group of the answer."""
    open_ = found.text.count("{") > found.text.count("}")
    return open_ and not page.clear[found.end : end].strip(" $*.\n")


def _introduces(clear: str, start: int, stop: int, end: int) -> bool:
    """Whether what follows is the first of a list, a block of code, or a line that ends in a colon."""
    if _FENCE.match(clear, start, end) or _CALL.match(clear, start, end) or clear[max(start, stop - 1) : stop] == ":":
        return True
    item = _ITEM.match(clear, start, end)
    behind = clear[item.end() : min(end, item.end() + 800)] if item else ""
    return item is not None and re.search(r"\n[ \t]{0,4}(?:2[.)]|[-*•])[ \t]", behind) is not None


def _bold(clear: str, start: int, stop: int) -> tuple[int, int] | None:
    """The bold text that a statement begins with, unless another belongs to it."""
    if not clear.startswith("**", start):
        return None
    close = clear.find("**", start + 2, stop)
    if (
        close < 0
        or close == start + 2
        or re.match(r"\*\*\s{0,2}(?:(?:,|or|and|&)\s{0,2}\*\*|=|\()", clear[close : close + 12])
    ):
        return None
    return start + 2, close
