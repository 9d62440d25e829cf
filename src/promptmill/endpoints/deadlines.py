"""Deadlines for thousands of waits at a time: what `asyncio.timeout` does, with one timer for all of the same length.

A timer for each wait is what `asyncio.timeout` sets and cancels, twice a request, and that is a tenth of what a request
costs the client (design/speed.md). Waits of the same length end in the order in which they began, so the oldest one's
timer does for all of them. The deadlines are exact.

An answer that has come is paid for, so a deadline or an interrupt of the same moment does not take it: whoever waits
for it catches the cancellation, hands the answer up and says `cancel_later` (`arrival`).

Not covered: waits that are not a task's own (callbacks), and changing a deadline.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


async def arrival(coming: asyncio.Future[T]) -> T:
    """What comes; also where it comes in the moment in which the wait for it is given up."""
    try:
        return await coming
    except asyncio.CancelledError:
        if coming.cancelled():
            raise
        cancel_later()
        return coming.result()


def cancel_later() -> None:
    """Let a cancellation that was caught, because an answer had come, come again in the loop's next pass.

    Until then the answer goes up to where it is kept. A deadline that was the reason is over by then (`Within`), and
    nothing comes again.
    """
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(_cancel_again, task)


async def heed() -> None:
    """Let a cancellation that is to come again (`cancel_later`) come now, before anything new is begun."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        await asyncio.sleep(0)


def _cancel_again(task: asyncio.Task[object]) -> None:
    if task.cancelling():
        task.uncancel()  # it was counted when it came
        task.cancel()


class Deadlines:
    """Waits of one event loop."""

    def __init__(self) -> None:
        self._queues: dict[float, _Queue] = {}

    def within(self, seconds: float) -> Within:
        """A block that is given up after so many seconds, by TimeoutError."""
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = _Queue(seconds)
        return Within(queue)


class _Queue:
    """Waits of one length, the oldest first."""

    __slots__ = ("seconds", "timer", "waits")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.waits: dict[Within, asyncio.Task[object]] = {}
        self.timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Cancel who is late, and come back when the next may be."""
        loop = asyncio.get_running_loop()
        self.timer = None
        for wait in list(self.waits):
            if wait.due > loop.time():
                self.timer = loop.call_at(wait.due, self.look)
                return
            wait.late = True
            self.waits.pop(wait).cancel()


class Within:
    """A block with a deadline; see `Deadlines.within`. Not to be entered twice."""

    __slots__ = ("_cancelling", "_queue", "_task", "due", "late")

    def __init__(self, queue: _Queue) -> None:
        self._queue = queue
        self.late = False

    def __enter__(self) -> Self:
        """Begin the wait of the task that runs."""
        task = asyncio.current_task()
        assert task is not None
        queue, loop = self._queue, asyncio.get_running_loop()
        self._task, self._cancelling = task, task.cancelling()
        self.due = loop.time() + queue.seconds
        queue.waits[self] = task
        if queue.timer is None:
            queue.timer = loop.call_at(self.due, queue.look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the wait; a cancellation that came from the deadline, and from nobody else, becomes a TimeoutError."""
        self._queue.waits.pop(self, None)
        ours = self.late and self._task.uncancel() <= self._cancelling
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error
