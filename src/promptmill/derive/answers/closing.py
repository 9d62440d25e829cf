r"""What the last sentence of a response states where nothing is announced.

"She is left with 28." "So the probability is 3/8." `number`, for questions whose reference is a number, gives the
number of the last sentence: the only one, the right side of its calculation, or the one of its last clause, where the
words before it say that this is the result ("..., so 5 days remain", "After handing out 20, she has 28"). `predicate`,
for other questions, gives what the last sentence says that something is, if that is a value, an expression or a name.

A sentence that doubts, denies, asks or is a step on the way states nothing, and neither does one that was cut off.

Not covered: sentences whose answer is not their end ("Leonardo painted the Mona Lisa.").
"""

from __future__ import annotations

import re

from promptmill.derive.answers import lines, marks, numbers, sentences
from promptmill.derive.answers.page import Page, Piece

DOUBT = re.compile(
    r"\b(?:not|cannot|can't|could|may|might|maybe|perhaps|possibly|never|unknown|unclear|impossible|wrong|incorrect|assum\w+|"
    r"suppose|let|let's|try|check|either|or|however|approach|example|first\s(?:we|i|you|he|she|let|step)|"
    r"(?:begin|start)\s(?:with|by)|nicht|pas|não|nie|не|değil|need to|have to|step)\b|n't\b|\?"
)
# "6, not 9", "4 guests who did not come": said of others
_NOT_THAT = re.compile(
    r"(?<=\$)\sor\s(?=\$)|,\sor\s(?=(?:about\s)?[\d.,]+\s[a-z])|"
    r"\b(?:not|nicht|pas|no|non|não)\s[^,.]{1,40},?\s(?:but|sondern|mais|sino|ma|mas)\b|"
    r",\s(?:not|rather than|instead of)\s[^,.]{1,30}|(?<=\s)(?:who|that|which)\s[^,.]{0,80}|"
    r"(?<=\d)(?:\s\w+){1,4}\s(?:are|is|were|was|do|did|have|has)\snot\s[^,.]{1,40}"
)
_STEP = re.compile(
    r"[\s*#>-]*(?:now|next|first|firstly|then|to\s(?:find|solve|determine|calculate|get|answer|compute)|(?:then\s)?we\s(?:need\sto|multiply|divide|add|subtract|start|know|can|use|have)|"
    r"multiply|divide|add|subtract|calculate|find|use|using|note|remember|recall|question|problem|q\d*:)\b"
)
_TURN = re.compile(
    r"[,;]\s(?:(?:and\s(?:so|thus|hence|therefore|he|she|they|it|we)|so|thus|hence|therefore|then|which|giving|leaving|making|meaning|that\sis|i\.e\.,?|or)\b|"
    r"(?!with\b)(?=[^,;]*\b(?:in\stotal|altogether|in\sall|total|left|remain\w*|combined|overall)\b))|"
    r";\s|:\s|\s(?:so|thus|hence|therefore|i\.e\.|that\sis|leaving|giving)\s|"
    r"\s(?:is|are|was|were|leaves|gives|yields|equals|totals|makes|(?:total|sum|average|difference)\sof|we\s(?:get|obtain|have|find))\s"
    r"(?=(?:about|approximately|exactly|only|just|roughly|around|nearly)?[\s$€£*\\(]{0,4}\d)",
)
_NAMED = re.compile(r"(?<!\A)(?<![.!?*] )\b[A-Z][A-Za-z]*\s$")  # "Year 12"
_UNITS = re.compile(r"\s(?!(?:is|was|would|will|has|and|or|students)\b)[^\W\d_]{2}")
_COMPOUND = re.compile(r"-[A-Za-z]|[DK]\b|(?:st|nd|rd|th)\b")  # "a 6-month plan", "3D", "20th"
_BESIDE = re.compile(  # words before a number that is not what the sentence is about: "$64 in a day of 8 hours"
    r"\b(?:after|for|in|of|at|per|with|from|on|by|than|each|every|over|between|to|into|within|through|during|until|when|"
    r"if|out)\s(?:(?:the|an?|all|about|another|only|just|first|last|next|these|those|his|her|their|day|week|hour)\s){0,2}"
    r"[$€£]?$|[=×x*+/]\s?[$€£]?$|-$"
)
_PURPOSE = re.compile(
    r"\b(?:to\s(?!be\b)\w{2,12}|(?:after|by|before|from|when|while)\s\w{2,12}ing(?:\s(?:away|out|up|off|back))?)\s(?:\w{1,3}\s)?[$€£]?$"
)  # "9 more to reach 50"
_KNOWN = re.compile(r"\b(?:the|these|those|all|both|his|her|their|its|every)\s[$€£]?$")  # "the 8 adults"
_AMOUNT = re.compile(r"\b(?:an?\s(?:\w+\s)?\w+\sof|left\swith)\s(?:about\s|only\s)?[$€£]?$")  # "a total of"
_OUT_OF = re.compile(r"\s?(?:out\s)?of\s(?:the|his|her|their|those)?\s?\d")  # "5 of the 12 apples"
_AND = re.compile(r"(?:[\w%$€£-]+\s){0,2}(?:,\s)?(?:and|or|,)\s[$€£]?")
_HEAD = re.compile(
    r"[\s*_]*(?:so\s|thus,?\s|hence,?\s|therefore,?\s)?(?:after|since|if|when|because|as|with|given|at|for|of|out\sof|from|in|on|"
    r"each|every|once|while|by|\w+ing)\b"
)
_IS = re.compile(
    r"(?:\b(?:(?:is|are|was|were)\s(?:\w+\s)?\w+(?:ed|en|wn|lt|nd|rn|pt|de|ld)\s(?:by|in|on|after)|(?:is|are)\sat(?=\s\W)|c'est|(?:it|that|this|he|she)'s|(?:would|must|should)\sbe|(?:is|are|was|were)\s(?:\w+ly\s)?(?:considered|believed|said|thought|known|regarded)\s(?:to\sbe|as)|is|are|was|were|equals|becomes|simplifies\sto|evaluates\sto|reduces\sto|comes\sto|gives|yields|ist|est|es|è|é|je|"
    r"jest|är|er|lautet|beträgt|vaut)(?![^\W\d_])|≈)(?:,\s(?:of\scourse|then|therefore|thus|however|in\sfact|indeed),)?\s*(?:(?:therefore|thus|donc|alors|also|somit|daher|entonces|quindi|portanto|dus|then|exactly|approximately|about|roughly|simply|given\sby|"
    r"equal\sto|called|named|also|actually|indeed|only|just)\s)*:?\s*(?=\S)"
)
_COMES_TO = re.compile(r"equals|(?:would|must)\sbe|\w+\sto\b|gives|yields|becomes")
_VALUE = re.compile(
    r"[-+−~±$€£¥₹(\[{\\*\d√π∞]|[A-Za-zα-ω]{1,2}(?![A-Za-z])'?(?:[\^_(]|\s?[=<>≤≥∈])|(?:sqrt|log|ln|sin|cos|tan|exp)\b"
)
_SYMBOL = re.compile(r"\W*[A-Za-z]'?(?:\([a-z]\)|_\{?\w+\}?)?\s*")
_RELATION = re.compile(r"\W{0,4}[A-Za-z](?:\([a-z]\))?\s?(?:\\(?:in|leq?|geq?|neq?|approx)\b|[∈<>≤≥≠])")
_NOT_BUT = re.compile(r"(?:not|nicht|pas|no|non|não)\s[^,.]{1,40}?,?\s(?:but|sondern|mais|sino|ma|mas)\s")
_SEVERAL = re.compile(r"(?:\W*[A-Za-z]\w?\s?=[^=,a-z]{1,30}(?:,(?:\sand\b)?|\band\b|\bor\b)){1,5}\W*[A-Za-z]\w?\s*")
_IT = re.compile(r"it\s(?:is|was)\s")
_WHO = re.compile(r"\s(?:who|that|which)\s")
_POINTS = re.compile(r"\W*(?:(?:so|thus|therefore|hence|and|but)\b,?\s)?(?:this|that|these|those|which)\b")
_NOTHING = re.compile(
    r"\b(?:here|there|what|who|it'll)\b|\bthe\s(?:next\s)?(?:steps?|method|goal|formula|question|problem)\s*$"
)
_FORMULA = re.compile(r"(?=\S*\d)[A-Za-z0-9()\[\]^_+-]{2,20}")  # C6H12O6
_ENDS_IN = re.compile(  # words, a quantity ("2 h 30 min", "14:35", "1.250,50 €"), perhaps a last verb
    r"(?<=[^\W\d_] )([$€£¥₹]?\d[\d.,:]*(?:\s?(?:[%€£$₹]|°?[^\W\d_]{1,12}(?:/\w{1,4})?)"
    r"(?:,?\s(?:and\s|und\s|et\s|y\s)?\d+\s?[^\W\d_]{1,8}){0,3})?)(?:\s[a-zß-ÿ]{3,12})?\Z"
)
_ELSEWHERE = re.compile(r"\s(?:in|at|on|by|from|near|von|bei|à|de|en|da|em)\s[A-ZÀ-Þ]")  # "born in Ulm in 1879"
_WORDS = 6
ASIDE = re.compile(r"(?<=\w)\s\((?=[^()]{0,80}[a-z]{3})[^()]{3,120}\)[.!]?$")  # "12 days (since 30 - 18 = 12)."
_NONE = re.compile(
    r"\b(?:limit|integral|sum|series|value|derivative|inverse|equation|system|expression|inequality)\b[^,.;]{0,60}\s"
    r"(does\snot\sexist|diverges|is\sundefined|(?:has|have)\s(?:no|infinitely\smany)\s(?:\w+\s)?solutions?)$"
)
_RANGE = re.compile(
    r"\bbetween\s[$€£]?\d[\d.,]*\s(?:\w+\s)?and\s[$€£]?\d[\d.,]*|(?<![\w.,-])(?<!from\s)[$€£]?\d[\d.,]*\s?(?:to|–)\s?[$€£]?\d[\d.,]*"
)
_REFERS = re.compile(
    r"\b(?:chapter|page|section|table|figure|step|part|question|problem|exercise|line|row|appendix|equation|(?<!the\s)number)\s\Z|"
    r"\b(?:(?:more|less|fewer|greater|larger|smaller)\sthan|at\s(?:least|most)|up\sto)\s[$€£]?\Z"
)
_BESIDES = re.compile(r"(?<=\d),?\s(?:since|because)\s")  # "36, since 36 / 4 = 9"
_LABELLED = re.compile(r"[:=]\s*[$€£]?-?[\d.,]*\d\s?(?:%|[^\W\d_]{1,12})?$")  # "Total: $9.00"
_MARK = re.compile(r"\s*\d{1,2}\.\s*")  # of a list that was cut
_LONGEST = 300
_SHORT = 500


