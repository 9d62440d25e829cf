"""HTTP/1.1 on the event loop's own sockets: the cheapest way a request can travel, and the one that is taken.

A request costs one write, one read and one wake-up; what a general client does besides (cookies, redirects,
middleware, a task for each read) is not needed here and is most of what it costs (design/transports.md). Names are
looked up once for all connections of a burst (`names`), several addresses of a host are tried side by side ("Happy
Eyeballs", RFC 8305), connections are used again as long as they were not idle for `KEEP_ALIVE_S`.

Not covered: HTTP/2, client certificates; which proxies: `proxies`.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import os
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import quote, urlsplit

from promptmill.endpoints import proxies
from promptmill.endpoints.connection import Connection, Loss, Place, Take
from promptmill.endpoints.deadlines import Deadlines, arrival
from promptmill.endpoints.names import names_of
from promptmill.endpoints.proxies import THROUGH, NoTunnelError, Tunnel
from promptmill.endpoints.transport import (
    HEADERS,
    KEEP_ALIVE_S,
    MAX_BODY_BYTES,
    STALE_S,
    Reply,
    no_answer,
    origin,
    too_large,
)
from promptmill.errors import ConfigError, Timeout, Unreachable

NEXT_ADDRESS_S = 0.25
PROBES = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # after so many s, every so many s, so many times


class Http1Transport:
    """A `Transport`, with connections of its own for each event loop, opened on the first request.

    Args:
        max_body_bytes: larger answers are given up, so that no server can fill the memory.
    """

    def __init__(self, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._max_body_bytes = max_body_bytes
        self._proxies = proxies.settings()
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def send(
        self, method: str, url: str, *, body: bytes | None, headers: dict[str, str], timeout_s: float
    ) -> Reply:
        """Return the reply; the clock starts now and covers connecting, sending and the last byte.

        Raises:
            Timeout: no whole answer within `timeout_s`.
            Unreachable: refused, reset, closed too early, or not HTTP.
            Unavailable: the answer is too large.
            ConfigError: a header that cannot be sent, or a proxy that cannot be spoken to.
        """
        return await self._ask(method, url, body, headers, timeout_s=timeout_s)

    async def stream(self, url: str, take: Take, *, headers: dict[str, str], timeout_s: float) -> Reply:
        """GET; give each piece of a 200 answer to `take`, whatever its length (`Streams`).

        Raises:
            Timeout: no whole answer within `timeout_s`.
            Unavailable: refused, reset, closed too early, or not HTTP.
        """
        return await self._ask("GET", url, None, headers, timeout_s=timeout_s, take=take)

    async def close(self) -> None:
        """Close the connections of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            pool.close()
            await asyncio.sleep(0)  # the sockets are closed by the loop, in its next pass

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        take: Take | None = None,
    ) -> Reply:
        pool = self._pool()
        sent = False
        connection: Connection | None = None
        place, kept, began = None, None, 0.0
        got: Reply | Loss | None  # None: not in time
        try:
            place, head = _head(method, url, tuple(headers.items()), self._proxies)
            with pool.deadlines.within(timeout_s):
                kept = pool.take(place)
                connection = kept or await pool.connect(place)
                sent, began = body is not None, time.monotonic()
                got = await arrival(connection.ask(head, body, take=take))
        except TimeoutError as error:
            late = os.strerror(error.errno).lower() if error.errno else None  # the system's own, or our deadline
            got = Loss(f"nothing answers ({late})") if late else None
        except (OSError, UnicodeError) as error:
            got = Loss(_reason(error))
        finally:
            if connection is not None:
                pool.give_back(connection)
        if type(got) is Reply:
            return got
        # raised here, for an error raised in an `except` keeps the foreign one as its context
        if not isinstance(got, Loss):
            raise Timeout(no_answer(url, timeout_s), sent=sent)
        if got.too_large:
            raise too_large(url, self._max_body_bytes)
        if got.error is not None:
            raise got.error
        way = f" ({THROUGH} {place.proxy})" if place and place.proxy else ""
        failure = Unreachable(f"{origin(url)}{way}: {got.reason}.", sent=sent)
        if kept is not None and not got.begun and time.monotonic() - began < STALE_S:
            failure.sent, failure.stale = False, True  # see `transport`
            pool.distrust()
        raise failure

    def _pool(self) -> _Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            for known in list(self._pools):  # at once: other threads, with loops of their own, come by too
                if known.is_closed():
                    self._pools.pop(known, None)
            pool = self._pools[loop] = _Pool(loop, self._max_body_bytes)
        return pool


