"""Names of hosts: one question for all who ask, and none that anybody has to wait for."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from promptmill.endpoints import names
from promptmill.endpoints.names import names_of
from promptmill.endpoints.transport import loop_factory

LOOPS = [None, pytest.param("uvloop", marks=pytest.mark.skipif(loop_factory() is None, reason="no extra 'fast'"))]
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 80))]


@pytest.fixture(params=LOOPS)
def using(request):
    """Run `act(names)` under a deadline, in both kinds of loop."""

    def run(act):
        async def go():
            async with asyncio.timeout(120):
                return await act(names_of(asyncio.get_running_loop()))

        with asyncio.Runner(loop_factory=loop_factory() if request.param else None) as runner:
            return runner.run(go())

    return run


class Resolver:
    """Stands in for the system's: answers when it is let."""

    def __init__(self, monkeypatch, *answers):
        self.asked, self.answers, self.may = [], list(answers), threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host, port, **_):
        self.asked.append((host, port))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        assert self.may.wait(120)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_all_who_ask_for_a_name_share_one_question_however_long_it_takes(using, monkeypatch):
    monkeypatch.setattr(names, "KNOWN_S", 0.0)
    resolver = Resolver(monkeypatch, FOUND)

    async def act(asked):
        early = [asyncio.create_task(asked.addresses("a.example", 80)) for _ in range(50)]
        await asyncio.sleep(0.05)  # longer than a name is known
        late = [asyncio.create_task(asked.addresses("a.example", 80)) for _ in range(50)]
        other = asyncio.create_task(asked.addresses("b.example", 80))
        await asyncio.sleep(0)
        resolver.may.set()
        return await asyncio.gather(*early, *late, other)

    assert using(act) == [FOUND] * 101
    assert sorted(resolver.asked) == [("a.example", 80), ("b.example", 80)]


def test_who_gives_up_does_not_end_the_question_of_the_others(using, monkeypatch):
    resolver = Resolver(monkeypatch, FOUND)

    async def act(asked):
        one, other = [asyncio.create_task(asked.addresses("a.example", 80)) for _ in range(2)]
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one])
        resolver.may.set()
        return one.cancelled(), await other

    assert using(act) == (True, FOUND)
    assert len(resolver.asked) == 1


def test_a_name_that_was_not_found_is_an_error_for_all_and_asked_again_by_the_next(using, monkeypatch):
    resolver = Resolver(monkeypatch, socket.gaierror(socket.EAI_NONAME, "no such name"), FOUND)
    resolver.may.set()

    async def act(asked):
        first = await asyncio.gather(*[asked.addresses("a.example", 80) for _ in range(3)], return_exceptions=True)
        return [type(each) for each in first], await asked.addresses("a.example", 80)

    assert using(act) == ([socket.gaierror] * 3, FOUND)
    assert len(resolver.asked) == 2


def test_what_is_known_is_asked_again_when_it_is_old(using, monkeypatch):
    monkeypatch.setattr(names, "KNOWN_S", 3600.0)
    resolver = Resolver(monkeypatch, FOUND)
    resolver.may.set()

    async def act(asked):
        await asked.addresses("a.example", 80)
        await asked.addresses("a.example", 80)
        known = len(resolver.asked)
        monkeypatch.setattr(names, "KNOWN_S", -1.0)
        await asked.addresses("a.example", 80)
        return known, len(resolver.asked)

    assert using(act) == (1, 2)


def test_a_system_without_threads_left_is_an_error_of_the_system(using, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    async def act(asked):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        try:
            with pytest.raises(BlockingIOError):
                await asked.addresses("a.example", 80)
        finally:
            monkeypatch.undo()
        Resolver(monkeypatch, FOUND).may.set()
        return await asked.addresses("a.example", 80)

    assert using(act) == FOUND


NOBODY_WAITS = """
import asyncio, socket, sys, threading
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.transport import loop_factory
from promptmill.errors import Timeout

def hang(*_, **__):
    threading.Event().wait()

async def go():
    transport = Http1Transport()
    try:
        await transport.send("GET", "http://a.example/", body=None, headers={}, timeout_s=0.01)
    except Timeout as error:
        print(error)
    await transport.close()

socket.getaddrinfo = hang
with asyncio.Runner(loop_factory=loop_factory() if sys.argv[1] == "uvloop" else None) as runner:
    runner.run(go())
print("closed")
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_question_that_hangs_holds_up_neither_the_loop_nor_the_end_of_the_process(loop):
    source = str(Path(__file__).parents[3] / "src")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOBODY_WAITS, loop],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["http://a.example: no answer within 0.01 s.", "closed"]
