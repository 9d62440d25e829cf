"""How many connections this process may have: each is an open file, and a system allows so many (`ulimit -n`).

A process that has no handle left can neither connect nor write what it was answered, so a run asks for as many as it
needs, and where it gets fewer it asks fewer requests at a time.

Not covered: what other threads of the process open meanwhile (`SPARE` is for them).
"""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

SPARE = 48  # journals, status, store, log, the loop's own


def connections(wanted: int) -> int:
    """How many of so many connections can be had, one at least; raises the process's limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    need = _open_now() + SPARE + wanted
    if need > soft and (hard == resource.RLIM_INFINITY or hard > soft):
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        with suppress(ValueError, OSError):  # macOS has a limit below the one that it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(wanted, soft - _open_now() - SPARE))


def _open_now() -> int:
    try:
        return sum(1 for _ in Path("/dev/fd").iterdir())
    except OSError:
        return SPARE
