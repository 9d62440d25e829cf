"""A response made ready for reading: thoughts blanked, wide characters folded, places unchanged.

`Page.clear` has the length of the response, so a place found in it is a place in the response. Blanked are

- thoughts: `<think>...</think>` and its relatives, several of them, everything before a closing tag that nothing
  opened;
- what is struck through, `~~B~~`;
- in the channel format of gpt-oss, everything before the last final message, also where its marks were taken out.

A thought that is opened and never closed means that there is no answer: `read` gives None. Tags between backquotes
are talked about, not used. Folded one to one are full-width letters, digits and signs, other scripts' digits,
typographic quotes and blanks.

Not covered: thoughts marked in prose ("Thinking: ...").
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

_STRICT = "think|thinking|thought|thoughts|seed:think"
_LOOSE = "reasoning|scratchpad|reflection|inner_monologue"  # words of prompts, not of models: one may stay open
_TAG = re.compile(
    rf"<(/?)({_STRICT}|{_LOOSE})(?:\s[^<>\n]{{0,80}})?>"
    r"|\[(/?)(THINK)\]|◁(/?)(think)▷|<\|(begin|end)_of_(thought)\|>|(<\|channel>)thought\b|(<channel\|>)",
    re.IGNORECASE,
)
_HINTS = ("think", "thought", "channel", "reasoning", "scratchpad", "reflection", "monologue")
_FINAL = "<|channel|>final<|message|>"
_BARE_FINAL = "assistantfinal"  # what is left of the marks where special tokens were taken out
_CHANNEL = "<|channel|>"
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_STRUCK = re.compile(r"~~[^~\n]{1,200}~~")
_BLANK = "\n"


@dataclass(frozen=True)
class Page:
    """A response to be read.

    Attributes:
        text: the response as it came.
        clear: of the same length; what is not to be read is blank, wide characters are folded.
        lower: `clear` in lower case, of the same length.
    """

    text: str
    clear: str
    lower: str

    @cached_property
    def words(self) -> frozenset[str]:
        """Its words of the letters a to z, by which most pages are told not to hold a text without a search."""
        return _words(self.lower)


class Piece(NamedTuple):
    """What was found.

    Attributes:
        text: the answer.
        start: where it begins in the response.
        end: where it ends.
        rule: the rule that found it.
        unclear: what was said is no answer: several options, of which `text` is the first, or one that is not there.
    """

    text: str
    start: int
    end: int
    rule: str
    unclear: bool = False


def read(text: str) -> Page | None:
    """Make a response ready; None when it ended inside a thought."""
    clear = _without_thoughts(text)
    if clear is None:
        return None
    if "~~" in clear:
        clear = _STRUCK.sub(lambda struck: " " * len(struck[0]), clear)
    if not clear.isascii():
        clear = _NOT_ASCII.sub(_fold, clear)
    return Page(text, clear, lowered(clear))


class Hint(NamedTuple):
    """A plain text to look for, and a word of it by which most pages are told not to hold it."""

    text: str
    word: str


def hints(*texts: str) -> tuple[Hint, ...]:
    """Plain texts in lower case, ready to be looked for; one of the letters a to z must hold whole words."""
    return tuple(Hint(text, max(_words(text), key=len, default="") if text.isascii() else "") for text in texts)


def holds(page: Page, hint: Hint, start: int, end: int) -> bool:
    """Whether a text stands between two places."""
    if hint.word:
        return hint.word in page.words and page.lower.find(hint.text, start, end) >= 0
    return (hint.text.isascii() or not page.lower.isascii()) and page.lower.find(hint.text, start, end) >= 0


_LETTERS_ONLY = bytes(code if chr(code) in "abcdefghijklmnopqrstuvwxyz" else 32 for code in range(256))


def _words(lower: str) -> frozenset[str]:
    return frozenset(lower.encode("ascii", "replace").translate(_LETTERS_ONLY).decode("ascii").split())


def lowered(text: str) -> str:
    """The text in lower case, of the same length (a Turkish capital I with a dot becomes two characters)."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def folded(text: str) -> str:
    """An answer with wide letters and digits written narrow; without any it stays as it is."""
    if text.isascii() or not any(_is_wide(c) for c in text):
        return text
    return "".join(_narrow(c) for c in text)


