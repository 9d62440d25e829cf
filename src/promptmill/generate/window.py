"""The window: requests in flight over all parts of a run; a new one starts when one ends.

Requests are drawn lazily, a part at a time, so memory does not grow with the plan. There is no barrier between parts:
the window is full until the last request of the last part has been sent. A part whose requests all have an outcome is
committed while the others go on. How many are in flight is the lanes' business (`limits`), within `width` workers.

Equal requests (the same content key) are asked once a part: asking twice would pay twice for one answer.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from promptmill.endpoints.transport import loop_factory
from promptmill.errors import BudgetReached, EndpointError
from promptmill.generate.lanes import Lanes, Wait
from promptmill.generate.parts import Lease, Part, ToRequests
from promptmill.generate.reuse import Reuse
from promptmill.generate.signals import Signals
from promptmill.generate.status import Progress
from promptmill.records import Completion, Request

SYNC_S = 0.5
BEAT_S = 1.0
GRACE_S = 10.0
YOUNG_OBJECTS = 20_000
Drawn = tuple[Lease, Sequence[Request]]
Keep = Callable[[list[Completion]], object]


class Pace(NamedTuple):
    """How the window works through the parts.

    Attributes:
        width: most requests under way, those that wait for a lane included.
        delay_s: least seconds between the starts of two requests.
        by_prefix: whether prompts that begin alike may be put beside one another.
        max_wall_s: seconds after which nothing new is sent.
    """

    width: int
    delay_s: float = 0.0
    by_prefix: bool = True
    max_wall_s: float | None = None


class Window:
    """Asks everything that has no lasting outcome yet.

    Args:
        lanes: where requests go.
        progress: what is counted.
        pace: how many at a time.
        beat: called every second, for the heartbeat; may steer (`set_pace`, `end`).
        reuse: answers that may be taken over.
        keep: is given completions, some at a time, after they are safe in the journal.
    """

    def __init__(
        self,
        lanes: Lanes,
        progress: Progress,
        *,
        pace: Pace,
        beat: Callable[[], None] = lambda: None,
        reuse: Reuse | None = None,
        keep: Keep | None = None,
    ) -> None:
        self._lanes = lanes
        self._progress = progress
        self._pace = pace
        self._beat = beat
        self._reuse = reuse
        self._keep = keep
        self._kept: list[Completion] = []
        self._open: dict[Path, Lease] = {}
        self._next_start = 0.0
        self._waits: set[Wait] = set()
        self._began = 0.0
        self._exhausted = False
        self._ending: BaseException | None = None
        self._end_by = float("inf")
        self._signals = Signals()

    def run(self, parts: Sequence[Part], to_requests: ToRequests, *, model: str) -> None:
        """Ask, and return when every request has an outcome. Works inside a running event loop (a notebook) too.

        Args:
            parts: the shards.
            to_requests: the requests of a prompt.
            model: checked at the endpoints before anything is sent; if nothing is to be sent they are not asked.

        Raises:
            EndpointError: a server is unreachable, without the model, refuses the key, or is gone.
            BudgetReached: a cap was reached; what was in flight is kept.
            RunError: the journal cannot be written.
            KeyboardInterrupt: stopped by SIGINT or SIGTERM; the folder is resumable.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._run_loop(parts, to_requests, model)
        else:
            with self._signals.passed_on(), ThreadPoolExecutor(1, "promptmill-generate") as pool:
                pool.submit(self._run_loop, parts, to_requests, model).result()

    def _run_loop(self, parts: Sequence[Part], to_requests: ToRequests, model: str) -> None:
        with _seldom_collecting(), asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(self._run(parts, to_requests, model))
        if self.is_interrupted:  # too late to cancel anything; whoever sent it wants the whole to end
            raise KeyboardInterrupt

    # -- steering, from `beat` --------------------------------------------------------------------------------------

    def set_pace(self, pace: Pace) -> None:
        """Other limits from now on; workers beyond them end with the request they have."""
        self._pace = pace

    def end(self, error: BaseException, *, grace_s: float = GRACE_S) -> None:
        """Start nothing new, give what is in flight a little time, then raise `error`."""
        if self._ending is None:
            self._ending, self._end_by = error, time.monotonic() + grace_s
            self._lanes.end(error if isinstance(error, BudgetReached) else BudgetReached(str(error)))

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal has come: nothing more may be waited for."""
        return self._signals.came

    def waits(self) -> list[str]:
        """What the workers wait for, how many of each and how long at most."""
        now = time.monotonic()
        found: dict[str, list[float]] = {}
        for wait in self._waits:
            found.setdefault(wait.what, []).append(now - wait.since)
        return [f"{len(times)} for {what}, up to {max(times):.0f} s" for what, times in sorted(found.items())]

    # -- the work ---------------------------------------------------------------------------------------------------

    async def _run(self, parts: Sequence[Part], to_requests: ToRequests, model: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self._signals.cancelling(task) as stopped:
            try:
                await self._ask_all(parts, to_requests, model)
            except asyncio.CancelledError:
                if not stopped:
                    raise
            if stopped:
                raise KeyboardInterrupt

    async def _ask_all(self, parts: Sequence[Part], to_requests: ToRequests, model: str) -> None:
        try:
            items = self._draw(parts, to_requests)
            first = await _first_item(items)
            if first is None:  # all is answered: no server is needed
                return
            await self._lanes.check(model)
            self._began = time.monotonic()
            items = chain([first], items)
            async with asyncio.TaskGroup() as group:
                async with asyncio.TaskGroup() as workers:
                    background = [group.create_task(self._sync()), group.create_task(self._lead(workers, items))]
                    await self._work(items)
                for each in background:
                    each.cancel()
            if self._ending is not None:
                raise self._ending
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
            stack.callback(self._hand_on)
            for lease in self._open.values():
                stack.callback(lease.journal.close)

    def _draw(self, parts: Sequence[Part], to_requests: ToRequests) -> Iterator[Drawn | None]:
        """Draw what is to be asked; None now and then where all is answered, so that the loop can hear signals.

        The next part is prepared in small steps while this one is drawn, so that no free place waits for it.
        """
        leases = self._leases(parts, to_requests)
        lease = yield from _first_ready(leases)
        while lease is not None:
            coming = None
            for group in lease.groups:
                if len(group) == 1 or self._lanes.choices.together is not False:
                    yield lease, group
                else:
                    yield from ((lease, [request]) for request in group)
                if coming is None:
                    coming = next(leases, None)
            lease.groups = []
            lease = coming or (yield from _first_ready(leases))

    def _leases(self, parts: Sequence[Part], to_requests: ToRequests) -> Iterator[Lease | None]:
        """Yield the parts that have something to be asked, prepared; None after each step of the work on it."""
        for part in parts:
            yield None
            summary = part.summary()
            if summary is not None and part.is_done():
                self._progress.reused += summary.requests
                continue
            lease = self._open[part.outcomes] = Lease(part)
            counted = 0
            for _ in lease.prepare(to_requests, self._reuse, by_prefix=self._pace.by_prefix):
                self._progress.reused += lease.reused - counted
                counted = lease.reused
                yield None
            self._progress.reused += lease.reused - counted
            if lease.is_complete():
                lease.commit()
                del self._open[part.outcomes]
            else:
                yield lease

    async def _work(self, items: Iterator[Drawn | None]) -> None:
        wait = Wait()
        self._waits.add(wait)
        try:
            for item in items:  # shared by all workers: whoever is free takes the next
                if item is None:
                    await asyncio.sleep(0)
                else:
                    await self._ask(*item, wait)
                if self._ending is not None or len(self._waits) > self._pace.width:
                    return
            self._exhausted = True
        except (BudgetReached, EndpointError) as over:
            self.end(over)  # what is in flight may still be answered, and is paid for
        except BaseException:
            self._exhausted = True  # the group of workers is ending: none may be added to it
            raise
        finally:
            self._waits.discard(wait)

    async def _ask(self, lease: Lease, requests: Sequence[Request], wait: Wait) -> None:
        task = asyncio.current_task()
        assert task is not None
        while requests:
            if self._pace.delay_s:
                await self._wait_for_turn(wait)
            outcomes = await self._lanes.ask(requests, wait)
            for outcome in outcomes:
                lease.keep(outcome)
                self._progress.count(outcome)
                if self._keep is not None and isinstance(outcome, Completion):
                    self._kept.append(outcome)
            requests = requests[len(outcomes) :]
            if task.cancelling():  # it came together with the answer, which is safe now
                raise asyncio.CancelledError
        if lease.is_complete() and self._open.pop(lease.part.outcomes, None) is not None:
            wait.set("the disk, which takes a whole part")
            await asyncio.to_thread(lease.commit)

    async def _wait_for_turn(self, wait: Wait) -> None:
        now = asyncio.get_running_loop().time()
        start = max(now, self._next_start)
        self._next_start = start + self._pace.delay_s
        wait.set("its turn (delay_s)")
        await asyncio.sleep(start - now)

    # -- the background ---------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_S)
            for path in list(self._open):
                lease = self._open.get(path)
                if lease is not None:  # a thread that commits it closes its file
                    await lease.journal.sync_in_thread()
            if self._keep is not None and self._kept:
                kept, self._kept = self._kept, []
                await asyncio.to_thread(self._keep, kept)  # another process may hold the store

    def _hand_on(self) -> None:
        if self._keep is not None and self._kept:
            self._keep(self._kept)
            self._kept = []

    async def _lead(self, workers: asyncio.TaskGroup, items: Iterator[Drawn | None]) -> None:
        """Keep as many workers as the pace says, beat, and watch the clock."""
        while True:
            while len(self._waits) < self._pace.width and not self._exhausted and self._ending is None:
                workers.create_task(self._work(items))
                await asyncio.sleep(0)
            self._beat()
            await asyncio.sleep(self._next_look_s())
            self._watch_clock()

    def _next_look_s(self) -> float:
        if self._pace.max_wall_s is None or self._ending is not None:
            return BEAT_S
        return max(0.0, min(BEAT_S, self._began + self._pace.max_wall_s - time.monotonic()))

    def _watch_clock(self) -> None:
        now = time.monotonic()
        cap = self._pace.max_wall_s
        if cap is not None and now - self._began >= cap:
            self.end(
                BudgetReached(
                    f"budget.max_wall_s: {cap:g} s are over. What is done is kept. To go on: the same command"
                )
            )
        if self._ending is not None and now >= self._end_by:
            raise self._ending


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Look for garbage cycles a thirtieth as often: requests leave few, and looking cost a tenth of the CPU."""
    before = gc.get_threshold()
    if before[0]:  # 0: somebody has switched it off
        gc.set_threshold(max(before[0], YOUNG_OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


async def _first_item(items: Iterator[Drawn | None]) -> Drawn | None:
    """The first that is to be asked, found in small steps, so that the loop can hear signals; None if nothing is."""
    for item in items:
        if item is not None:
            return item
        await asyncio.sleep(0)
    return None


def _first_ready(leases: Iterator[Lease | None]) -> Generator[None, None, Lease | None]:
    for found in leases:
        if found is not None:
            return found
        yield None
    return None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real error of nested groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
