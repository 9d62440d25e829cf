"""A small HTTP/1.1 server that can also misbehave: half a body, a dropped connection, one byte at a time, no answer.

Every reply is a `Plan`, made at once and carried out by the event loop's timers, so a request costs no task and the
server does thousands of requests a second. It serves tests and trials on loopback.

Not covered: TLS, chunked uploads, pipelining of answers (the next request of a connection waits for the first).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Literal, NamedTuple, cast

How = Literal["whole", "half", "drop", "reset", "never", "slow", "hang", "close"]

MAX_HEAD_BYTES = 1 << 16
MAX_BODY_BYTES = 1 << 26
SLOW_PIECES = 10


class Asked(NamedTuple):
    """One request.

    Attributes:
        method: `GET`, `POST`, ...
        path: without the query.
        query: after the `?`, as it came.
        headers: names in lower case.
        body: the whole body.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Plan(NamedTuple):
    """What to do with a request.

    Attributes:
        payload: the whole reply, head included.
        delay_s: how long to wait before it.
        how: sent whole, half, slowly, whole and closed (`close`), the head alone (`hang`), not at all (`drop` closes,
            `reset` closes with RST, `never` waits for the client to give up).
        slow_s: over how many seconds a slow reply is spread.
        enter: called with what starts the request, to call it when its turn has come; None starts it at once.
        done: called once; True when every byte was handed to the socket.
    """

    payload: bytes
    delay_s: float = 0.0
    how: How = "whole"
    slow_s: float = 1.0
    enter: Callable[[Callable[[], None]], None] | None = None
    done: Callable[[bool], None] = lambda _handed: None


class Connection(asyncio.Protocol):
    """One client connection."""

    def __init__(self, respond: Callable[[Asked], Plan], connections: set[Connection]) -> None:
        self._respond = respond
        self._connections = connections
        self._buffer = bytearray()
        self._plan: Plan | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._close_after = False
        self._paused = False
        self._continued = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the socket; be told about every byte that it does not take at once."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client went away: what was planned for it did not arrive."""
        self._connections.discard(self)
        if self._timer:
            self._timer.cancel()
        self._finish(handed=False)

    def pause_writing(self) -> None:
        """Some bytes still wait in this process."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket took the rest."""
        self._paused = False
        if self._plan and not self._timer:
            self._handed()

    def data_received(self, data: bytes) -> None:
        """Collect bytes until a request is whole."""
        self._buffer += data
        if self._plan is None:
            self._next()

    def abort(self) -> None:
        """Close without sending what waits."""
        self._transport.abort()

    def _next(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                self._refuse(431)
            return
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = headers.get("content-length", "0")
        if len(parts) != 3 or not length.isdecimal() or "transfer-encoding" in headers:
            self._refuse(400 if "transfer-encoding" not in headers else 411)
            return
        if int(length) > MAX_BODY_BYTES:
            self._refuse(413)
            return
        if len(self._buffer) < end + 4 + int(length):
            if headers.get("expect", "").lower() == "100-continue" and not self._continued:
                self._continued = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self._buffer[end + 4 : end + 4 + int(length)])
        del self._buffer[: end + 4 + int(length)]
        self._continued = False
        self._close_after = headers.get("connection", "").lower() == "close"
        path, _, query = parts[1].partition("?")
        self._start(self._respond(Asked(parts[0], path, query, headers, body)))

    def _refuse(self, status: int) -> None:
        self._close_after = True
        self._buffer.clear()
        self._start(Plan(reply(status, b"{}")))

    def _start(self, plan: Plan) -> None:
        self._plan = plan
        if plan.enter:
            plan.enter(partial(self._begin, plan))
        else:
            self._begin(plan)

    def _begin(self, plan: Plan) -> None:
        if plan.how == "never" or self._plan is not plan:  # the client may have gone away while it waited
            return
        if plan.delay_s > 0:
            self._timer = asyncio.get_running_loop().call_later(plan.delay_s, self._act)
        else:
            self._act()

    def _act(self) -> None:
        self._timer = None
        plan = self._plan
        if plan is None or self._transport.is_closing():
            return
        if plan.how in {"drop", "reset"}:
            if plan.how == "reset":  # closing without waiting for what was sent makes the kernel send RST
                raw = self._transport.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        elif plan.how == "hang":
            self._transport.write(plan.payload[: plan.payload.index(b"\r\n\r\n") + 4])
        elif plan.how in {"half", "close"}:
            self._transport.write(plan.payload[: _half(plan.payload)] if plan.how == "half" else plan.payload)
            self._transport.close()
        elif plan.how == "slow":
            self._send_piece(0)
        else:
            self._transport.write(plan.payload)
            if not self._paused:
                self._handed()

    def _send_piece(self, index: int) -> None:
        """Send the next tenth of a slow reply and come back for the following one."""
        self._timer = None
        plan = self._plan
        if plan is None or self._transport.is_closing():
            return
        size = -(-len(plan.payload) // SLOW_PIECES)
        pause_s = plan.slow_s / SLOW_PIECES
        last = index == SLOW_PIECES - 1
        if not last:
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._send_piece, index + 1)
        self._transport.write(plan.payload[index * size : (index + 1) * size])
        if last and not self._paused:
            self._handed()

    def _handed(self) -> None:
        self._finish(handed=True)
        if self._close_after:
            self._transport.close()
        elif self._buffer:
            self._next()

    def _finish(self, *, handed: bool) -> None:
        plan, self._plan = self._plan, None
        if plan:
            plan.done(handed)


def reply(status: int, body: bytes, headers: dict[str, str] | None = None, *, kind: str = "application/json") -> bytes:
    """Bytes of a whole HTTP reply, JSON unless `kind` says otherwise."""
    length = {} if status == 204 else {"Content-Length": str(len(body))}
    return head(status, {"Content-Type": kind, **length, **(headers or {})}) + body


def head(status: int, headers: dict[str, str]) -> bytes:
    """Bytes of the head of an HTTP reply."""
    phrase = HTTPStatus(status).phrase if status in _KNOWN else "Overloaded"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


_KNOWN = {int(status) for status in HTTPStatus}


def _half(payload: bytes) -> int:
    """The whole head and half of the body."""
    head = payload.index(b"\r\n\r\n") + 4
    return head + (len(payload) - head) // 2
