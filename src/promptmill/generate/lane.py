"""A lane: one endpoint with one key, its own limits, cooldown, health and accounts.

    ok ──429 with Retry-After──> cooling ──time──> ok
    ok ──`OUT_AFTER` failures in a row──> out ──time──> one request probes ──answer──> ok
    any ──key refused, no quota──> dead (for this run)

Of 403 it takes `REFUSED_AFTER` in a row: a firewall before the server may dislike a single prompt.

A lane judges errors for itself; whether a request is tried again is the business of `lanes`.
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from promptmill.errors import AuthFailed, EndpointError, Forbidden, Overloaded, QuotaSpent, RateLimited, Timeout
from promptmill.generate.limits import Rate, Width
from promptmill.records import Completion, Request, Usage
from promptmill.registry import Endpoint, HasChoices

OUT_AFTER = 5
REFUSED_AFTER = 3
MOST = 256
FIRST_PROBE_S = 1.0
LAST_PROBE_S = 30.0
LONGEST_COOLDOWN_S = 3600.0
State = Literal["ok", "cooling", "out", "refused", "no quota"]
_PRICE = re.compile(
    r"\D{0,4}(\d+(?:\.\d+)?(?:e-?\d+)?)\s*[a-z$€]{0,3}\s*(?:/|per)\s*1?\s*(000|K|M)\b.{0,10}", re.IGNORECASE
)


class LaneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a recipe says about an endpoint beside how it is spoken to.

    Attributes:
        api_keys_env: name of the environment variable that holds several keys (JSON list, comma list, or object service -> keys); each becomes a lane.
        service: which service's keys to take, where that variable holds an object of several.
        weight: share of the requests, compared with the other lanes.
        price_in: money per prompt token, with its unit, such as 0.15/1M.
        price_out: money per new token, with its unit, such as 0.60/1M.
        rpm: requests per minute that one key may make.
        tpm: tokens per minute, prompt and answer together, that one key may use.
        max_in_flight: most requests in flight at one key.
    """  # noqa: E501 - one line per option: it is the help text

    api_keys_env: str | None = None
    service: str | None = None
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    price_in: str | float | None = None
    price_out: str | float | None = None
    rpm: Annotated[int, msgspec.Meta(ge=1)] | None = None
    tpm: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_in_flight: Annotated[int, msgspec.Meta(ge=1)] | None = None

    def __post_init__(self) -> None:
        """Read the prices; check what one field says about another."""
        if self.service is not None and self.api_keys_env is None:
            raise ValueError("service names keys inside api_keys_env. Give that one, too.")
        for name in ("price_in", "price_out"):
            if getattr(self, name) is not None:
                parse_price(getattr(self, name), name)
        if (self.price_in is None) != (self.price_out is None):
            raise ValueError("price_in and price_out go together. Give both, or none.")


def parse_price(text: str | float, name: str) -> float:
    """Money per token of `0.15/1M`, `0.00015 per 1K`, `$0.15/M`.

    Raises:
        ValueError: no unit, or not a price.
    """
    found = _PRICE.fullmatch(str(text).strip())  # YAML reads a bare 0.15 as a number
    if not found:
        raise ValueError(f"{name}: '{text}' has no unit. Write it like 0.15/1M (per million tokens) or 0.00015/1K.")
    return float(found[1]) / (1e6 if found[2].upper() == "M" else 1e3)


