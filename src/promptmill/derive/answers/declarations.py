"""Options that are called correct or chosen without the word "answer": "(B) is correct", "I would go with C", "It's C".

Each kind is looked for by a few plain words, and read at the last place where it says something. An option that is told
not to be correct ("A is not correct"), one of a pair ("A or B is correct") and a question ("Is A correct?") declare
nothing.

Not covered: languages of which `languages` has no word for "correct".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial

from promptmill.derive.answers import marks, sentences
from promptmill.derive.answers.choices import ORDINALS, Options, Picked
from promptmill.derive.answers.languages import CORRECT
from promptmill.derive.answers.page import Page, Piece, hints, holds

_MOST = 5
_DECLARED = re.compile(
    rf"\s(?:is|seems to be|appears to be|would be|must be|should be|are|"
    r"ist|wäre|est|serait|es|sería|è|é|está|är|er|jest|je|on|—|"
    rf"-)?\s?(?:therefore |thus |then |"
    rf"clearly |definitely |indeed |also |probably |likely |actually )?(?:{CORRECT})"
)
_SUBJECT = re.compile(
    r"(?:^|[\s,;:*_(\"'])(?:(?:option|choice|answer|alternative|statement|letter|antwort|opción|opção|opzione|l'option|"
    r"la réponse|réponse|la opción|respuesta|resposta|risposta|alternativa|optie|antwoord|вариант|ответ|svar|"
    r"odpowiedź|odpověď|"
    r"cevap|seçenek|选项|選項)(?!s\b)\s{0,2}[(*_\"']{0,3}([A-Za-z])(?![\w'])[)*_\"'.:]{0,3}|[*_]{0,2}\(([A-Za-z])\)[*_]{0,2}|"
    r"([A-Z])(?![\w'])[*_\"']{0,3})(?P<between>[\s,:–—-]{0,3}[^.!?\n]{0,70}?,?)$",
    re.IGNORECASE,
)
_PAIRED = re.compile(
    r"\b(?:or|and|nor|neither|either|both|whether|if|not|oder|und|nicht|ou|et|ni)\s(?:option\s|answer\s)?[(*]{0,2}$"
)
_HINTS = hints(
    " correct", " right", " the answer", " best", " richtig", " korrekt", " trifft zu", " stimmt", " juste",
    " bonne", " correcte", " correctes", " correcta", " correcto", " correta", " corretta", " corretto",
    " juist", " rätt", " riktig", " poprawna", " poprawny", " prawid", " správn", " верн", " правильн",
    " doğru", "正确", "正解", "정답", " صحيح", "सही", " benar", " đúng", " the most", " la réponse",
    " la respuesta", " la risposta",
)  # fmt: skip
_CHOOSE = re.compile(
    r"(?:choose|chose|select|pick|go with|going with|choosing|selecting|opt for|vote for|settle on|say|"
    r"(?<=would )answer|(?<='d )answer|(?<=will )answer|guess|wähle|"
    r"choisis|elijo|escolho|"
    r"scelgo)\s(?:for\s)?(?=(?:option|choice|answer|letter|antwort|l'option|la\s\w+|the\s\w+)?\s?[(\"'*_]{0,4}[a-z][)\"'*_.,:\s]|"
    r"(?:option|choice|answer)?\s?[(\"'*_]{0,4}[a-z][)\"'*_.]{0,4}$)"
)
_CHOOSER = re.compile(
    r"\b(?:i|i'd|i'll|i've|we|we'd|we'll|would|will|must|should|to|let me|let's|ich|je|so|therefore|thus|"
    r"can)\s(?:\w{2,10}\s)?$"
)
_CHOOSE_HINTS = hints(
    *(
        "choose ",
        "chose ",
        "select ",
        "pick ",
        " with ",
        "choosing ",
        "opt for",
        "settle on",
        "say ",
        "answer ",
        "guess ",
    ),
    *("wähle ", "choisis ", "elijo ", "scelgo "),
)
_CHINESE = re.compile(
    r"(?:故选|应选|因此选|所以选|故答案选|选择|选|選擇|選|应该选|正确选项[是为]|正确的?选项[是为：:])[项项]?[：:\s*(\"]{0,4}([A-Z])(?![A-Za-z])"
)
_COMMIT_HINTS = hints(
    *(
        "it's ",
        "it is ",
        "must be ",
        "has to be ",
        "leaves ",
        "leaving ",
        "definitely ",
        "that's ",
        "going with ",
        "should be ",
    ),
    *("corresponds to ", "correspond to ", "matches ", "which is option", "this is option"),
)
_COMMIT = re.compile(
    r"(?:(?:it's|it is|it must be|it has to be|it should be|must be|(?:(?:this|that) )?leaves(?: us with)?|leaving|"
    r"definitely|that's|going with)\s(?:option\s|choice\s|answer\s|only\s)?|"
    r"(?:corresponds? to|matches|which is|this is)\s(?:option|choice|answer|answer choice)\s)"
    r"(?=[(*]{0,3}[a-z][)*]{0,3}(?:[.,;!]|\s*$|\s*\n|\s(?:because|since|as)\b|\)\s))"
)
_ONLY = re.compile(
    r"[Oo]nly\s(?:(?:option|choice|answer|statement)\s)?[(*]{0,3}([A-Z])[)*]{0,3}\s(?:\w{2,12}ly\s)?(?:can|\w{1,12}s)\b"
)
_WERE = re.compile(r"\bif\b.{0,60}\b(?:were|had|was|did)\b")
_TEMPTED = re.compile(
    r"\b(?:was|were)\s(?:\w+\s)?(?:going|about|tempted|inclined|ready)\sto\s$|\b(?:mistakes?|errors?|wrong|tempting|temptation|trap)\s(?:\w+\s){0,2}to\s$"
)
_ONLY_HINTS = hints("only ")
_OTHERS = re.compile(r"\b(?:some|many|people|you|one|others|they|students|who)\s(?:\w{1,12}\s){0,2}$")
_UNSURE = re.compile(
    r"(?:\b(?:if|otherwise|not|whether|unless|perhaps|maybe|might|could|suppose|assume|either|doubt)|n't)\b[^.!?\n]{0,40}$"
)
_DENIED = re.compile(r"\b(?:not|isn't|n't|only if|if|would have|whether)\b")
_TURNED = re.compile(r"\?|\s(?:only\s)?(?:if|when)\b")
_LESS = re.compile(r"\b(?:second|third|next|least|less|almost|nearly|partly|partially)\b")
_OTHER = re.compile(r"\([A-Z]\)|\b(?:or|and|nor)\s[A-Z]\b")


def declared(page: Page, start: int, end: int, options: Options) -> Iterator[tuple[int, Picked]]:
    """Options that are called correct or chosen, with their places; the last first."""
    found: list[tuple[int, Picked]] = []
    kinds = ((_HINTS, _subject), (_CHOOSE_HINTS, _chosen), (_COMMIT_HINTS, _committed), (_ONLY_HINTS, _only))
    for looked_for, read in kinds:
        for hint in looked_for:
            if holds(page, hint, start, end):
                found += _last(page, hint.text, (start, end), partial(read, options=options))
    if "选" in page.clear or "選" in page.clear:
        found += _chinese(page, start, end, options)
    yield from sorted(found, key=lambda pair: pair[0], reverse=True)


def _last(page: Page, hint: str, within: tuple[int, int], read: _Reader) -> list[tuple[int, Picked]]:
    """What the last place of a hint says that says something."""
    at = page.lower.rfind(hint, *within)
    for _ in range(_MOST):
        if at < 0:
            break
        if one := read(page, at, within):
            return [one] if one[1] is not None else []
        at = page.lower.rfind(hint, within[0], at)
    return []


def _chosen(page: Page, at: int, within: tuple[int, int], options: Options) -> tuple[int, Picked] | None:
    """The option that somebody chooses."""
    line = max(page.lower.rfind("\n", within[0], at) + 1, within[0])
    match = _CHOOSE.search(page.lower, max(line, at - 12), min(within[1], at + 60))
    head = page.lower[max(line, match.start() - 40) : match.start()] if match else ""
    if not match or not _CHOOSER.search(head) or _OTHERS.search(head) or _TEMPTED.search(head):
        return None
    return _named(page, match, within, options)


def _committed(page: Page, at: int, within: tuple[int, int], options: Options) -> tuple[int, Picked] | None:
    """The option that it is said to be: "it must be C", "that leaves (D)"."""
    line = max(page.lower.rfind("\n", within[0], at) + 1, within[0])
    match = _COMMIT.search(page.lower, max(line, at - 14), min(within[1], at + 40))
    if not match or match.end() <= at or _UNSURE.search(page.lower[max(line, match.start() - 60) : match.start()]):
        return None
    return _named(page, match, within, options)


def _only(page: Page, at: int, within: tuple[int, int], options: Options) -> tuple[int, Picked] | None:
    """The option of which alone something is told ("Only option C fits")."""
    match = _ONLY.match(page.clear, at, within[1])
    if (
        not match
        or _UNSURE.search(page.lower[max(within[0], at - 60) : at])
        or ord(match[1]) - 65 >= len(options.texts)
    ):
        return None
    return at, Piece(match[1], match.start(1), match.end(1), "phrase")


def _named(page: Page, match: re.Match[str], within: tuple[int, int], options: Options) -> tuple[int, Picked] | None:
    stop = sentences.end_of(page.clear, match.end(), within[1])
    if page.clear[stop : stop + 1] == "?":
        return None
    picked = options.pick(page, match.end(), min(within[1], max(stop, match.end() + 4)), "phrase")
    if picked is None or (not picked.unclear and ":" in picked.rule):
        return None
    return match.start(), picked


def _chinese(page: Page, start: int, end: int, options: Options) -> list[tuple[int, Picked]]:
    matches = list(_CHINESE.finditer(page.clear, start, end))[-1:]
    return [
        (m.start(), options.pick(page, m.start(1), sentences.end_of(page.clear, m.start(1), end), "phrase"))
        for m in matches
    ]


def _subject(page: Page, at: int, within: tuple[int, int], options: Options) -> tuple[int, Picked] | None:
    """The option of which it is said at a place that it is correct; no option, where that is denied."""
    head = max(page.lower.rfind("\n", within[0], at) + 1, within[0], at - 110)
    verb, said = _verb(page, at, head)
    if said is None or _TURNED.match(page.lower, said.end()):
        return None
    head = max(head, page.clear.rfind(". ", head, max(head, verb - 3)) + 1)
    subject = _SUBJECT.search(page.clear, head, verb)
    for _ in range(6):
        if subject is None or not (_OTHER.search(subject["between"]) or _is_far(subject)):
            break
        subject = _SUBJECT.search(page.clear, subject.end(_group(subject)), verb)
    if subject is None:
        denied = _DENIED.search(said[0])
        return None if denied else _ordinal(page, head, verb, options) or _by_name(page, head, verb, options)
    unreal = "would" in page.lower[verb : said.end()] and _WERE.search(page.lower, head, verb)
    if unreal or _LESS.search(subject["between"]):
        return None
    place = subject.start(_group(subject))
    if _DENIED.search(page.lower, place, verb) or _DENIED.search(page.lower[verb : said.end()]):
        return place, None
    if _PAIRED.search(page.lower[head:place]):
        return None
    letter = page.clear[place].upper()
    return (place, Piece(letter, place, place + 1, "phrase")) if ord(letter) - 65 < len(options.texts) else None


def _by_name(page: Page, head: int, verb: int, options: Options) -> tuple[int, Picked] | None:
    """The option whose whole text stands before the verb: "Pancreas is correct"."""
    head = max(head, page.clear.rfind(", ", head, verb) + 1)
    named = options.whole(page, *marks.narrow(page.clear, head, verb), "phrase")
    return None if named is None else (named.start, named)


def _verb(page: Page, at: int, head: int) -> tuple[int, re.Match[str] | None]:
    """Where "is correct" begins, found from a place inside it."""
    verb, said = at, _DECLARED.match(page.lower, at)
    space = at
    for _ in range(3):
        space = page.lower.rfind(" ", head, space)
        if space < 0:
            break
        longer = _DECLARED.match(page.lower, space)
        if longer and longer.end() > at:
            verb, said = space, longer
    return verb, said


def _group(subject: re.Match[str]) -> int:
    return next(number for number in (1, 2, 3) if subject[number])


def _is_far(subject: re.Match[str]) -> bool:
    """Whether a letter without marks stands apart from the verb, as an article would."""
    return subject[3] is not None and (not subject[3].isupper() or bool(subject["between"].strip()))


def _ordinal(page: Page, head: int, verb: int, options: Options) -> tuple[int, Picked] | None:
    """The option that is counted before the verb: "the third option"."""
    found = list(ORDINALS.finditer(page.lower, head, verb))
    if not found or page.lower[found[-1].end() : verb].strip(" ,"):
        return None
    picked = options.by_ordinal(page, found[-1].start(), verb, "phrase")
    return None if picked is None else (found[-1].start(), picked)


_Reader = Callable[[Page, int, tuple[int, int]], tuple[int, Picked] | None]
