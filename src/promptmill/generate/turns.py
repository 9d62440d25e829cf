"""Turns: which request may be sent now, and at which lane: first come, first served, what is tried again before all.

A request goes to the lane with the least to do for its weight. Where a model has several servers, prompts that begin
alike prefer the same one, whose prefix cache is warm, as long as it has no more than `BOUND` times its share (Mirrokni
et al., "Consistent Hashing with Bounded Loads", 2016; the preference is a rendezvous hash).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Sequence
from hashlib import blake2b

from promptmill.errors import PromptmillError
from promptmill.generate.budget import n_bytes
from promptmill.generate.lane import Lane
from promptmill.records import Request

BOUND = 1.25
PREFIX_CHARS = 512
BYTES_PER_TOKEN = 4
NEVER = float("inf")
_Waiter = tuple[asyncio.Future[Lane], Sequence[Request], Collection[Lane]]


class Turns:
    """Gives lanes to requests.

    Args:
        lanes: all of them.

    Attributes:
        over: why nobody gets a lane any more.
        paused: give lanes only to what was begun before.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.over: PromptmillError | None = None
        self.paused = False
        self._lanes = lanes
        self._has_homes = len({lane.home for lane in lanes}) > 1
        self._counts_tokens = any(lane.options.tpm is not None for lane in lanes)
        self._mean_new = 256.0
        self._again: deque[_Waiter] = deque()
        self._new: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, requests: Sequence[Request], *, again: bool, rather_not: Collection[Lane] = ()) -> Lane:
        """Wait for a lane and take it; `give_back` it.

        Args:
            requests: what is to be asked.
            again: it was tried before, and goes first.
            rather_not: the lanes where that broke: taken only if no other is free.

        Raises:
            PromptmillError: nobody gets one any more.
        """
        if self.over is not None:
            raise self.over
        if not self._again and not self._new and (again or not self.paused):
            lane = self.take_now(requests, rather_not=rather_not)
            if lane is not None:
                return lane
        waiter: asyncio.Future[Lane] = asyncio.get_running_loop().create_future()
        (self._again if again else self._new).append((waiter, requests, rather_not))
        self._grant()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.put_back(waiter.result(), requests)  # it came in the moment of the cancellation
            raise

    def take_now(
        self, requests: Sequence[Request], *, other_than: Lane | None = None, rather_not: Collection[Lane] = ()
    ) -> Lane | None:
        """Take the best lane that is free, if there is one."""
        now = time.monotonic()
        n_tokens = self.n_tokens(requests)
        if len(self._lanes) == 1:
            lane = self._lanes[0]
            if lane is other_than or lane.free_at(now, n_tokens) > now:
                return None
        else:
            free = [x for x in self._lanes if x is not other_than and x.free_at(now, n_tokens) <= now]
            if not free:
                return None
            if rather_not:
                free = [x for x in free if x not in rather_not] or free
            lane = self._best(free, requests[0])
        lane.take(now, n_tokens)
        return lane

    def give_back(self, lane: Lane) -> None:
        """The request at this lane has ended."""
        lane.in_flight -= 1
        if self._again or self._new:
            self._grant()

    def put_back(self, lane: Lane, requests: Sequence[Request]) -> None:
        """The request was not sent after all: its place under the limits per minute is free again, too."""
        lane.put_back(time.monotonic(), self.n_tokens(requests))
        self.give_back(lane)

    def first_alone(self, lane: Lane, requests: Sequence[Request]) -> Sequence[Request]:
        """The first of the requests that a lane was taken for; it uses fewer tokens."""
        now, alone = time.monotonic(), requests[:1]
        lane.tokens.correct(now, self.n_tokens(alone) - self.n_tokens(requests), taken_at=now)
        return alone

    def stop(self, error: PromptmillError) -> None:
        """Give no more lanes: all who wait, and whoever comes, get this error."""
        self.over = error
        for waiter, _, _ in (*self._again, *self._new):
            if not waiter.done():
                waiter.set_exception(error)
        self._again.clear()
        self._new.clear()

    def look_again(self) -> None:
        """Limits have changed."""
        self._grant()

    def n_tokens(self, requests: Sequence[Request]) -> int:
        """About how many tokens an attempt will use; 0 where no lane counts them."""
        if not self._counts_tokens:
            return 0
        limit = requests[0].sampling.max_tokens
        expected = min(self._mean_new, limit) if isinstance(limit, int) else self._mean_new
        return n_bytes(requests[0]) // BYTES_PER_TOKEN + int(expected * len(requests))

    def learn(self, n_new: float) -> None:
        """An answer had so many new tokens."""
        self._mean_new += 0.05 * (n_new - self._mean_new)

    def _best(self, free: list[Lane], request: Request) -> Lane:
        if not self._has_homes:
            return min(free, key=_least)
        start = _start(request)
        liked = min(free, key=lambda lane: blake2b(lane.home.encode() + start, digest_size=8).digest())
        alive = [lane for lane in self._lanes if not lane.is_dead]
        share = (sum(lane.in_flight for lane in alive) + 1) / sum(lane.options.weight for lane in alive)
        at_home = [x for x in free if x.home == liked.home]
        best = min(at_home, key=_load)
        return best if _load(best) <= BOUND * share else min(free, key=_load)

    def _grant(self) -> None:
        """Give free lanes to those who wait; come back when the next one is free."""
        while queue := self._again or self._new:
            waiter, requests, rather_not = queue[0]
            if waiter.done():
                queue.popleft()
                continue
            if self.paused and queue is self._new:
                return
            lane = self.take_now(requests, rather_not=rather_not)
            if lane is None:
                self._come_back(self.n_tokens(requests))
                return
            queue.popleft()
            waiter.set_result(lane)

    def _come_back(self, n_tokens: int) -> None:
        now = time.monotonic()
        at = min(lane.free_at(now, n_tokens) for lane in self._lanes)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at != NEVER:
            self._timer = asyncio.get_running_loop().call_later(max(at - now, 0.001), self._grant)


def _load(lane: Lane) -> float:
    """Requests in flight for its weight, with the one that would come."""
    return (lane.in_flight + 1) / lane.options.weight


def _least(lane: Lane) -> tuple[float, float]:
    """Of lanes with the same load the one that was asked less comes first, or the first would get all the faults."""
    return _load(lane), (lane.done + lane.failed) / lane.options.weight


def _start(request: Request) -> bytes:
    """What prompts that share a prefix have in common."""
    text = request.text if request.text is not None else "".join(m.content for m in request.messages or ())
    return text[:PREFIX_CHARS].encode()
