"""What a last sentence says that something is, in languages that do not say it with a verb between two blanks.

"加拿大的首都是渥太华。" "カナダの首都はオタワです。" "캐나다의 수도는 오타와입니다."
"Столица Канады — Оттава." `closing.predicate` does the same for languages that have one.

Not covered: sentences that say more than that, and those that deny or doubt.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import lines, marks
from promptmill.derive.answers.page import Page, Piece

_PATTERNS = (
    re.compile(r"[^是，,。？?]{1,40}(?<!不)是(?!否|不)\s?([^是，,。、；：:？?\s]{1,16})[。.]?"),
    re.compile(r"[^は。？?]{1,40}は、?\s?([^は、。？?]{1,24}?)\s?(?:です|である|だ|になります|でした)[。.]?"),
    re.compile(
        r"[^.?]{1,40}[은는이가]\s([^\s,.?]{1,20}(?:\s[^\s,.?]{1,12})?)(?:입니다|이다|이에요|예요|였습니다|이었습니다)[.]?"
    ),
    re.compile(r"[А-ЯЁІЇЄ][^—–.?\n]{1,60}\s[—–]\s(?:это\s)?([^—–,;:?\n]{1,40}?)\.?"),
    re.compile(r"[\u0900-\u0963\s]{1,60}\s([\u0900-\u0963\d]{1,20})\s(?:है|हैं|था|थी)[।.]?"),
)
_DENIES = re.compile(r"不|没|非|否|ない|ません|아닙|아니|\bне\b|नहीं|か。|か$|何|什么|誰|谁|무엇|누구")


def predicate(page: Page, start: int, end: int) -> Piece | None:
    """What the last sentence says that something is."""
    last = lines.last(page.clear, start, end)
    if last is None or page.lower.isascii():
        return None
    at, until = lines.last_sentence(page.clear, *last)
    if opened := lines.CONCLUDES.match(page.clear, at, until):
        at = opened.end()
    at += len(page.clear[at:until]) - len(page.clear[at:until].lstrip())
    said = page.clear[at:until]
    if len(said) > 120 or _DENIES.search(said):  # longer ones say more
        return None
    for pattern in _PATTERNS:
        if found := pattern.fullmatch(page.clear, at, until):
            return marks.piece(page, *found.span(1), "conclusion")
    return None