def _is_wide(character: str) -> bool:
    return ("\uff10" <= character <= "\uff5a" and character.isalnum()) or (character > "\x7f" and character.isdecimal())


def _narrow(character: str) -> str:
    if "\uff01" <= character <= "\uff5e":
        return chr(ord(character) - 0xFEE0)
    if character in "٫٬":
        return "." if character == "٫" else ","
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


_FOLDS = {
    **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u200a\u200b\u202f\u3000\ufeff\u2060\u200e\u200f", " "),
    **dict.fromkeys("\u2018\u2019\u02bc", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\u300c\u300d\u300e\u300f", '"'),
    **dict.fromkeys("\u2212\ufe63", "-"),
    **dict.fromkeys("\u3010\u3014", "["),
    **dict.fromkeys("\u3011\u3015", "]"),
    "\u2028": "\n",
    "\u0085": "\n",
}  # fmt: skip


def _fold(match: re.Match[str]) -> str:
    character = match[0]
    return _FOLDS.get(character) or _narrow(character)


def _without_thoughts(text: str) -> str | None:
    if _CHANNEL in text:
        return _final_channel(text, _FINAL)
    if text.startswith(("analysis", "commentary")) and _BARE_FINAL in text:
        return _final_channel(text, _BARE_FINAL)
    lower = text.lower()
    if not any(hint in lower for hint in _HINTS):
        return text
    spans = _thoughts(text)
    if spans is None:
        return None
    parts: list[str] = []
    at = 0
    for start, end in spans:
        within = (
            end - start < 2000 and text[start - 1 : start] not in {"", "\n"} and text[end : end + 1] not in {"", "\n"}
        )
        parts += (text[at:start], (" " if within else _BLANK) * (end - start))
        at = end
    return "".join((*parts, text[at:]))


def _final_channel(text: str, mark: str) -> str | None:
    at = text.rfind(mark)
    if at < 0:
        return None
    at += len(mark)
    return _BLANK * at + text[at:]


def _thoughts(text: str) -> list[tuple[int, int]] | None:
    """Spans of thoughts and of stray tags; None when the last thought is open."""
    spans: list[tuple[int, int]] = []
    start, family, inner = -1, "", 0
    for tag in _TAG.finditer(text):
        if _quoted(text, tag):
            continue
        name, closes = _what(tag)
        if start < 0 and not closes:
            start, family, inner = tag.start(), name, 0
        elif start < 0:
            start, inner = _stray(spans, tag, inner)
        elif closes and name == family:
            spans.append((start, tag.end()))
            start = -1
        elif not closes and name == family:
            inner += 1
    if start >= 0:
        return None if family != "loose" else spans
    return spans


def _stray(spans: list[tuple[int, int]], tag: re.Match[str], inner: int) -> tuple[int, int]:
    """A closing tag that nothing opened: the first ends a thought, or it closes one that held another."""
    if not spans:
        spans.append((0, tag.end()))
    elif inner:
        spans[-1] = (spans[-1][0], tag.end())
        inner -= 1
    else:
        spans.append(tag.span())
    return -1, inner


def _what(tag: re.Match[str]) -> tuple[str, bool]:
    """The family of a tag and whether it closes."""
    if tag[2]:
        return ("loose" if re.fullmatch(_LOOSE, tag[2].lower()) else "think", bool(tag[1]))
    if tag[4]:
        return "bracket", bool(tag[3])
    if tag[6]:
        return "kimi", bool(tag[5])
    if tag[8]:
        return "marked", tag[7].lower() == "end"
    return "channel", bool(tag[10])


def _quoted(text: str, tag: re.Match[str]) -> bool:
    return text[tag.end() : tag.end() + 1] == "`" and text[max(tag.start() - 1, 0)] == "`"
