"""A conversation as any data set writes it -> `Message` rows.

Known turns: `{"role", "content"}` (LMSYS-Chat-1M, WildChat, OpenAI), `{"from", "value"}` (ShareGPT), and plain strings,
which are user turns (MT-Bench). Content may be null (an empty turn) or a list of text parts (OpenAI).

Not covered: images and other parts that are no text; they are an error, never left out silently.
"""

from __future__ import annotations

from typing import Any

from promptmill.records import Message
from promptmill.registry import did_you_mean
from promptmill.sources.rows import BadRow, kind

ROLES = {
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}
"""What data sets call the speakers -> our roles."""

SAME = frozenset({"user", "assistant", "system", "tool"})
"""Roles that stay as they are."""


def to_messages(turns: Any, column: str) -> tuple[Message, ...]:
    """Read the turns that stand in `column`.

    Raises:
        BadRow: no list, or a turn that is none of the known forms.
    """
    if not isinstance(turns, list):
        raise BadRow(f"column '{column}' holds {kind(turns)}, not a list of turns. Map the right column.")
    return tuple(_message(turn, f"column '{column}', turn {number}") for number, turn in enumerate(turns, 1))


def _message(turn: Any, where: str) -> Message:
    if isinstance(turn, str):
        return Message(role="user", content=turn)
    if not isinstance(turn, dict):
        raise BadRow(f"{where} is {kind(turn)}, not a text or an object. Mend or remove it.")
    speaker, content = ("role", "content") if "role" in turn else ("from", "value")
    if speaker not in turn or content not in turn:
        there = ", ".join(turn) or "nothing"
        raise BadRow(f"{where} has {there}, not role and content (or from and value). Mend or remove it.")
    name = turn.get("name")
    return Message(
        role=role_of(turn[speaker], where),
        content=_text(turn[content], where),
        name=name if isinstance(name, str) else None,
    )


def role_of(speaker: Any, where: str) -> str:
    """Our role for what a data set calls the speaker.

    Raises:
        BadRow: an unknown speaker.
    """
    role = ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        hint = did_you_mean(str(speaker), ROLES)
        raise BadRow(f"{where}: unknown role {speaker!r}.{hint} Known: {', '.join(ROLES)}.")
    return role


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "".join(part["text"] for part in content)
    raise BadRow(f"{where} holds {kind(content)} where a text should be. Mend or remove the row.")
