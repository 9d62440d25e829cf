r"""Open answers without an announcement: `#### 4`, a last line in bold, a conclusion, a response that is the answer.

A last line counts in bold if it is nothing else or concludes ("Thus the capital is **Canberra**."). Where the reference
is a number, a concluding sentence with one number counts. A response of a few words that is no sentence is the answer.

Whatever is less than that is no answer. Not covered: the same for multiple choice, see `letters`.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import closing, lines, marks, numbers, sentences
from promptmill.derive.answers.page import Page, Piece

_LABEL = re.compile(
    r"[\s*_#]*(?:A:[*_]*\s|[^\W\d_]{4,12}[*_]*:[*_]*\s(?!.*[^\W\d_]{3}))"
)  # "A: Paris", "Solution: x = 7"
_OBJECT = re.compile(r"\s*[\[{]{1,2}\s?[\"']\w{1,30}[\"']\s?:")
_COUNTS = re.compile(
    r"\d|\\|[π√∞½¼¾一二三四五六七八九十百千]|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b|"
    r"(?:teen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|infinit)"
)
_DATED = re.compile(r"\s*(?:On|In|At|Am|Le|El|En)\s(?=(?:[A-Z][a-z]+\s)?\d)")  # "On July 20, 1969."
_TASK = re.compile(r"[\d\s.,]+|.*\d\s?(?:[+×*·]|\\times|\\cdot|\s[-−]\s)\s?\d")
_SAID = re.compile(
    r"\b(?:[Ss]e llama|heißt|s'appelle|si chiama|[Cc]'est)\s|"
    r"^(?:\S+\s){1,8}(?:ist|sind|war|est|sont|était|es|son|era|è|sono|é|são|är|jest|zijn|yw)\s\S|"
    r"\w是\w|は.+(?:です|である|だ)$|[은는이가]\s.+(?:입니다|이다)$|"
    r"^[А-ЯЁІЇЄ].+\s[—–]\s\S|\s(?:है|हैं)$"
)
_HASHES = re.compile(r"####[ \t]{0,3}([^\n#]{1,200})(?=\n|$)")
_NO_NAME = re.compile(
    r"\b(?:i|i'm|we|you|let|let's|is|are|was|were|be|been|need|needs|think|know|sorry|sure|here|please|okay|ok|hello|hi|thanks|"
    r"thank|have|has|had|will|would|can|can't|cannot|could|should|must|do|does|did|don't|step|steps|first|solution|answer|"
    r"calculate|find|solve|consider|given|because|therefore|thus|so|hence|since|then|not|unable|unknown|unclear|undetermined|"
    r"explanation|reasoning|analysis|approach|what|why|how|which|who|where|when|maybe|perhaps|hmm|wait|well|this|that|it|"
    r"it's|there|done|continue|understood|certainly|absolutely|great|question|nothing|error|n/a|none|null|undefined|nan|ich|wir|"
    r"lassen|je|nous|no idea|say|says|said|gets|makes|made|equals|means|depends|multiply|divide|add|subtract|"
    r"compute|try|use|refuse|skip|pass|todo|tbd|see|"
    r"ready|weiß nicht|kann nicht|sais pas|peux pas|no sé|no puedo|não sei|non so|non lo so|не знаю|nie wiem|"
    r"bilmiyorum|không biết|tidak tahu)\b|"
    r"不知道|无法|不能|不确定|かりません|모르|"
    r"알 수 없|لا أعرف|पता नहीं|नहीं पता|[?]|:\s*$|\.\.\.$|…$"
)


def hashes(page: Page, start: int, end: int) -> Piece | None:
    """GSM8K's last line, `#### 4`; a heading of four hashes is none."""
    at = page.clear.rfind("####", start, end)
    for _ in range(20):
        if at < start:
            return None
        match = _HASHES.match(page.clear, at, end)
        lone = at == 0 or page.clear[at - 1] != "#"
        if match and lone and (numbers.is_value(match[1]) or len(match[1].strip(" *.$()")) == 1):
            return marks.piece(page, match.start(1), match.end(1), "hashes")
        at = page.clear.rfind("####", start, at)
    return None


def bold(page: Page, start: int, end: int, *, number: bool) -> Piece | None:
    """The one bold text of the last line, where the line is nothing else or concludes, or a number is asked for."""
    last = lines.last(page.clear, start, end)
    if last is None:
        return None
    if number and not closing.DOUBT.search(page.lower, *last):
        value = _bold(page, lines.lone_bold(page, *last, alone=False))
        value = numbers.only(page, value) if value else None
        if value is not None and numbers.is_value(value.text):
            return value
    short = not page.clear[start : last[0]].strip() and not closing.DOUBT.search(page.lower, *last)
    found = _bold(page, lines.lone_bold(page, *last, alone=not short))
    return numbers.only(page, found) if found is not None and number else found


def _bold(page: Page, place: tuple[int, int] | None) -> Piece | None:
    """What is bold at a place, if it is a value or a name."""
    if place is None or page.lower.startswith(("step", "note", "case"), place[0]):
        return None
    found = numbers.result(page, marks.piece(page, *place, "bold"))
    if found is None or numbers.is_value(found.text):
        return found
    return None if _NO_NAME.search(found.text.lower()) or len(found.text.split()) > 8 else found


