"""Lines of a response: the first, the last, and what the last one says when it concludes.

Places only: what stands there is read elsewhere.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import marks, sentences
from promptmill.derive.answers.page import Page

CONCLUDES = re.compile(
    r"\s*(?:[*_>#-]{0,4}\s?)(?:so|therefore|thus|hence|in conclusion|in summary|to conclude|consequently|"
    r"in total|overall|"
    r"this means|that means|finally|altogether|as a result|accordingly|daher|also|somit|folglich|donc|ainsi|"
    r"por (?:lo )?tanto|"
    r"portanto|logo|quindi|pertanto|dus|zatem|więc|следовательно|значит|итак|因此|所以|综上|故|したがって|よって|따라서|그러므로)"
    r"(?![\w])[\s,:]*(?:the\s\w+\s(?:is|are)\s(?=\())?",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,120})\*\*|__([^_\n]{1,120})__")
_CLOSER = re.compile(
    r"[\s*_>]*(?:let me know|i hope|hope (?:this|that)|feel free|please (?:let|feel|note that i)|"
    r"if you (?:have|need|want|would|'d)|"
    r"would you like|do you (?:have|want|need)|happy to|is there anything|thank|good luck|great (?:job|question)|"
    r"anything else|"
    r"enjoy)\b[^\d\n]*$",
    re.IGNORECASE,
)
_LONGEST = 3000
HEDGE = re.compile(
    r"\b(?:not|n't|cannot|can't|no|could|may|might|maybe|possibly|perhaps|if|unless|either|or|but|however|except|never|let|need|"
    r"should|would|first|next|wrong|incorrect|assume|suppose|consider|try|check|neither|nor|eliminat\w+|rule|doubt|unlikely|(?:start|begin)\swith)\b|isn't|doesn't|don't"
)
"""Words of a sentence that does not commit itself, or is a step on the way."""


def first_end(clear: str, start: int, end: int) -> int:
    """Where the first line that says something ends."""
    at = start
    while at < end and clear[at].isspace():
        at += 1
    line = clear.find("\n", at, end)
    return end if line < 0 else line


def last(clear: str, start: int, end: int) -> tuple[int, int] | None:
    """The last line that holds more than marks and says more than a good-bye."""
    for _ in range(6):
        while end > start and clear[end - 1].isspace():
            end -= 1
        if end <= start:
            return None
        line = max(clear.rfind("\n", start, end) + 1, start)
        sentence = max(clear.rfind(". ", line, end), clear.rfind("! ", line, end), clear.rfind("? ", line, end)) + 1
        if sentence > 0 and _CLOSER.match(clear, sentence, end):
            end = sentence
            continue
        if not marks.is_blank(clear[line:end]) and not (_CLOSER.match(clear, line, end) and clear[start:line].strip()):
            return line, end
        end = line
    return None


def conclusion(page: Page, line: int, line_end: int) -> tuple[int, int] | None:
    """The last sentence of a line, if it is whole and says that it concludes; its opening word taken off."""
    if page.clear[line_end - 1] not in '.!。$)*"`}' and not page.clear[line_end - 1].isalnum():
        return None
    at, _ = last_sentence(page.clear, line, line_end)
    opened = CONCLUDES.match(page.clear, at, line_end)
    if not opened or page.clear[line_end - 1] not in ".!。*":
        short = opened and line_end - opened.end() <= 8
        return (opened.end(), line_end) if opened and short else None
    return opened.end(), line_end


def last_sentence(clear: str, line: int, line_end: int) -> tuple[int, int]:
    """The last sentence of a line."""
    at = max(line, line_end - _LONGEST)
    for _ in range(40):
        stop = sentences.end_of(clear, at, line_end)
        if stop >= line_end or not clear[stop + 1 : line_end].strip(" *_\"')$"):
            break
        at = stop + 1
    return at, line_end


def lone_bold(page: Page, line: int, line_end: int, *, alone: bool = True) -> tuple[int, int] | None:
    """What is bold on a line, if one thing is; where it must be `alone`, the line is nothing else or concludes."""
    found = list(_BOLD.finditer(page.clear, line, line_end))
    if len(found) != 1:
        return None
    match = found[0]
    group = 1 if match[1] is not None else 2
    outside = (page.clear[line : match.start()] + page.clear[match.end() : line_end]).strip(" .:!>#-")
    if alone and outside and not CONCLUDES.match(page.clear, line, line_end):
        return None
    if match[group].rstrip().endswith(":"):
        return None
    return marks.narrow(page.clear, match.start(group), match.end(group))
