r"""Answers without an announcement: a letter alone, bold at the end, a conclusion, a response that is the answer.

For multiple choice: a response that begins with a letter ("C) 5, because ...") or ends with one ("**C**"), where no other
option is listed; a response, or its concluding sentence, that holds the text of one option.
For open answers: `#### 4`; a last line in bold; a conclusion with one bold text, or one number where the reference is a
number; a response of a few words that is no sentence.

Whatever is less than that is no answer.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import marks, numbers, sentences
from promptmill.derive.answers.choices import LETTERS, Options, Picked
from promptmill.derive.answers.page import Page, Piece
from promptmill.derive.answers.wording import normalised

_HASHES = re.compile(r"####[ \t]{0,3}([^\n#]{1,200})(?=\n|$)")
_LISTED = re.compile(
    r"(?:^|\n)[ \t]{0,4}(?:[-*+•][ \t]{1,3})?(?:[*_]{0,3}\(?|(?:[*_]{0,3})(?:option|choice|answer)[ \t])([A-Za-z])[*_]{0,3}(?:[).:]|[ \t]-)[*_]{0,3}[ \t]",
    re.IGNORECASE,
)
_FIRST_LETTER = re.compile(
    r"\s*(?:[*_\"'`$(\[]|\\text\{|\\boxed\{){0,6}(?:(?i:option|choice|answer|letter)\s{0,2}[(*]{0,3})?([A-Za-zⒶ-Ⓗ①-⑩])"
    r"(?:[)\]*_\"'`$}.:,;!]{1,6}(?=\s|$)|\s{0,3}(?:$|\n)|\s[-–—]\s|[-–—]{2}|\s?[✓✔✅])"
)
_ABOUT = re.compile(r"(?:is|was|would be|could be|might be|may be|seems|says|and|or|refers|describes|states)\b(?!\s(?:the\s)?(?:correct|right|best))")
_CONCLUDES = re.compile(
    r"\s*(?:[*_>#-]{0,4}\s?)(?:so|therefore|thus|hence|in conclusion|in summary|to conclude|consequently|in total|overall|"
    r"this means|that means|finally|altogether|as a result|accordingly|daher|also|somit|folglich|donc|ainsi|por (?:lo )?tanto|"
    r"portanto|logo|quindi|pertanto|dus|zatem|więc|следовательно|значит|итак|因此|所以|综上|故|したがって|よって|따라서|그러므로)"
    r"(?![\w])[\s,:]*(?:the\s\w+\s(?:is|are)\s(?=\())?",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:not|n't|cannot|can't|no|could|may|might|maybe|possibly|perhaps|if|unless|either|or|but|however|except|never|let|need|"
    r"should|would|first|next|wrong|incorrect|assume|suppose|consider|try|check|neither|nor|eliminat\w+|rule)\b|isn't|doesn't|don't"
)
_BOLD = re.compile(r"\*\*([^*\n]{1,120})\*\*|__([^_\n]{1,120})__")
_NO_NAME = re.compile(
    r"\b(?:i|i'm|we|you|let|let's|is|are|was|were|be|been|need|needs|think|know|sorry|sure|here|please|okay|ok|hello|hi|thanks|"
    r"thank|have|has|had|will|would|can|can't|cannot|could|should|must|do|does|did|don't|step|steps|first|solution|answer|"
    r"calculate|find|solve|consider|given|because|therefore|thus|so|hence|since|then|not|unable|unknown|unclear|undetermined|"
    r"explanation|reasoning|analysis|approach|what|why|how|which|who|where|when|maybe|perhaps|hmm|wait|well|this|that|it|"
    r"it's|there|done|continue|understood|certainly|absolutely|great|question|nothing|error|n/a|none|null|undefined|nan|ich|wir|"
    r"lassen|je|nous|no idea|say|says|said|gets|makes|made|equals|means|depends|refuse|skip|pass|todo|tbd|see|ready)\b|[?]|:\s*$|\.\.\.$|…$"
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


def letter(page: Page, start: int, end: int, options: Options) -> Picked:
    """The letter at the beginning or the end of a response in which no other option is listed."""
    listed = {m[1].upper() for m in _listed(page.clear, start, end)}
    first = _line_letter(page, start, _line_end(page.clear, start, end), end, options)
    last = _last_line(page.clear, start, end)
    if last is None:
        return None
    alone = last[0] > start and _is_lone(page.clear, *last)
    found = _line_letter(page, last[0], last[1], end, options) if last[0] > start else None
    if first is not None and not (listed - {first.text}):
        contradicted = alone and found is not None and found.text != first.text
        return first._replace(unclear=True) if contradicted else first
    if found is None or (not alone and _follows_list(listed, found.text)):
        return None
    if alone:
        return found
    whole = page.clear[last[0] : last[1]]
    own = normalised(options.texts[LETTERS.index(found.text)])
    behind = normalised(re.sub(r"^[\s(*_\"'`$]*(?:option\s)?[A-Za-z][)*_.:\"'`\s-]*", "", whole, flags=re.IGNORECASE))
    told = behind == own or bool(own) and behind.startswith(own) and len(behind) < len(own) + 12
    return found if told and not (listed - {found.text}) else None


def _is_lone(clear: str, line: int, line_end: int) -> bool:
    """Whether a line holds a letter and its marks only."""
    said = re.sub(r"[\s*_\"'`$()\[\]{}.:,;!\\]|text|boxed|option|choice|answer", "", clear[line : min(line_end, line + 80)].lower())
    return len(said) <= 1 and line_end - line < 80


def _follows_list(listed: set[str], found: str) -> bool:
    """Whether a letter at the end is the last entry of a list of options."""
    return found != "A" and found in listed and LETTERS[LETTERS.index(found) - 1] in listed


def _listed(clear: str, start: int, end: int) -> list[re.Match[str]]:
    return list(_LISTED.finditer(clear, start, min(end, start + 20000)))


def _line_end(clear: str, start: int, end: int) -> int:
    at = start
    while at < end and clear[at].isspace():
        at += 1
    line = clear.find("\n", at, end)
    return end if line < 0 else line


def _last_line(clear: str, start: int, end: int) -> tuple[int, int] | None:
    """The last line that holds more than marks."""
    for _ in range(6):
        while end > start and clear[end - 1].isspace():
            end -= 1
        if end <= start:
            return None
        line = max(clear.rfind("\n", start, end) + 1, start)
        if not marks.is_blank(clear[line:end]):
            return line, end
        end = line
    return None


def _line_letter(page: Page, line: int, line_end: int, end: int, options: Options) -> Piece | None:
    match = _FIRST_LETTER.match(page.clear, line, line_end)
    if match and ord(match[1]) > 127:
        return options.pick(page, line, line_end, "letter")
    if not match or ord(match[1].upper()) - 65 >= len(options.texts):
        return None
    if match[1] == "A" and re.search(r"(?<!\w)\(?B\)", page.clear[match.end() : line_end]):
        return None  # the options, one after another
    rest = page.clear[match.end() : line_end].strip()
    named, at = match[1], match.start(1)
    own = options.texts[ord(named.upper()) - 65]
    if page.clear[match.end(1) : match.end(1) + 1] == ":" and named == "A":  # perhaps the label of an answer
        return options.by_text(page, match.end(), line_end, "whole")
    about = rest[len(own) + rest.lower().find(own.lower()) :] if 0 <= rest.lower().find(own.lower()) < 4 else rest
    if _ABOUT.match(about.lstrip(" ,.\"'*")):
        return None
    if named.islower() and rest and not rest.lower().startswith(own.lower()[:20]) and match[0][-1] not in ").":
        return None
    if page.clear[match.end(1) : match.end(1) + 1] == "," and named in "AI" and not options.by_text(page, match.end(), line_end, ""):
        return None
    picked = options.pick(page, line, max(line_end, match.end()), "letter")
    if picked is None or picked.unclear:
        return None
    return picked if picked.text == named.upper() and ":" not in picked.rule else Piece(named.upper(), at, at + 1, "letter")


def option_text(page: Page, start: int, end: int, options: Options) -> Picked:
    """A response that is the text of one option, or whose last line is, or whose conclusion holds one."""
    first = _line_end(page.clear, start, end)
    last = _last_line(page.clear, start, end)
    if last is None:
        return None
    if first >= last[1] and last[1] - start < 400:
        whole = options._whole(page, *marks.narrow(page.clear, start, end), "whole")  # noqa: SLF001 - one concern
        if whole:
            return whole
    bold = _lone_bold(page, *last)
    if bold is not None and (named := options._whole(page, *bold, "bold")):  # noqa: SLF001
        return named
    sentence = _conclusion(page, *last)
    if sentence is None:
        return None
    picked = options.pick(page, *sentence, "conclusion")
    if picked is not None and ":" not in picked.rule:
        return picked
    if _HEDGE.search(page.lower, sentence[0], sentence[1]):
        return None
    return picked if picked is not None and not picked.unclear else None


def _conclusion(page: Page, line: int, line_end: int) -> tuple[int, int] | None:
    """The last sentence of a line, if it is whole and says that it concludes; its opening word taken off."""
    if page.clear[line_end - 1] not in ".!。$)*\"`}" and not page.clear[line_end - 1].isalnum():
        return None
    at = line
    for _ in range(40):
        stop = sentences.end_of(page.clear, at, line_end)
        if stop >= line_end or not page.clear[stop + 1 : line_end].strip(" *_\"')$"):
            break
        at = stop + 1
    opened = _CONCLUDES.match(page.clear, at, line_end)
    if not opened or page.clear[line_end - 1] not in ".!。*":
        short = opened and line_end - opened.end() <= 8
        return (opened.end(), line_end) if opened and short else None
    return opened.end(), line_end


def _lone_bold(page: Page, line: int, line_end: int) -> tuple[int, int] | None:
    """What is bold on a line, if one thing is, and the line is nothing else or concludes."""
    found = list(_BOLD.finditer(page.clear, line, line_end))
    if len(found) != 1:
        return None
    match = found[0]
    group = 1 if match[1] is not None else 2
    outside = (page.clear[line : match.start()] + page.clear[match.end() : line_end]).strip(" .:!>#-")
    if outside and not _CONCLUDES.match(page.clear, line, line_end):
        return None
    if match[group].rstrip().endswith(":"):
        return None
    return marks.narrow(page.clear, match.start(group), match.end(group))


def bold(page: Page, start: int, end: int) -> Piece | None:
    """The one bold text of the last line, where the line is nothing else or concludes."""
    last = _last_line(page.clear, start, end)
    place = _lone_bold(page, *last) if last else None
    if place is None or page.lower.startswith(("step", "note", "case"), place[0]):
        return None
    found = numbers.result(page, marks.piece(page, *place, "bold"))
    if found is None or (not numbers.is_value(found.text) and (_NO_NAME.search(found.text.lower()) or len(found.text.split()) > 8)):
        return None
    return found


def conclusion(page: Page, start: int, end: int) -> Piece | None:
    """The one number of a concluding sentence, for questions whose answer is a number."""
    last = _last_line(page.clear, start, end)
    place = _conclusion(page, *last) if last else None
    if place is None or page.clear[place[1] - 1] not in ".!。*" or _HEDGE.search(page.lower, *place):
        return None
    whole = marks.piece(page, *place, "conclusion")
    found = numbers.only(page, whole) if whole else None
    return found if found is not None and numbers.is_value(found.text) else None


def bare(page: Page, start: int, end: int) -> Piece | None:
    """A response of a few words that is no sentence: the answer and nothing else."""
    last = _last_line(page.clear, start, end)
    if last is None or page.clear[start : last[0]].strip() or last[1] - last[0] > 200:
        return None
    line = page.clear[last[0] : last[1]]
    if line.startswith("#") or line.rstrip("*_ ").endswith(":"):
        return None  # a heading
    found = numbers.result(page, marks.piece(page, *last, "whole"))
    if found is None or not re.search(r"[^\W_]|[∅∞]", re.sub(r"\\(?:boxed|fbox|text)", "", found.text)):
        return None
    if numbers.is_value(found.text):
        return found
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", re.sub(r"\\[A-Za-z]+", "", found.text))
    lower = found.text.lower()
    if len(words) > 8 or _NO_NAME.search(lower) or len(sentences_of(page, found)) > 1 or marks.is_placeholder(found.text):
        return None
    return found


def sentences_of(page: Page, found: Piece) -> list[int]:
    """Where the sentences of a piece end, two at most."""
    stop = sentences.end_of(page.clear, found.start, found.end)
    return [stop] if stop >= found.end else [stop, found.end]
