"""One connection of HTTP/1.1: a request goes out, its answer comes back, and then the next one may go.

The bytes are read by llhttp, the parser of Node.js, through httptools. What is ours is what an answer is: whole, below
a size, unpacked, and nothing behind it. Everything that may go wrong comes back as a `Loss`, never as an error of a
library, so no foreign error (which would hold the request, and with it the key) has to be caught above.

Not covered: pipelining, upgrades, packings other than gzip (no other is asked for).
"""

from __future__ import annotations

import asyncio
import ssl
import zlib
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

from promptmill.endpoints.proxies import Proxy
from promptmill.endpoints.transport import BROKE, CLOSED, Reply

MAX_FRAME_BYTES = 1 << 20  # of headers, or of what frames a body, without a byte of the body between them
LARGE_BYTES = 1 << 18
LENGTH_DIGITS = 20
NO_BODY = {204, 304}
GZIP = 31
Take = Callable[[bytes], None]


class Place(NamedTuple):
    """Where a connection goes.

    Attributes:
        host: the server's name or address.
        port: where it listens.
        secure: whether it is spoken to over TLS.
        proxy: who passes it on.
    """

    host: str
    port: int
    secure: bool
    proxy: Proxy | None = None


class Loss(NamedTuple):
    """Why there is no answer.

    Attributes:
        reason: in words.
        begun: whether a byte of an answer had come.
        too_large: the answer is above the limit.
        error: what `take` raised.
    """

    reason: str
    begun: bool = True
    too_large: bool = False
    error: BaseException | None = None


