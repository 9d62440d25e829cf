"""The watchdog: when nothing has moved for a while, it says what is waited for.

It has no clock and no thread of its own: whoever beats (the heartbeat of a generation) passes the time in.
"""

from __future__ import annotations

from collections.abc import Callable

QUIET_S = 60.0


class Watchdog:
    """Barks once each time that nothing has moved for `quiet_s` seconds.

    Args:
        quiet_s: how long nothing may move before it says something, and how long before it says it again.
    """

    def __init__(self, quiet_s: float = QUIET_S) -> None:
        self._quiet_s = quiet_s
        self._moved = True
        self._since = 0.0

    def moved(self) -> None:
        """Take note that something moved (an outcome came, a person paused the run)."""
        self._moved = True

    def look(self, now: float, waits: Callable[[], list[str]]) -> list[str] | None:
        """What is waited for, when it is time to say so; None otherwise.

        Args:
            now: seconds of any clock that only goes forward.
            waits: called only when it is time: a line for each thing that is waited for.
        """
        if self._moved:
            self._moved, self._since = False, now
            return None
        if now - self._since < self._quiet_s:
            return None
        self._since = now
        return waits()
