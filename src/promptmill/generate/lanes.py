"""Lanes: which endpoint a request goes to, how often it is tried, and what becomes of an error.

The class of an error decides: rate, unavailable and timeout are asked again after a pause (full jitter, as in the AWS
Architecture Blog, "Exponential Backoff And Jitter", or as long as the server asks); a refused request becomes a
`Failure` row at once; a refused key stops the run. One bad request never stops a run, but a server that is gone does:
after `GONE` requests in a row that failed in all their attempts the run ends, resumable.

Not here yet: a limit, cooldown and health of its own for each key.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import msgspec

from promptmill.errors import AuthFailed, EndpointError, Refused
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
        attempt = 0
        last = EndpointError("no attempt was made")
        try:
            async with asyncio.timeout(self._deadline_s):
                while attempt < self._attempts:
                    attempt += 1
                    try:
                        completion = await self._ask_once(request)
                    except (AuthFailed, Refused):
                        raise
                    except EndpointError as error:
                        last = error
                        if attempt < self._attempts:
                            self.retries += 1
                            await asyncio.sleep(self._pause(attempt, error.retry_after_s))
                    else:
                        self._failed_in_a_row = 0
                        return completion if attempt == 1 else msgspec.structs.replace(completion, attempts=attempt)
        except Refused as error:
            self._failed_in_a_row = 0
            return _failure(request, error, attempt)
        except TimeoutError:
            last = type(last)(f"{last} (no answer within {self._deadline_s:g} s, all attempts together)")
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= GONE:
            raise EndpointError(
                f"the last {GONE} requests failed in all their {self._attempts} attempts, the newest with: {last}. "
                "Mend the server and run again: what was answered is kept."
            )
        return _failure(request, last, attempt)

    async def _ask_once(self, request: Request) -> Completion:
        lane = min(self._lanes, key=lambda lane: lane.in_flight)
        lane.in_flight += 1
        try:
            return await lane.endpoint.complete(request)
        finally:
            lane.in_flight -= 1

    def _pause(self, attempt: int, asked_s: float | None) -> float:
        if asked_s is not None:
            return min(asked_s, 10 * LONGEST_PAUSE_S)
        return random.uniform(0, min(LONGEST_PAUSE_S, self._pause_s * 2**attempt))  # noqa: S311 - spreads load

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
