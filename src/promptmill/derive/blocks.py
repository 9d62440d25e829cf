"""Write a large file in whole blocks past the page cache, where the system allows it.

Slices are written once and are many times larger than the answers. Through the page cache each byte costs a fresh page,
which was measured to take more CPU time than tokenizing, and pushes a model server's weights out of memory. Where the
file system knows no direct writes (or the platform, or the file is small) the same bytes go the usual way.

Not covered: reading, appending.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections.abc import Iterable
from typing import IO

# Direct writes need aligned memory, offsets and lengths; an anonymous map is page-aligned. A quarter of a megabyte for
# each of two files stays in the processor's own cache.
_BLOCK = 1 << 18


class BlockFile:
    """Collects pieces into one block and writes it when full."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        self._map = mmap.mmap(-1, _BLOCK)
        self._block = memoryview(self._map)
        self._used = 0
        self._direct = _set_direct(self._descriptor, on=True)

    def add(self, pieces: Iterable[bytes | memoryview]) -> None:
        """Write pieces one after the other."""
        block, used = self._block, self._used
        for piece in pieces:
            end = used + len(piece)
            if end < _BLOCK:
                block[used:end] = piece
                used = end
                continue
            rest = memoryview(piece)
            while used + len(rest) >= _BLOCK:
                room = _BLOCK - used
                block[used:] = rest[:room]
                rest = rest[room:]
                self._write(block)
                used = 0
            used = len(rest)
            block[:used] = rest
        self._used = used

    def close(self) -> None:
        """Write what is left and give back the block; the file itself belongs to the caller."""
        self._no_direct()
        self._write(self._block[: self._used])
        self._used = 0
        self._block.release()
        self._map.close()

    def _write(self, data: memoryview) -> None:
        done = 0
        while done < len(data):
            try:
                done += os.write(self._descriptor, data[done:])
            except OSError as error:
                if not (self._direct and error.errno == errno.EINVAL):
                    raise
                self._no_direct()
            if done % _BLOCK:
                self._no_direct()  # a short write leaves an offset that direct writes refuse

    def _no_direct(self) -> None:
        if self._direct:
            self._direct = False
            _set_direct(self._descriptor, on=False)


def _set_direct(descriptor: int, *, on: bool) -> bool:
    """Whether direct writes are on now."""
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return False
    import fcntl

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | flag if on else flags & ~flag)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False  # this file system has none
    return on
