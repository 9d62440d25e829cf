"""Lanes: which endpoint a request goes to, how often it is tried, and what becomes of an error.

The class of an error decides: rate, unavailable and timeout are asked again after a pause (full jitter, as in the AWS
Architecture Blog, "Exponential Backoff And Jitter", or as long as the server asks); a refused request becomes a
`Failure` row at once; a refused key stops the run. One bad request never stops a run. Two things do, and leave it
resumable: a server that is gone (`GONE` requests in a row failed in all their attempts), and a fault of every request
(the first `GONE` were all refused).

Not here yet: a limit, cooldown and health of its own for each key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from msgspec.structs import replace

from promptmill.errors import AuthFailed, EndpointError, Refused, Timeout
from promptmill.records import Completion, Failure, Outcome, Request
from promptmill.registry import Endpoint

GONE = 20
PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


class Lane:
    """One endpoint and how much it is doing.

    Attributes:
        endpoint: what is asked.
        in_flight: requests under way.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.in_flight = 0


class _Tried:
    """What became of a request so far."""

    def __init__(self) -> None:
        self.attempts = 0
        self.last = EndpointError("no attempt was made")


class Lanes:
    """All lanes of one model.

    Attributes:
        retries: attempts beyond the first, over all requests.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], *, attempts: int, deadline_s: float, pause_s: float = PAUSE_S
    ) -> None:
        self._lanes = [Lane(endpoint) for endpoint in endpoints]
        self._attempts = attempts
        self._deadline_s = deadline_s
        self._pause_s = pause_s
        self._failed_in_a_row = 0
        self._refused_first: int | None = 0  # None once anything was answered: then refusals are single prompts' fault
        self.retries = 0

    async def check(self, model: str) -> None:
        """Raise one clear error unless every endpoint answers and serves `model`."""
        for lane in self._lanes:
            await lane.endpoint.check(model)

    async def ask(self, request: Request) -> Outcome:
        """Ask until there is a completion, a refusal, or no attempt or time left.

        Raises:
            AuthFailed: the key was refused.
            EndpointError: nothing has answered for a long while; the run cannot go on.
        """
        tried = _Tried()
        try:
            async with asyncio.timeout(self._deadline_s):
                outcome = await self._try(request, tried)
        except Refused as error:
            outcome = _failure(request, error, tried.attempts)
        except TimeoutError:
            late = f"{tried.last} (no answer within {self._deadline_s:g} s, all attempts together)"
            outcome = _failure(request, Timeout(late), tried.attempts)
        if isinstance(outcome, Completion):
            self._failed_in_a_row, self._refused_first = 0, None
            return outcome
        if outcome.kind == Refused.kind:
            self._failed_in_a_row = 0
            self._count_refusal(outcome)
            return outcome
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= GONE:
            raise EndpointError(
                f"the last {GONE} requests failed in all their {self._attempts} attempts, the newest with: "
                f"{outcome.detail}. Mend the server and run again: what was answered is kept."
            )
        return outcome

    def _count_refusal(self, failure: Failure) -> None:
        if self._refused_first is None:
            return
        self._refused_first += 1
        if self._refused_first >= GONE:
            raise EndpointError(
                f"the first {GONE} requests were all refused, the newest with: {failure.detail}. Mend what they have "
                "in common and run again with --generate.retry_refused true."
            )

    async def _try(self, request: Request, tried: _Tried) -> Outcome:
        while tried.attempts < self._attempts:
            if tried.attempts:
                self.retries += 1
                await asyncio.sleep(self._pause(tried))
            tried.attempts += 1
            try:
                completion = await self._ask_once(request)
            except (AuthFailed, Refused):
                raise
            except EndpointError as error:
                tried.last = error
            else:
                return completion if tried.attempts == 1 else replace(completion, attempts=tried.attempts)
        return _failure(request, tried.last, tried.attempts)

    async def _ask_once(self, request: Request) -> Completion:
        lane = min(self._lanes, key=lambda lane: lane.in_flight)
        lane.in_flight += 1
        try:
            return await lane.endpoint.complete(request)
        finally:
            lane.in_flight -= 1

    def _pause(self, tried: _Tried) -> float:
        if tried.last.retry_after_s is not None:
            return min(tried.last.retry_after_s, 10 * LONGEST_PAUSE_S)
        return random.uniform(0, min(LONGEST_PAUSE_S, self._pause_s * 2**tried.attempts))  # noqa: S311 - spreads load

    async def close(self) -> None:
        """Close every endpoint."""
        for lane in self._lanes:
            await lane.endpoint.close()


def _failure(request: Request, error: EndpointError, attempts: int) -> Failure:
    return Failure(
        key=request.key,
        prompt_id=request.prompt_id,
        model=request.model,
        sample=request.sample,
        kind=error.kind,
        detail=str(error),
        attempts=attempts,
    )
