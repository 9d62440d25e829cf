"""The fake server's routes, counts and faults: a request in, a `Plan` out."""

from __future__ import annotations

import hashlib
import itertools
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import msgspec

from promptmill.endpoints.fake.answers import RIGHT, Writer, fraction, known_fault, parse_faults, parse_mixture
from promptmill.endpoints.fake.batches import FakeBatches
from promptmill.endpoints.fake.faults import on_the_wire, retry_after
from promptmill.endpoints.fake.http import Asked, Plan, reply
from promptmill.endpoints.fake.options import FakeOptions
from promptmill.endpoints.fake.pages import key_of, pages
from promptmill.endpoints.fake.said import TGI_PAGES, Problem, answer, object_of
from promptmill.endpoints.fake.slots import Slots

VOLATILE = {"user", "metadata", "request_id"}
COMPLETIONS = {"/v1/chat/completions", "/v1/completions", "/completion", *TGI_PAGES}
BENT = {"empty", "no-text", "no-finish", "wrong-finish"}  # faults in what is said, not in how it is sent
_canonical = msgspec.json.Encoder(order="sorted")
_encode = msgspec.json.encode


class Tally(msgspec.Struct):
    """Counts of one content or key."""

    received: int = 0
    answered: int = 0


class Counts(msgspec.Struct):
    """What `/stats` shows."""

    received: int = 0
    answered: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    distinct: int = 0
    faults: dict[str, int] = {}
    keys: dict[str, Tally] = {}
    contents: dict[str, Tally] = {}