def conclusion(page: Page, start: int, end: int, *, number: bool) -> Piece | None:
    """The value that a response concludes with ("Thus, 42."); in a sentence, the one number where one is asked for."""
    last = lines.last(page.clear, start, end)
    place = lines.conclusion(page, *last) if last else None
    whole = marks.piece(page, *place, "conclusion") if place else None
    if place is None or whole is None:
        return None
    if numbers.is_value(whole.text):
        return whole
    if not number or page.clear[place[1] - 1] not in ".!。*" or lines.HEDGE.search(page.lower, *place):
        return None
    found = numbers.only(page, whole)
    return found if found is not None and numbers.is_value(found.text) else None


def bare(page: Page, start: int, end: int, *, number: bool) -> Piece | None:
    """A response of a few words that is no sentence: the answer and nothing else, or the label `A:` before it."""
    last = lines.last(page.clear, start, end)
    if last is None or last[1] - last[0] > 200 or _is_no_text(page.clear[last[0] : last[1]]):
        return None
    label = _LABEL.match(page.clear, *last)
    before = page.clear[start : last[0]].strip(" \n\t`")
    if before and (value := _leading_value(page, start, end) or (_reached(page, before, last) if number else None)):
        return value
    if before and not (label and before[:1] in "Qq" and "\n" not in before):
        return None
    begin = label.end() if label else last[0]
    dated = _DATED.match(page.clear, begin, last[1])
    begin = dated.end() if dated else begin
    aside = closing.ASIDE.search(page.clear, begin, last[1])  # "Danube (it flows through Vienna)"
    found = numbers.result(page, marks.piece(page, begin, aside.start() if aside else last[1], "whole"))
    if found is None or (number and _is_no_number(found.text)):
        return None
    if _is_name(page, found):
        return found
    value = numbers.only(page, found) if number and _is_plain_sentence(page, found) else None
    return value if value is not None and numbers.is_value(value.text) else None


def _is_no_text(line: str) -> bool:
    """Whether a line is a heading, code, an object, or a sum that was cut."""
    cut = line.rstrip("*_ ").endswith((":", ";", " +", " -", " *", " ×", "="))
    return cut or line.startswith("#") or _OBJECT.match(line) is not None


def _is_no_number(text: str) -> bool:
    """Whether a text is a task, several numbers, an equation with an unknown or holds none: "17 x 3", "12 or 13"."""
    if numbers.is_value(text):
        return False
    if not _COUNTS.search(text.lower()):
        return True
    several = " or " in text and numbers.are_several(text)
    left, equals, _ = text.rpartition("=")
    return several or _TASK.fullmatch(text) is not None or (bool(equals) and numbers.is_unsolved(left))


def _reached(page: Page, before: str, last: tuple[int, int]) -> Piece | None:
    """The one number of a last sentence, where a calculation before it came to the same."""
    found = marks.piece(page, *last, "conclusion")
    value = numbers.only(page, found) if found is not None and _is_plain_sentence(page, found) else None
    if value is None or not numbers.is_value(value.text):
        return None
    plain = re.escape(value.text.lstrip("$€£ "))
    return value if re.search(rf"=\s?[$€£\\*]{{0,4}}\s?{plain}(?![\d,.]\d)(?!\d)", before[-2000:]) else None


def _leading_value(page: Page, start: int, end: int) -> Piece | None:
    """A number alone on the first line, with prose behind it."""
    stop = lines.first_end(page.clear, start, end)
    found = marks.piece(page, start, stop, "whole")
    if found is None or not numbers.is_value(found.text) or page.clear[found.end : stop].strip(" *_$`"):
        return None
    rest = page.clear[stop:end].strip().split("\n", 8)
    return None if any(numbers.is_value(line) for line in rest) else found


def _is_plain_sentence(page: Page, found: Piece) -> bool:
    """Whether a piece is one sentence, ended and without doubt ("She has 36 stickers left.")."""
    ended = page.clear[found.end : found.end + 1] in {".", "!"}
    ended = ended and ":" not in found.text  # "Step 1: find the number of apples."
    return ended and len(sentences_of(page, found)) == 1 and not lines.HEDGE.search(page.lower, found.start, found.end)


def _is_name(page: Page, found: Piece) -> bool:
    """Whether a piece is a value, an expression or a name, and no sentence."""
    if numbers.is_value(found.text):
        return True
    if _is_told(page, found) or _SAID.search(found.text):
        return False
    plain = re.sub(r"\\[A-Za-z]+", "", found.text)
    if not re.search(r"[^\W_]|[∅∞]", plain) or marks.is_placeholder(found.text):
        return False
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", plain)
    return len(words) <= 8 and not _NO_NAME.search(found.text.lower()) and len(sentences_of(page, found)) == 1


def _is_told(page: Page, found: Piece) -> bool:
    """Whether a piece with a number is a sentence in any language: ended, most of its words in lower case."""
    words = re.findall(r"[^\W\d_]{2,}", found.text)
    small = sum(word[0].islower() for word in words)
    ended = page.clear[found.end : found.end + 1] in {".", "!"} and found.text[:1].isupper()
    return ended and len(words) > 2 and small > len(words) / 2 and any(c.isdigit() for c in found.text)


def sentences_of(page: Page, found: Piece) -> list[int]:
    """Where the sentences of a piece end, two at most."""
    stop = sentences.end_of(page.clear, found.start, found.end)
    return [stop] if stop >= found.end else [stop, found.end]
