"""Budgets: hard caps on money, tokens, requests and time that a run may not pass.

A request is sent only when its worst case (the prompt's bytes as tokens, and its whole limit of new tokens) still fits
under every cap, beside the worst cases of those in flight. What it really cost then takes the place of its worst case.
So a cap is never passed; near it fewer requests are in flight at a time, and the run ends when nothing is in flight
and the next request does not fit. An attempt that broke after it was sent may be on the bill without an answer: it
counts in full, as `uncertain`.

What is spent is noted on the disk with every beat, and where there is a cap also before it is spent, some requests at a
time: a session after a kill finds everything that was sent noted, and a little more (`AHEAD`), never less.

The bound on a prompt's tokens: no tokenizer makes more tokens than there are bytes, and `TEMPLATE_TOKENS` covers what
a chat template adds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec.structs import replace

from promptmill.errors import BudgetReached, ConfigError
from promptmill.records import Request, Usage

TEMPLATE_TOKENS = 256
TOKENS_PER_MESSAGE = 16
AHEAD = 256  # requests that are noted before they are sent
AHEAD_SHARE = 0.02  # and no more than this of what is left: it is lost where a kill comes
Above0 = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Caps(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use, all its sessions together (`max_wall_s`: each session). Reaching a cap ends it cleanly.

    Attributes:
        max_cost: money, in the currency of the endpoints' prices.
        max_tokens: tokens, prompts and answers together.
        max_requests: requests sent, repeated ones included.
        max_wall_s: seconds from the first request of this session.
    """

    max_cost: Above0 | None = None
    max_tokens: Count | None = None
    max_requests: Count | None = None
    max_wall_s: Above0 | None = None


class Spent(msgspec.Struct):
    """What a run has used.

    Attributes:
        requests: attempts that were begun, those that found no connection too.
        tokens: prompt tokens and new tokens that were answered for.
        cost: money charged.
        uncertain_tokens: worst case of attempts that broke after they were sent.
        uncertain_cost: the same in money.
        reserved_tokens: worst case of what was in flight, or about to be sent, when this was noted.
        reserved_cost: the same in money.
    """

    requests: int = 0
    tokens: int = 0
    cost: float = 0.0
    uncertain_tokens: int = 0
    uncertain_cost: float = 0.0
    reserved_tokens: int = 0
    reserved_cost: float = 0.0

    def gone_on(self, tokens: int, cost: float) -> Spent:
        """What a further session begins with, whose answers in the folder were charged so much.

        Answers that came between the note and a kill were reserved in it: they take the place of their worst case, and
        the rest of it is uncertain.
        """
        more_tokens, more_cost = max(0, tokens - self.tokens), max(0.0, cost - self.cost)
        return Spent(
            requests=self.requests,
            tokens=self.tokens + more_tokens,
            cost=self.cost + more_cost,
            uncertain_tokens=self.uncertain_tokens + max(0, self.reserved_tokens - more_tokens),
            uncertain_cost=self.uncertain_cost + max(0.0, self.reserved_cost - more_cost),
        )


class Reserved(NamedTuple):
    """The worst case of one attempt."""

    tokens: int
    cost: float


