"""Parts: the shards of a run, which of them are done, and what is left to ask of the one that is open."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from promptmill.generate.index import Summary, read_summary
from promptmill.generate.journal import Journal
from promptmill.generate.reuse import Reuse
from promptmill.io.jsonl import iter_jsonl
from promptmill.records import Outcome, Prompt, Request

ToRequests = Callable[[Prompt], Iterable[Request]]
AT_ONCE = 64
LOOKED_UP = 1024  # prompts in one look at what stands elsewhere: some ten milliseconds
PREFIXES = (64, 128, 256, 512, 1024, 2048, 4096, 8192)
WORTH_CHARS = 64


class Part(NamedTuple):
    """The files of one shard.

    Attributes:
        prompts: its prompts.
        outcomes: its committed outcomes; journal and summary stand beside it.
        limit: how many of its prompts to ask, None for all.
        retry_refused: ask again what was refused.
        plan: id of what is asked; a part that was committed under it need not be read.
    """

    prompts: Path
    outcomes: Path
    limit: int | None = None
    retry_refused: bool = False
    plan: str = ""

    def summary(self) -> Summary | None:
        """What the part holds, if it was committed under today's plan."""
        found = read_summary(self.outcomes)
        return found if found is not None and found.plan == self.plan and self.plan else None

    def is_done(self) -> bool:
        """Whether nothing of it is to be asked."""
        found = self.summary()
        return found is not None and not found.n_open(retry_refused=self.retry_refused)

    def read_prompts(self) -> Iterator[Prompt]:
        """The prompts that are asked."""
        return islice(iter_jsonl(self.prompts, Prompt), self.limit)


class Count(NamedTuple):
    """Requests of a part: all, and those still to be sent; what its answers were charged."""

    total: int
    left: int
    tokens: int
    cost: float


def count_part(part: Part, to_requests: ToRequests) -> Count:
    """Count the requests of a part: from its summary, or by its prompts and the index of its outcomes."""
    summary = part.summary()
    if summary is not None:
        n_open = summary.n_open(retry_refused=part.retry_refused)
        return Count(summary.requests, n_open, summary.prompt_tokens + summary.completion_tokens, summary.cost)
    journal = Journal(part.outcomes)
    journal.load()
    if not journal.marks:
        return _count_new(part, to_requests)
    settled = journal.settled(retry_refused=part.retry_refused)
    total = left = 0
    for prompt in part.read_prompts():
        for request in to_requests(prompt):
            total += 1
            left += request.key not in settled
            settled.add(request.key)  # equal requests of a part are asked once
    marks = journal.marks.values()
    return Count(total, left, sum(sum(mark.tokens) for mark in marks), sum(mark.cost for mark in marks))


def _count_new(part: Part, to_requests: ToRequests) -> Count:
    """Count where nothing is answered: equal requests are found without their keys, which cost more than they tell."""
    total, different = 0, set()
    for prompt in part.read_prompts():
        for request in to_requests(prompt):
            total += 1
            different.add((request.model, request.protocol, request.messages, request.text, request.sample))
    return Count(total, len(different), 0, 0.0)


