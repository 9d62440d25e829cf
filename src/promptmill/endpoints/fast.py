"""HTTP by pyreqwest (Rust): the same semantics as `AiohttpTransport` at a fraction of its CPU; the extra `fast`.

Trial and figures: design/transports.md. Its classes of errors say less than they seem to (a connection that is reset
after the request was sent is a `ConnectError`, and a deadline that passes while the server thinks a
`ConnectTimeoutError`), so what happened is read from the chain of causes. When a deadline passes nothing tells whether
there was a connection: the request counts as sent.

Not covered: use after `fork` (the I/O thread does not come along; start processes by `spawn`).
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib.util
import os
import re
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from promptmill.endpoints.replies import (
    BROKE,
    CLOSED,
    HEADERS,
    KEEP_ALIVE_S,
    MAX_BODY_BYTES,
    STALE_S,
    Reply,
    no_answer,
    origin,
    too_large,
)
from promptmill.errors import MissingExtra, Timeout, Unreachable

if TYPE_CHECKING:
    from pyreqwest.client import Client
    from pyreqwest.response import Response


class PyreqwestTransport:
    """pyreqwest, with one client for each event loop, opened on the first request.

    Args:
        max_body_bytes: larger answers are given up, so that no server can fill the memory.

    Raises:
        MissingExtra: pyreqwest is not installed.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        if importlib.util.find_spec("pyreqwest") is None:
            raise MissingExtra("fast", needed_for="The transport pyreqwest")
        self._max_body_bytes = max_body_bytes
        self._clients: dict[tuple[asyncio.AbstractEventLoop, bool], Client] = {}
        self._replied_at = float("-inf")
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
        from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError

        failure: Timeout | Unreachable
        began = time.monotonic()
        anew = began < self._anew_until
        try:
            client = self._client(anew=anew)
            request = client.request(method, url).headers(headers).timeout(timedelta(seconds=timeout_s))
            if body is not None:
                request = request.body_bytes(body)
            async with request.build_streamed() as response:
                content = await self._read(response, url)
                self._replied_at = time.monotonic()
                return Reply(response.status, response.headers, content)
        except RequestTimeoutError:
            failure = Timeout(no_answer(url, timeout_s), sent=body is not None)
        except (PyreqwestError, ValueError) as error:  # ValueError: a host name that is none
            reason, sent = _reason(error)
            failure = Unreachable(f"{origin(url)}: {reason}.", sent=sent and body is not None)
            if not anew and client in self._clients.values() and self._is_stale(error, began):
                failure.sent, failure.stale, self._anew_until = False, True, time.monotonic() + KEEP_ALIVE_S
        # raised here, for an error raised in an `except` keeps the foreign one as its context, address and all
        raise failure

    async def close(self) -> None:
        """Close the clients of the running loop."""
        loop = asyncio.get_running_loop()
        for anew in (False, True):
            client = self._clients.pop((loop, anew), None)
            if client:
                await client.close()

    def _is_stale(self, error: Exception, began: float) -> bool:
        """Whether the connection had ended before the server can have taken the request up; see `replies`.

        What connection it was is not told, nor whether a part of a head came: one may have been kept if there was a
        reply while it would have been.
        """
        now = time.monotonic()
        return now - began < STALE_S and began - self._replied_at < KEEP_ALIVE_S and _broke_in_sending(error)

    async def _read(self, response: Response, url: str) -> bytes:
        # the header is gone where the answer was packed: what is packed may be any size when it is unpacked
        length = response.get_header("content-length")
        if length is not None and int(length) <= self._max_body_bytes:
            whole: bytes = (await response.bytes()).to_bytes()
            return whole
        chunks = bytearray()
        while (chunk := await response.body_reader.read_chunk()) is not None:
            chunks += chunk
            if len(chunks) > self._max_body_bytes:
                raise too_large(url, self._max_body_bytes)
        return bytes(chunks)

    def _client(self, *, anew: bool) -> Client:
        """The client of the running loop; where `anew`, the one that keeps no connection."""
        key = asyncio.get_running_loop(), anew
        if key not in self._clients:
            from pyreqwest.client import ClientBuilder

            _outlive_the_last_answer()
            for ended in [known for known in self._clients if known[0].is_closed()]:
                del self._clients[ended]
            self._clients[key] = (
                ClientBuilder()
                .default_headers(HEADERS)
                .follow_redirects(enable=False)
                .no_proxy()
                .default_cookie_store(enable=False)
                .deflate(enable=False)
                .brotli(enable=False)
                .zstd(enable=False)
                .pool_idle_timeout(timedelta(seconds=KEEP_ALIVE_S))
                .pool_max_idle_per_host(0 if anew else sys.maxsize)
                .build()
            )
        return self._clients[key]


@functools.cache
def _outlive_the_last_answer() -> None:
    """Give the I/O thread time to let go of the interpreter before it ends.

    In a loop that is not uvloop's the thread wakes the loop by a write to a socket and waits for the GIL after it. A
    program that is done before it gets the GIL would end with "Fatal Python error" and SIGABRT (one exit in four under
    load; CPython before 3.14, gh-87135). While this sleeps the GIL is free.
    """
    atexit.register(time.sleep, 0.05)


def _causes(error: Exception) -> list[str]:
    details = getattr(error, "details", None) or {}
    return [cause["message"] for cause in details.get("causes") or []]


def _broke_in_sending(error: Exception) -> bool:
    """Whether the connection ended under a request that had no reply."""
    causes = _causes(error)
    ended = ("connection closed before message completed", "(os error 104)", "(os error 32)")
    return "client error (SendRequest)" in causes and any(sign in cause for cause in causes for sign in ended)


def _reason(error: Exception) -> tuple[str, bool]:
    """What happened in our words, and whether the request may have reached the server."""
    causes = _causes(error)
    said = " / ".join(causes[1:])  # the first one holds the address
    if "client error (Connect)" in causes:
        number = re.search(r"\(os error (\d+)\)", said)
        if "dns error" in causes:
            return "nothing answers (no such host)", False
        if "certificate" in said or "tls" in said.lower():
            return f"the secure connection failed ({type(error).__name__})", False
        return f"nothing answers ({os.strerror(int(number[1])).lower() if number else type(error).__name__})", False
    if "request or response body error" in causes:
        return BROKE, True
    if "connection closed before message completed" in causes:
        return CLOSED, True
    return f"the connection failed ({type(error).__name__})", not isinstance(error, ValueError)
