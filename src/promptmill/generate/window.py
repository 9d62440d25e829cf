"""The window: a fixed number of requests in flight over all parts of a run; a new one starts when one ends.

Requests are drawn lazily, a part at a time, so memory does not grow with the plan. There is no barrier between parts:
the window is full until the last request of the last part has been sent. A part whose requests all have a lasting
outcome is committed while the others go on.

Equal requests (the same content key) are asked once a part: asking twice would pay twice for one answer.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from promptmill.generate.journal import Journal, is_lasting
from promptmill.generate.lanes import Lanes
from promptmill.generate.status import Progress
from promptmill.io.jsonl import iter_jsonl
from promptmill.records import Completion, Prompt, Request

SYNC_S = 0.5
ToRequests = Callable[[Prompt], Iterable[Request]]


class Part(NamedTuple):
    """The files of one shard.

    Attributes:
        prompts: its prompts.
        outcomes: its committed outcomes; the journal stands beside it.
        limit: how many of its prompts to ask, None for all.
        retry_refused: ask again what was refused.
    """

    prompts: Path
    outcomes: Path
    limit: int | None = None
    retry_refused: bool = False

    def settled(self) -> set[str]:
        """The keys that need not be asked."""
        return {
            outcome.key
            for outcome in Journal(self.outcomes)
            if isinstance(outcome, Completion) or (is_lasting(outcome) and not self.retry_refused)
        }


class _Lease:
    """One part while its requests are asked."""

    def __init__(self, part: Part) -> None:
        self.journal = Journal(part.outcomes)
        self.keys: list[str] = []
        self.settled = part.settled()
        self.left = 0
        self.lasting = True
        self.drawn = False

    def finish(self) -> None:
        """Close the journal; commit the part if every request of it has a lasting outcome."""
        self.journal.close()
        if self.lasting and self.journal.journal.exists():
            self.journal.commit(self.keys)


class Window:
    """Asks everything that has no lasting outcome yet.

    Args:
        lanes: where requests go.
        progress: what is counted.
        width: requests in flight.
        delay_s: least seconds between the starts of two requests.
        beat: called every second, for the heartbeat.
    """

    def __init__(
        self,
        lanes: Lanes,
        progress: Progress,
        *,
        width: int,
        delay_s: float = 0.0,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._lanes = lanes
        self._progress = progress
        self._width = width
        self._delay_s = delay_s
        self._beat = beat
        self._open: dict[Path, _Lease] = {}
        self._next_start = 0.0

    def run(self, parts: Sequence[Part], to_requests: ToRequests, *, model: str) -> None:
        """Ask, and return when every request has an outcome. Works inside a running event loop (a notebook) too.

        Args:
            parts: the shards.
            to_requests: the requests of a prompt.
            model: checked at the endpoints before anything is sent.

        Raises:
            EndpointError: a server is unreachable, without the model, refuses the key, or is gone.
            RunError: the journal cannot be written.
            KeyboardInterrupt: stopped by SIGINT or SIGTERM; the folder is resumable.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            asyncio.run(self._run(parts, to_requests, model))
        else:
            with ThreadPoolExecutor(1, "promptmill-generate") as pool:
                pool.submit(asyncio.run, self._run(parts, to_requests, model)).result()

    async def _run(self, parts: Sequence[Part], to_requests: ToRequests, model: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        with _cancelling_on_signals(task) as stopped:
            try:
                await self._ask_all(parts, to_requests, model)
            except asyncio.CancelledError:
                if not stopped:
                    raise
            if stopped:
                raise KeyboardInterrupt

    async def _ask_all(self, parts: Sequence[Part], to_requests: ToRequests, model: str) -> None:
        try:
            await self._lanes.check(model)
            items = self._draw(parts, to_requests)
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(self._sync()), group.create_task(self._report())]
                async with asyncio.TaskGroup() as workers:
                    for _ in range(self._width):
                        workers.create_task(self._work(items))
                for each in background:
                    each.cancel()
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None
        finally:
            try:
                self._close()
            finally:
                await self._lanes.close()

    def _close(self) -> None:
        """Close every journal, the rest also when one cannot be closed, and beat a last time."""
        with ExitStack() as stack:
            stack.callback(self._beat)
            for lease in self._open.values():
                stack.callback(lease.journal.close)

    def _draw(self, parts: Sequence[Part], to_requests: ToRequests) -> Iterator[tuple[_Lease, Request] | None]:
        """Draw what is to be asked; None now and then where all is answered, so that the loop can hear signals."""
        for part in parts:
            yield None
            lease = _Lease(part)
            self._open[part.outcomes] = lease
            for prompt in islice(iter_jsonl(part.prompts, Prompt), part.limit):
                for request in to_requests(prompt):
                    key = request.key
                    lease.keys.append(key)
                    if key in lease.settled:
                        self._progress.reused += 1
                        continue
                    lease.settled.add(key)
                    lease.left += 1
                    yield lease, request
            lease.drawn = True
            self._finish(part.outcomes, lease)

    async def _work(self, items: Iterator[tuple[_Lease, Request] | None]) -> None:
        for item in items:  # shared by all workers: whoever is free takes the next
            if item is None:
                await asyncio.sleep(0)
                continue
            lease, request = item
            await self._wait_for_turn()
            self._progress.in_flight += 1
            try:
                outcome = await self._lanes.ask(request)
            finally:
                self._progress.in_flight -= 1
            lease.journal.append(outcome)
            self._progress.count(outcome)
            lease.lasting = lease.lasting and is_lasting(outcome)
            lease.left -= 1
            self._finish(lease.journal.path, lease)

    def _finish(self, path: Path, lease: _Lease) -> None:
        if lease.drawn and lease.left == 0:
            del self._open[path]
            lease.finish()

    async def _wait_for_turn(self) -> None:
        if self._delay_s:
            now = asyncio.get_running_loop().time()
            start = max(now, self._next_start)
            self._next_start = start + self._delay_s
            await asyncio.sleep(start - now)

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            for lease in list(self._open.values()):
                await lease.journal.sync_in_thread()

    async def _report(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(1.0)


@contextmanager
def _cancelling_on_signals(task: asyncio.Task[None]) -> Iterator[list[int]]:
    """Turn the first SIGINT or SIGTERM into a cancellation; the list says which came.

    Later ones must not interrupt the closing. Afterwards the handlers that were there before are there again: asyncio
    alone would leave the default behind, and a later SIGTERM would end the process without a word.
    """
    came: list[int] = []

    def stop(number: int) -> None:
        if not came:
            task.cancel()
        came.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loop = asyncio.get_running_loop()
    for number in before:
        loop.add_signal_handler(number, stop, number)
    try:
        yield came
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler or signal.SIG_DFL)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real error of nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
