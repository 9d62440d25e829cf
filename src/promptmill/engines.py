"""Engines: where shards run. They hold leases on shards, never rows.

`local` runs the shards of a map stage in this process or, with more workers, in a pool of fresh processes. A cluster
engine calls the same functions with the same shards. Generation is not run through an engine's own machinery: it has
its window, journal and commit, and an engine gives it a list of shards.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context, parent_process
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
        others = active_children()
        workers = min(self.workers, len(shards))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
            try:
                yield from pool.map(fn, shards)
            except KeyboardInterrupt:  # shards that are under way are made again; nobody waits for them now
                for worker in set(active_children()).difference(others):
                    worker.terminate()
                raise


def _end_with_parent() -> None:
    """Leave interrupts to the parent, and end when it does: a worker whose parent was killed must not go on writing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None, "runs in a worker"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
