"""Engines: where shards run. They hold leases on shards, never rows.

`local` runs the shards of a map stage in this process or, with more workers, in a pool of fresh processes. A cluster
engine calls the same functions with the same shards. Generation is not run through an engine's own machinery: it has
its window, journal and commit, and an engine gives it a list of shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from promptmill.registry import Counts, Engine


def local(*, workers: int = 1) -> Engine:
    """Run shards on this machine.

    Args:
        workers: processes; 1 runs the shards in this process, one after the other.
    """
    return Local(workers)


class Local:
    """The engine of one machine."""

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, fn: Callable[[Any], Counts], shards: Sequence[Any]) -> Iterator[Counts]:
        """Yield the counts of each shard, in the order of the shards."""
        if self.workers == 1 or len(shards) < 2:
            yield from map(fn, shards)
            return
        with ProcessPoolExecutor(min(self.workers, len(shards)), mp_context=get_context("spawn")) as pool:
            yield from pool.map(fn, shards)
