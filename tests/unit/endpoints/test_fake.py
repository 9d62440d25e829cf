"""The fake server: what it says depends on what it is asked, and it counts truly."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import partial

import pytest

from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.fake.answers import parse_faults, parse_mixture
from promptmill.endpoints.fake.slots import Slots
from promptmill.endpoints.openai import openai
from promptmill.errors import AuthFailed, ConfigError, EndpointError, RateLimited
from promptmill.registry import help_lines
from promptmill.testing import fake_server, fake_stats


def post(url, body, **headers):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def until(url, **wanted):
    """Wait until the server counts so much."""
    deadline = time.monotonic() + 120
    while {name: fake_stats(url)[name] for name in wanted} != wanted:
        assert time.monotonic() < deadline, fake_stats(url)
        time.sleep(0.01)


def test_a_mixture_is_drawn_by_its_shares():
    mixture = parse_mixture("0.9:0.1,0.09:0.3,0.01:1-2", name="latency_s")
    assert [mixture.draw(f) for f in (0, 0.5, 0.95)] == [0.1, 0.1, 0.3]
    assert mixture.draw(0.995) == pytest.approx(1.5)
    assert parse_mixture("20-200", name="words").draw(0.5) == 110


@pytest.mark.parametrize("text", ["", "x", "0.5:1", "2-1", "-1", "0.5:1,0.6:2", "1:inf", "nan"])
def test_a_mixture_that_is_none_names_its_option(text):
    with pytest.raises(ConfigError, match="latency_s: "):
        parse_mixture(text, name="latency_s")


@pytest.mark.parametrize("text", ["429", "429:x", "hiccup:0.1", "429:0.9,500:0.2", "500:-1"])
def test_faults_that_are_none_are_an_error(text):
    with pytest.raises(ConfigError, match="faults: "):
        parse_faults(text)


def test_every_option_is_documented():
    assert set(help_lines(FakeOptions)) == set(FakeOptions.__struct_fields__)


def test_n_choices_differ_and_are_all_counted_in_usage():
    with fake_server(FakeOptions(words="5-20")) as url:
        got = post(url + "/v1/completions", {"model": "fake", "prompt": "a", "n": 3, "max_tokens": 500})
    texts = [choice["text"] for choice in got["choices"]]
    assert len(set(texts)) == 3
    assert got["usage"]["completion_tokens"] == sum(len(text.encode()) + 1 for text in texts)


def test_without_a_limit_a_completion_has_16_tokens_as_with_openai():
    with fake_server(FakeOptions(words="100")) as url:
        got = post(url + "/v1/completions", {"model": "fake", "prompt": "a"})
    assert (got["usage"]["completion_tokens"], got["choices"][0]["finish_reason"]) == (16, "length")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/completions", {"model": "other", "prompt": "a"}, 404),
        ("/v1/completions", {"model": "fake"}, 400),
        ("/v1/completions", {"model": "fake", "prompt": "a", "stream": True}, 400),
        ("/v1/completions", {"model": "fake", "prompt": "a", "max_tokens": 0}, 400),
        ("/v1/chat/completions", {"model": "fake", "messages": [1]}, 400),
        ("/nowhere", {}, 404),
    ],
)
def test_a_wrong_request_gets_its_status(path, body, status):
    with fake_server() as url, pytest.raises(urllib.error.HTTPError) as caught:
        post(url + path, body)
    assert caught.value.code == status


def test_stats_count_by_content_and_key_and_can_be_reset():
    with fake_server(FakeOptions(script="500,ok,ok")) as url:
        body = {"model": "fake", "prompt": "same", "max_tokens": 9}
        with pytest.raises(urllib.error.HTTPError, match="500"):
            post(url + "/v1/completions", {**body, "user": "a"}, Authorization="Bearer k")
        for user in ("b", "c"):  # `user` is no content
            post(url + "/v1/completions", {**body, "user": user}, Authorization="Bearer k")
        stats = fake_stats(url, reset=True)
        after = fake_stats(url)
    assert {k: v for k, v in stats.items() if k not in {"keys", "contents"}} == {
        "received": 3,
        "answered": 2,
        "in_flight": 0,
        "peak_in_flight": 1,
        "distinct": 1,
        "faults": {"500": 1},
    }
    assert list(stats["contents"].values()) == [{"received": 3, "answered": 2}]
    assert list(stats["keys"].values()) == [{"received": 3, "answered": 2}]
    assert "k" not in stats["keys"]
    assert (after["received"], after["contents"]) == (0, {})


def test_an_answer_whose_client_went_away_is_received_and_not_answered():
    with fake_server(FakeOptions(latency_s="3600")) as url:
        host, port = url.removeprefix("http://").split(":")
        body = b'{"model": "fake", "prompt": "a"}'
        with socket.create_connection((host, int(port)), timeout=120) as client:
            client.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            until(url, in_flight=1)
        until(url, in_flight=0)
        stats = fake_stats(url)
    assert (stats["received"], stats["answered"]) == (1, 0)


def test_an_answer_counts_as_answered_only_when_its_last_byte_has_left_the_process():
    with fake_server(FakeOptions(words="16000")) as url:
        host, port = url.removeprefix("http://").split(":")
        body = json.dumps(
            {"model": "fake", "prompt": "a", "n": 128, "max_tokens": 30000, "return_token_ids": True}
        ).encode()
        with socket.socket() as client:
            client.settimeout(120)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # or a system may hold all of it
            client.connect((host, int(port)))
            client.sendall(
                b"POST /v1/completions HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            until(url, received=1)
            waiting = fake_stats(url)
            n_bytes = 0
            while more := client.recv(1 << 20):
                n_bytes += len(more)
        stats = fake_stats(url)
    assert n_bytes > 10_000_000
    assert (waiting["answered"], waiting["in_flight"]) == (0, 1)
    assert (stats["answered"], stats["in_flight"]) == (1, 0)


def test_a_body_that_arrives_in_pieces_and_two_requests_in_one_packet_are_both_answered():
    with fake_server() as url:
        host, port = url.removeprefix("http://").split(":")
        one = b"GET /health HTTP/1.1\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=120) as client:
            for piece in (
                one[:10],
                one[10:] + one,
                one[:-2].replace(b"\r\n\r\n", b"\r\n") + b"Connection: close\r\n\r\n",
            ):
                client.sendall(piece)
            got = b""
            while more := client.recv(65536):
                got += more
    assert got.count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /health\r\n\r\n", 400),
        (b"POST /tokenize HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        (b"POST /tokenize HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST /tokenize HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n", 413),
        (b"X" * 65_537, 431),  # one too many: the server leaves nothing unread, which would end the connection roughly
    ],
)
def test_what_is_no_request_gets_its_status_and_an_end(sent, status):
    with fake_server() as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=120) as client:
            client.sendall(sent)
            got = client.recv(65536)
    assert got.startswith(b"HTTP/1.1 %d " % status)


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it():
    with fake_server() as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=120) as client:
            head = b"POST /tokenize HTTP/1.1\r\nConnection: close\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n"
            client.sendall(head)
            assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(b'{"prompt":"ab"}')
            got = client.recv(65536)
    assert b'"tokens":[97,98]' in got


def ask_all(url, requests, **given):
    async def go():
        endpoint = openai(base_url=url, **given)
        try:
            return await asyncio.gather(*[endpoint.complete(request) for request in requests], return_exceptions=True)
        finally:
            await endpoint.close()

    return asyncio.run(go())


def give_up(url, requests, *, n_done=0, **counted):
    """Ask all, and give up what is left when so many are done and the server counts so much; what came of each."""

    async def go():
        endpoint = openai(base_url=url, token_ids="never")
        tasks = [asyncio.ensure_future(endpoint.complete(request)) for request in requests]
        try:
            async with asyncio.timeout(240):
                left = set(tasks)
                while len(tasks) - len(left) < n_done:
                    _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.to_thread(until, url, **counted)
            for task in tasks:
                task.cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await endpoint.close()

    return asyncio.run(go())


def test_faults_strike_by_share_and_the_same_ones_in_every_run(raw):
    requests = [raw(f"prompt {i}") for i in range(400)]
    runs = []
    for order in (requests, requests[::-1]):
        with fake_server(FakeOptions(faults="500:0.1,429:0.1,drop:0.05", words="3")) as url:
            got = ask_all(url, order)
            stats = fake_stats(url)
        struck = {r.text for r, g in zip(order, got, strict=True) if isinstance(g, EndpointError)}
        runs.append((struck, stats["faults"], stats["answered"]))
    assert runs[0] == runs[1]
    assert 400 - len(runs[0][0]) == runs[0][2]
    assert 60 <= len(runs[0][0]) <= 140
    assert set(runs[0][1]) == {"500", "429", "drop"}


def test_fault_attempts_let_the_next_attempt_through(raw):
    with fake_server(FakeOptions(faults="500:1", fault_attempts=1)) as url:
        assert isinstance(ask_all(url, [raw()])[0], EndpointError)
        assert ask_all(url, [raw()])[0].text


def test_the_peak_of_requests_in_flight_is_seen_and_can_be_limited(raw):
    requests = [raw(f"prompt {i}") for i in range(10)]
    with fake_server(FakeOptions(latency_s="3600")) as url:
        give_up(url, requests, in_flight=10)
        until(url, in_flight=0)
        assert fake_stats(url)["peak_in_flight"] == 10
    with fake_server(FakeOptions(latency_s="3600", max_in_flight=4)) as url:
        got = give_up(url, requests, n_done=6, in_flight=4)
        assert fake_stats(url)["faults"] == {"full": 6}
    assert sum(isinstance(g, RateLimited) for g in got) == 6


def test_each_key_has_its_quota_and_a_life_of_its_own(raw, monkeypatch):
    monkeypatch.setenv("KEY_1", "first-key")
    monkeypatch.setenv("KEY_2", "second-key")
    requests = [raw(f"prompt {i}") for i in range(3)]
    with fake_server(FakeOptions(key_quota=2, quota_window_s=3600)) as url:
        first = ask_all(url, requests, api_key_env="KEY_1")
        second = ask_all(url, requests[:2], api_key_env="KEY_2")
    late = [g for g in first if isinstance(g, RateLimited)]
    assert [1 <= g.retry_after_s <= 3600 for g in late] == [True]
    assert not any(isinstance(g, EndpointError) for g in second)
    with fake_server(FakeOptions(key_lifetime=1)) as url:
        assert ask_all(url, requests[:1], api_key_env="KEY_1")[0].text
        assert isinstance(ask_all(url, requests[:1], api_key_env="KEY_1")[0], AuthFailed)
        assert ask_all(url, requests[:1], api_key_env="KEY_2")[0].text


def test_more_requests_than_slots_wait_for_their_turn(raw):
    requests = [raw(f"prompt {i}") for i in range(300)]
    with fake_server(FakeOptions(slots=2, words="3")) as url:
        got = ask_all(url, requests)
        stats = fake_stats(url)
    assert [g.prompt_id for g in got] == ["p1"] * 300
    assert (stats["answered"], stats["in_flight"], stats["faults"]) == (300, 0, {})


def test_thousands_who_wait_for_a_slot_have_their_turns_in_order_and_fill_no_stack():
    async def go():
        slots, began = Slots(1), []

        def begin(ticket):
            began.append(ticket)
            slots.leave(ticket)  # answered at once

        slots.enter(0, lambda: None)
        for ticket in range(1, 5001):
            slots.enter(ticket, partial(begin, ticket))
        slots.leave(0)
        for _ in range(5001):
            await asyncio.sleep(0)
        return began

    assert asyncio.run(go()) == list(range(1, 5001))


def test_who_gives_up_waiting_for_a_slot_or_holding_one_frees_it(raw):
    requests = [raw(f"prompt {i}") for i in range(4)]
    with fake_server(FakeOptions(slots=1, script="timeout,ok")) as url:
        first = give_up(url, requests, in_flight=4)
        until(url, in_flight=0)  # it needs a moment to see that its clients have gone
        second = ask_all(url, requests, token_ids="never")
    assert [type(g) for g in first] == [asyncio.CancelledError] * 4
    assert all(g.text for g in second)


@pytest.mark.parametrize("reasoning", ["reasoning_content", "reasoning", "think"])
def test_a_thought_comes_in_the_way_that_was_asked_for_and_is_split_off(*, ask, chat, reasoning):
    with fake_server(FakeOptions(reasoning=reasoning, words="5-20")) as url:
        got = ask(openai(base_url=url), chat())
        body = {"model": "fake", "messages": [{"role": "user", "content": "Say hi."}]}
        message = post(url + "/v1/chat/completions", body)["choices"][0]["message"]
    assert set(message) == {"role", "content", *({reasoning} - {"think"})}
    assert got.finish == "stop"
    assert got.usage.completion_tokens == len(got.token_ids)
    assert bytes(got.token_ids[:-1]).decode() == f"<think>\n{got.reasoning}\n</think>\n\n{got.text}"


def test_a_thought_without_an_end_has_no_answer_and_was_cut(ask, chat):
    with fake_server(FakeOptions(reasoning="unclosed")) as url:
        got = ask(openai(base_url=url), chat())
    assert (got.text, got.finish) == ("", "length")
    assert got.reasoning


def test_a_thought_that_the_limit_cuts_has_no_answer_either(ask, raw):
    with fake_server(FakeOptions(reasoning="think")) as url:
        got = ask(openai(base_url=url), raw(max_tokens=11))
    assert (got.text, got.finish, len(got.reasoning)) == ("", "length", 3)


def test_a_port_in_use_is_one_clear_line():
    with (
        fake_server() as url,
        pytest.raises(ConfigError, match=r"cannot listen there .*Choose another port"),
        fake_server(FakeOptions(port=int(url.rpartition(":")[2]))),
    ):
        pass


def test_as_a_process_it_tells_its_address_and_ends_on_a_signal():
    program = (
        "from promptmill.endpoints.fake import FakeOptions, run_fake\n"
        "run_fake(FakeOptions(), lambda url: print(url, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert fake_stats(url)["received"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
