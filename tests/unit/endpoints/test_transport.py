"""The seam for HTTP: a transport goes in through the constructor; what the one that there is does, in both loops."""

import asyncio
import contextlib
import gzip
import json
from pathlib import Path

import pytest

from promptmill.endpoints import http1
from promptmill.endpoints.fake.http import Connection, Plan, reply
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.openai import openai
from promptmill.endpoints.transport import Reply, loop_factory
from promptmill.errors import Timeout, Unavailable, Unreachable
from promptmill.generate.open_files import connections
from promptmill.registry import build

ANSWER = json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "hi"}}]}).encode()
KINDS = [
    pytest.param(False, id="asyncio"),
    pytest.param(True, id="uvloop", marks=pytest.mark.skipif(loop_factory() is None, reason="no extra 'fast'")),
]


class Prepared:
    def __init__(self):
        self.sent = []
        self.closed = False

    async def send(self, method, url, *, body, headers, timeout_s):
        self.sent.append((method, url, body is not None, headers["Content-Type"], timeout_s))
        return Reply(200, {}, ANSWER)

    async def close(self):
        self.closed = True


def test_an_endpoint_speaks_to_the_transport_it_was_given_and_closes_it(ask, chat):
    transport = Prepared()
    endpoint = build("endpoints", {"kind": "openai", "base_url": "http://x?v=2", "timeout_s": 9.0}, transport=transport)
    assert ask(endpoint, chat()).text == "hi"
    assert transport.sent == [
        ("GET", "http://x/v1/models?v=2", False, "application/json", 9.0),
        ("POST", "http://x/v1/chat/completions?v=2", True, "application/json", 9.0),
    ]
    assert transport.closed


def test_an_endpoint_may_be_used_in_one_event_loop_after_the_other(canned, ask, chat):
    with canned(200, ANSWER) as server:
        endpoint = openai(base_url=server.url)
        assert [ask(endpoint, chat()).text for _ in range(3)] == ["hi"] * 3


class Server:
    """A server of the running loop that carries out plans and counts connections and requests."""

    def __init__(self):
        self.plans = []
        self.asked = []
        self.connections = set()
        self.accepted = 0

    def respond(self, asked):
        self.asked.append(asked)
        return self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]

    def connect(self):
        self.accepted += 1
        return Connection(self.respond, self.connections)


@contextlib.asynccontextmanager
async def serving(*plans):
    server = Server()
    server.plans += [Plan(plan) if isinstance(plan, bytes) else plan for plan in plans]
    listening = await asyncio.get_running_loop().create_server(server.connect, "127.0.0.1", 0, backlog=1024)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        for connection in list(server.connections):
            connection.abort()


async def until(is_so):
    for _ in range(24_000):  # two minutes at least
        if is_so():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come to be so")


def handles():
    return len(list(Path("/proc/self/fd").iterdir()))


async def send(transport, url, *, method="POST", timeout_s=120.0, path="/v1/x"):
    body = b'{"a": 1}' if method == "POST" else None
    return await transport.send(method, url + path, body=body, headers={"X-Own": "yes"}, timeout_s=timeout_s)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def using(kind, monkeypatch):
    """Run `act(transport, server)` in each kind of event loop; no connection is idle for too long within an hour."""
    monkeypatch.setattr(http1, "KEEP_ALIVE_S", 3600.0)
    monkeypatch.setattr(http1, "STALE_S", 3600.0)

    def run(act, *plans, **options):
        async def go():
            transport = Http1Transport(**options)
            try:
                async with asyncio.timeout(240), serving(*plans) as server:
                    return await act(transport, server)
            finally:
                await transport.close()

        with asyncio.Runner(loop_factory=loop_factory() if kind else None) as runner:
            return runner.run(go())

    return run


