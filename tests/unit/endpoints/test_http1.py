"""HTTP/1.1 of our own: answers cut anywhere, servers that never stop, names, certificates, idle connections."""

import asyncio
import contextlib
import gzip
import random
import socket
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from promptmill.endpoints import http1
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.transport import Reply, loop_factory
from promptmill.errors import ConfigError, Timeout, Unavailable, Unreachable

LOOPS = [None, pytest.param("uvloop", marks=pytest.mark.skipif(loop_factory() is None, reason="no extra 'fast'"))]


class Scripted(asyncio.Protocol):
    """A server that writes what it is told, piece by piece, to each request; None ends the connection."""

    def __init__(self, server):
        self.server = server

    def connection_made(self, transport):
        self.transport, self.drained = transport, asyncio.Event()
        self.drained.set()
        self.server.connections.add(self)
        self.server.accepted += 1

    def pause_writing(self):
        self.drained.clear()

    def resume_writing(self):
        self.drained.set()

    def connection_lost(self, error):  # noqa: ARG002 - asyncio's signature
        self.server.connections.discard(self)
        self.drained.set()

    def data_received(self, data):
        self.server.heard.append(data)
        pieces = self.server.scripts.pop(0) if len(self.server.scripts) > 1 else self.server.scripts[0]
        self.work = asyncio.get_running_loop().create_task(self._say(pieces))

    async def _say(self, pieces):
        for piece in pieces:
            if piece is None:
                self.transport.close()
                return
            self.transport.write(piece)
            await asyncio.sleep(0)
            await asyncio.wait_for(self.drained.wait(), 120)
            if self.transport.is_closing():
                return


class Server:
    def __init__(self, scripts):
        self.scripts, self.connections, self.heard, self.accepted = list(scripts), set(), [], 0


@contextlib.asynccontextmanager
async def serving(*scripts, **options):
    server = Server(scripts)
    options.setdefault("host", "127.0.0.1")
    listening = await asyncio.get_running_loop().create_server(lambda: Scripted(server), port=0, **options)
    server.port = listening.sockets[0].getsockname()[1]
    server.url = f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listening.close()
        for each in list(server.connections):
            each.transport.abort()


@pytest.fixture(params=LOOPS)
def using(request, monkeypatch):
    """Run `act(transport, server)` in both kinds of loop; no connection is idle for too long within an hour."""
    monkeypatch.setattr(http1, "KEEP_ALIVE_S", 3600.0)
    monkeypatch.setattr(http1, "STALE_S", 3600.0)

    def run(act, *scripts, secure=None, host="127.0.0.1", **options):
        async def go():
            transport = Http1Transport(**options)
            try:
                async with asyncio.timeout(240), serving(*scripts, ssl=secure, host=host) as server:
                    return await act(transport, server)
            finally:
                await transport.close()

        with asyncio.Runner(loop_factory=loop_factory() if request.param else None) as runner:
            return runner.run(go())

    return run


def post(transport, server, *, body=b"{}", headers=None, timeout_s=120.0, url=None):
    return transport.send("POST", (url or server.url) + "/v1/x", body=body, headers=headers or {}, timeout_s=timeout_s)


async def until(is_so):
    for _ in range(24_000):  # two minutes at least
        if is_so():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come to be so")


PACKED = gzip.compress(b"packed " * 40, mtime=0)
WHOLE = {
    "with a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
    "in pieces, with names behind them": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-Late: 1\r\n\r\n",
        b"hello",
    ),
    "after a 100 and a 103": (
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        ),
        b"hello",
    ),
    "packed": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED),
        b"packed " * 40,
    ),
    "packed in pieces": (
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (7, PACKED[:7], len(PACKED) - 7, PACKED[7:])
        ),
        b"packed " * 40,
    ),
    "with a length behind many zeros": (
        b"HTTP/1.1 200 OK\r\nContent-Length: %b5\r\n\r\nhello" % (b"0" * 5000),
        b"hello",
    ),
    "without a body": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    "with bare line ends": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
    "an error": (b"HTTP/1.1 429 Slow down\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\nno", b"no"),
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_may_be_cut_anywhere_and_the_connection_serves_the_next(using, name):
    payload, body = WHOLE[name]
    cuts = [[payload[:at], payload[at:]] for at in range(1, len(payload))]
    bytewise = [payload[i : i + 1] for i in range(len(payload))]

    async def act(transport, server):
        for _ in range(len(server.scripts)):
            got = await post(transport, server)
            assert (got.body, "x-late" in got.headers, "link" in got.headers) == (body, False, False)
        assert server.accepted == 1

    using(act, *cuts, bytewise, [payload])


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n"])
def test_an_answer_without_a_length_ends_with_its_connection(using, head):
    async def act(transport, server):
        got = [(await post(transport, server)).body for _ in range(2)]
        return got, server.accepted

    assert using(act, [head + b"hel", b"lo", None]) == ([b"hello"] * 2, 2)


