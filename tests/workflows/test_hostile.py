"""Servers that do their worst, through the whole engine: the right class, one attempt after the other, and an end."""

import asyncio
import contextlib
import signal
import threading
import time
import zlib

import pytest

from promptmill.generate.journal import Journal
from promptmill.records import Completion, Failure

PROMPTS = [f"Say {n} words." for n in range(12)]
ANSWER = (
    b'{"choices": [{"index": 0, "message": {"content": "hello"}, "finish_reason": "stop"}], '
    b'"usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
)
MODELS = b'{"data": [{"id": "fake"}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GZIP = 31


def whole(body, head=b""):
    return HEAD + head + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def one_byte_a_moment(writer):
    writer.write(HEAD + b"Content-Length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.1)


async def a_head_without_end(writer):
    writer.write(HEAD)
    while True:
        writer.write(b"X-More: and more\r\n" * 1000)
        await writer.drain()


async def never_the_final_answer(writer):
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        await writer.drain()


async def a_body_without_end(writer):
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        await writer.drain()


async def a_packed_body_without_end(writer):
    writer.write(HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
    packer = zlib.compressobj(9, zlib.DEFLATED, GZIP)
    while True:
        piece = packer.compress(b" " * (1 << 22))
        if piece:
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()


async def the_answer_and_an_end_that_nobody_announced(writer):
    writer.write(whole(ANSWER))
    await writer.drain()


@contextlib.contextmanager
def serving(act):
    """A server that answers questions about its models, and completions by `act`; yields its address and a count."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asked = []

    async def handle(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"GET"):
                    writer.write(whole(MODELS))
                    continue
                length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                asked.append(head)
                await act(writer)
                break
        writer.close()

    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(handle, "127.0.0.1", 0), loop).result(120)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        loop.call_soon_threadsafe(loop.stop)
        thread.join(120)


def rows(out):
    return list(Journal(out / "generate" / "part-00000.jsonl").read().values())


CHILD = """
import asyncio, resource, signal

class Loop(asyncio.SelectorEventLoop):  # a signal moves its clock on
    ahead_s = 0.0

    def time(self):
        return super().time() + Loop.ahead_s

def move_on(*_):
    Loop.ahead_s += 601

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
signal.signal(signal.SIGUSR1, move_on)
sys.modules["uvloop"] = None
asyncio.events.new_event_loop = Loop
"""


@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (one_byte_a_moment, "timeout"),
        (a_head_without_end, "network"),
        (never_the_final_answer, "network"),
        (a_body_without_end, "unavailable"),
        (a_packed_body_without_end, "unavailable"),
    ],
)
def test_an_answer_that_never_ends_is_given_up_within_bounded_memory(start_mill, until, recipe, tmp_path, act, kind):
    out = tmp_path / "run"
    with serving(act) as (url, asked):
        use = {"base_url": url, "timeout_s": 600, "token_ids": "never"}
        path = recipe(url, prompts=PROMPTS[:2], endpoints=[use], concurrency=2, attempts=2)
        process = start_mill("lengths", "generate", path, "--out", out, first=CHILD)
        for n_asked in (2, 4) if kind == "timeout" else ():
            until(lambda n_asked=n_asked: len(asked) == n_asked)
            process.send_signal(signal.SIGUSR1)
        _, err = process.communicate(timeout=240)
        assert process.returncode == 1, err
        assert "Traceback" not in err
        assert len(asked) == 4
    assert [(type(row), row.kind, row.attempts) for row in rows(out)] == [(Failure, kind, 2)] * 2


def test_a_server_that_ends_each_connection_without_a_word_costs_no_attempts(mill, recipe, tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)  # a break is told by how soon it came, on any machine
    with serving(the_answer_and_an_end_that_nobody_announced) as (url, asked):
        path = recipe(url, prompts=PROMPTS, endpoints=[{"base_url": url, "token_ids": "never"}], attempts=1)
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert len(asked) == len(PROMPTS)  # what went into an ended connection was read by nobody
    assert [(type(row), row.attempts) for row in rows(out)] == [(Completion, 1)] * len(PROMPTS)
