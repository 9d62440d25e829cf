"""Thought and answer taken apart: `split`, used by every endpoint when an answer arrives.

A server gives the thought in a field of its own (`reasoning_content`; vLLM and OpenRouter say `reasoning`), or leaves
it in the text between tags (`<think>...</think>`). In the text, a thought is

- a block at the start, after blanks; several blocks one after another are joined by an empty line;
- what stands before a closing tag that nothing opened, where the chat template had opened it already. It is the FIRST
  such tag: a model ends its thought once, and may write about the tag in its answer. A tag inside code (between
  backquotes, in a fence) is quoted, and one behind an opening tag belongs to a pair that the answer quotes: neither
  ends a thought.

Nothing after a block at the start is looked at, so an answer may quote any tag. A block that is not closed is a thought
that was cut: there is no answer, the text is empty. Blanks at the seams (around a thought, before the answer) are
taken off and nothing else; a text without tags comes back as it is.

Not covered: a thought that mentions its own closing tag outside of code, and thoughts in the middle of an answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from promptmill.errors import ConfigError
from promptmill.records import Finish

FENCE = "```"
_BLANKS = re.compile(r"\s*")
THINK_TAGS = ("<think>", "</think>")


class Split(NamedTuple):
    """An answer in its parts.

    Attributes:
        text: the answer.
        reasoning: the thought; "" for an empty block, None where there was none.
        closed: False when the text ended inside a thought.
    """

    text: str
    reasoning: str | None
    closed: bool


def split(text: str, *, given: str | None, tags: Sequence[tuple[str, str]]) -> Split:
    """Take the thought out of a text, unless the server gave it apart.

    Args:
        text: what the server calls the text.
        given: the thought, where the server gave it in a field of its own.
        tags: pairs that open and close a thought; none leaves the text alone.
    """
    if given:
        return Split(text, given, closed=True)
    for opening, closing in tags:  # most answers hold no tag: to look for one character costs a twentieth
        if (opening[0] in text and opening in text) or (closing[0] in text and closing in text):
            return _split(text, tags)
    return Split(text, None, closed=True)


def _split(text: str, tags: Sequence[tuple[str, str]]) -> Split:
    # by positions, not by cutting the rest off: a hostile text of many tags must not cost its square
    thoughts: list[str] = []
    at = _after_blanks(text, 0)
    if not _opened(text, at, tags):
        orphan = _orphan(text, tags)
        if orphan is None:
            return Split(text, None, closed=True)
        start, end = orphan
        thoughts.append(text[:start].strip())
        at = _after_blanks(text, end)
    while pair := _opened(text, at, tags):
        begin = at + len(pair[0])
        end = text.find(pair[1], begin)
        thoughts.append(text[begin : end if end >= 0 else None].strip())
        if end < 0:
            return Split("", _joined(thoughts), closed=False)
        at = _after_blanks(text, end + len(pair[1]))
    return Split(text[at:], _joined(thoughts), closed=True)


def finish_after(finish: Finish, *, closed: bool) -> Finish:
    """The finish of an answer: one that ended inside a thought was cut, whatever the server says.

    `filter` and `tool` stay: they are no answer either, and say why.
    """
    return "length" if not closed and finish == "stop" else finish


def pairs_of(think_tags: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The option `think_tags` as pairs.

    Raises:
        ConfigError: an odd number of tags, or an empty one.
    """
    if len(think_tags) % 2 or not all(tag.strip() for tag in think_tags):
        raise ConfigError(
            f'think_tags: {list(think_tags)} are no pairs. Give opening and closing tags in turn, such as ["<think>", '
            '"</think>"], or an empty list.'
        )
    return tuple(zip(think_tags[::2], think_tags[1::2], strict=True))


def _after_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _opened(text: str, at: int, tags: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The pair whose opening tag stands at a place."""
    return next((pair for pair in tags if text.startswith(pair[0], at)), None)


def _orphan(text: str, tags: Sequence[tuple[str, str]]) -> tuple[int, int] | None:
    """Where the first closing tag stands that nothing opened and no code quotes."""
    found = [(_closing(text, *pair), len(pair[1])) for pair in tags if pair[1] in text]
    ends = [(at, at + length) for at, length in found if at is not None]
    return min(ends, default=None)


def _closing(text: str, opening: str, closing: str) -> int | None:
    opened = text.find(opening)
    before = fences = quotes = 0
    at = text.find(closing)
    while at >= 0 and not 0 <= opened < at:
        piece = text[before:at]
        fences += piece.count(FENCE)
        *lines, last = piece.rsplit("\n", 1)
        quotes = (0 if lines else quotes) + last.replace(FENCE, "").count("`")
        if fences % 2 == 0 and quotes % 2 == 0:
            return at
        before = at + len(closing)
        at = text.find(closing, before)
    return None


def _joined(thoughts: Sequence[str]) -> str:
    return "\n\n".join(filter(None, thoughts))