class Lane:
    """One endpoint with one key.

    Args:
        endpoint: what is asked.
        name: how it is called in rows, logs and messages; holds no key.
        options: limits and prices.
        width: requests in flight; None finds it.
        home: the server; lanes with several keys of one server share it. Its own name unless given.

    Attributes:
        in_flight: requests under way.
        until: when a pause ends; meaningless while `ok`.
        why: the error that brought it where it is.
    """

    def __init__(
        self, endpoint: Endpoint, name: str, options: LaneOptions, *, width: int | None = None, home: str | None = None
    ) -> None:
        self.endpoint = endpoint
        self.name = name
        self.home = name if home is None else home
        self.options = options
        self.width = Width(fixed=width, most=MOST)
        self.widen(fixed=width, most=MOST)
        self.in_flight = 0
        self.state: State = "ok"
        self.until = 0.0
        self.why = ""
        self.price_in = parse_price(options.price_in, "price_in") if options.price_in else 0.0
        self.price_out = parse_price(options.price_out, "price_out") if options.price_out else 0.0
        self.latencies: deque[float] = deque(maxlen=200)
        self.requests = Rate(options.rpm)
        self.tokens = Rate(options.tpm)
        self.done = self.failed = self.tokens_used = 0
        self.cost = 0.0
        self.errors: dict[str, int] = {}
        self._failed_in_a_row = 0
        self._forbidden_in_a_row = 0
        self._probes = 0

    def widen(self, *, fixed: int | None, most: int) -> None:
        """Set the requests in flight, within the lane's own limit."""
        own = self.options.max_in_flight
        if own is not None:
            fixed, most = None if fixed is None else min(fixed, own), min(most, own)
        self.width.set(fixed=fixed, most=most)

    @property
    def has_price(self) -> bool:
        """Whether money is counted."""
        return self.options.price_in is not None

    @property
    def is_dead(self) -> bool:
        """Whether it gives nothing more in this run."""
        return self.state in {"refused", "no quota"}

    def free_at(self, now: float, n_tokens: int) -> float:
        """When a request of `n_tokens` may be sent: `now`, a later time, or infinity (nobody knows)."""
        if self.state == "ok":
            if self.in_flight >= self.width.value:
                return float("inf")
        elif self.is_dead:
            return float("inf")
        elif now < self.until:
            return self.until
        elif self.state == "cooling":
            self.state = "ok"
        if self.options.rpm is None and self.options.tpm is None:
            return now
        return max(self.requests.free_at(now), self.tokens.free_at(now, n_tokens))

    def take(self, now: float, n_tokens: int) -> None:
        """Count a request that is sent now."""
        self.in_flight += 1
        if self.state == "out":  # a probe; the next one comes later, whether or not this one ends
            self._put_off(now)
        if self.options.rpm is not None:
            self.requests.take(now)
        if self.options.tpm is not None:
            self.tokens.take(now, n_tokens)

    def put_back(self, now: float, n_tokens: int) -> None:
        """Count a request that was taken, but is not sent, as none under the limits per minute."""
        self.requests.correct(now, -1, taken_at=now)
        self.tokens.correct(now, -n_tokens, taken_at=now)

    async def ask(self, requests: Sequence[Request]) -> list[Completion]:
        """Ask the endpoint once.

        Raises:
            EndpointError: there was no answer.
        """
        if len(requests) == 1:
            return [await self.endpoint.complete(requests[0])]
        assert isinstance(self.endpoint, HasChoices)
        return await self.endpoint.complete_many(requests)

    def answered(self, now: float, *, latency_s: float, n_tokens: int, billed: Usage | None) -> None:
        """Take note of an answer.

        Args:
            now: the time.
            latency_s: how long it took.
            n_tokens: what `take` was told.
            billed: what it was charged for.
        """
        self.width.answered(now, in_flight=self.in_flight, latency_s=latency_s)
        self._failed_in_a_row = self._forbidden_in_a_row = self._probes = 0
        if self.state == "out" or (self.state == "cooling" and now >= self.until):
            self.state = "ok"
        self.latencies.append(latency_s)
        if billed is not None:
            used = billed.prompt_tokens + billed.completion_tokens
            self.tokens_used += used
            self.tokens.correct(now, used - n_tokens, taken_at=now - latency_s)

    def price(self, usage: Usage) -> float:
        """Money that so many tokens cost."""
        return usage.prompt_tokens * self.price_in + usage.completion_tokens * self.price_out

    def struck(self, error: EndpointError, now: float, *, sent_at: float) -> None:
        """Take note of an error; it may cool down, be taken out, or be dead."""
        self.errors[error.kind] = self.errors.get(error.kind, 0) + 1
        self.failed += 1
        self.why = str(error)
        if isinstance(error, Forbidden):
            self._forbidden_in_a_row += 1
            if self._forbidden_in_a_row < REFUSED_AFTER:
                return
        if isinstance(error, AuthFailed):
            self.state = "no quota" if isinstance(error, QuotaSpent) else "refused"
            return
        if isinstance(error, RateLimited | Overloaded | Timeout):
            self.width.overloaded(now, sent_at=sent_at)
        if error.retry_after_s is not None:
            # a little more than asked, and not all at once
            wait_s = min(error.retry_after_s, LONGEST_COOLDOWN_S) + random.uniform(0, 0.05)  # noqa: S311 - spreads load
            self._pause("cooling", now + wait_s)
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= OUT_AFTER and self.state != "out":
            self.take_out(now)

    def take_out(self, now: float) -> None:
        """Take it out until a probe answers."""
        if not self.is_dead:
            self._failed_in_a_row, self.state = OUT_AFTER, "out"
            self._put_off(now)

    def _put_off(self, now: float) -> None:
        """Set when the next probe may be sent: later each time."""
        longest = min(LAST_PROBE_S, FIRST_PROBE_S * 2**self._probes)
        self._probes += 1
        self.until = now + longest * random.uniform(0.5, 1)  # noqa: S311 - spreads load

    def _pause(self, state: State, until: float) -> None:
        if self.is_dead or (self.state != "ok" and self.until >= until):
            return
        self.state, self.until = state, until

    def facts(self, now: float) -> dict[str, Any]:
        """What people and scripts see of it."""
        state = "ok" if self.state == "cooling" and now >= self.until else self.state
        waits = state in {"cooling", "out"}
        return {
            "name": self.name,
            "state": state,
            "until_s": round(max(0.0, self.until - now), 1) if waits else None,
            "in_flight": self.in_flight,
            "width": self.width.value,
            "done": self.done,
            "failed": self.failed,
            "errors": self.errors,
            "tokens": self.tokens_used,
            "cost": self.cost if self.has_price else None,
            "p50_s": self.quantile(0.5),
            "p95_s": self.quantile(0.95),
        }

    def quantile(self, q: float) -> float | None:
        """A quantile of the latest latencies in seconds; None below ten of them."""
        if len(self.latencies) < 10:
            return None
        return sorted(self.latencies)[min(len(self.latencies) - 1, int(q * len(self.latencies)))]