def number(page: Page, start: int, end: int) -> Piece | None:
    """The number that the last sentence comes to; in a short response the only one that there is."""
    found = _last(page, start, end)
    value = None if found is None else stated(page, found) or _lone(page, found, start, end)
    return None if value is None or is_bound(page, value) else value


def is_bound(page: Page, value: Piece) -> bool:
    """Whether a number is an end of a range ("20 to 30 dollars"), a bound ("at least 50") or that of a page."""
    line = page.lower.rfind("\n", 0, value.start) + 1
    near = _RANGE.finditer(page.lower, max(line, value.start - 40), min(len(page.lower), value.end + 30))
    return _REFERS.search(page.lower, max(line, value.start - 20), value.start) is not None or any(
        match.start() <= value.start < match.end() for match in near
    )


def stated(page: Page, found: Piece) -> Piece | None:
    """The number that a statement comes to."""
    if reason := _BESIDES.search(page.lower, found.start + 1, found.end):
        found = found._replace(text=page.text[found.start : reason.start()], end=reason.start())
    if (value := _value(page, found)) is not None:
        return value
    text = page.lower[found.start : found.end]
    if not _HEAD.match(text) and (value := _head(page, found)) is not None:
        return value
    cuts = [match.end() for match in _TURN.finditer(text)]
    if _HEAD.match(text) and (comma := text.rfind(", ")) > 0 and not text.startswith("with ", comma + 2):
        cuts.append(comma + 2)
    for cut in sorted(cuts, reverse=True):
        part = marks.piece(page, found.start + cut, found.end, "conclusion")
        if part is not None and any(c.isdigit() for c in part.text):
            return _value(page, part) or _head(page, part)
    return _head(page, found)


