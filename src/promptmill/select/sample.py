"""A seeded sample that depends on nothing but `(seed, id)`.

The n prompts with the smallest hash of (seed, id) are kept, in the order of the source. So the same prompts are chosen
however the rows are ordered or spread over files, and a sample of 10 is part of the sample of 20.

Not covered: sampling by group (quotas), weights.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from promptmill.errors import ConfigError
from promptmill.records import Prompt
from promptmill.registry import Filter

REASON = "not sampled"


def sample(*, n: int = 11000, seed: int = 42) -> Sample:
    """Keep n prompts chosen by a hash of seed and id; all, where there are fewer.

    Args:
        n: how many prompts to keep.
        seed: another seed chooses other prompts.
    """
    return Sample(n, seed)


class Sample:
    """The Look behind `sample`: most prompts are dropped while looking, as soon as n smaller hashes are known."""

    by_head = True

    def __init__(self, n: int, seed: int) -> None:
        if n < 1:
            raise ConfigError(f"sample: n is {n}. Set 1 or more, or leave the step out.")
        self._n = n
        # One keyed state copied per prompt: the value of `records.stable_hash`, at half the time.
        self._hasher = hashlib.blake2b(digest_size=8, key=str(seed).encode())
        self._batch = max(n // 8, 1024)  # how many survivors make it worth while to find a lower limit
        self.begin(Path())

    def begin(self, work: Path) -> None:  # noqa: ARG002 - a few bytes for each survivor fit in memory
        """Forget what was seen before."""
        self._seen = bytearray()
        self._best = np.empty(0, dtype=np.uint64)
        self._taken = 0
        self._limit = b"\xff" * 8

    def observe(self, prompt: Prompt) -> str | None:
        """Drop the prompt if n smaller hashes are known already."""
        hasher = self._hasher.copy()
        hasher.update(prompt.id.encode())
        digest = hasher.digest()
        if digest > self._limit:
            return REASON
        self._seen += digest
        if len(self._seen) - self._taken >= self._batch * 8:
            self._tighten()
        return None

    def filter(self) -> Filter:
        """Keep what is below the n-th smallest hash; of equal hashes the first in the source's order."""
        self._tighten()
        hashes = _numbers(self._seen)
        if len(hashes) <= self._n:
            return lambda _: None
        limit = self._best.max()
        below, equal = hashes < limit, hashes == limit
        spare = self._n - int(below.sum())
        keep = iter((below | (equal & (np.cumsum(equal) <= spare))).tolist())
        return lambda _: None if next(keep) else REASON

    def _tighten(self) -> None:
        """Take the new hashes in; from n on, the largest of the n smallest is the limit."""
        best = np.concatenate([self._best, _numbers(self._seen[self._taken :])])
        self._taken = len(self._seen)
        if len(best) >= self._n:
            best = np.partition(best, self._n - 1)[: self._n]
            self._limit = int(best[-1]).to_bytes(8, "big")
        self._best = best


def _numbers(digests: bytearray) -> npt.NDArray[np.uint64]:
    return np.frombuffer(bytes(digests), dtype=">u8").astype(np.uint64)