def test_a_connection_that_the_server_wants_to_end_is_not_used_again(using):
    async def act(transport, server):
        for _ in range(2):
            assert (await post(transport, server)).body == b"hi"
        return server.accepted

    assert using(act, [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi"]) == 2
    assert using(act, [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi"]) == 2


def endless(head, piece):
    yield head
    for _ in range(1 << 16):
        yield piece * 2048


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-A: ", b"bbbbbbbb"),
        (b"HTTP/1.1 ", b"20000000"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;", b"aaaaaaaa"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_server_that_never_comes_to_the_body_or_its_end_is_given_up(using, head, piece):
    async def act(transport, server):
        with pytest.raises(Unreachable) as caught:
            await post(transport, server)
        await until(lambda: not server.connections)
        return caught.value.sent, str(caught.value).removeprefix(server.url)

    sent, text = using(act, endless(head, piece))
    assert sent
    assert text.startswith((": the connection failed (", ": the connection broke in the middle"))


def test_a_body_that_is_unpacked_without_end_is_given_up_at_the_limit(using):
    bomb = gzip.compress(b"\0" * 50_000_000, mtime=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)

    async def act(transport, server):
        with pytest.raises(Unavailable, match=r"the answer is larger than 100,000 bytes") as caught:
            await post(transport, server)
        return caught.value.sent

    assert using(act, [head, bomb], max_body_bytes=100_000)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nhi", "packed as 'br', which nobody"),
        (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhi", "wants another protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi", "failed (Http"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "failed (Http",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "broke in the middle"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "failed (Http"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 9\r\n\r\n" + PACKED[:9], "broke in the middle"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(using, payload, reason):
    async def act(transport, server):
        with pytest.raises(Unreachable) as caught:
            await post(transport, server)
        assert (caught.value.__cause__, caught.value.__context__) == (None, None)
        await until(lambda: not server.connections)
        return str(caught.value)

    assert reason in using(act, [payload])


def test_a_length_behind_more_zeros_than_python_takes_is_a_length(using):
    async def act(transport, server):
        return (await post(transport, server)).body

    head = b"HTTP/1.1 200 OK\r\nContent-Length: %b5\r\n\r\n" % (b"0" * 5000)
    assert using(act, [head + b"hello"]) == b"hello"


def test_what_comes_unasked_is_never_the_answer_to_the_next_request(using):
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    async def act(transport, server):
        first = await post(transport, server)
        await until(lambda: not server.connections)
        second = await post(transport, server)
        return first.body, second.body, server.accepted

    at_once, later = [answer + b"first" + answer + b"wrong"], [answer + b"first", answer, b"wrong"]
    for script in (at_once, later):
        assert using(act, script, [answer + b"right"]) == (b"first", b"right", 2)


def test_mangled_answers_are_answers_or_one_error_and_never_anything_else(using):
    dice = random.Random(7)
    payloads = []
    for _ in range(400):
        mangled = bytearray(dice.choice(list(WHOLE.values()))[0])
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(mangled))
            mangled[at : at + dice.randint(0, 3)] = dice.choice(
                [b"", b"\r\n", b"\0", b"7", b":", b"\xff", b"HTTP/1.1 "]
            )
        payloads.append([bytes(mangled), None])

    async def act(transport, server):
        found = {"answers": 0, "errors": 0}
        for _ in payloads:
            [got] = await asyncio.gather(post(transport, server), return_exceptions=True)
            if isinstance(got, Unreachable | Unavailable):
                found["errors"] += 1
                assert "\n" not in str(got)
            else:
                found["answers"] += 1
                assert type(got) is Reply
        return found

    found = using(act, *payloads)
    assert found["answers"] + found["errors"] == len(payloads)
    assert min(found.values()) > 20


@pytest.fixture
def trusted(monkeypatch):
    """An authority that this process trusts for the time of the test."""
    authority = trustme.CA()
    with authority.cert_pem.tempfile() as file:
        monkeypatch.setenv("SSL_CERT_FILE", file)
        http1._certificates.cache_clear()
        yield authority
    http1._certificates.cache_clear()


def secured(authority, *names):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_a_server_with_a_good_certificate_is_asked_and_its_connection_kept(using, trusted):
    async def act(transport, server):
        url = f"https://localhost:{server.port}"
        return [(await post(transport, server, url=url)).body for _ in range(3)], server.accepted

    script = [WHOLE["with a length"][0]]
    assert using(act, script, secure=secured(trusted, "localhost")) == ([b"hello"] * 3, 1)


def test_a_certificate_of_another_name_or_authority_ends_before_anything_is_sent(using, trusted):
    async def act(transport, server):
        with pytest.raises(Unreachable, match="the secure connection failed") as caught:
            await post(transport, server, url=f"https://localhost:{server.port}")
        return caught.value.sent, server.heard

    script = [WHOLE["with a length"][0]]
    assert using(act, script, secure=secured(trusted, "elsewhere.example")) == (False, [])
    assert using(act, script, secure=secured(trustme.CA(), "localhost")) == (False, [])


@contextlib.asynccontextmanager
async def ending(secured, answer, *, orderly):
    """A server that gives one answer and ends the connection, by TLS's own word or without; its port."""

    def serve():
        plug, _ = listening.accept()
        plug.settimeout(120)
        with secured.wrap_socket(plug, server_side=True) as secure:
            heard = b""
            while not heard.endswith(b"\r\n\r\n{}"):
                heard += secure.recv(1 << 16)
            secure.sendall(answer)
            if orderly:
                secure.unwrap().close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(120)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        await asyncio.to_thread(thread.join, 120)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"])
def test_an_answer_without_a_length_is_whole_over_tls_only_if_tls_says_that_it_ends(using, trusted, head):
    certified = secured(trusted, "localhost")

    async def act(transport, server):
        async with ending(certified, head + b"hello", orderly=True) as port:
            whole = await post(transport, None, url=f"https://localhost:{port}")
        async with ending(certified, head + b"hello", orderly=False) as port:
            with pytest.raises(Unreachable, match="the connection broke in the middle of the answer") as caught:
                await post(transport, None, url=f"https://localhost:{port}")
            sent = caught.value.sent
        return whole.body, sent, caught.value.stale

    assert using(act, [b""]) == (b"hello", True, False)


def test_an_answer_with_a_length_is_whole_however_tls_ends(using, trusted):
    certified = secured(trusted, "localhost")

    async def act(transport, server):
        async with ending(certified, WHOLE["with a length"][0], orderly=False) as port:
            return (await post(transport, None, url=f"https://localhost:{port}")).body

    assert using(act, [b""]) == b"hello"


def test_a_name_is_asked_once_for_a_burst(using, monkeypatch):
    asked, real = [], socket.getaddrinfo

    def count(host, *rest, **options):
        if host == "localhost":
            asked.append(host)
        return real(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", count)

    async def act(transport, server):
        url = f"http://localhost:{server.port}"
        many = [Http1Transport() for _ in range(5)]  # as the lanes of several keys have
        got = await asyncio.gather(*[post(each, server, url=url) for each in many for _ in range(10)])
        for each in many:
            await each.close()
        return len(got), server.accepted

    assert using(act, [WHOLE["with a length"][0]]) == (50, 50)
    assert asked == ["localhost"]


def test_a_host_with_two_addresses_is_reached_at_the_one_that_listens(using, monkeypatch):
    async def act(transport, server):
        def both(*_, **__):
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("127.0.0.2", server.port)), (*kind, ("127.0.0.1", server.port))]

        monkeypatch.setattr(socket, "getaddrinfo", both)
        return (await post(transport, server, url=f"http://localhost:{server.port}")).body

    assert using(act, [WHOLE["with a length"][0]]) == b"hello"


def test_a_connection_that_waits_for_an_answer_is_kept_alive(using):
    async def act(transport, server):
        asking = asyncio.create_task(post(transport, server))
        await until(lambda: server.heard)
        (connection,) = transport._pool()._all
        plug = connection._transport.get_extra_info("socket")
        kept = plug.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        asking.cancel()
        await asyncio.wait([asking])
        return kept

    assert using(act, []) == 1


def test_an_idle_connection_ends_by_itself(using, monkeypatch):
    monkeypatch.setattr(http1, "KEEP_ALIVE_S", 0.1)

    async def act(transport, server):
        await asyncio.gather(*[post(transport, server) for _ in range(5)])
        await until(lambda: not server.connections)
        assert (await post(transport, server)).body == b"hello"
        return server.accepted

    assert using(act, [WHOLE["with a length"][0]]) == 6


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "key\n", "k\u00e9y", "a\0b"])
def test_a_header_that_would_be_two_is_refused_without_its_value(using, value):
    async def act(transport, server):
        with pytest.raises(ConfigError, match=r"header Authorization: holds a character") as caught:
            await post(transport, server, headers={"Authorization": value})
        return value.strip() in str(caught.value), server.accepted

    assert using(act, [b""]) == (False, 0)


def test_the_address_is_sent_as_it_must_be(using):
    async def act(transport, server):
        url = f"{server.url}/a b/\u00e9%20?q=\u00fc&r=%2F"
        await transport.send("GET", url, body=None, headers={"Accept": "*/*"}, timeout_s=120)
        return server.heard[0].decode().split("\r\n")

    lines = using(act, [WHOLE["with a length"][0]])
    assert lines[0] == "GET /a%20b/%C3%A9%20?q=%C3%BC&r=%2F HTTP/1.1"
    assert lines[1].startswith("Host: 127.0.0.1:")
    assert lines[2:] == ["User-Agent: promptmill", "Accept-Encoding: gzip", "Accept: */*", "", ""]


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
def test_an_address_of_version_6_is_asked(using):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("the loopback of IPv6 is off")

    async def act(transport, server):
        got = await post(transport, server, url=f"http://[::1]:{server.port}")
        return got.body, server.heard[0].partition(b"Host: ")[2].partition(b"\r\n")[0] == b"[::1]:%d" % server.port

    assert using(act, [WHOLE["with a length"][0]], host="::1") == (b"hello", True)


class FullError(Exception):
    """What a full disk raises."""


def test_a_large_answer_is_handed_on_in_pieces_without_a_limit(using):
    body = random.Random(3).randbytes(3_000_000)
    cut = [body[at : at + 9973] for at in range(0, len(body), 9973)]
    script = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), *cut]

    async def act(transport, server):
        pieces = []
        got = await transport.stream(server.url + "/f", pieces.append, headers={}, timeout_s=120)
        return got.status, got.body, b"".join(pieces) == body, len(pieces) > 3

    assert using(act, script, max_body_bytes=1000) == (200, b"", True, True)


def test_what_the_taker_raises_comes_out_as_it_is_and_ends_the_connection(using):
    def take(_piece):
        raise FullError

    async def act(transport, server):
        with pytest.raises(FullError):
            await transport.stream(server.url + "/f", take, headers={}, timeout_s=120)
        await until(lambda: not server.connections)

    using(act, [WHOLE["with a length"][0]])


def test_of_an_error_the_body_is_in_the_reply_and_not_handed_on(using):
    async def act(transport, server):
        pieces = []
        got = await transport.stream(server.url + "/f", pieces.append, headers={}, timeout_s=120)
        return got.status, got.body, pieces

    assert using(act, [WHOLE["an error"][0]]) == (429, b"no", [])


def test_a_large_answer_that_breaks_off_is_no_answer(using):
    async def act(transport, server):
        pieces = []
        with pytest.raises(Unreachable, match="broke in the middle"):
            await transport.stream(server.url + "/f", pieces.append, headers={}, timeout_s=120)
        return b"".join(pieces)

    assert using(act, [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello", None]) == b"hello"


def test_a_name_that_is_not_found_in_time_is_a_timeout_for_who_waits_and_not_for_others(using, monkeypatch):
    found, real = threading.Event(), socket.getaddrinfo

    def slow(*given, **options):
        assert found.wait(120)
        return real(*given, **options)

    async def act(transport, server):
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        url = f"http://localhost:{server.port}"
        waits = asyncio.create_task(post(transport, server, url=url))
        with pytest.raises(Timeout, match=r"no answer within 0.1 s") as caught:
            await post(transport, server, url=url, timeout_s=0.1)
        assert caught.value.sent is False
        found.set()
        return (await waits).body

    assert using(act, [WHOLE["with a length"][0]]) == b"hello"


def test_a_name_that_nobody_has_is_unreachable(using, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def act(transport, server):
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(Unreachable) as caught:
            await post(transport, server, url="http://a.example")
        return str(caught.value), caught.value.sent

    assert using(act, [b""]) == ("http://a.example: nothing answers (no such host).", False)


def test_too_many_open_files_are_named(using):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def act(transport, server):
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))  # nothing more can be opened
        try:
            with pytest.raises(Unreachable, match=r"no connection can be opened \(too many open f") as caught:
                await post(transport, server)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert caught.value.sent is False
        return (await post(transport, server)).body

    assert using(act, [WHOLE["with a length"][0]]) == b"hello"


def test_an_answer_packed_in_several_members_is_whole(using):
    packed = gzip.compress(b"one ") + gzip.compress(b"two") + bytes(512)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)

    async def act(transport, server):
        return [(await post(transport, server)).body for _ in range(2)]

    assert using(act, [head + packed]) == [b"one two"] * 2
    assert using(act, [head, *(packed[i : i + 1] for i in range(len(packed)))]) == [b"one two"] * 2


class Hasty(asyncio.Protocol):
    """A server that answers at the first bytes of a request, and reads no more of it."""

    def __init__(self, answer, *, ends=False):
        self.answer, self.ends = answer, ends

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, _data):
        self.transport.pause_reading()
        self.transport.write(self.answer)
        if self.ends:
            self.transport.write_eof()


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno", False),
        (b"HTTP/1.1 413 Too large\r\n\r\nno", True),
    ],
)
def test_no_request_waits_behind_one_that_was_answered_before_it_was_read(using, answer, ends):
    async def act(transport, _server):
        loop = asyncio.get_running_loop()
        hasty = await loop.create_server(lambda: Hasty(answer, ends=ends), "127.0.0.1", 0)
        url = f"http://127.0.0.1:{hasty.sockets[0].getsockname()[1]}"
        try:
            bodies = [bytes(20_000_000), b"{}"]
            return [(await post(transport, _server, url=url, body=body)).status for body in bodies]
        finally:
            hasty.close()

    assert using(act, [b""]) == [413, 413]


