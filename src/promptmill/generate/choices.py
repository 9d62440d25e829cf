"""Which servers give several answers to one request (`n`): found out once for each, by what the first ones give.

Servers of one model need not be alike: vLLM gives what is asked for, others give one, or refuse, or give one text n
times. What one does says nothing of another.
"""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.generate.lane import Lane
from promptmill.records import Completion, Request
from promptmill.registry import HasChoices

SURELY_ALIKE_CHARS = 64


class Choices:
    """What is known of each server.

    Args:
        lanes: all of a model; those of one `home` ask one server.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._known: dict[str, bool | None] = {}
        for lane in lanes:
            can = None if isinstance(lane.endpoint, HasChoices) else False
            self._known[lane.home] = can if self._known.get(lane.home, can) is None else False

    @property
    def together(self) -> bool | None:
        """Whether any server gives several answers to one request; None while one may, and none was seen to."""
        known = self._known.values()
        return True if True in known else None if None in known else False

    def ask_alone(self) -> None:
        """Take all servers as such that give one."""
        self._known = dict.fromkeys(self._known, False)

    def of(self, lane: Lane) -> bool | None:
        """Whether the server of a lane does; None until it was tried."""
        return self._known[lane.home]

    def refused(self, home: str) -> None:
        """It refused several, and one alone was answered."""
        self._known[home] = False

    def judge(self, lane: Lane, requests: Sequence[Request], completions: list[Completion]) -> list[Completion]:
        """Remember whether it works here: as many answers as were asked for, and not one answer n times.

        Returns:
            The answers that count.
        """
        text = completions[0].text
        copied = (
            len(text) > SURELY_ALIKE_CHARS
            and requests[0].sampling.temperature != 0
            and len(completions) > 1
            and all(completion.text == text for completion in completions)
        )
        works = len(completions) == len(requests) and not copied
        if self._known[lane.home] is not False:
            self._known[lane.home] = works
        return completions[:1] if copied else completions
