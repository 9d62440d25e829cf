"""One seam for HTTP: bytes out, bytes in, under a deadline.

An endpoint speaks to a `Transport` and to nothing else, so another client or a fake goes in through the constructor;
`http1` is the one there is. Foreign errors end behind the seam: they become `Unreachable`, `Unavailable` or `Timeout`
with a text that holds the address and never a header, a body or a query string, and they do not travel with it: a
foreign error may hold the request, and with it the key.

**Connections that end unannounced.** A server may close a kept connection at any moment, also while a request is on its
way. RFC 9110 (9.2.2) lets a client send a POST again only if it can tell that the first was never applied. It is told
here by three signs: the connection had served before, nothing of a reply came, and it broke within `STALE_S` of
sending. A server that had taken the request up would have kept the connection until its answer, and a model takes
longer for one. Such an `Unreachable` is `stale`, and for `KEEP_ALIVE_S`, as long as any other kept connection may live,
each request gets a new connection. Who sends it again is `lanes`, so that caps and limits count it.

Not covered: what the bytes mean (see `link` and the endpoints), retries (see `generate`).
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from promptmill.errors import Unavailable

# uvicorn (vLLM) closes idle connections after 5 s; closing ours first avoids sending into a connection that is ending
KEEP_ALIVE_S = 4.0
STALE_S = 1.0
MAX_BODY_BYTES = 1 << 26
# whatever the transport: gzip is the only packing that is read
HEADERS = {"User-Agent": "promptmill", "Accept-Encoding": "gzip"}
BROKE = "the connection broke in the middle of the answer"
CLOSED = "the server closed the connection without an answer"


class Reply(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status.
        headers: by names in lower case; of one that comes twice, the first.
        body: the whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """Sends one request and returns the whole reply, whatever its status."""

    async def send(
        self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """Return the reply; raise `Unreachable`, `Unavailable` or `Timeout` when there is none."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@runtime_checkable
class Streams(Protocol):
    """A transport that can hand on a large answer in pieces."""

    async def stream(
        self, url: str, take: Callable[[bytes], None], *, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """GET; give each piece of a 200 answer to `take`; return the reply, with its body where the status is another.

        Raise `Unavailable` or `Timeout` when there is none or it broke off.
        """
        ...


def origin(url: str) -> str:
    """`scheme://host:port` of an address: fit to be shown."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def no_answer(url: str, timeout_s: float) -> str:
    """The text of a `Timeout`."""
    return f"{origin(url)}: no answer within {timeout_s:g} s."


def too_large(url: str, limit: int) -> Unavailable:
    """The error for an answer above the limit; the server made it, so it may be on the bill."""
    return Unavailable(f"{origin(url)}: the answer is larger than {limit:,} bytes.", sent=True)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What `asyncio.Runner(loop_factory=...)` gets: uvloop where it is installed, else asyncio's own (None)."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made