class App:
    """Answers requests by the options; keeps counts.

    Attributes:
        routes: further pages (files, batches), asked first: a plan, or None for a request that is not theirs.
    """

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self._writer = Writer(parse_mixture(options.words, name="words"))
        self._latency = parse_mixture(options.latency_s, name="latency_s")
        self._faults = parse_faults(options.faults)
        steps = [step.strip() for step in options.script.split(",")] if options.script else []
        self._script = [None if step == "ok" else known_fault(step) for step in steps]
        self._counts = Counts()
        self._windows: dict[str, tuple[float, int]] = {}
        self._slots = Slots(options.slots) if options.slots else None
        self._tickets = itertools.count()
        self._pages = {"/stats": self._stats, **pages(options)}
        self._batches = FakeBatches(options, self._answer_line)

    def respond(self, asked: Asked) -> Plan:
        """Decide what happens to a request."""
        try:
            if asked.path in COMPLETIONS and asked.method == "POST":
                return self._complete(asked)
            if asked.path.startswith(("/v1/files", "/v1/batches")):
                return self._batches.respond(asked)
            return Plan(reply(200, _encode(self._tell(asked))))
        except Problem as problem:
            return Plan(problem.payload)

    def _answer_line(self, path: str, body: dict[str, Any]) -> bytes:
        """The whole reply to one line of a batch file, an error status included."""
        try:
            return answer(path, body, self._options, writer=self._writer)[0]
        except Problem as problem:
            return problem.payload

    def _complete(self, asked: Asked) -> Plan:
        body = object_of(asked.body)
        named = {name: value for name, value in body.items() if name not in VOLATILE}
        content = hashlib.blake2b(asked.path.encode() + _canonical.encode(named), digest_size=16).hexdigest()
        key = key_of(asked)
        counts = self._counts
        tally = counts.contents.setdefault(content, Tally())
        of_key = counts.keys.setdefault(hashlib.blake2b(key.encode(), digest_size=8).hexdigest(), Tally())
        attempt = tally.received
        for each in (counts, tally, of_key):
            each.received += 1
        counts.distinct = len(counts.contents)
        counts.in_flight += 1
        counts.peak_in_flight = max(counts.peak_in_flight, counts.in_flight)
        latency_s = self._latency.draw(fraction(self._options.seed, f"latency {content} {attempt}"))
        try:
            self._admit(key, of_key)
            fault = self._fault(content, attempt)
            plan, n_tokens = self._planned(asked.path, body, fault)
        except Problem as problem:
            return Plan(problem.payload, done=partial(_done, counts, (), None))
        if fault:
            self._struck_by(fault)
        right = fault is None or fault in RIGHT
        ticket = next(self._tickets)
        slots = self._slots
        return plan._replace(
            delay_s=latency_s + n_tokens * self._options.token_latency_s * right,
            slow_s=self._options.slow_s,
            enter=partial(slots.enter, ticket) if slots else None,
            done=partial(
                _done, counts, (counts, tally, of_key) if right else (), partial(slots.leave, ticket) if slots else None
            ),
        )

    def _planned(self, path: str, body: dict[str, Any], fault: str | None) -> tuple[Plan, int]:
        """What is sent, and how many tokens it took.

        Raises:
            Problem: the request is wrong.
        """
        bent = fault if fault in BENT or (fault == "cut" and path == "/generate_stream") else None
        payload, n_tokens = answer(path, body, self._options, writer=self._writer, fault=bent)
        if fault is None or bent:
            return Plan(payload), n_tokens
        wait_s = self._options.retry_after_s
        return on_the_wire(fault, payload, retry_after_s=wait_s, tgi=path in TGI_PAGES), n_tokens

    def _admit(self, key: str, of_key: Tally) -> None:
        """Refuse a key that is unknown, dead or over its quota, and whoever comes when the house is full."""
        options = self._options
        if options.keys and key not in options.keys:
            self._struck_by("unknown-key")
            raise Problem(401, "Incorrect API key provided.")
        if options.key_lifetime and of_key.answered >= options.key_lifetime:
            self._struck_by("dead-key")
            raise Problem(401, "This API key has been revoked.")
        if options.max_in_flight and self._counts.in_flight > options.max_in_flight:
            self._struck_by("full")
            raise Problem(429, "Too many requests at a time.", retry_after("", options.retry_after_s))
        if options.key_quota:
            now = time.monotonic()
            began, used = self._windows.get(key, (now, 0))
            if now - began >= options.quota_window_s:
                began, used = now, 0
            if used >= options.key_quota:
                self._struck_by("quota")
                wait_s = math.ceil(began + options.quota_window_s - now)
                raise Problem(429, "Rate limit reached for this key.", {"Retry-After": str(wait_s)})
            self._windows[key] = (began, used + 1)

    def _struck_by(self, fault: str) -> None:
        self._counts.faults[fault] = self._counts.faults.get(fault, 0) + 1

    def _fault(self, content: str, attempt: int) -> str | None:
        """The fault that strikes this attempt at this content, by script first, then by share."""
        if attempt < len(self._script):
            return self._script[attempt]
        if self._options.fault_attempts and attempt >= self._options.fault_attempts:
            return None
        drawn = fraction(self._options.seed, f"fault {content} {attempt}")
        return next((fault for fault, upto in self._faults if drawn < upto), None)

    def _tell(self, asked: Asked) -> Any:
        """Answer a question about the server itself.

        Raises:
            Problem: no such page.
        """
        if asked.path not in self._pages:
            raise Problem(404, f"no page {asked.method} {asked.path}")
        return self._pages[asked.path](asked)

    def _stats(self, asked: Asked) -> Counts:
        query = parse_qs(asked.query)
        counts = self._counts
        if query.get("contents") == ["0"]:
            counts = msgspec.structs.replace(counts, contents={})
        if asked.method == "POST" or query.get("reset") == ["1"]:
            self._counts = Counts()
        return counts


def _done(
    counts: Counts,
    tallies: tuple[Counts | Tally, ...],
    leave: Callable[[], None] | None,
    handed: bool,  # noqa: FBT001 - a callback
) -> None:
    counts.in_flight -= 1
    if leave:
        leave()
    if handed:
        for each in tallies:
            each.answered += 1