def test_a_kept_connection_that_ends_is_not_said_to_have_broken_in_an_answer(using):
    async def act(transport, server):
        await post(transport, server)
        with pytest.raises(Unreachable, match="closed the connection without an answer") as caught:
            await post(transport, server)
        return caught.value.stale

    assert using(act, [WHOLE["with a length"][0]], [None])


def n_open():
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_requests_given_up_in_a_handshake_leave_no_socket_behind(using, trusted):
    async def act(transport, server):
        url = f"https://localhost:{server.port}"
        await post(transport, server, url=url)
        before = n_open()
        for turn in range(60):
            tasks = [asyncio.create_task(post(transport, server, url=url)) for _ in range(8)]
            for _ in range(turn % 20):
                await asyncio.sleep(0.0005)
            for task in tasks:
                task.cancel()
            for ended in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(ended, Reply | asyncio.CancelledError), ended
        assert (await post(transport, server, url=url)).body == b"hello"
        await transport.close()
        await until(lambda: n_open() <= before)

    using(act, [WHOLE["with a length"][0]], secure=secured(trusted, "localhost"))


def test_an_answer_that_comes_in_the_moment_of_a_cancellation_is_handed_over(using):
    async def act(transport, server):
        got = []

        async def ask():
            got.append((await transport.stream(server.url, take, headers={}, timeout_s=120)).status)
            await asyncio.Event().wait()

        def take(_):  # the answer is whole when this is done
            asyncio.get_running_loop().call_soon(asking.cancel)

        asking = asyncio.create_task(ask())
        await asyncio.wait([asking])
        return got, asking.cancelled()

    assert using(act, [WHOLE["with a length"][0]]) == ([200], True)
