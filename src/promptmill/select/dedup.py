"""Exact duplicates: equal text after case-folding and stripping; the first in the source's order stays.

While looking, each prompt leaves 16 bytes (BLAKE2b of its folded text) in a temporary file; a prompt's position is its
place in that file. Then slices of the digests, cut by their own bits, are sorted one after another, so that a hundred
million prompts need no more memory than four million.

Not covered: near-duplicates.
"""

from __future__ import annotations

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from promptmill.records import Prompt
from promptmill.registry import Filter

REASON = "duplicate"

_SLICE = 4_000_000
"""Digests sorted at a time: about 200 MB."""


def dedup() -> Dedup:
    """Drop prompts whose text, case-folded and stripped, was there before."""
    return Dedup()


class Dedup:
    """The Look behind `dedup`."""

    def __init__(self, *, at_once: int = _SLICE) -> None:
        self._at_once = at_once
        self._digests: IO[bytes] | None = None
        self._work = Path()

    def begin(self, work: Path) -> None:
        """Forget what was seen before."""
        self._work = work
        self._digests = tempfile.TemporaryFile(dir=work, buffering=1 << 18)  # noqa: SIM115 - closed by `filter`

    def observe(self, prompt: Prompt) -> str | None:
        """Note the digest of one prompt."""
        assert self._digests is not None, "begin comes first"
        folded = prompt.plain.strip().casefold()
        self._digests.write(hashlib.blake2b(folded.encode(), digest_size=16).digest())
        return None

    def filter(self) -> Filter:
        """Keep the first of each digest."""
        assert self._digests is not None, "begin comes first"
        with self._digests as file:
            file.flush()
            size = file.tell()
            if size == 0:
                return lambda _: None
            pairs = np.memmap(file, dtype="<u8", mode="r", shape=(size // 16, 2))
            keep: Iterator[Any] = iter(_firsts(pairs, self._work, self._at_once))  # iterated, mmap gives bytes
            del pairs
        self._digests = None
        return lambda _: None if next(keep) == b"\1" else REASON


def _firsts(pairs: npt.NDArray[np.uint64], work: Path, at_once: int) -> mmap.mmap:
    """One byte a prompt, 1 for the first of its kind, in a mapped file that has no name."""
    with tempfile.TemporaryFile(dir=work) as file:
        file.truncate(len(pairs))
        mapped = mmap.mmap(file.fileno(), len(pairs))
    flags = np.frombuffer(mapped, dtype=np.uint8)
    slices = -(-len(pairs) // at_once)
    for part in range(slices):
        chosen = _slice(pairs, part, slices, at_once)
        high, low = pairs[chosen, 0], pairs[chosen, 1]
        order = np.lexsort((low, high))  # stable: of equal digests the first position comes first
        high, low = high[order], low[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        flags[chosen[order[first]]] = 1
    del flags
    return mapped


def _slice(pairs: npt.NDArray[np.uint64], part: int, slices: int, at_once: int) -> npt.NDArray[np.int64]:
    """Positions of the digests that belong to one slice, found without holding more than a block's worth."""
    if slices == 1:
        return np.arange(len(pairs))
    return np.concatenate(
        [
            start + np.flatnonzero(pairs[start : start + at_once, 0] % np.uint64(slices) == part)
            for start in range(0, len(pairs), at_once)
        ]
    )
