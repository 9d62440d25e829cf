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
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

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
        began = time.monotonic()
        asked = [asyncio.ensure_future(first)]
        left = set(asked)
        try:
            while True:
                pause_s = self._look_after(time.monotonic() - began) if len(asked) == 1 else None
                done, left = await asyncio.wait(left, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
                if done:
                    best = next((each for each in done if each.exception() is None), None)
                    if best is not None or not left:
                        return (best or asked[0]).result()
                elif self._is_late(time.monotonic() - began) and (other := second()) is not None:
                    asked.append(asyncio.ensure_future(other))
                    left.add(asked[1])
        finally:
            for each in asked:
                each.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

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