@pytest.fixture
def failing(using):
    """The error of one request, seen to hold nothing foreign."""

    def run(*plans, timeout_s=120.0, method="POST", **options):
        async def act(transport, server):
            with pytest.raises((Unavailable, Timeout)) as caught:
                await send(transport, server.url, timeout_s=timeout_s, method=method)
            assert caught.value.__cause__ is None
            assert caught.value.__context__ is None
            asked.extend(server.asked)
            return caught.value, str(caught.value).removeprefix(server.url)

        asked = run.asked = []
        return using(act, *plans, **options)

    return run


def whole(head, body):
    return b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n" + body


def test_a_reply_has_its_status_its_headers_by_name_and_its_whole_body(using):
    async def act(transport, server):
        got = await send(transport, server.url, path="/a?b=c%20d")
        sent = server.asked[0]
        assert (sent.method, sent.path, sent.query, sent.body) == ("POST", "/a", "b=c%20d", b'{"a": 1}')
        assert sent.headers["x-own"] == "yes"
        assert sent.headers["user-agent"] == "promptmill"
        assert sent.headers["accept-encoding"] == "gzip"
        return got.status, got.headers["x-several"], got.headers["retry-after"], got.body

    payload = reply(418, b"x" * 100_000, {"X-Several": "1\r\nX-SEVERAL: 2", "Retry-After": "5"})
    assert using(act, payload) == (418, "1", "5", b"x" * 100_000)  # of a header that comes twice, the first


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (whole(b"Transfer-Encoding: chunked", b"2\r\nhi\r\n3\r\n yo\r\n0\r\n\r\n"), b"hi yo"),
        (whole(b"Content-Length: 0", b""), b""),
        (reply(200, gzip.compress(b"hi", mtime=0), {"Content-Encoding": "gzip"}), b"hi"),
    ],
)
def test_a_body_may_come_in_pieces_empty_or_packed(using, payload, body):
    async def act(transport, server):
        return [(await send(transport, server.url)).body for _ in range(2)]

    assert using(act, payload) == [body, body]