class Lease:
    """One part while its requests are asked.

    Attributes:
        journal: where its outcomes go.
        groups: the missing samples of each prompt, when `prepare` is through.
        reused: requests that need not be sent.
        taken_over: answers that were made for other requests and do for these.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.journal = Journal(part.outcomes)
        self.reused = 0
        self.taken_over = 0
        self._keys: list[list[str]] = []
        self._left = -1  # not known yet
        self.groups: list[list[Request]] = []

    def prepare(self, to_requests: ToRequests, reuse: Reuse | None, *, by_prefix: bool) -> Iterator[None]:
        """Find the missing samples of each prompt (`groups`); pauses now and then, for there is other work to do.

        The whole part is looked at: what stands elsewhere is taken over, and prompts that begin alike are put beside
        one another, if that is worth it.
        """
        self.journal.load()
        settled = self.journal.settled(retry_refused=self.part.retry_refused)
        groups: list[list[Request]] = []
        beside: list[list[str]] = []
        for number, prompt in enumerate(self.part.read_prompts()):
            group = []
            requests = list(to_requests(prompt))
            self._keys.append([request.key for request in requests])
            for request in requests:
                if request.key in settled:
                    self.reused += 1
                else:
                    settled.add(request.key)
                    group.append(request)
            if group:
                groups.append(group)
                open_ = {request.key for request in group}
                beside.append([key for key in self._keys[-1] if key not in open_])
            if number % AT_ONCE == AT_ONCE - 1:
                yield None
        if reuse is not None and groups:
            groups = yield from self._take_over(groups, reuse, beside)
        self._left = sum(map(len, groups))
        self.groups = in_order(groups) if by_prefix else groups

    def _take_over(
        self, groups: list[list[Request]], reuse: Reuse, beside: list[list[str]]
    ) -> Generator[None, None, list[list[Request]]]:
        taken: set[str] = set()
        for start in range(0, len(groups), LOOKED_UP):
            looked_up = slice(start, start + LOOKED_UP)
            for completion in reuse.take_over(groups[looked_up], self.journal, beside[looked_up]):
                self.journal.append(completion)
                taken.add(completion.key)
            yield None
        self.taken_over = len(taken)
        self.reused += len(taken)
        left = [[request for request in group if request.key not in taken] for group in groups]
        return [group for group in left if group]

    def keep(self, outcome: Outcome) -> None:
        """Append an outcome that came."""
        self.journal.append(outcome)
        self._left -= 1

    def is_complete(self) -> bool:
        """Whether every request has an outcome."""
        return self._left == 0

    def commit(self) -> None:
        """Commit the part, unless it is. May run in a thread: nobody writes to a part that is complete."""
        self.journal.close()
        if self.part.summary() is None or self.journal.journal.exists():
            self.journal.commit(self._keys, plan=self.part.plan)


def commit_settled(parts: Iterable[Part], to_requests: ToRequests) -> None:
    """Commit parts whose every request has an outcome and that a crash kept from it; asks nobody.

    A part that was committed whole stays as it is when only its first prompts are asked today (a limit).

    Raises:
        RunError: the disk does not take it.
    """
    for part in parts:
        if part.summary() is None and (part.limit is None or read_summary(part.outcomes) is None):
            lease = Lease(part)
            for _ in lease.prepare(to_requests, None, by_prefix=False):
                pass
            if lease.is_complete():
                lease.commit()


def take_over(parts: Iterable[Part], to_requests: ToRequests, reuse: Reuse) -> int:
    """Keep for open requests what stands elsewhere, and commit parts that are whole by it; asks nobody.

    Returns:
        How many answers were taken over.

    Raises:
        RunError: the disk does not take it.
    """
    taken = 0
    for part in parts:
        if part.is_done():
            continue
        lease = Lease(part)
        try:
            for _ in lease.prepare(to_requests, reuse, by_prefix=False):
                pass
            taken += lease.taken_over
            if lease.is_complete():
                lease.commit()
        finally:
            lease.journal.close()
    return taken


def in_order(groups: list[list[Request]]) -> list[list[Request]]:
    """Prompts that begin alike beside one another, so that a server's prefix cache serves them; else as they came."""
    texts = [_start(group[0]) for group in groups]
    by_text = sorted(range(len(groups)), key=texts.__getitem__)
    as_it_is = sum(map(_shared, texts, texts[1:]))
    sorted_ = sum(_shared(texts[a], texts[b]) for a, b in pairwise(by_text))
    if sorted_ - as_it_is < WORTH_CHARS * len(groups):
        return groups
    return [groups[index] for index in by_text]


def _start(request: Request) -> str:
    if request.text is not None:
        return request.text[: PREFIXES[-1]]
    return "\0".join(m.content for m in request.messages or ())[: PREFIXES[-1]]


def _shared(one: str, other: str) -> int:
    """About how many characters two texts have in common at their beginning."""
    shared = 0
    for upto in PREFIXES:
        if len(one) < upto or one[:upto] != other[:upto]:
            break
        shared = upto
    return shared
