"""Addresses, waits, questions asked once, and keys that come out nowhere."""

import asyncio
import contextlib
import email.utils
import html
import json
import logging
import socket
import threading
import time
import traceback
from urllib.parse import quote, unquote

import pytest

from promptmill.endpoints.fake.http import reply
from promptmill.endpoints.keys import label
from promptmill.endpoints.link import Address, Link, Once, retry_after_s
from promptmill.endpoints.openai import openai
from promptmill.errors import ConfigError, EndpointError


@pytest.mark.parametrize(
    ("base_url", "api", "root"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://api.example.org/openai/v1", "https://api.example.org/openai/v1", "https://api.example.org/openai"),
        ("https://x.org/v1beta/openai/", "https://x.org/v1beta/openai", "https://x.org/v1beta/openai"),
        ("https://x.org/api/paas/v4", "https://x.org/api/paas/v4", "https://x.org/api/paas/v4"),
        ("https://x.org/proxy?api-version=2", "https://x.org/proxy/v1", "https://x.org/proxy"),
    ],
)
def test_an_address_gets_v1_unless_it_names_a_version(base_url, api, root):
    address = Address(base_url)
    assert (address.api, address.root) == (api, root)


def test_a_query_is_sent_and_not_shown():
    link = Link("https://x.org/?api-version=2", api_key_env=None, timeout_s=1, transport=None)
    assert link.address.query == "?api-version=2"
    assert link.shown == "https://x.org"


@pytest.mark.parametrize("base_url", ["", "127.0.0.1:8000", "localhost", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_is_an_error_with_an_example(base_url):
    with pytest.raises(ConfigError, match=r"base_url: .*http://127\.0\.0\.1:8000"):
        Address(base_url)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="api_key_env") as caught:
        Address("https://me:hunter2@x.org")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_a_deadline_is_a_number_above_zero(timeout_s):
    with pytest.raises(ConfigError, match="timeout_s"):
        Link("http://x", api_key_env=None, timeout_s=timeout_s, transport=None)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "١٢"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers, wait_s):
    assert retry_after_s(headers) == wait_s


def test_a_date_in_the_future_is_the_time_until_then():
    wait_s = retry_after_s({"retry-after": email.utils.formatdate(time.time() + 3600, usegmt=True)})
    assert 3000 < wait_s <= 3601


@pytest.mark.parametrize("wrong_s", [-72000, 72000])
def test_a_date_is_compared_with_the_clock_of_the_server_where_it_tells_it(wrong_s):
    its_time = int(time.time()) + wrong_s
    said = {"retry-after": email.utils.formatdate(its_time + 20, usegmt=True)}
    assert retry_after_s({**said, "date": email.utils.formatdate(its_time, usegmt=True)}) == 20.0
    assert retry_after_s({**said, "date": "yesterday"}) == pytest.approx(max(0, wrong_s + 20), abs=3600)


def test_many_who_ask_at_the_same_time_ask_once_and_a_failed_question_is_asked_again():
    asked = []

    async def question():
        asked.append(1)
        await asyncio.sleep(0.01)
        if len(asked) == 1:
            raise ConfigError("not yet")
        return 5

    async def go():
        once = Once(question)
        failed = await asyncio.gather(*[once.get() for _ in range(10)], return_exceptions=True)
        assert [str(error) for error in failed] == ["not yet"] * 10
        impatient = asyncio.create_task(once.get())
        patient = asyncio.create_task(once.get())
        await asyncio.sleep(0)
        impatient.cancel()
        return [await patient, *await asyncio.gather(*[once.get() for _ in range(10)])]

    assert asyncio.run(go()) == [5] * 11
    assert len(asked) == 2


def test_an_address_without_a_scheme_is_shown_without_its_query():
    with pytest.raises(ConfigError, match=r"'api\.example\.org/v1' is no address") as caught:
        Address("api.example.org/v1?key=hunter2")
    assert "hunter2" not in str(caught.value)


def test_rows_show_the_address_and_the_label_of_the_key(monkeypatch, canned, ask, chat):
    monkeypatch.setenv("API_KEYS", '["first-key-0001", "second-key-0002"]')
    body = {"choices": [{"finish_reason": "stop", "message": {"content": "hi"}}]}
    with canned(200, body) as server:
        got = ask(openai(base_url=server.url, api_key_env="API_KEYS[1]"), chat())
        assert server.headers[-1]["authorization"] == "Bearer second-key-0002"
        assert got.served_by == f"{server.url} ({label('API_KEYS[1]')})"
        assert ask(openai(base_url=server.url), chat()).served_by == server.url