class _Pool:
    """Connections of one event loop, the last used first: what a burst has left over is idle and ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: int) -> None:
        self.deadlines = Deadlines()
        self._loop = loop
        self._limit = limit
        self._idle: dict[Place, list[Connection]] = {}
        self._all: set[Connection] = set()
        self._names = names_of(loop)
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._trusted_at = 0.0

    def take(self, place: Place) -> Connection | None:
        """A connection that may be used again."""
        idle = self._idle.get(place)
        if self._distrusted:
            return None
        oldest = self._loop.time() - KEEP_ALIVE_S
        while idle:
            connection = idle.pop()
            if connection.is_free and connection.idle_since > oldest:
                return connection
            self._drop(connection)
        return None

    async def connect(self, place: Place) -> Connection:
        """A new connection.

        Raises:
            OSError: there is none.
            UnicodeError: the host's name is none.
        """
        if self._closed:
            raise ConnectionAbortedError
        from aiohappyeyeballs import start_connection

        first = place.proxy or place
        found = await self._names.addresses(first.host, first.port)
        plug = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=self._loop)
        _keep_in_touch(plug)
        try:
            connection = await self._speak(place, plug)
        except BaseException:
            # the loop closes it when it sees this; closed here, its number would be another's while the loop reads it
            with suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
            raise
        self._all.add(connection)
        if self._closed:  # meanwhile
            self._drop(connection)
            raise ConnectionAbortedError
        return connection

    async def _speak(self, place: Place, plug: socket.socket) -> Connection:
        """A connection over an open socket, which the loop owns from now on."""

        def made() -> Connection:
            return Connection(place, self._limit)

        name = place.host if place.secure else None
        if name is None or place.proxy is None:
            safe = _certificates() if name else None
            return (await self._loop.create_connection(made, sock=plug, ssl=safe, server_hostname=name))[1]
        tunnel = Tunnel(place.proxy, name, place.port)
        transport, _ = await self._loop.create_connection(lambda: tunnel, sock=plug)
        await tunnel.opened
        connection = made()
        connection.connection_made(transport)  # the server may speak or end before we hear that it is secure
        secured = await self._loop.start_tls(transport, connection, _certificates(), server_hostname=name)
        if secured is None:  # it has ended
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        connection.connection_made(secured)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer is whole; end any other."""
        if not connection.is_free or connection not in self._all or self._distrusted:
            self._drop(connection)
            return
        self._idle.setdefault(connection.place, []).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(KEEP_ALIVE_S, self._sweep)

    def distrust(self) -> None:
        """Keep no connection for as long as one that is kept might have ended unseen."""
        for idle in self._idle.values():
            while idle:
                self._drop(idle.pop())
        self._trusted_at = self._loop.time() + KEEP_ALIVE_S

    @property
    def _distrusted(self) -> bool:
        return self._trusted_at > 0.0 and self._loop.time() < self._trusted_at

    def close(self) -> None:
        """End all."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._closed = True
        for connection in list(self._all):
            self._drop(connection)
        self._idle.clear()

    def _drop(self, connection: Connection) -> None:
        self._all.discard(connection)
        connection.abort()

    def _sweep(self) -> None:
        """End what was idle for too long; the oldest stand first."""
        self._sweeper = None
        oldest = self._loop.time() - KEEP_ALIVE_S
        for place, idle in self._idle.items():
            kept = [each for each in idle if each.is_free and each.idle_since > oldest]
            for each in set(idle).difference(kept):
                self._drop(each)
            self._idle[place] = kept
        if any(self._idle.values()):
            self._sweeper = self._loop.call_later(KEEP_ALIVE_S / 2, self._sweep)


@functools.lru_cache(maxsize=256)
def _head(
    method: str, url: str, headers: tuple[tuple[str, str], ...], said: proxies.Settings = ()
) -> tuple[Place, bytes]:
    """Where a request goes, and its head without its end; the same for all requests of a lane.

    Raises:
        ConfigError: a header that cannot be sent, or a proxy that cannot be spoken to.
        UnicodeError: the host's name is none.
    """
    parts = urlsplit(url)
    secure, host = parts.scheme == "https", parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode()
    shown += f":{parts.port}" if parts.port else ""
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
    if parts.query:
        target += "?" + quote(parts.query, safe="/%:@!$&'()*+,;=~?[]")
    fields = {"Host": shown, **HEADERS, **dict(headers)}
    place = Place(host, parts.port or (443 if secure else 80), secure=secure)
    if said and (proxy := proxies.proxy_of(said, parts.scheme, host, place.port)) is not None:
        place = place._replace(proxy=proxy)
        if not secure:
            target = f"http://{shown}{target}"
            fields |= {"Proxy-Authorization": proxy.login} if proxy.login else {}
    for name, value in fields.items():
        if not value.isascii() or not value.isprintable():
            raise ConfigError(f"header {name}: holds a character that no header may hold. Look at where it comes from.")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return place, "\r\n".join(lines).encode()


def _keep_in_touch(plug: socket.socket) -> None:
    """Let the system ask now and then whether the other end is there.

    A model is silent for minutes, in which routers forget a connection that says nothing; and who was suspended, or
    whose server lost its power, would wait for the whole time-out.
    """
    with suppress(OSError):  # where it cannot be, it is a connection all the same
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in PROBES.items():
            if hasattr(socket, name):  # macOS has other names
                plug.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """The system's, and those of SSL_CERT_FILE; made once, for reading them takes a while."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: Exception) -> str:
    """What happened in our words."""
    if isinstance(error, NoTunnelError):
        return str(error)
    if isinstance(error, ssl.SSLError):
        return f"the secure connection failed ({type(error).__name__})"
    if isinstance(error, socket.gaierror | UnicodeError):
        return "nothing answers (no such host)"
    number = error.errno if isinstance(error, OSError) else None
    if number in {errno.EMFILE, errno.ENFILE}:
        return f"no connection can be opened ({os.strerror(number).lower()}: raise `ulimit -n` or lower concurrency)"
    return f"nothing answers ({os.strerror(number).lower() if number else type(error).__name__})"
