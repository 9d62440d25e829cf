"""Hedging: a second request beside one that is late; the first answer wins (Dean & Barroso, "The Tail at Scale", 2013).

Late is what takes longer than 95 % of the latest answers did, of all lanes: about one request in twenty is asked twice
where lanes are alike, and a lane that was slow from its first answer on is seen to be. Where no second lane is free
then, one is looked for again. Requests of which nobody knows how long their answers get are taken as alike.

Not covered: which lane the second goes to, and who pays (`lanes`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from promptmill.endpoints.deadlines import cancel_later

T = TypeVar("T")

SHARE = 0.95
KNOWN = 10  # answers from which it is known what is late
LATEST = 200
LOOK_S = 0.5


class Hedge:
    """Knows how long answers take.

    Attributes:
        latencies: seconds that the latest answers took.
    """

    def __init__(self) -> None:
        self.latencies: deque[float] = deque(maxlen=LATEST)

    async def first_answer(
        self, first: Coroutine[Any, Any, T], second: Callable[[], Coroutine[Any, Any, T] | None]
    ) -> T:
        """The answer of `first`, or of the second that is begun beside it when it is late.

        Args:
            first: asks.
            second: asks elsewhere; None where nobody is free.

        Raises:
            EndpointError: there was none; of two errors, the one of `first`.
        """
        asked = [asyncio.ensure_future(first)]
        cancelled = False
        try:
            await self._wait(asked, second)
        except asyncio.CancelledError:
            cancelled = True
        finally:
            cancelled |= await _end(asked)
        # each is looked at: asyncio would complain of an error that nobody saw
        answered = [each for each in asked if not each.cancelled() and each.exception() is None]
        if cancelled and not answered:
            raise asyncio.CancelledError
        if cancelled:
            cancel_later()  # the answer is paid for, whatever came while the other one was ended
        return [*answered, *asked][0].result()

    async def _wait(self, asked: list[asyncio.Task[T]], second: Callable[[], Coroutine[Any, Any, T] | None]) -> None:
        """Wait until one has answered or all have failed; begin the second when the first is late."""
        began = time.monotonic()
        while True:
            pause_s = self._look_after(time.monotonic() - began) if len(asked) == 1 else None
            left = [each for each in asked if not each.done()]
            done, _ = await asyncio.wait(left, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            if done:
                if len(done) == len(left) or any(each.exception() is None for each in done):
                    return
            elif self._is_late(time.monotonic() - began) and (other := second()) is not None:
                asked.append(asyncio.ensure_future(other))

    def late_s(self) -> float | None:
        """How long an answer may take before it is late; None where too few are known."""
        found = sorted(self.latencies)
        return found[min(len(found) - 1, int(SHARE * len(found)))] if len(found) >= KNOWN else None

    def _is_late(self, so_far_s: float) -> bool:
        late_s = self.late_s()
        return late_s is not None and so_far_s >= late_s

    def _look_after(self, so_far_s: float) -> float:
        """Seconds until it is late, or if it is, until somebody may be free."""
        late_s = self.late_s()
        return LOOK_S if late_s is None or so_far_s >= late_s else late_s - so_far_s


async def _end(asked: Sequence[asyncio.Task[T]]) -> bool:
    """End what is not done, and wait for it; whether a cancellation of our own came meanwhile."""
    cancelled = False
    while left := [each for each in asked if not each.done()]:
        for each in left:
            each.cancel()
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError:
            cancelled = True
    return cancelled