def _value(page: Page, said: Piece) -> Piece | None:
    """The one number of what is said, if it counts something."""
    value = numbers.only(page, said)
    if value is None or not numbers.is_value(value.text) or _COMPOUND.match(page.clear, value.end):
        return None
    named = _NAMED.search(page.clear[said.start : value.start])
    known = _KNOWN.search(page.lower[said.start : value.start])
    return None if known or (named and not _UNITS.match(page.clear, value.end)) else value


def _head(page: Page, said: Piece) -> Piece | None:
    """The number that a statement is about, where the others stand in phrases beside it ("$64 in an 8-hour day")."""
    begin = said.start + page.clear[said.start : said.end].rfind("=") + 1
    if begin > said.start and numbers.is_unsolved(page.clear[said.start : begin - 1]):
        return None
    text = page.lower[begin : said.end]
    heads: list[re.Match[str]] = []
    behind, beside = 0, False
    for match in numbers.NUMBER.finditer(text):
        before = text[max(0, match.start() - 80) : match.start()]
        if not (behind and _AND.fullmatch(text, behind, match.start())):  # "3 cups and 4 pans" are of one kind
            beside = bool(
                _BESIDE.search(before) or (behind and _PURPOSE.search(before)) or _KNOWN.search(before)
            ) and not _AMOUNT.search(before)
        behind = match.end()
        named = _NAMED.search(page.clear[begin + max(0, match.start() - 80) : begin + match.start()])
        if not beside and not named and not _COMPOUND.match(page.clear, begin + match.end()):
            heads.append(match)
    if len(heads) != 1 or _OUT_OF.match(text, heads[0].end()):
        return None
    place = marks.narrow(page.clear, begin + heads[0].start(), begin + heads[0].end())
    return marks.piece(page, *place, said.rule)


