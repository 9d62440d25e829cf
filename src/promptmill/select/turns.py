"""What of a conversation is asked: its first user turn, every user turn, or everything up to one.

Not covered: answers; a prompt always ends on a user turn.
"""

from __future__ import annotations

from typing import Literal

from promptmill.errors import ConfigError
from promptmill.records import Message, Prompt
from promptmill.registry import did_you_mean

BLANK, FEWER = "no user turn with text", "fewer user turns"

_TAKES = ("first", "all", "conversation")


def turns(*, take: Literal["first", "all", "conversation"] = "first", upto: int | None = None) -> Turns:
    """Take the part of each conversation that is asked; raw texts stay as they are, blank ones are dropped.

    Args:
        take: first (the first user turn that is not blank), all (each user turn a prompt of its own), or
            conversation (all messages up to a user turn).
        upto: for conversation: the number of the user turn it ends on, from 1; by default the last.
    """
    if take not in _TAKES:
        raise ConfigError(f"turns: no take '{take}'.{did_you_mean(take, _TAKES)} There are: {', '.join(_TAKES)}")
    if upto is not None and take != "conversation":
        raise ConfigError(f"turns: upto is for take: conversation, not for {take}. Leave upto out.")
    if upto is not None and upto < 1:
        raise ConfigError(f"turns: upto is {upto}. User turns are counted from 1.")
    return Turns(take, upto)


class Turns:
    """The Expand behind `turns`."""

    def __init__(self, take: str, upto: int | None) -> None:
        self._take = take
        self._upto = upto

    def expand(self, prompt: Prompt) -> list[Prompt] | str:
        """Return the prompts of one conversation, or why there is none."""
        if prompt.text is not None:
            return [prompt] if prompt.text.strip() else BLANK
        messages = prompt.messages or ()
        if self._take == "first":
            for message in messages:
                if message.role == "user" and message.content.strip():
                    return [_with(prompt, (message,), prompt.id)]
            return BLANK
        if self._take == "all":
            # Numbers count all user turns, blank ones too: an id does not change when a filter does.
            asked = [message for message in messages if message.role == "user"]
            return [
                _with(prompt, (message,), f"{prompt.id}-t{number}")
                for number, message in enumerate(asked)
                if message.content.strip()
            ] or BLANK
        return self._conversation(prompt, messages)

    def _conversation(self, prompt: Prompt, messages: tuple[Message, ...]) -> list[Prompt] | str:
        ends = [place for place, message in enumerate(messages, 1) if message.role == "user"]
        if not ends:
            return BLANK
        if self._upto is not None and len(ends) < self._upto:
            return FEWER
        end = ends[-1 if self._upto is None else self._upto - 1]
        return [_with(prompt, messages[:end], prompt.id)] if messages[end - 1].content.strip() else BLANK


def _with(prompt: Prompt, messages: tuple[Message, ...], id_: str) -> Prompt:
    return Prompt(id=id_, source=prompt.source, messages=messages, reference=prompt.reference, meta=prompt.meta)
