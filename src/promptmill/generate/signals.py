"""SIGINT and SIGTERM while a window works: the first ends the work in order, later ones change nothing.

Works in the main thread, and where the work goes on in another (inside a running event loop, a notebook): only the main
thread hears signals, and passes them on.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Signals:
    """Turns the first SIGINT or SIGTERM into a cancellation.

    Later ones must not interrupt the closing. Afterwards the handlers that were there before are there again: asyncio
    alone would leave the default behind, and a later SIGTERM would end the process without a word.
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self._work: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None

    @contextmanager
    def cancelling(self, task: asyncio.Task[None]) -> Iterator[list[int]]:
        """Cancel `task`, the one that runs; the list says which signals came."""
        loop = asyncio.get_running_loop()
        self._work = loop, task
        if self._came:  # while the thread of this loop was being started
            task.cancel()
        if threading.current_thread() is not threading.main_thread():
            yield self._came
            return
        with self._listening():
            yield self._came

    @contextmanager
    def passed_on(self) -> Iterator[None]:
        """While the work goes on in another thread and this one waits: only the main thread hears signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        with self._listening():
            yield

    @property
    def came(self) -> bool:
        """Whether one came, be it so late that there was nothing left to cancel."""
        return bool(self._came)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Hear signals, not by way of the loop: one that came in its last pass would be heard by nobody."""
        before = {
            number: signal.signal(number, lambda number, _frame: self._hear(number))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)

    def _hear(self, number: int) -> None:
        if not self._came and self._work is not None:
            loop, task = self._work
            with suppress(RuntimeError):  # the loop has just been closed: the work is done
                loop.call_soon_threadsafe(task.cancel)
        self._came.append(number)
