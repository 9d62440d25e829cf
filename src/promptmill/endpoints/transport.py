"""One seam for HTTP: bytes out, bytes in, under a deadline.

An endpoint speaks to a `Transport` and to nothing else, so a faster client or a fake goes in through the constructor.
Foreign errors (aiohttp, sockets) end here: they become `Unreachable`, `Unavailable` or `Timeout` with a text that holds
the address and never a header, a body or a query string, and they do not travel with it: a foreign error holds the
request, and with it the key.

`open_transport("auto")` takes pyreqwest in the event loops of uvloop, where the extra `fast` is installed, and aiohttp
elsewhere: without uvloop pyreqwest is no faster (figures: design/transports.md). The environment variable
PROMPTMILL_TRANSPORT (auto, aiohttp, pyreqwest) decides for a whole process, for the case that one of them does not get
along with a server.

Not covered: what the bytes mean (see `link` and the endpoints), retries (see `generate`), proxies and `.netrc` (they
are not read from the environment: a request goes to the server that the recipe names and to no other).
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, cast, get_args
from weakref import WeakSet

from promptmill.endpoints.deadlines import Deadlines
from promptmill.endpoints.fast import PyreqwestTransport
from promptmill.endpoints.replies import (
    BROKE,
    CLOSED,
    HEADERS,
    KEEP_ALIVE_S,
    MAX_BODY_BYTES,
    STALE_S,
    Reply,
    Streams,
    Transport,
    no_answer,
    origin,
    too_large,
)
from promptmill.errors import ConfigError, Timeout, Unavailable, Unreachable

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractStreamWriter

Kind = Literal["auto", "aiohttp", "pyreqwest"]
KIND_ENV = "PROMPTMILL_TRANSPORT"


class AiohttpTransport:
    """aiohttp, with one session for each event loop, opened on the first request.

    Args:
        max_body_bytes: larger answers are given up, so that no server can fill the memory.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._sessions: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, Deadlines]] = {}
        self._anew: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        self._anew_until = 0.0

    async def send(
        self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """Return the reply; the clock starts now and covers connecting, sending and the last byte.

        Raises:
            Timeout: no whole answer within `timeout_s`.
            Unreachable: refused, reset, closed too early, or not HTTP.
            Unavailable: the answer is too large.
        """
        import aiohttp

        payload = None if body is None else _body_class()(body)
        session, deadlines = self._session()
        response: aiohttp.ClientResponse | None = None
        failure: Timeout | Unavailable
        try:
            with deadlines.within(timeout_s):
                async with session.request(
                    method, url, data=payload, headers=headers, allow_redirects=False
                ) as response:
                    return Reply(response.status, response.headers, await self._read(response, url))
        except TimeoutError:
            failure = Timeout(no_answer(url, timeout_s))
        except (aiohttp.ClientError, OSError) as error:
            failure = Unreachable(f"{origin(url)}: {_reason(error)}.")
            if response is None and not session.closed and _is_stale(payload, error):
                failure.stale, self._anew_until = True, time.monotonic() + KEEP_ALIVE_S
        # raised here, for an error raised in an `except` keeps the foreign one as its context, key and all
        failure.sent = not getattr(failure, "stale", False) and bool(getattr(payload, "taken_at", None))
        raise failure

    async def stream(
        self, url: str, take: Callable[[bytes], None], *, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """GET; give each piece of a 200 answer to `take`, whatever its length (`Streams`).

        Raises:
            Timeout: no whole answer within `timeout_s`.
            Unavailable: refused, reset, closed too early, or not HTTP.
        """
        try:
            async with asyncio.timeout(timeout_s):
                session, _ = self._session()
                with _mapped(url):
                    response = await session.get(url, headers=headers, allow_redirects=False)
                async with response:
                    return await self._hand_on(response, url, take)
        except TimeoutError:
            raise Timeout(f"{origin(url)}: no answer within {timeout_s:g} s.") from None

    async def close(self) -> None:
        """Close the sessions of the running loop."""
        loop = asyncio.get_running_loop()
        session, _ = self._sessions.pop(loop, (None, None))
        for each in (session, self._anew.pop(loop, None)):
            if each is not None:
                await each.close()

    async def _hand_on(self, response: aiohttp.ClientResponse, url: str, take: Callable[[bytes], None]) -> Reply:
        headers = {k.lower(): v for k, v in response.headers.items()}
        while True:
            with _mapped(url):
                if response.status != 200:
                    return Reply(response.status, headers, await self._read(response, url))
                piece = await response.content.readany()
            if not piece:
                return Reply(response.status, headers, b"")
            take(piece)  # not mapped: a full disk is no fault of the connection

    async def _read(self, response: aiohttp.ClientResponse, url: str) -> bytes:
        # what is packed may be any size when it is unpacked
        packed = "Content-Encoding" in response.headers
        if not packed and response.content_length is not None and response.content_length <= self._max_body_bytes:
            return await response.read()
        chunks = bytearray()
        async for chunk in response.content.iter_any():
            chunks += chunk
            if len(chunks) > self._max_body_bytes:
                raise too_large(url, self._max_body_bytes)
        return bytes(chunks)

    def _session(self) -> tuple[aiohttp.ClientSession, Deadlines]:
        loop = asyncio.get_running_loop()
        found = self._sessions.get(loop)
        if found is None:
            import aiohttp

            # the number of requests in flight is the caller's business, not the connection pool's
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S)
            found = self._sessions[loop] = _open_session(connector), Deadlines()
        if self._anew_until and time.monotonic() < self._anew_until:
            return self._session_anew(loop), found[1]
        return found

    def _session_anew(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        """The session that keeps no connection."""
        import aiohttp

        if loop not in self._anew:
            self._anew[loop] = _open_session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self._anew[loop]


def _open_session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        read_bufsize=1 << 20,
    )


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Turn what aiohttp and sockets raise into `Unreachable`."""
    import aiohttp

    try:
        yield
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise Unreachable(f"{origin(url)}: {_reason(error)}.") from None


class ByLoopTransport:
    """Two transports: one for the event loops of uvloop and one for all others."""

    def __init__(self, others: Transport, *, uvloops: Transport) -> None:
        self._others = others
        self._uvloops = uvloops

    async def send(
        self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """Ask through the transport of the running loop; see there."""
        chosen = self._chosen()
        return await chosen.send(method, url, body=body, headers=headers, timeout_s=timeout_s)

    async def stream(
        self, url: str, take: Callable[[bytes], None], *, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """Hand on a large answer in pieces, which the transport of the other loops can, whatever the loop."""
        assert isinstance(self._others, Streams)
        return await self._others.stream(url, take, headers=headers, timeout_s=timeout_s)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        await self._others.close()
        await self._uvloops.close()

    def _chosen(self) -> Transport:
        is_uvloop = type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"
        return self._uvloops if is_uvloop else self._others


def open_transport(kind: Kind = "auto") -> Transport:
    """The transport that is asked for; `auto` is what PROMPTMILL_TRANSPORT says, else the faster that is installed.

    Raises:
        ConfigError: PROMPTMILL_TRANSPORT names no transport.
        MissingExtra: pyreqwest is asked for and not installed.
    """
    if kind == "auto":
        named = os.environ.get(KIND_ENV, "").strip() or "auto"
        if named not in get_args(Kind):
            known = ", ".join(get_args(Kind))
            raise ConfigError(f"{KIND_ENV}: there is no transport '{named[:40]}'. There are: {known}.")
        kind = cast("Kind", named)
    if kind == "pyreqwest":
        return PyreqwestTransport()
    if kind == "aiohttp" or not all(importlib.util.find_spec(name) for name in ("pyreqwest", "uvloop")):
        return AiohttpTransport()
    return ByLoopTransport(AiohttpTransport(), uvloops=PyreqwestTransport())


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What `asyncio.Runner(loop_factory=...)` gets: uvloop where it is installed, else asyncio's own (None)."""
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    made: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return made


@functools.cache
def _body_class() -> type[aiohttp.BytesPayload]:
    """A body that knows when a connection took it, and whether that had taken another before."""
    import aiohttp

    used = WeakSet[object]()

    class Body(aiohttp.BytesPayload):
        taken_at: float | None = None
        is_reused = False

        async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
            self.taken_at = time.monotonic()
            connection = getattr(writer, "protocol", writer)
            self.is_reused = connection in used
            used.add(connection)
            await super().write_with_length(writer, content_length)

    return Body


def _is_stale(payload: aiohttp.BytesPayload | None, error: Exception) -> bool:
    """Whether the connection had ended before the server can have taken the request up; see `replies`."""
    taken_at = getattr(payload, "taken_at", None)
    if taken_at is None or not getattr(payload, "is_reused", False):
        return False
    has_begun = not isinstance(getattr(error, "message", ""), str)  # half a head came
    return not has_begun and time.monotonic() - taken_at < STALE_S


def _reason(error: Exception) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"the secure connection failed ({type(error).__name__})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "nothing answers (no such host)"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"nothing answers ({os.strerror(error.errno).lower() if error.errno else type(error).__name__})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return BROKE
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return CLOSED
    return f"the connection failed ({type(error).__name__})"
