r"""Answers in `\boxed{...}` and `\fbox{...}`: the last one, braces counted to any depth.

One pass over the braces pairs each box with its end, so a megabyte of open braces costs its length and not its square.
A box that is not closed ends at its line, its dollar sign or the next tag, unless a group inside it is open too: then
the text was cut in the middle of an answer, and there is none. Several boxes that only commas and `and` part are one
answer, `3, -2`. Boxes in a box give way to their content.

Not covered: what a box holds; a placeholder (`\boxed{...}`) is passed over by `last`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from promptmill.derive.answers import marks
from promptmill.derive.answers.page import Page, Piece

# what all of them share comes first: a pattern that begins with plain letters is looked for at the speed of a string
_OX = re.compile(r"ox(ed)?\s{0,2}(\{)?")
# a file read with the wrong escapes turns `\b` into a backspace, and `\f` into a form feed
_BEFORE = re.compile(r"(?:(?<![A-Za-z])|(?<=[\\\x08\x0c]))(\\*|[\x08\x0c])(b|fb|frameb|)$")
_TOKENS = re.compile(r"\\[{}]|[{}]")
_UNCLOSED = re.compile(r"\n|\$|<|\\\)|\\\]")
_MOST = 1000
_LONGEST_OPEN = 500
_BETWEEN = re.compile(
    r"(?:\s|[$,;&]|[A-Za-z](?:_\{?\d\}?)?\s?=|\\(?:[()\[\],;! ]|quad|qquad|text\s?\{\s?(?:and|or|"
    r",)\s?\}|cup|lor|vee)|\b(?:and|or|und|"
    r"oder|et|ou|y|o)\b)"
    r"{0,12}"
)
_DISPLAY_ENDS = ("\\]", "$$")
_SPACED = re.compile(r"\$?\s{0,2}([^\s$.,;{}\\]{1,20})")


class Box(NamedTuple):
    """One box: where its mark begins, its content stands, and all of it ends."""

    mark: int
    start: int
    end: int
    after: int


def boxes(clear: str, start: int = 0, end: int | None = None) -> list[Box]:
    """All outermost boxes between two places, in order."""
    end = len(clear) if end is None else end
    if clear.find("box", start, end) < 0 and clear.find("oxed", start, end) < 0:
        return []
    found: list[Box] = []
    openings = [mark for m in _OX.finditer(clear, start, end) if (mark := _opening(clear, m, start))][-_MOST:]
    if not openings:
        return []
    closed = _closings(clear, openings[0].mark, end)
    behind = -1
    for opening in openings:
        if opening.mark < behind:
            continue  # a box in a box
        box = _box(clear, opening, closed, end)
        if box is not None:
            found.append(box)
            behind = box.after
    return found


def last(page: Page, start: int = 0, end: int | None = None, *, rule: str = "boxed") -> Piece | None:
    """The answer of the last box, or of the last chain of boxes; placeholders are passed over."""
    end = len(page.clear) if end is None else end
    found = boxes(page.clear, start, end)
    while found:
        box = found.pop()
        content = page.clear[box.start : box.end]
        if (marks.is_blank(content) and not re.search(r"[<>=+-]", content)) or marks.is_placeholder(content):
            continue
        first = _first_of_chain(page.clear, found, box)
        chain = [*(b for b in found if b.mark >= first), box]
        if joined := _joined(page, chain, rule):
            return joined
    return None


def unwrapped(text: str) -> str:
    """A text whose boxes gave way to their content."""
    for _ in range(4):
        inside = boxes(text)
        if not inside:
            break
        parts: list[str] = []
        at = 0
        for box in inside:
            parts += (text[at : box.mark], text[box.start : box.end])
            at = box.after
        text = "".join((*parts, text[at:]))
    return text


class _Opening(NamedTuple):
    """Where the mark of a box begins and ends, and whether a brace ends it."""

    mark: int
    end: int
    braced: bool


def _opening(clear: str, match: re.Match[str], start: int) -> _Opening | None:
    """The mark of a box around the letters that all of them share; None for other words."""
    head = max(start, match.start() - 12)
    before = _BEFORE.search(clear[head : match.start()])
    if before is None:
        return None
    escaped, name, long, braced = before[1], before[2], match[1] is not None, match[2] is not None
    if braced:
        is_box = (name == "b" and long) or (bool(escaped) and (name != "" or (long and escaped == "\x08")))
    else:
        is_box = escaped.startswith("\\") and ((name == "b" and long) or name == "fb")
    return _Opening(head + before.start(1), match.end(), braced) if is_box else None


def _closings(clear: str, start: int, end: int) -> dict[int, int]:
    """Where each brace that opens is closed."""
    closed: dict[int, int] = {}
    open_: list[int] = []
    for token in _TOKENS.finditer(clear, start, end):
        if token[0] == "{":
            open_.append(token.start())
        elif token[0] == "}" and open_:
            closed[open_.pop()] = token.start()
    return closed


def _box(clear: str, opening: _Opening, closed: dict[int, int], end: int) -> Box | None:
    if not opening.braced:
        spaced = _SPACED.match(clear, opening.end, end)
        return Box(opening.mark, spaced.start(1), spaced.end(1), spaced.end()) if spaced else None
    start = opening.end
    close = closed.get(start - 1)
    if close is not None:
        return Box(opening.mark, start, close, close + 1)
    end = min(end, start + _LONGEST_OPEN)
    stop = _UNCLOSED.search(clear, start, end)
    until = stop.start() if stop else end
    inside = sum(1 if t[0] == "{" else -1 if t[0] == "}" else 0 for t in _TOKENS.finditer(clear, start, until))
    return None if inside > 0 else Box(opening.mark, start, until, until)


def _first_of_chain(clear: str, before: list[Box], box: Box) -> int:
    """Where the first of the boxes begins that nothing but commas and `and` part from this one."""
    first = box
    for earlier in reversed(before[-11:]):
        between = _BETWEEN.match(clear, earlier.after, first.mark)
        if not between or between.end() != first.mark or clear.count("\n", earlier.after, first.mark) > 1:
            break
        gap = clear[earlier.after : first.mark]
        if not gap.strip(" \n$\\()[]") or gap.lstrip(" .,\n").startswith(_DISPLAY_ENDS):
            break  # side by side without a word, or equations of their own: given twice, or two attempts
        first = earlier
    return first.mark


def _last_step(page: Page, box: Box, rule: str) -> Piece | None:
    r"""The inner box of `\boxed{288 + 65 = \boxed{353}}`."""
    inside = boxes(page.clear, box.start, box.end)
    if not inside or not page.clear[box.start : inside[-1].mark].rstrip().endswith("="):
        return None
    return marks.piece(page, inside[-1].start, inside[-1].end, rule)


def _joined(page: Page, chain: list[Box], rule: str) -> Piece | None:
    single = [marks.piece(page, box.start, box.end, rule) for box in chain]
    pieces = [p for p in single if p is not None]
    if not pieces:
        return None
    if len(pieces) == 1 and (inner := _last_step(page, chain[0], rule)) is not None:
        return inner
    texts = list(dict.fromkeys(unwrapped(p.text) if "ox" in p.text else p.text for p in pieces))
    texts = [text.strip() for text in texts if not marks.is_blank(text) or text in marks.SIGNS]
    return None if not texts else Piece(", ".join(texts), pieces[0].start, pieces[-1].end, rule)
