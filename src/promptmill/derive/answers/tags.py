r"""Answers between tags: `<answer>C</answer>`, `<answer>\boxed{42}</answer>`, the last one that says something.

An example of the prompt that the response repeats (`<answer>\boxed{...}</answer>`, "put it in <answer> tags") is passed
over. A tag that is not closed ends at the next tag or at its paragraph. A closing tag alone closes what its line holds:
there the prompt had opened it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from promptmill.derive.answers import boxed, marks
from promptmill.derive.answers.page import Page

_TAG = re.compile(
    r"<\s{0,2}([/\\]?)\s{0,2}(?:(?:final[ _-]?)?(?:answer|ans|result|choice)|final)"
    r"(?:\s[\w-]{1,20}=[^<>\n]{0,40})?\s{0,2}(/?)\s{0,2}>|"
    r"\[(/?)(?:ANSWER|FINAL_ANSWER)\]|"
    r"<\|(begin|end)_of_(?:answer|solution)\|>",
    re.IGNORECASE,
)
_ECHO = re.compile(
    r"(?:example|for instance|e\.g\.|such as|\blike\b|\bformat|of the form|in the form|tags?\b|instruct|template|"
    r"should be|enclosed|looks? like|written as|put (?:it|the|your|my))[^\n]{0,40}$"
)
_EXAMPLE = re.compile(r"(?:\bexample|\be\.g\.|for instance)[\s:,*`\"'(]{0,4}\Z")
_LISTED = re.compile(r"</answer>(?: or | and |, or |, |/| / )\Z", re.IGNORECASE)
_MARKS_ONLY = re.compile(r"\\(?:boxed|fbox|text|mathrm|textbf)\s?(?![A-Za-z{])")
_IS_PROSE = re.compile(
    r"[\s*_#>]*(?:step\b|okay\b|ok,|let\b|let's\b|alright|first\b|we\s|to\s(?:find|solve|determine|get)|so,|"
    r"the problem|i\s(?!\W)|here\b|"
    r"in order|given\b|since\b|now\b|using\b|sure\b|[^\n]{120}|[^\n]*:[\s*_]*$)",
    re.IGNORECASE,
)
_MOST = 200


class Tagged(NamedTuple):
    """What stands between two tags.

    Attributes:
        start: where it begins.
        end: where it ends.
        closed: whether a closing tag ends it.
        echo: whether the words before it speak of a form or an example.
    """

    start: int
    end: int
    closed: bool
    echo: bool


def contents(page: Page, start: int, end: int) -> Iterator[Tagged]:
    """What stands in answer tags and is no placeholder, the last first."""
    if (
        page.lower.find("ans", start, end) < 0
        and page.lower.find("_of_s", start, end) < 0
        and not any(tag in page.lower for tag in ("<final>", "<result>", "<choice>", "_result>"))
    ):
        return
    first = min(
        (at for at in (page.clear.find("<", start, end), page.clear.find("[", start, end)) if at >= 0), default=end
    )
    found = [m for m in _TAG.finditer(page.clear, first, end) if not _quoted(page.clear, m)]
    for index in range(len(found) - 1, max(len(found) - _MOST, 0) - 1, -1):
        tagged = _content(page, found, index, (start, end))
        if tagged is not None and not _says_nothing(page.clear, tagged) and not _is_example(page, tagged):
            yield tagged


def _content(page: Page, found: list[re.Match[str]], index: int, within: tuple[int, int]) -> Tagged | None:
    tag = found[index]
    if _closes(tag):
        if index and not _closes(found[index - 1]):
            return None  # its opening tag speaks for it
        line = page.clear.rfind("\n", within[0], tag.start()) + 1
        before = max(found[index - 1].end() if index else within[0], line)
        alone = tag.start() - before < 200 and not page.clear[tag.end() : tag.end() + 200].strip()
        return Tagged(before, tag.start(), closed=True, echo=False) if alone and not index else None
    begin = tag.end()
    follows = found[index + 1] if index + 1 < len(found) else None
    head = page.lower[max(within[0], tag.start() - 70) : tag.start()]
    echo = _ECHO.search(head[head.rfind("\n") + 1 :]) is not None
    if follows is not None and _closes(follows):
        return Tagged(begin, follows.start(), closed=True, echo=echo)
    until = follows.start() if follows is not None else within[1]
    return Tagged(begin, _paragraph(page, begin, until), closed=False, echo=echo)


def _paragraph(page: Page, begin: int, until: int) -> int:
    """Where the answer in an open tag ends: with its box, or its first line that says something."""
    at = begin
    while at < until and page.clear[at].isspace():
        at += 1
    inside = boxed.boxes(page.clear, at, min(until, at + 4000))
    line = page.clear.find("\n", at, until)
    line = until if line < 0 else line
    if inside and inside[0].mark < max(line, at + 40):
        return max(inside[0].after, min(until, line)) if inside[0].after <= line else inside[0].after
    if page.clear.startswith(("$$", "\\["), at):
        close = page.clear.find("$$" if page.clear[at] == "$" else "\\]", at + 2, until)
        return until if close < 0 else close + 2
    return line


def _is_example(page: Page, tagged: Tagged) -> bool:
    """Whether the word before a tag says that it is an example."""
    tag = page.clear.rfind("<", 0, tagged.start)
    return _EXAMPLE.search(page.lower, max(0, tag - 24), max(0, tag)) is not None


def is_listed(page: Page, tagged: Tagged) -> bool:
    """Whether a tag is the last of several on its line that a comma or `or` parts: forms or alternatives."""
    tag = page.clear.rfind("<", 0, tagged.start)
    return tag > 0 and _LISTED.search(page.clear, max(0, tag - 24), tag) is not None


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag[1] or tag[2] or tag[3]) or (tag[4] or "").lower() == "end"


def _quoted(clear: str, tag: re.Match[str]) -> bool:
    return clear[tag.end() : tag.end() + 1] == "`" and tag.start() > 0 and clear[tag.start() - 1] == "`"


def _says_nothing(clear: str, tagged: Tagged) -> bool:
    content = clear[tagged.start : tagged.end]
    if len(content) > 400:
        return False
    content = boxed.unwrapped(content) if "box" in content or "oxed" in content else content
    content = _MARKS_ONLY.sub("", content)
    if not tagged.closed and "box" not in content and _IS_PROSE.match(content):
        return True
    if marks.is_blank(content) and not re.search(r"[<>=+]|\w", content):
        return True
    return marks.is_placeholder(content)