class Budget:
    """What is spent and what is reserved.

    Args:
        caps: what may be used.
        spent: what earlier sessions used; counted on from there.
        prices: money per prompt token and per new token at the dearest lane.
        keep: keeps what is noted, for a session after a kill.
        section: where the recipe has the caps, for what is said.

    Attributes:
        context: tokens of the model's context, for `max_tokens: context`; None until it has been learnt.
    """

    def __init__(
        self,
        caps: Caps,
        spent: Spent | None = None,
        *,
        prices: tuple[float, float] = (0.0, 0.0),
        keep: Callable[[Spent], None] = lambda _: None,
        section: str = "generate",
    ) -> None:
        self.caps = caps
        self._section = section
        self.spent = spent or Spent()
        self._prices = prices
        self._keep = keep
        self._noted = replace(self.spent)
        self.context: int | None = None
        self._requests = self._tokens = 0  # reserved
        self._cost = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def reserve(self, requests: Sequence[Request]) -> Reserved | None:
        """Set the worst case of an attempt aside; None if it does not fit now.

        Raises:
            ConfigError: nobody knows the worst case, and there is a cap on it.
        """
        caps = self.caps
        if caps.max_cost is None and caps.max_tokens is None and caps.max_requests is None:
            self._requests += 1
            return _NOTHING
        if (
            self.context is None
            and requests[0].sampling.max_tokens == "context"
            and (caps.max_cost, caps.max_tokens) != (None, None)
        ):
            raise ConfigError(
                f"{self._section}.budget: how long an answer can get is not known: sampling.max_tokens is 'context', "
                "and the server does not tell it. Give sampling.max_tokens a number."
            )
        worst = self.worst(requests)
        if self._too_much(worst) is not None:
            return None
        self._requests += 1
        self._tokens += worst.tokens
        self._cost += worst.cost
        if not self._is_noted():
            self._note_ahead(worst)
        return worst

    async def room(self, requests: Sequence[Request]) -> None:
        """Wait until something in flight has ended, which may leave room.

        Raises:
            BudgetReached: the attempt does not fit, and nothing is in flight.
        """
        said = self._too_much(self.worst(requests))
        if said is None:
            return
        if self._requests == 0:
            raise BudgetReached(said)
        room = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        await room

    def settle(self, reserved: Reserved, *, billed: Usage | None = None, cost: float = 0.0) -> None:
        """Put what an attempt really used in the place of its worst case.

        Args:
            reserved: what was set aside.
            billed: the tokens charged; None for an attempt that is not on the bill.
            cost: the money charged.
        """
        self._free(reserved)
        if billed is not None:
            self.spent.tokens += billed.prompt_tokens + billed.completion_tokens
            self.spent.cost += cost

    def settle_uncertain(self, reserved: Reserved, requests: Sequence[Request]) -> None:
        """Count an attempt in full: it was sent, and nobody knows whether it is on the bill."""
        self._free(reserved)
        worst = reserved if reserved is not _NOTHING else self.worst(requests)
        self.spent.uncertain_tokens += worst.tokens
        self.spent.uncertain_cost += worst.cost

    def note(self) -> None:
        """Note what is spent, without more: at every beat, and thus at the end."""
        self._noted = self.noted()
        self._keep(self._noted)

    def _is_noted(self) -> bool:
        """Whether all that is spent and reserved of what has a cap is noted."""
        caps, spent, noted = self.caps, self.spent, self._noted
        if caps.max_requests is not None and spent.requests + self._requests > noted.requests:
            return False
        if caps.max_tokens is not None:
            used = spent.tokens + spent.uncertain_tokens + self._tokens
            if used > noted.tokens + noted.uncertain_tokens + noted.reserved_tokens:
                return False
        used_cost = spent.cost + spent.uncertain_cost + self._cost
        return caps.max_cost is None or used_cost <= noted.cost + noted.uncertain_cost + noted.reserved_cost

    def _note_ahead(self, worst: Reserved) -> None:
        """Note what is spent and reserved, and some requests like this one that will be sent next."""
        caps, now = self.caps, self.noted()
        tokens = now.tokens + now.uncertain_tokens + now.reserved_tokens
        cost = now.cost + now.uncertain_cost + now.reserved_cost
        self._noted = replace(
            now,
            requests=now.requests + int(_ahead(caps.max_requests, now.requests, 1)),
            reserved_tokens=now.reserved_tokens + int(_ahead(caps.max_tokens, tokens, worst.tokens)),
            reserved_cost=now.reserved_cost + _ahead(caps.max_cost, cost, worst.cost),
        )
        self._keep(self._noted)

    def noted(self) -> Spent:
        """What is spent, and what is in flight: a session after a kill goes on from here (`Spent.gone_on`)."""
        return replace(
            self.spent,
            requests=self.spent.requests + self._requests,
            reserved_tokens=self._tokens,
            reserved_cost=self._cost,
        )

    def change(self, caps: Caps) -> None:
        """Other caps from now on; whoever waits for room looks again."""
        self.caps = caps
        self._wake()

    def worst(self, requests: Sequence[Request]) -> Reserved:
        """The most that an attempt can use."""
        first = requests[0]
        n_prompt = TEMPLATE_TOKENS + n_bytes(first)
        limit = first.sampling.max_tokens
        n_new = len(requests) * (limit if isinstance(limit, int) else self.context or 0)
        return Reserved(n_prompt + n_new, n_prompt * self._prices[0] + n_new * self._prices[1])

    def _free(self, reserved: Reserved) -> None:
        self._requests -= 1
        self._tokens -= reserved.tokens
        self._cost = self._cost - reserved.cost if self._requests else 0.0  # floats leave a trace of what they summed
        self.spent.requests += 1
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)

    def _too_much(self, worst: Reserved) -> str | None:
        caps, spent = self.caps, self.spent
        if caps.max_requests is not None and spent.requests + self._requests + 1 > caps.max_requests:
            return self._said("max_requests", caps.max_requests, spent.requests, 1)
        if caps.max_tokens is not None:
            used = spent.tokens + spent.uncertain_tokens
            if used + self._tokens + worst.tokens > caps.max_tokens:
                return self._said("max_tokens", caps.max_tokens, used, worst.tokens)
        if caps.max_cost is not None:
            money = spent.cost + spent.uncertain_cost
            if money + self._cost + worst.cost > caps.max_cost:
                return self._said("max_cost", caps.max_cost, money, worst.cost)
        return None

    def _said(self, name: str, cap: float, used: float, more: float) -> str:
        enough = max(2 * cap, used + more)
        return (
            f"budget.{name}: {cap:g} is reached: {used:g} used, and the next request may use {more:g}. What is done is "
            f"kept. To go on: the same command with --{self._section}.budget.{name} {enough:g}"
        )


def n_bytes(request: Request) -> int:
    """Bytes of what is asked: at least as many as it has tokens."""
    if request.text is not None:
        return len(request.text.encode())
    return sum(len(m.content.encode()) + TOKENS_PER_MESSAGE for m in request.messages or ())


def _ahead(cap: float | None, used: float, each: float) -> float:
    """How much of what has a cap is noted before it is spent."""
    return 0.0 if cap is None else max(0.0, min(AHEAD * each, AHEAD_SHARE * (cap - used)))


_NOTHING = Reserved(0, 0.0)
