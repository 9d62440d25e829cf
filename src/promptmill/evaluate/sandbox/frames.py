"""Messages over a pair of file descriptors: four bytes of length, then JSON.

Whoever reads believes nothing: a frame that is too long, no JSON or cut off is `Broken`, with what was wrong in a few
words. JSON and not pickle or marshal: decoding it can make nothing but plain values.
"""

from __future__ import annotations

import json
import os
from typing import Any

MAX_FRAME = 16 << 20


class Broken(Exception):  # noqa: N818 - it is the channel that is broken, not the caller
    """The other side is gone, or sent what is no frame."""


class Channel:
    """Both directions of a conversation.

    Attributes:
        reads: descriptor to read from.
        writes: descriptor to write to.
    """

    def __init__(self, reads: int, writes: int, *, limit: int = MAX_FRAME) -> None:
        self.reads = reads
        self.writes = writes
        self._limit = limit

    def send(self, message: Any) -> None:
        """Write one message.

        Raises:
            Broken: nobody reads, or the message is too long.
        """
        body = json.dumps(message, separators=(",", ":"), check_circular=False).encode()
        if len(body) > self._limit:
            raise Broken(f"a message of {len(body):,} bytes is too long")
        rest = memoryview(len(body).to_bytes(4, "big") + body)
        while rest:
            try:
                rest = rest[os.write(self.writes, rest) :]
            except OSError as error:
                raise Broken("it does not listen any more") from error

    def receive(self) -> Any:
        """Read one message.

        Raises:
            Broken: as the class says.
        """
        size = int.from_bytes(self._exactly(4), "big")
        if size > self._limit:
            raise Broken(f"a message of {size:,} bytes is too long")
        body = self._exactly(size)
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Broken("a message is no JSON") from error

    def _exactly(self, size: int) -> bytes:
        got = bytearray()
        while len(got) < size:
            try:
                more = os.read(self.reads, min(size - len(got), 1 << 20))
            except OSError as error:
                raise Broken("it cannot be heard") from error
            if not more:
                raise Broken("it is gone")
            got += more
        return bytes(got)