def _lone(page: Page, said: Piece, start: int, end: int) -> Piece | None:
    """The only number of a short response, where the last sentence holds none ("He died in 1957. This is ...")."""
    text = page.clear[start : said.start]
    if len(text) > _SHORT or any(c.isdigit() for c in page.clear[said.start : end]):
        return None
    values = list(numbers.NUMBER.finditer(text))
    if len(values) != 1 or DOUBT.search(page.lower, start, said.start):
        return None
    place = (start + values[0].start(), start + values[0].end())
    return None if _COMPOUND.match(page.clear, place[1]) else marks.piece(page, *place, "conclusion")


def predicate(page: Page, start: int, end: int) -> Piece | None:
    """What the last sentence says that something is: a value, an expression, a name."""
    found = _last(page, start, end)
    if found is None:
        return None
    text = page.lower[found.start : found.end]
    verbs = list(_IS.finditer(text))
    if none := _NONE.search(text):
        return marks.piece(page, found.start + none.start(1), found.start + none.end(1), "conclusion")
    if not verbs:
        return _right_side(page, found)
    verb = verbs[-1]
    begin = found.start + verb.end()
    if turned := _NOT_BUT.match(page.lower, begin, found.end):
        begin = turned.end()
    who = _WHO.search(page.lower, begin, found.end) if _IT.match(text) else None
    if who:  # "It was Marie Curie who discovered polonium."
        found = found._replace(end=who.start())
    said = marks.piece(page, begin, sentences.without_reasons(page.clear, begin, found.end), "conclusion")
    if said is None:
        return None
    value = _VALUE.match(said.text) is not None and any(c.isdigit() for c in said.text)
    subject = text[: verb.start()]
    if (_NOTHING.search(subject) or (_POINTS.match(subject) and not value)) and not _COMES_TO.match(verb[0]):
        return None
    quoted = page.clear[begin : begin + 1] == '"' and len(said.text.split()) <= _WORDS
    return said if quoted or _is_answer(said.text) else None


