"""Which transport is taken, and that a program that used pyreqwest ends as others do."""

import asyncio
import importlib.util
import subprocess
import sys

import pytest

from promptmill.endpoints.replies import Reply
from promptmill.endpoints.transport import AiohttpTransport, ByLoopTransport, loop_factory, open_transport
from promptmill.errors import ConfigError, MissingExtra

FAST = all(importlib.util.find_spec(name) for name in ("pyreqwest", "uvloop"))
needs_fast = pytest.mark.skipif(not FAST, reason="the extra 'fast' is not installed")


class Prepared:
    def __init__(self):
        self.sent = []
        self.closed = False

    async def send(self, method, url, *, body, headers, timeout_s):
        self.sent.append((method, url, body, headers, timeout_s))
        return Reply(200, {}, b"{}")

    async def close(self):
        self.closed = True


def test_the_transport_is_chosen_by_name_or_variable(monkeypatch):
    monkeypatch.setenv("PROMPTMILL_TRANSPORT", "aiohttp")
    assert type(open_transport()) is AiohttpTransport
    monkeypatch.setenv("PROMPTMILL_TRANSPORT", "")
    assert type(open_transport()) is (ByLoopTransport if FAST else AiohttpTransport)
    monkeypatch.setenv("PROMPTMILL_TRANSPORT", "curl")
    with pytest.raises(ConfigError, match=r"PROMPTMILL_TRANSPORT: there is no transport 'curl'\. There are: auto, aio"):
        open_transport()
    assert type(open_transport("aiohttp")) is AiohttpTransport


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in {"pyreqwest", "uvloop"} else found(name)
    )
    assert type(open_transport()) is AiohttpTransport
    assert loop_factory() is None
    with pytest.raises(MissingExtra, match=r"pip install 'promptmill\[fast\]'"):
        open_transport("pyreqwest")


@needs_fast
def test_of_two_transports_the_running_loop_chooses():
    plain, fast = Prepared(), Prepared()
    transport = ByLoopTransport(plain, uvloops=fast)

    async def go(url):
        await transport.send("GET", url, body=None, headers={"Content-Type": "x"}, timeout_s=1)
        await transport.close()

    for factory, url in ((None, "http://plain"), (loop_factory(), "http://fast")):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(go(url))
    assert [sent[1] for sent in plain.sent] == ["http://plain"]
    assert [sent[1] for sent in fast.sent] == ["http://fast"]
    assert (plain.closed, fast.closed) == (True, True)


ENDS = """
import asyncio, sys
from promptmill.endpoints.fast import PyreqwestTransport

async def go():
    transport = PyreqwestTransport()
    ask = lambda: transport.send("GET", sys.argv[1], body=None, headers={}, timeout_s=20)
    await asyncio.gather(*[ask() for _ in range(100)])

asyncio.run(go())
"""


@needs_fast
def test_a_program_ends_well_right_after_its_last_answer(canned):
    with canned(200, {}) as server:
        codes = [
            subprocess.run([sys.executable, "-c", ENDS, server.url + "/v1/models"], check=False, timeout=60).returncode
            for _ in range(8)
        ]
    assert codes == [0] * 8