CANARY = 'sk-CaNaRy/01234567+89"abc&d<e='
CORE = "01234567"  # no part of the key may come out: this stretch stands for it
GIVEN = {
    "plain": ("CANARY", CANARY),
    "json text": ("CANARY", json.dumps(CANARY)),
    "json list": ("CANARY[1]", json.dumps(["another-key-in-the-list", CANARY])),
    "commas": ("CANARY[1]", f"another-key-in-the-list, {CANARY}"),
    "json object": ("CANARY[svc][0]", json.dumps({"svc": [CANARY], "other": "another-key-in-it"})),
    "query": (None, "?api-version=2&key=" + quote(CANARY, safe="")),
    "query as it is": (None, "?key=" + quote(CANARY, safe='/+"<=')),
}
ECHOES = {
    "as it is": f"wrong key {CANARY} given".encode(),
    "json": json.dumps({"error": {"message": f"wrong key {CANARY}", "got": CANARY}}).encode(),
    "json, slashes": json.dumps({"error": f"key {CANARY}"}).replace("/", "\\/").encode(),
    "json, all": b'{"error": "%s"}' % "".join(f"\\u{ord(c):04x}" for c in CANARY).encode(),
    "json in json": json.dumps({"error": json.dumps({"message": CANARY})}).encode(),
    "url": json.dumps({"message": "no page /v1?key=" + quote(CANARY, safe="")}).encode(),
    "url, all": "".join(f"%{ord(c):02x}" for c in CANARY).encode(),
    "html": f"<p>{html.escape(CANARY)}</p>".encode(),
    "late": b" " * 3985 + CANARY.encode(),
}


def seen_through(text):
    """The text and what it says when its escapes are undone."""
    plain = text
    with contextlib.suppress(ValueError):
        plain = json.loads(f'"{text}"')
    return [text, plain, unquote(text), html.unescape(text), text.encode().decode("unicode_escape", "replace")]


@contextlib.contextmanager
def breaking_server():
    """A server that resets each connection in the middle of the body."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + CANARY.encode())
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(120)


@pytest.fixture
def failure(monkeypatch):
    """Ask through a link whose key is the canary; return all that can be seen of what went wrong."""

    def run(way, url, *, timeout_s=120.0):
        reference, value = GIVEN[way]
        if reference:
            monkeypatch.setenv("CANARY", value)
        link = Link(url + ("" if reference else value), api_key_env=reference, timeout_s=timeout_s, transport=None)

        async def go():
            try:
                link.read(await link.ask(link.address.api + "/chat/completions", {"a": 1}), dict[str, int])
            finally:
                await link.close()

        with pytest.raises(EndpointError) as caught:
            asyncio.run(go(), debug=True)
        error = caught.value
        assert error.__context__ is None
        assert error.__cause__ is None
        return [str(error), repr(error), repr(error.args), *traceback.format_exception(error), repr(link), str(link)]

    return run


@pytest.mark.parametrize("way", GIVEN)
def test_a_key_comes_out_of_no_error_however_it_was_given_and_whatever_happens(way, failure, canned, nobody, caplog):
    caplog.set_level(logging.DEBUG)
    seen = failure(way, f"http://{nobody}")
    with breaking_server() as url:
        seen += failure(way, url)
    with canned(200, {}) as server:
        server.payload = reply(200, b"x" * 100)[:-50]
        seen += failure(way, server.url, timeout_s=0.1)
        for status in (401, 400, 429, 500, 302, 200):
            for echo in ECHOES.values():
                server.payload = reply(status, echo)
                seen += failure(way, server.url)
    seen += [record.getMessage() for record in caplog.records]
    assert len(seen) > 200
    assert [text for text in seen if any(CORE in plain for plain in seen_through(text))] == []


@pytest.mark.parametrize("way", GIVEN)
def test_a_long_key_is_in_no_body_however_the_server_writes_it(way, canned, monkeypatch):
    reference, value = GIVEN[way]
    if reference:
        monkeypatch.setenv("CANARY", value)

    async def go(url):
        link = Link(url + ("" if reference else value), api_key_env=reference, timeout_s=120, transport=None)
        reply = await link.ask(url + "/v1/x", {})
        await link.close()
        return reply.body

    with canned(200, {}) as server:
        for name, echo in ECHOES.items():
            server.payload = reply(200, echo)
            body = asyncio.run(go(server.url))
            assert b"[key]" in body, name
            assert [text for text in seen_through(body.decode()) if CORE in text] == [], name
