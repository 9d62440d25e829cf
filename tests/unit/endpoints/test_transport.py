"""The seam for HTTP: a transport goes in through the constructor, and aiohttp's own limits."""

import asyncio
import gzip
import json

import pytest

from promptmill.endpoints.fake.http import reply
from promptmill.endpoints.openai import openai
from promptmill.endpoints.transport import AiohttpTransport, Reply
from promptmill.errors import Timeout, Unavailable
from promptmill.registry import build

ANSWER = json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "hi"}}]}).encode()


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


def test_a_body_above_the_limit_is_given_up(canned, ask, chat):
    with canned(200, b" " * 2000) as server, pytest.raises(Unavailable, match="larger than 1,000 bytes"):
        ask(openai(AiohttpTransport(max_body_bytes=1000), base_url=server.url), chat())


def test_a_packed_body_is_unpacked_and_its_unpacked_size_counts(canned, ask, chat):
    packed = {"Content-Encoding": "gzip"}
    with canned(200, gzip.compress(ANSWER, mtime=0), packed) as server:
        assert ask(openai(base_url=server.url), chat()).text == "hi"
    with (
        canned(200, gzip.compress(b" " * 100_000, mtime=0), packed) as server,
        pytest.raises(Unavailable, match="larger"),
    ):
        ask(openai(AiohttpTransport(max_body_bytes=1000), base_url=server.url), chat())


def test_an_endpoint_may_be_used_in_one_event_loop_after_the_other(canned, ask, chat):
    with canned(200, ANSWER) as server:
        endpoint = openai(base_url=server.url)
        assert [ask(endpoint, chat()).text for _ in range(3)] == ["hi"] * 3


@pytest.mark.parametrize("payload", [b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
def test_what_is_no_http_is_unavailable(canned, ask, chat, payload):
    with canned(200, {}) as server:
        server.payload = payload
        with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:\d+: .*failed"):
            ask(openai(base_url=server.url), chat())


def test_the_deadline_covers_a_server_that_stops_in_the_middle(canned, ask, chat):
    with canned(200, {}) as server:
        server.payload = reply(200, b"x" * 100)[:-50]
        with pytest.raises(Timeout, match=r"no answer within 0\.3 s"):
            ask(openai(base_url=server.url, timeout_s=0.3, token_ids="never"), chat())


def test_giving_up_a_request_leaves_the_endpoint_usable(canned, chat):
    async def go(url):
        endpoint = openai(base_url=url)
        task = asyncio.create_task(endpoint.complete(chat()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        got = await endpoint.complete(chat())
        await endpoint.close()
        return got.text

    with canned(200, ANSWER) as server:
        assert asyncio.run(go(server.url)) == "hi"