def test_redirects_are_not_followed_cookies_not_kept_and_proxies_not_read(using, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def act(transport, server):
        statuses = [(await send(transport, server.url)).status for _ in range(2)]
        assert "cookie" not in server.asked[1].headers
        return statuses, len(server.asked)

    assert using(act, reply(302, b"", {"Location": "/other", "Set-Cookie": "a=b"})) == ([302, 302], 2)


def test_connections_are_kept_and_used_again(using):
    async def act(transport, server):
        for _ in range(5):
            await send(transport, server.url)
        return server.accepted

    assert using(act, reply(200, b"{}")) == 1


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_that_breaks_off_may_be_on_the_bill(failing, method):
    for payload in (Plan(reply(200, b"x" * 100), how="half"), Plan(reply(200, b"x" * 300_000), how="half")):
        error, text = failing(payload, method=method)
        assert type(error) is Unreachable
        assert text == ": the connection broke in the middle of the answer."
        assert error.sent == (method == "POST")


def test_pieces_that_break_off_are_no_answer(failing):
    cut = Plan(whole(b"Transfer-Encoding: chunked", b"64\r\n" + b"x" * 100), how="half")
    error, text = failing(cut)
    assert (type(error), error.sent) == (Unreachable, True)
    assert text == ": the connection broke in the middle of the answer."


def test_bytes_after_the_announced_length_are_part_of_no_answer(using):
    async def act(transport, server):
        done = await asyncio.gather(*[send(transport, server.url)], return_exceptions=True)
        done += await asyncio.gather(*[send(transport, server.url)], return_exceptions=True)
        return [one.body if isinstance(one, Reply) else type(one) for one in done]

    got = using(act, reply(200, b"1") + b'{"not": "asked for"}', reply(200, b"2"))
    assert got == [b"1", b"2"]


def test_a_server_that_closes_without_an_answer_is_unreachable_and_may_have_worked(failing):
    error, text = failing(Plan(b"", how="drop"))
    assert (type(error), error.kind, error.sent) == (Unreachable, "network", True)
    assert text.endswith(".")
    assert "connection" in text


@pytest.mark.usefixtures("nameless")
def test_where_nothing_listens_nothing_was_sent(using, nobody):
    async def act(transport, _):
        found = []
        for url in (f"http://{nobody}", "http://no-such-host.invalid"):
            with pytest.raises(Unreachable) as caught:
                await send(transport, url)
            assert caught.value.__context__ is None
            found.append((str(caught.value), caught.value.sent))
        return found

    assert using(act, b"") == [
        (f"http://{nobody}: nothing answers (connection refused).", False),
        ("http://no-such-host.invalid: nothing answers (no such host).", False),
    ]


@pytest.mark.parametrize("payload", [b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
def test_what_is_no_http_is_unreachable(failing, payload):
    error, text = failing(payload)
    assert type(error) is Unreachable
    assert text.startswith(": the connection failed (")


@pytest.mark.usefixtures("nameless")
def test_an_address_that_is_none_is_unreachable_and_not_sent(using):
    async def act(transport, _):
        with pytest.raises(Unreachable, match=r"http://exa mple: (nothing answers|the connection failed)") as caught:
            await send(transport, "http://exa mple", path="/?key=hunter2")
        return caught.value.sent, "hunter2" in str(caught.value)

    assert using(act, b"") == (False, False)


def test_an_answer_above_the_limit_is_given_up_whether_packed_in_pieces_or_plain(failing):
    large = gzip.compress(b" " * 10_000_000, mtime=0)
    payloads = [
        reply(200, b" " * 2000),
        reply(200, large, {"Content-Encoding": "gzip"}),
        whole(b"Transfer-Encoding: chunked", b"7d0\r\n" + b" " * 2000 + b"\r\n0\r\n\r\n"),
    ]
    for payload in payloads:
        error, text = failing(payload, max_body_bytes=1000)
        assert (type(error), text, error.sent) == (Unavailable, ": the answer is larger than 1,000 bytes.", True)


def test_what_is_packed_wrongly_is_no_answer(failing):
    error, _ = failing(reply(200, b"this is no gzip", {"Content-Encoding": "gzip"}))
    assert (type(error), error.sent) == (Unreachable, True)


@pytest.mark.parametrize("plan", [Plan(b"", how="never"), Plan(reply(200, b"x" * 100)[:-50])])
def test_the_deadline_covers_a_server_that_never_answers_or_stops_in_the_middle(failing, plan):
    for timeout_s in (0.2, 2, 20, 200):
        error, text = failing(plan, timeout_s=timeout_s)
        assert (type(error), text) == (Timeout, f": no answer within {timeout_s} s.")
        if failing.asked:  # else the machine stood still, and it was given up before it was sent
            break
    assert error.sent is True
    assert failing(plan, timeout_s=0.2, method="GET")[0].sent is False


@pytest.mark.parametrize("plan", [Plan(b"", how="never"), Plan(reply(200, b"x" * 100)[:-50])])
def test_a_request_that_is_given_up_ends_its_connection(using, plan):
    async def act(transport, server):
        task = asyncio.create_task(send(transport, server.url))
        await until(lambda: server.asked)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        got = await send(transport, server.url)
        await until(lambda: len(server.connections) == 1)
        return got.body, server.accepted, len(server.asked)

    assert using(act, plan, reply(200, b"{}")) == (b"{}", 2, 2)


def test_a_connection_that_ended_between_requests_is_replaced(using):
    async def act(transport, server):
        bodies = []
        for _ in range(3):
            bodies.append((await send(transport, server.url)).body)
            for connection in list(server.connections):
                connection.abort()
            await until(lambda: not any(connection.is_free for connection in transport._pool()._all))
        return bodies, server.accepted

    assert using(act, reply(200, b"{}")) == ([b"{}"] * 3, 3)


def test_a_kept_connection_that_ends_under_a_request_is_stale_and_the_next_ones_are_new(using):
    async def act(transport, server):
        await send(transport, server.url)
        with pytest.raises(Unreachable) as caught:
            await send(transport, server.url)
        assert caught.value.__context__ is None
        assert (caught.value.stale, caught.value.sent) == (True, False)
        bodies = [(await send(transport, server.url)).body for _ in range(3)]
        return bodies, len(server.asked), server.accepted

    for how in ("drop", "reset"):
        plans = [reply(200, b"1"), Plan(b"", how=how), reply(200, b"2"), reply(200, b"3"), reply(200, b"4")]
        assert using(act, *plans) == ([b"2", b"3", b"4"], 5, 4)


def test_a_new_connection_that_ends_is_not_stale_and_may_be_on_the_bill(using):
    async def act(transport, server):
        await send(transport, server.url)
        found = []
        for _ in range(3):
            with pytest.raises(Unreachable) as caught:
                await send(transport, server.url)
            found.append((caught.value.stale, caught.value.sent))
        return found, len(server.asked)

    assert using(act, reply(200, b"{}"), Plan(b"", how="drop")) == ([(True, False), (False, True), (False, True)], 4)


@pytest.mark.parametrize("before", [[], [reply(200, b"{}")]], ids=["first", "kept"])
@pytest.mark.parametrize(
    ("plan", "stale_s"),
    [
        (Plan(reply(200, b"x" * 100), how="half"), 3600.0),  # the head came, the body broke
        (Plan(b"", how="drop", delay_s=0.2), 0.1),  # the server may have worked on it
    ],
    ids=["half", "late"],
)
def test_what_ends_after_the_server_began_is_not_stale(*, using, monkeypatch, plan, stale_s, before):
    monkeypatch.setattr(http1, "STALE_S", stale_s)

    async def act(transport, server):
        for _ in before:
            await send(transport, server.url)
        with pytest.raises(Unreachable) as caught:
            await send(transport, server.url)
        return caught.value.stale, caught.value.sent

    assert using(act, *before, plan) == (False, True)


def test_a_first_connection_that_ends_is_not_stale(using):
    async def act(transport, server):
        with pytest.raises(Unreachable) as caught:
            await send(transport, server.url)
        return caught.value.stale, caught.value.sent, len(server.asked)

    assert using(act, Plan(b"", how="drop")) == (False, True, 1)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="file handles are counted in /proc")
def test_512_at_once_share_no_answer_and_leave_no_handle_open(using):
    if connections(1100) < 1100:
        pytest.skip("this process may not open both ends of 512 connections")

    async def act(transport, server):
        server.respond = lambda asked: Plan(reply(200, asked.path.encode()), delay_s=0.05)
        before = handles()
        got = await asyncio.gather(*[send(transport, server.url, path=f"/{i}") for i in range(512)])
        assert [one.body for one in got] == [b"/%d" % i for i in range(512)]
        await transport.close()
        await until(lambda: not server.connections)
        await until(lambda: handles() - before <= 2)

    using(act, b"")


def test_requests_in_flight_when_the_transport_is_closed_end(using):
    async def act(transport, server):
        tasks = [asyncio.create_task(send(transport, server.url)) for _ in range(20)]
        await until(lambda: len(server.asked) == 20)
        await transport.close()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        return {type(error) for error in done}

    assert using(act, Plan(b"", how="never")) == {Unreachable}


def test_one_transport_serves_two_event_loops_in_a_row(kind):
    transport = Http1Transport()

    async def go(*, close):
        async with asyncio.timeout(120), serving(reply(200, b"{}")) as server:
            got = await asyncio.gather(*[send(transport, server.url) for _ in range(3)])
            if close:
                await transport.close()
                await transport.close()
            return [one.body for one in got]

    for close in (True, False, True):
        with asyncio.Runner(loop_factory=loop_factory() if kind else None) as runner:
            assert runner.run(go(close=close)) == [b"{}"] * 3
