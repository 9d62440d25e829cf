r"""Answers in JSON objects and in tables: `{"answer": "C"}`, `| Answer | C |`.

The key is looked for in the text, so that an object in a fence, in prose, cut short or written with single quotes is
read as well; the last one counts.

Worked example: `{"reasoning": "...", "final_answer": 42}` gives `42`.
"""

from __future__ import annotations

import re

from promptmill.derive.answers import marks
from promptmill.derive.answers.page import Page, Piece

_KEYS = (
    r"(?:final|correct|best|selected|chosen|predicted|model|my)?[ _-]?"
    r"(?:answer|answer[_ -](?:letter|choice|option)|choice|option|letter|antwort|respuesta|r[ée]ponse|"
    r"risposta|resposta|答案)"
)
_FIELD = re.compile(
    rf"""(["']){_KEYS}\1\s{{0,3}}:\s{{0,3}}(?:"((?:[^"\\\n]|\\.){{0,2000}})"|'((?:[^'\\\n]|\\.){{0,2000}})'"""
    r"|(-?\d[\d.,eE+-]{0,40}(?<![.,])|true|false)\s{0,3}(?=[,}\n\]]|$)|\[([^\[\]\n]{1,300})\])",
    re.IGNORECASE,
)
_CALL = re.compile(
    r"\b(?:Finish\[|(?:final_answer|submit(?:_answer)?|finish)\(\s?(?:answer\s?=\s?)?)[\"']?([^\[\]()\n\"']{1,200})[\"']?(?:\]|\))"
)
_MARKED = re.compile(r"""["']([A-Z])["']\s{0,3}:\s{0,3}([Tt]|[Ff])(?:rue|alse)\b""")
_HEADER = re.compile(r"^\s{0,3}\|.{0,300}\banswer\b.{0,300}\|\s{0,3}$", re.IGNORECASE | re.MULTILINE)
_RULER = re.compile(r"\s{0,3}\|?[\s:|-]{3,300}\|?\s{0,3}")


def field(page: Page) -> Piece | None:
    """The last answer field of a JSON object that says something."""
    found = _called(page)
    if ":" not in page.clear:
        return found
    for match in _FIELD.finditer(page.clear):
        group = next(number for number in (2, 3, 4, 5) if match[number] is not None)
        text = page.text[match.start(group) : match.end(group)]
        plain = text.replace('\\"', '"').replace("\\\\", "\\")
        if marks.is_blank(plain) or marks.is_placeholder(plain):
            continue
        piece = marks.piece(page, match.start(group), match.end(group), "json")
        if piece is not None:
            found = piece._replace(text=piece.text.replace('\\"', '"').replace("\\\\", "\\"))
    return found


def _called(page: Page) -> Piece | None:
    """What an agent hands in with its last call: `Finish[42]`, `final_answer("Paris")`."""
    if page.words.isdisjoint(("finish", "final", "submit")):
        return None
    calls = list(_CALL.finditer(page.clear))[-1:]
    return marks.piece(page, *calls[0].span(1), "json") if calls else None


def marked(page: Page, start: int, end: int) -> Piece | None:
    """The one letter that an object calls true: `{"A": false, "B": true, "C": false}`."""
    if page.lower.find("true", start, end) < 0 or page.lower.find("false", start, end) < 0:
        return None
    letters = list(_MARKED.finditer(page.clear, start, end))
    true = [match for match in letters if match[2] in "Tt"]
    return marks.piece(page, *true[0].span(1), "json") if len(true) == 1 and len(letters) > 1 else None


def cell(page: Page) -> Piece | None:
    """The cell under a heading `Answer`, in a table with one row."""
    header = _HEADER.search(page.clear) if "|" in page.clear else None
    if header is None:
        return None
    names = [name.strip(" *_`").lower() for name in header[0].strip().strip("|").split("|")]
    wanted = [i for i, name in enumerate(names) if name in {"answer", "final answer", "correct answer"}]
    lines = page.clear[header.end() + 1 : header.end() + 1500].split("\n")
    if len(wanted) != 1 or len(lines) < 2 or not _RULER.fullmatch(lines[0]):
        return None
    if len(lines) > 2 and lines[2].lstrip().startswith("|"):
        return None
    cells = lines[1].split("|")[1:]
    if not lines[1].lstrip().startswith("|") or wanted[0] >= len(cells):
        return None
    start = header.end() + 1 + len(lines[0]) + 1 + lines[1].index("|") + 1 + sum(len(c) + 1 for c in cells[: wanted[0]])
    return marks.piece(page, start, start + len(cells[wanted[0]]), "table")
