"""A server with so many slots: requests beyond them wait in the order of their arrival."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Slots:
    """Turns.

    Args:
        size: requests worked on at a time.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: dict[int, Callable[[], None]] = {}

    def enter(self, ticket: int, begin: Callable[[], None]) -> None:
        """Begin now, or when one of those before has left."""
        if self._free:
            self._free -= 1
            begin()
        else:
            self._waiting[ticket] = begin

    def leave(self, ticket: int) -> None:
        """Give the slot to the next, or the place in the queue up."""
        if self._waiting.pop(ticket, None):
            return
        if not self._waiting:
            self._free += 1
            return
        begin = self._waiting.pop(next(iter(self._waiting)))
        # not at once: thousands of answers without a delay would call each other and fill the stack
        asyncio.get_running_loop().call_soon(begin)
