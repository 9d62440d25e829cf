"""Lanes: which lane a request goes to, how often it is tried, and what becomes of an error.

The class of an error decides. Rate, overload, timeout, network and server errors are asked again, at another lane
where one is free, after a pause with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"), bounded by
the number of attempts and by a deadline that begins with the first send. A refused request is a `Failure` row at once.
A refused key or a spent quota is the lane's matter: the request goes to the others and no attempt is counted. A request
that every key is refused for (403), while others are answered, is a `Failure` too.

One bad request never stops a run. Three things do, and leave it resumable: no lane is left, or none has answered for
`patience_s`; `GONE` requests in a row failed in all their attempts; the first `GONE` were all refused.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from msgspec.structs import replace

from promptmill.endpoints.deadlines import Deadlines, heed
from promptmill.errors import AuthFailed, BudgetReached, EndpointError, Forbidden, Refused, Timeout, Unreachable
from promptmill.generate.budget import Budget, Caps, Reserved
from promptmill.generate.choices import Choices
from promptmill.generate.hedge import Hedge
from promptmill.generate.index import LASTING
from promptmill.generate.lane import Lane
from promptmill.generate.turns import Turns
from promptmill.records import Completion, Failure, Outcome, Request
from promptmill.registry import HasContext

GONE = 20
PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
log = logging.getLogger(__name__)


class Wait:
    """What one worker waits for; the watchdog reads it."""

    __slots__ = ("since", "what")

    def __init__(self) -> None:
        self.what = ""
        self.since = 0.0

    def set(self, what: str) -> None:
        """Begin to wait for something."""
        self.what, self.since = what, time.monotonic()


class _Tried:
    """What became of a request so far."""

    __slots__ = ("attempts", "forbidden", "last", "refused_at", "requests", "stale", "where")

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.refused_at: str | None = None  # the server that refused it together with others
        self.stale = False  # sent once into a connection that had ended
        self.attempts = 0
        self.forbidden = 0  # how often a key was refused that is good for others
        self.where: list[Lane] = []  # the lane of each attempt
        self.last = EndpointError("the first attempt has not ended")


class Lanes:
    """All lanes of one model.

    Args:
        lanes: at least one.
        attempts: how often a request is tried.
        deadline_s: seconds from its first send to its outcome.
        patience_s: seconds without an answer from any lane, while they fail, before the run stops.
        pause_s: mean pause before the second attempt; doubles.
        hedge: ask a second lane when an answer takes longer than 95 % of the latest 200 did, of all lanes.
        budget: what may be used.
        say: is told, in one line, when a lane comes or goes.

    Attributes:
        retries: attempts beyond the first, over all requests.
        hedged: second requests that were sent beside a slow one.
        hedge: what is late, where late answers are asked for twice.
        choices: which servers give several answers to one request.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        attempts: int,
        deadline_s: float,
        patience_s: float = 60.0,
        pause_s: float = PAUSE_S,
        hedge: bool = False,
        budget: Budget | None = None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self.lanes = list(lanes)
        self.budget = budget or Budget(Caps())
        self.retries = self.hedged = 0
        self.choices = Choices(self.lanes)
        self._attempts = attempts
        self._deadline_s = deadline_s
        self._patience_s = patience_s
        self._pause_s = pause_s
        self.hedge = Hedge() if hedge and len(self.lanes) > 1 else None
        self._say = say
        self._turns = Turns(self.lanes)
        self._deadlines = Deadlines()
        self._silent_since: float | None = None
        self._failed_in_a_row = 0
        self._refused_first: int | None = 0  # None once anything was answered: then refusals are single prompts' fault

    async def check(self, model: str) -> None:
        """See that every lane answers and serves `model`; a lane with a dead key, or that is away, is set aside.

        Raises:
            PromptmillError: a lane is set up wrong, or none is left.
        """
        found = await asyncio.gather(*(lane.endpoint.check(model) for lane in self.lanes), return_exceptions=True)
        for lane, error in zip(self.lanes, found, strict=True):
            if isinstance(error, Forbidden):
                error = AuthFailed(str(error))  # noqa: PLW2901 - no prompt was in it
            if isinstance(error, EndpointError) and len(self.lanes) > 1:
                self._struck(lane, error, sent_at=time.monotonic(), at_once=True)
            elif error is not None:
                raise error
        if all(lane.state != "ok" for lane in self.lanes):
            raise self._turns.over or EndpointError(self._reasons("no lane answers"))
        await self._learn_context(model)

    async def _learn_context(self, model: str) -> None:
        """The worst case of `max_tokens: context` is the largest context that a lane has."""
        asked = [
            x.endpoint.context_tokens(model)
            for x in self.lanes
            if x.state == "ok" and isinstance(x.endpoint, HasContext)
        ]
        sizes = await asyncio.gather(*asked, return_exceptions=True)
        known = [size for size in sizes if isinstance(size, int)]
        if known:
            self.budget.context = max(known)

    async def ask(self, requests: Sequence[Request], wait: Wait) -> list[Outcome]:
        """Ask until there is a completion, a refusal, or no attempt or time left.

        Args:
            requests: one, or several samples of one prompt to be asked at once.
            wait: is kept up to date.

        Returns:
            Outcomes of the first so many of the requests, one at least.

        Raises:
            EndpointError: nobody is left who could answer; the run cannot go on.
            BudgetReached: the next request does not fit.
        """
        tried = _Tried(requests)
        first = await self._begin(tried, wait)
        try:
            with self._deadlines.within(self._deadline_s):
                outcomes: list[Outcome] = await self._try(tried, first, wait)
        except Refused as error:
            outcomes = self._failures(tried, error)
        except TimeoutError:
            late = f"{tried.last} (no answer within {self._deadline_s:g} s, all attempts together)"
            outcomes = self._failures(tried, Timeout(late))
        if isinstance(outcomes[0], Completion):
            self._failed_in_a_row, self._refused_first = 0, None
        else:
            self._count_failure(outcomes[0])
        return outcomes

    def end(self, error: BudgetReached) -> None:
        """Send nothing more: whoever waits for a lane gets this error; what is in flight goes on."""
        self._turns.stop(error)

    def steer(self, *, paused: bool, fixed: int | None, most: int, caps: Caps) -> None:
        """Change, while it works, what the recipe said."""
        if self._turns.paused and not paused:
            self._silent_since = None  # nobody was asked: the patience begins anew
        self._turns.paused = paused
        for lane in self.lanes:
            lane.widen(fixed=fixed, most=most)
        self.budget.change(caps)
        self._turns.look_again()

    async def _begin(self, tried: _Tried, wait: Wait) -> tuple[Lane, Reserved]:
        """Wait until an attempt may be made, and where."""
        await heed()
        while True:
            wait.set("a free lane")
            lane = await self._turns.take(tried.requests, again=tried.attempts > 0, rather_not=tried.where)
            if len(tried.requests) > 1 and self.choices.of(lane) is False:
                tried.requests = self._turns.first_alone(lane, tried.requests)
            reserved = self.budget.reserve(tried.requests)
            if reserved is not None:
                return lane, reserved
            self._turns.put_back(lane, tried.requests)
            wait.set("room in the budget")
            await self.budget.room(tried.requests)

    async def _try(self, tried: _Tried, first: tuple[Lane, Reserved], wait: Wait) -> list[Outcome]:
        lane, reserved = first
        while True:
            tried.attempts += 1
            tried.where.append(lane)
            wait.set(lane.name)
            try:
                return list(await self._ask_once(lane, reserved, tried))
            except AuthFailed as error:
                tried.last = error
                tried.forbidden += not lane.is_dead
                if tried.forbidden >= sum(not each.is_dead for each in self.lanes) > 0:
                    return self._failures(tried, error)
                tried.attempts -= 1  # the key's fault and not the request's
            except Refused as error:
                if type(error) is not Refused or len(tried.requests) == 1 or self.choices.of(lane):
                    raise
                tried.requests = tried.requests[:1]  # it may not know `n`: one alone will tell
                tried.attempts -= 1
                tried.refused_at = lane.home
            except EndpointError as error:
                tried.last = error
                if _is_stale(error) and not tried.stale:
                    tried.stale = True  # once; and at a new connection, or at another lane
                    tried.attempts -= 1
                    lane, reserved = await self._begin(tried, wait)
                    continue
                if tried.attempts >= self._attempts:
                    return self._failures(tried, error)
                self.retries += 1
                await self._back_off(tried, error, wait)
            lane, reserved = await self._begin(tried, wait)

    async def _back_off(self, tried: _Tried, error: EndpointError, wait: Wait) -> None:
        """Pause, unless another lane can take the request at once or the lane itself says when."""
        now = time.monotonic()
        elsewhere = any(lane.free_at(now, 0) <= now for lane in self.lanes) and len(self.lanes) > 1
        # 0 is no time: a server that says so and refuses would use up all attempts at once
        if error.retry_after_s or (elsewhere and tried.attempts < len(self.lanes)):
            return
        wait.set(f"a pause before attempt {tried.attempts + 1} ({error.kind})")
        # no longer than the patience, or nobody would notice that it has ended
        longest = min(LONGEST_PAUSE_S, self._patience_s, self._pause_s * 2 ** min(tried.attempts, 16))
        await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - spreads load

    async def _ask_once(self, lane: Lane, reserved: Reserved, tried: _Tried) -> list[Completion]:
        first = self._send(lane, reserved, tried)
        if self.hedge is None:
            return await first
        return await self.hedge.first_answer(first, lambda: self._second(lane, tried))

    def _second(self, slow: Lane, tried: _Tried) -> Coroutine[Any, Any, list[Completion]] | None:
        """Ask a second lane, if one is free and the budget has room: a hedge is a luxury, nothing is waited for."""
        lane = None if self._turns.paused else self._turns.take_now(tried.requests, other_than=slow)
        if lane is None:
            return None
        gives = len(tried.requests) == 1 or self.choices.of(lane) is not False
        reserved = self.budget.reserve(tried.requests) if gives else None
        if reserved is None:
            self._turns.put_back(lane, tried.requests)
            return None
        self.hedged += 1
        tried.attempts += 1
        return self._send(lane, reserved, tried)

    async def _send(self, lane: Lane, reserved: Reserved, tried: _Tried) -> list[Completion]:
        """One attempt at one lane that was taken for it; every account is settled whatever happens."""
        sent_at = time.monotonic()
        n_tokens = self._turns.n_tokens(tried.requests)
        try:
            completions = await lane.ask(tried.requests)
        except EndpointError as error:
            if error.sent:
                self.budget.settle_uncertain(reserved, tried.requests)
            else:
                self.budget.settle(reserved)
            if not isinstance(error, Refused) and not _is_stale(error):
                self._struck(lane, error, sent_at=sent_at)
            raise
        except BaseException:  # cancelled: the server may go on with it and charge it
            self.budget.settle_uncertain(reserved, tried.requests)
            raise
        else:
            return self._account(lane, reserved, tried, completions, n_tokens=n_tokens)
        finally:
            self._turns.give_back(lane)

    def _account(
        self, lane: Lane, reserved: Reserved, tried: _Tried, completions: list[Completion], *, n_tokens: int
    ) -> list[Completion]:
        first = completions[0]
        billed = first.billed or first.usage
        lane.answered(time.monotonic(), latency_s=first.latency_s, n_tokens=n_tokens, billed=billed)
        lane.done += len(completions)
        if self.hedge is not None:
            self.hedge.latencies.append(first.latency_s)
        self._silent_since = None
        if billed is not None:
            self._turns.learn(billed.completion_tokens / len(completions))
        if len(tried.requests) > 1:
            completions = self.choices.judge(lane, tried.requests, completions)
        elif tried.refused_at is not None:
            self.choices.refused(tried.refused_at)
        cost = lane.price(billed) if billed else 0.0
        if billed is None:  # nobody knows what it cost
            self.budget.settle_uncertain(reserved, tried.requests)
        else:
            self.budget.settle(reserved, billed=billed, cost=cost)
        if lane.has_price and billed is not None:
            lane.cost += cost
            completions = [replace(c, cost=cost if i == 0 else 0.0) for i, c in enumerate(completions)]
        if tried.attempts > 1:
            completions = [replace(completion, attempts=tried.attempts) for completion in completions]
        return completions

    def _struck(self, lane: Lane, error: EndpointError, *, sent_at: float, at_once: bool = False) -> None:
        """Let a lane judge an error; see whether anybody is left."""
        now = time.monotonic()
        before = lane.state
        lane.struck(error, now, sent_at=sent_at)
        if at_once and not lane.is_dead:
            lane.take_out(now)
        if lane.state != before and lane.state in {"out", "refused", "no quota"}:
            self._say(f"lane {lane.name}: {lane.state}: {lane.why}")
        if self._silent_since is None:
            self._silent_since = now
        if all(each.is_dead for each in self.lanes):
            self._turns.stop(AuthFailed(self._reasons("no key is left that is accepted")))
        elif now - self._silent_since > self._patience_s and all(x.is_dead or x.state == "out" for x in self.lanes):
            self._turns.stop(EndpointError(self._reasons(f"no lane has answered for {self._patience_s:g} s")))

    def _reasons(self, what: str) -> str:
        lines = dict.fromkeys(f"{lane.name}: {lane.why.rstrip('.')}" for lane in self.lanes)
        return f"{what}: {'; '.join(lines)}. Mend it and run again: what was answered is kept."

    def _count_failure(self, failure: Outcome) -> None:
        """Stop when what fails is not single requests."""
        assert isinstance(failure, Failure)
        if failure.kind not in LASTING:
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= GONE:
                raise EndpointError(
                    f"the last {GONE} requests failed in all their {self._attempts} attempts, the newest with: "
                    f"{failure.detail}. Mend the server and run again: what was answered is kept."
                )
            return
        self._failed_in_a_row = 0
        if self._refused_first is None:
            return
        self._refused_first += 1
        if self._refused_first >= GONE:
            raise EndpointError(
                f"the first {GONE} requests were all refused, the newest with: {failure.detail}. Mend what they have "
                "in common and run again with --generate.retry_refused true."
            )

    def _failures(self, tried: _Tried, error: EndpointError) -> list[Outcome]:
        return [
            Failure(
                key=request.key,
                prompt_id=request.prompt_id,
                model=request.model,
                sample=request.sample,
                kind=error.kind,
                detail=str(error),
                attempts=tried.attempts,
            )
            for request in tried.requests
        ]

    async def close(self) -> None:
        """Close every endpoint."""
        for lane in self.lanes:
            await lane.endpoint.close()


def _is_stale(error: EndpointError) -> bool:
    """Whether it is the fault of a kept connection, and not of the lane or the request."""
    return isinstance(error, Unreachable) and error.stale