def quantity(page: Page, start: int, end: int) -> Piece | None:
    """The quantity in which a response of one sentence ends: "It takes 2 h 30 min."."""
    found = _last(page, start, end)
    if found is None or page.clear[start : found.start].strip(" \n*_"):
        return None
    said = _ENDS_IN.search(page.clear, found.start, found.end)
    head = page.clear[found.start : said.start(1)] if said else ""
    if said is None or any(c.isdigit() for c in head) or _ELSEWHERE.search(head) or _REFERS.search(head.lower()):
        return None
    return marks.piece(page, *said.span(1), "conclusion")


def _right_side(page: Page, found: Piece) -> Piece | None:
    """What a last equation comes to: "Total distance = 45 km"."""
    opened = lines.CONCLUDES.match(page.clear, found.start, found.end)
    at = opened.end() if opened else found.start
    if _RELATION.match(page.clear, at, found.end) and not re.search(r"(?<!\\)\b[a-z]{3}", page.clear[at : found.end]):
        return marks.piece(page, at, found.end, "conclusion")
    left, equals, _ = page.clear[found.start : found.end].rpartition("=")
    if not equals or left[-1:] in "<>!=:" or numbers.is_unsolved(left):
        return None
    opened = lines.CONCLUDES.match(left)
    begin = opened.end() if opened else 0
    if _SEVERAL.fullmatch(left, begin) or _SYMBOL.fullmatch(left, begin):  # "x = 5" stays, and "x = 7 and y = -2"
        return marks.piece(page, found.start + begin, found.end, "conclusion")
    said = marks.piece(page, found.start + len(left) + 1, found.end, "conclusion")
    return said if said is not None and _is_answer(said.text) else None


def _is_answer(text: str) -> bool:
    """Whether a predicate is a value, an expression or a name and no clause."""
    if _FORMULA.fullmatch(text):
        return True
    words = re.findall(r"(?<!\\)\b[^\W\d_]{2,}", text)
    if _VALUE.match(text) and any(c.isdigit() or c in "\\√π∞^(=" for c in text):
        return len(words) <= _WORDS
    words = words[1:] if words[:1] and words[0].lower() in {"the", "la", "le", "der", "die", "das", "el"} else words
    names = [word for word in words if word[0].isupper()]
    return 0 < len(words) <= _WORDS and words[0] in names and len(names) >= len(words) / 2


def _last(page: Page, start: int, end: int) -> Piece | None:
    """The last sentence, if it is whole and states something."""
    last = lines.last(page.clear, start, end)
    if last and _is_unit(page.clear, start, *last):
        last = lines.last(page.clear, start, last[0])
    place = lines.last_sentence(page.clear, *last) if last else None
    if (
        place is None
        or place[1] - place[0] > _LONGEST
        or _MARK.fullmatch(page.clear, *place)
        or _STEP.match(page.lower, *place)
    ):
        return None
    ended = page.clear[place[1] - 1]
    if not _NONE.search(page.lower[place[0] : place[1]].rstrip(" .*$")) and DOUBT.search(
        _NOT_THAT.sub("", page.lower[place[0] : place[1]])
    ):
        return None
    aside = ASIDE.search(page.clear, place[0], place[1])
    found = marks.piece(page, place[0], aside.start() if aside else place[1], "conclusion")
    whole = ended in ".!。।*$" or (found is not None and ended != ";" and _LABELLED.search(found.text) is not None)
    again = page.clear.count(page.clear[place[0] : place[1]].strip(), max(start, place[0] - 2000), place[0]) > 2
    return found if whole and not again else None  # a response that repeats one sentence has lost its way


def _is_unit(clear: str, start: int, line: int, line_end: int) -> bool:
    """Whether a last line is a word or two behind displayed maths: its unit."""
    short = line_end - line < 30 and not any(c.isdigit() for c in clear[line:line_end])
    return short and clear[max(start, line - 20) : line].rstrip().endswith(("$$", "\\]"))
