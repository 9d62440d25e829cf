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

# a file read with the wrong escapes turns `\b` into a backspace, and `\f` into a form feed
_BOX = re.compile(r"(?:\\+|[\x08\x0c])?(?<![A-Za-z])(?:boxed|fbox|framebox|oxed(?=\{)|box(?=\{))\s{0,2}(\{)?")
_TOKENS = re.compile(r"\\[{}]|[{}]")
_UNCLOSED = re.compile(r"\n|\$|<|\\\)|\\\]")
_BETWEEN = re.compile(
    r"(?:\s|[$,;&]|\\(?:[()\[\],;! ]|quad|qquad|text\s?\{\s?(?:and|or|,)\s?\}|cup|lor|vee)|\b(?:and|or|und|oder|et|ou|y|o)\b)"
    r"{0,12}"
)
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
    matches = [m for m in _BOX.finditer(clear, start, end) if _is_box(m)]
    if not matches:
        return []
    closed = _closings(clear, matches[0].start(), end)
    behind = -1
    for match in matches:
        if match.start() < behind:
            continue  # a box in a box
        box = _box(clear, match, closed, end)
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
        if marks.is_blank(content) and not re.search(r"[<>=+-]", content) or marks.is_placeholder(content):
            continue
        first = _first_of_chain(page.clear, found, box)
        chain = [*(b for b in found if b.mark >= first), box]
        return _joined(page, chain, rule)
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


def _is_box(match: re.Match[str]) -> bool:
    word = match[0]
    if match[1]:
        return "boxed" in word or word[0] in "\\\x08\x0c"
    return word.startswith("\\boxed") or word.startswith("\\fbox")


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


def _box(clear: str, match: re.Match[str], closed: dict[int, int], end: int) -> Box | None:
    if not match[1]:
        spaced = _SPACED.match(clear, match.end(), end)
        return Box(match.start(), spaced.start(1), spaced.end(1), spaced.end()) if spaced else None
    start = match.end()
    close = closed.get(start - 1)
    if close is not None:
        return Box(match.start(), start, close, close + 1)
    stop = _UNCLOSED.search(clear, start, end)
    until = min(stop.start() if stop else end, start + 2000)
    inside = sum(1 if t[0] == "{" else -1 if t[0] == "}" else 0 for t in _TOKENS.finditer(clear, start, until))
    return None if inside > 0 else Box(match.start(), start, until, until)


def _first_of_chain(clear: str, before: list[Box], box: Box) -> int:
    """Where the first of the boxes begins that nothing but commas and `and` part from this one."""
    first = box
    for earlier in reversed(before[-11:]):
        between = _BETWEEN.match(clear, earlier.after, first.mark)
        if not between or between.end() != first.mark or clear.count("\n", earlier.after, first.mark) > 1:
            break
        if not clear[earlier.after : first.mark].strip(" \n$\\()[]"):
            break  # side by side without a word: the same answer given twice, or two attempts
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
    return Piece(", ".join(texts), pieces[0].start, pieces[-1].end, rule)