class Connection(asyncio.Protocol):
    """One connection, with at most one request under way.

    Args:
        place: where it goes.
        limit: bytes of an unpacked body above which an answer is given up.

    Attributes:
        idle_since: when the last answer was whole; its loop's time.
    """

    def __init__(self, place: Place, limit: int) -> None:
        self.place = place
        self.idle_since = 0.0
        self._limit = limit
        self._ended = False
        self._waiter: asyncio.Future[Reply | Loss] | None = None
        self._take: Take | None = None
        self._keep = False
        self._unpacker: zlib._Decompress | None = None
        self._begin()

    def ask(self, head: bytes, body: bytes | None, *, take: Take | None = None) -> asyncio.Future[Reply | Loss]:
        """Send a request; the result is the reply, or why there is none.

        Args:
            head: request line and headers, without their end.
            body: None where there is none.
            take: gets the pieces of the body of a 200 answer, which is then not limited and not in the reply.
        """
        self._loop = asyncio.get_running_loop()
        waiter = self._waiter = self._loop.create_future()
        self._take = take
        self._keep = self._begun = self._headed = False
        self._frame_bytes = 0
        if self._transport.is_closing():  # it ended before it was used, and nobody would say so again
            self._lose(CLOSED)
            return waiter
        parser = self._parser = httptools.HttpResponseParser(self)
        # what browsers and aiohttp forgive: odd bytes in headers, bare line ends, blanks behind a size
        parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        if body is None:
            self._transport.write(head + b"\r\n\r\n")
        elif len(body) < LARGE_BYTES:
            self._transport.write(b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:  # not copied once more
            self._transport.write(b"%b\r\nContent-Length: %d\r\n\r\n" % (head, len(body)))
            self._transport.write(body)
        return waiter

    @property
    def is_free(self) -> bool:
        """Whether the next request may be sent: the last answer is whole and the server keeps the connection open."""
        return self._waiter is None and self._keep and not self._transport.is_closing()

    def abort(self) -> None:
        """End it at once, and with it what is under way."""
        self._transport.abort()

    # -- called by the event loop -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the socket."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        if self._waiter is None:  # nobody asked: it would be taken for the answer to the next request
            self.abort()
            return
        self._begun = True
        self._moved = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:  # what `take` raised
            self._lose("", error=error.__context__)
        except httptools.HttpParserError as error:
            self._lose(BROKE if self._headed else f"the connection failed ({type(error).__name__})")
            self._keep = False
        except httptools.HttpParserUpgrade:
            self._lose("the connection failed (the server wants another protocol)")
        if not self._moved:
            self._frame_bytes += len(data)
            if self._frame_bytes > MAX_FRAME_BYTES:
                self._lose("the connection failed (headers without end)")
        if self._waiter is None and not self._keep:
            self.abort()

    def eof_received(self) -> None:
        """The server says nothing more; it would be waited for, should it not read the rest of the request either."""
        secure = self._transport.get_extra_info("ssl_object")
        self._ended = secure is None or _has_said_so(secure)
        if self._transport.get_write_buffer_size():
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """What is under way ends with it: as a whole answer, where the server ended it and that was to be its end."""
        self._keep = False
        if self._waiter is None:
            return
        if error is None and self._until_close and self._ended:
            self.on_message_complete()
        self._lose(BROKE if self._headed else CLOSED)

    # -- called by the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin an answer; a second one was not asked for."""
        if self._waiter is None:
            self._keep = False
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; what comes behind the body is none of the answer's."""
        if not self._headed:
            self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """See how the body will come."""
        headers, status = self._headers, self._parser.get_status_code()
        self._headed, self._moved = True, status >= 200
        framed = "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower()
        self._until_close = not framed and status >= 200 and status not in NO_BODY
        packing = headers.get("content-encoding", "identity").strip().lower()
        if packing in {"gzip", "x-gzip"}:
            self._unpacker = zlib.decompressobj(GZIP)
        elif packing != "identity":
            self._lose(f"the connection failed (the answer is packed as '{packing[:20]}', which nobody asked for)")
        if self._take is not None and status != 200:
            self._take = None
        if self._unpacker is None and self._take is None and _length_of(headers) > self._limit:
            self._lose("", too_large=True)

    def on_body(self, piece: bytes) -> None:
        """Unpack a piece of the body and keep it, or hand it on."""
        self._moved, self._frame_bytes = True, 0
        if self._waiter is None:
            return
        if self._unpacker is None:
            self._add(piece)
            return
        self._packed = True
        while piece and self._waiter is not None:
            if self._unpacker.eof:  # packed in several members (RFC 1952, 2.2), or filled up with zeros
                piece = piece.lstrip(b"\0")
                if not piece:
                    return
                self._unpacker = zlib.decompressobj(GZIP)
            try:
                unpacked = self._unpacker.decompress(piece, self._limit + 1)
            except zlib.error:
                self._lose("the connection failed (the answer is packed wrongly)")
                return
            self._add(unpacked)
            piece = self._unpacker.unconsumed_tail or self._unpacker.unused_data

    def on_message_complete(self) -> None:
        """Hand over the reply; what comes before the final answer (100 Continue) is none."""
        status = self._parser.get_status_code()
        if status < 200 or self._waiter is None:
            return
        if self._unpacker is not None and not self._unpacker.eof and self._packed:
            self._lose(BROKE)
            return
        sending = self._transport.get_write_buffer_size()  # answered early: the next request would wait behind the rest
        self._keep = not self._until_close and not sending and self._parser.should_keep_alive()
        self.idle_since = self._loop.time()
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._end(Reply(status, self._headers, body))

    # -- the rest ---------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._headed = self._until_close = self._moved = self._packed = False
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._size = 0
        self._unpacker = None

    def _add(self, piece: bytes) -> None:
        if self._take is not None:
            self._take(piece)
            return
        self._size += len(piece)
        if self._size > self._limit:
            self._lose("", too_large=True)
        else:
            self._pieces.append(piece)

    def _lose(self, reason: str, *, too_large: bool = False, error: BaseException | None = None) -> None:
        self._keep = False
        self._end(Loss(reason, begun=self._begun, too_large=too_large, error=error))

    def _end(self, result: Reply | Loss) -> None:
        waiter, self._waiter, self._pieces = self._waiter, None, []
        if waiter is not None and not waiter.done():
            waiter.set_result(result)


def _length_of(headers: dict[str, str]) -> int:
    """What the parser has read as a length of 64 bits, perhaps behind more zeros than `int` takes."""
    return int(headers.get("content-length", "0").strip()[-LENGTH_DIGITS:])


def _has_said_so(secure: ssl.SSLObject) -> bool:
    """Whether the other end ended a secure connection by TLS's own word (`close_notify`).

    The end of TCP alone may be anybody's; an answer that ends with it is incomplete (RFC 9112, 9.8).
    """
    try:
        return not secure.read(1)  # all that came is read: what is left to be read is its end
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False
