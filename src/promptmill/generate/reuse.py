"""Reuse: answers that were made for another request and do for this one.

`strict` takes only what was asked exactly so (the same content key), from this run or from a shared store. `complete`
also takes an answer that was made under another `max_tokens` and ended by itself below today's limit: a larger limit
would not have changed it; truncated ones are asked again. `top-up` also takes answers of the same prompt under the same
sampling with another seed or sample number: what counts is that there are k of them.

What was asked before is known from the run's manifest (`Earlier`): keys are hashes and tell nothing, but the key that a
request would have had then can be computed. An answer that is taken over is written anew under today's key with
`reused_from`, without a price, so that everything behind sees one kind of row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from promptmill.generate.journal import Journal
from promptmill.records import Completion, Request, Sampling

Policy = Literal["strict", "complete", "top-up"]


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """How the same prompts were asked before.

    Attributes:
        sampling: what the requests had.
        k: samples of each prompt.
    """

    sampling: Sampling
    k: int


class Answers(Protocol):
    """Where answers of other runs are (see `store`)."""

    def find(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Completions by key, those that are there."""
        ...


class Reuse:
    """What may be taken over.

    Args:
        policy: how alike the requests must be.
        earlier: how this run asked before.
        store: answers of other runs, if there are any.
    """

    def __init__(self, policy: Policy, earlier: Sequence[Earlier] = (), store: Answers | None = None) -> None:
        self._policy = policy
        self._earlier = earlier
        self._store = store

    def take_over(
        self, groups: Sequence[Sequence[Request]], journal: Journal, beside: Sequence[Sequence[str]] = ()
    ) -> list[Completion]:
        """Completions under today's keys for those requests that need not be asked.

        Args:
            groups: the open requests of each prompt.
            journal: the outcomes of the part.
            beside: for each group, the keys of the prompt's requests that are answered: no answer is taken twice.
        """
        wanted = {request.key: list(self.others(request)) for group in groups for request in group}
        keys = list(dict.fromkeys(key for own, others in wanted.items() for key in (own, *others)))
        found = self._store.find(keys) if self._store is not None else {}
        found |= journal.at(key for others in wanted.values() for key in others)
        if not found:
            return []
        taken: list[Completion] = []
        for number, group in enumerate(groups):
            used = {_origin(journal, key) for key in (beside[number] if beside else ())}
            for request in group:
                source = next(
                    (
                        found[key]
                        for key in (request.key, *wanted[request.key])
                        if key in found and _first(found[key]) not in used and _does(found[key], request)
                    ),
                    None,
                )
                if source is not None:
                    used.add(_first(source))
                    taken.append(_as(source, request))
        return taken

    def others(self, request: Request) -> Iterator[str]:
        """Keys of other requests whose answer may do."""
        today = request.sampling
        if self._policy == "complete":
            for before in self._earlier:
                if before.sampling != today and replace(before.sampling, max_tokens=today.max_tokens) == today:
                    yield replace(request, sampling=before.sampling).key
        if self._policy == "top-up":
            for before in self._earlier:
                if before.sampling != today and replace(before.sampling, seed=today.seed) == today:
                    for sample in range(before.k):
                        yield replace(request, sampling=before.sampling, sample=sample).key


def _first(found: Completion) -> str:
    """The key under which an answer was given by a server: an answer that was taken over is still the same one."""
    return found.reused_from or found.key


def _origin(journal: Journal, key: str) -> str:
    mark = journal.marks.get(key)
    return (mark.origin if mark is not None else None) or key


def _does(found: Completion, request: Request) -> bool:
    """Whether the answer is one that today's request could have got."""
    if found.key == request.key:
        return True
    limit = request.sampling.max_tokens
    if found.finish == "length":
        return found.max_tokens == limit
    if limit == "context":
        return True
    return found.usage is not None and found.usage.completion_tokens <= limit


def _as(found: Completion, request: Request) -> Completion:
    return replace(
        found,
        key=request.key,
        prompt_id=request.prompt_id,
        sample=request.sample,
        billed=None,
        cost=None,
        reused_from=_first(found),
    )
