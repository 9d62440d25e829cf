"""One seam for HTTP: bytes out, bytes in, under a deadline.

An endpoint speaks to a `Transport` and to nothing else, so a faster client or a fake goes in through the constructor.
Foreign errors (aiohttp, sockets) end here: they become `Unavailable` or `Timeout` with a text that holds the address
and never a header, a body or a query string.

Not covered: what the bytes mean (see `link` and the endpoints), retries (see `generate`), proxies and `.netrc` (they
are not read from the environment: a request goes to the server that the recipe names and to no other).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlsplit

from promptmill.errors import Timeout, Unavailable

if TYPE_CHECKING:
    import aiohttp

# uvicorn (vLLM) closes idle connections after 5 s; closing ours first avoids sending into a connection that is ending
KEEP_ALIVE_S = 4.0
MAX_BODY_BYTES = 1 << 28


class Reply(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
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
        """Return the reply; raise `Unavailable` or `Timeout` when there is none."""
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


class AiohttpTransport:
    """aiohttp, with one session for each event loop, opened on the first request.

    Args:
        max_body_bytes: larger answers are given up, so that no server can fill the memory.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}

    async def send(
        self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """Return the reply; the clock starts now and covers connecting, sending and the last byte.

        Raises:
            Timeout: no whole answer within `timeout_s`.
            Unavailable: refused, reset, closed too early, or not HTTP.
        """
        import aiohttp

        session = self._session()
        try:
            async with (
                asyncio.timeout(timeout_s),
                session.request(method, url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                content = await self._read(response, url)
                return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, content)
        # `from None`: the foreign error carries the request's headers, so it must not travel with ours
        except TimeoutError:
            raise Timeout(f"{origin(url)}: no answer within {timeout_s:g} s.") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{origin(url)}: {_reason(error)}.") from None

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
                with _mapped(url):
                    response = await self._session().get(url, headers=headers, allow_redirects=False)
                async with response:
                    return await self._hand_on(response, url, take)
        except TimeoutError:
            raise Timeout(f"{origin(url)}: no answer within {timeout_s:g} s.") from None

    async def close(self) -> None:
        """Close the session of the running loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session:
            await session.close()

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
                raise Unavailable(f"{origin(url)}: the answer is larger than {self._max_body_bytes:,} bytes.")
        return bytes(chunks)

    def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            import aiohttp

            self._sessions[loop] = aiohttp.ClientSession(
                # the number of requests in flight is the caller's business, not the connection pool's
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "promptmill"},
                read_bufsize=1 << 20,
            )
        return self._sessions[loop]


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Turn what aiohttp and sockets raise into `Unavailable`."""
    import aiohttp

    try:
        yield
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"{origin(url)}: {_reason(error)}.") from None


def origin(url: str) -> str:
    """`scheme://host:port` of an address: fit to be shown."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


def _reason(error: Exception) -> str:
    import aiohttp

    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return f"the secure connection failed ({type(error).__name__})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "nothing answers (no such host)"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"nothing answers ({os.strerror(error.errno).lower() if error.errno else type(error).__name__})"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the connection broke in the middle of the answer"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the server closed the connection without an answer"
    return f"the connection failed ({type(error).__name__})"
