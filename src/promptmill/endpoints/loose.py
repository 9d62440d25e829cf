"""Answers that are not in the form they should have, and hold a text that was paid for all the same.

Read when strict reading fails, so it costs other answers nothing. What is odd is left out, or put right where it can
mean one thing alone: counts that are none (a text, a fraction, below zero) are not known; an odd `index` is the place
in the list; a `content` in parts is their text; half a surrogate pair becomes U+FFFD; NaN and control characters are
read as Python reads them. A body that is no JSON object with choices stays unreadable.

Not covered: what the fields mean (see `openai`).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeGuard

import msgspec

MOST = 1 << 53  # a count above it is none; every format can hold those below
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]


def is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a number of tokens."""
    return type(value) is int and 0 <= value <= MOST


def mended(body: bytes) -> bytes | None:
    """The part of an answer that is read, in the form it should have; None where there is none."""
    try:
        found = json.loads(body.decode("utf-8-sig"), strict=False)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not isinstance(found.get("choices"), list):
        return None
    choices = [_choice(place, choice) for place, choice in enumerate(found["choices"]) if isinstance(choice, dict)]
    return msgspec.json.encode({"choices": choices, "usage": _usage(found.get("usage"))})


def _choice(place: int, choice: dict[str, Any]) -> dict[str, Any]:
    index, reason, ids, message = (choice.get(name) for name in ("index", "finish_reason", "token_ids", "message"))
    return {
        "index": index if type(index) is int and abs(index) < MOST else place,
        "finish_reason": None if reason is None else _clean(str(reason)),
        "token_ids": ids if isinstance(ids, list) and all(is_count(each) for each in ids) else None,
        "text": _text(choice.get("text")),
        "message": _message(message) if isinstance(message, dict) else None,
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    return {
        "content": _text(message.get("content")),
        "reasoning_content": _text(message.get("reasoning_content")),
        "reasoning": _text(message.get("reasoning")) or _thought(message.get("content")),
        "refusal": _text(message.get("refusal")),
        "tool_calls": [True] if calls else None,
    }


def _text(value: Any) -> str | None:
    """A text, or the texts of a list of parts (`{"type": "text", "text": ...}`); None where there is none."""
    if isinstance(value, str):
        return _clean(value)
    if not isinstance(value, list):
        return None
    texts = [part if isinstance(part, str) else part.get("text") for part in value if isinstance(part, str | dict)]
    known = [_clean(text) for text in texts if isinstance(text, str)]
    return "".join(known) if known else None


def _thought(content: Any) -> str | None:
    """What stands in parts of type `thinking`, as a text or in parts of its own."""
    if not isinstance(content, list):
        return None
    thoughts = [_text(part.get("thinking")) for part in content if isinstance(part, dict)]
    return "".join(thought for thought in thoughts if thought) or None


def _usage(usage: Any) -> dict[str, Any] | None:
    if not isinstance(usage, dict):
        return None
    counts = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens")}
    whole = {name: int(n) if isinstance(n, float) and n.is_integer() else n for name, n in counts.items()}
    return whole if all(is_count(n) for n in whole.values()) else None


def _clean(text: str) -> str:
    """The text without halves of surrogate pairs, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
