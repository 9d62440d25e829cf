"""Hostile programs against the sandbox: none passes, none gets out, each ends in time, and the harness goes on."""

import runpy
import socket
import time
from pathlib import Path

import pytest

from promptmill.errors import ConfigError
from promptmill.evaluate.sandbox.jail import Limits
from promptmill.evaluate.sandbox.pool import Job, Sandbox

PROGRAMS = runpy.run_path(str(Path(__file__).parents[3] / "data" / "attacks.py"))
FURTHER = runpy.run_path(str(Path(__file__).parents[3] / "data" / "attacks_further.py"))
TASK, ATTEMPT = PROGRAMS["TASK"], PROGRAMS["ATTEMPT"]
FORGED, ESCAPES, EXHAUST, BOUNDED = (PROGRAMS[name] for name in ("FORGED", "ESCAPES", "EXHAUST", "BOUNDED"))
CANARY = "sk-canary-3f9a"
GOOD = Job("def add(a, b):\n    return a + b\n", TASK)
AMPLE = Limits(timeout_s=120.0, memory_mib=256, disk_mib=16)  # what ends by itself may take its time on a busy machine


def start_or_skip(sandbox):
    try:
        sandbox.start()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def canary():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", CANARY)
        yield


@pytest.fixture(scope="module")
def sandbox(canary):
    sandbox = Sandbox(AMPLE, workers=2)
    start_or_skip(sandbox)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def open_sandbox(canary):
    """Without namespaces: what is outside may be seen, verdicts cannot be forged all the same."""
    sandbox = Sandbox(AMPLE, level="rlimits-only", workers=2)
    start_or_skip(sandbox)
    yield sandbox
    sandbox.close()


@pytest.fixture(scope="module")
def hurried(canary):
    """With little time, for programs that never end."""
    sandbox = Sandbox(AMPLE._replace(timeout_s=1.2), workers=2)
    start_or_skip(sandbox)
    yield sandbox
    sandbox.close()


def goes_on(hurried):
    """Whether the same server still judges a good program; that is late too where the machine stood still."""
    server, until = hurried._process.pid, time.monotonic() + 120
    while hurried.judge(GOOD) != (True, "", False):
        if time.monotonic() > until:
            return False
    return hurried._process.pid == server


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """What a program would like to reach: home, a secret file, the project, a secret, a port that listens."""
    secret = tmp_path_factory.mktemp("secret") / "secret.txt"
    secret.write_text(CANARY)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0)
        yield str(Path.home()), str(secret), str(Path(__file__)), CANARY, listening.getsockname()[1]
        with pytest.raises(BlockingIOError):  # nobody came
            listening.accept()


@pytest.mark.parametrize("name", FORGED)
def test_a_verdict_cannot_be_forged(sandbox, name):
    ruling = sandbox.judge(Job(FORGED[name], TASK))
    assert (ruling.passed, ruling.together) == (False, False)
    assert ruling.detail
    assert ruling.detail.isprintable()
    assert sandbox.judge(GOOD) == (True, "", False)


@pytest.mark.parametrize("name", FORGED)
def test_a_verdict_cannot_be_forged_without_namespaces_either(open_sandbox, name):
    ruling = open_sandbox.judge(Job(FORGED[name], TASK))
    assert (ruling.passed, ruling.together) == (False, False)
    assert open_sandbox.judge(GOOD) == (True, "", False)


@pytest.mark.parametrize("name", ESCAPES)
def test_a_program_cannot_reach_anything_outside(sandbox, known, name):
    program = ATTEMPT.format(known=known, body=ESCAPES[name])
    ruling = sandbox.judge(Job(program, ("assert attempt() == 'stopped', attempt()",)))
    assert ruling == (True, "", False)
    assert sandbox.judge(GOOD) == (True, "", False)


@pytest.mark.parametrize("name", EXHAUST)
def test_a_program_that_takes_all_it_can_ends_in_time_and_fails(hurried, name):
    ruling = hurried.judge(Job(EXHAUST[name], TASK))
    assert ruling.passed is False
    assert ruling.detail
    assert goes_on(hurried)


@pytest.mark.parametrize("name", BOUNDED)
def test_what_a_program_can_take_is_bounded(sandbox, name):
    most, program = BOUNDED[name]
    ruling = sandbox.judge(Job(program, (f"n = count(); assert 0 <= n <= {most}, n",)))
    assert ruling == (True, "", False)
    assert sandbox.judge(GOOD) == (True, "", False)


@pytest.mark.parametrize("name", FURTHER["FORGED"])
def test_values_and_stand_ins_cannot_forge_a_verdict(sandbox, name):
    program, tests = FURTHER["FORGED"][name]
    ruling = sandbox.judge(Job(program, tests))
    assert (ruling.passed, ruling.together) == (False, False)
    assert ruling.detail
    assert ruling.detail.isprintable()
    assert sandbox.judge(GOOD) == (True, "", False)


@pytest.mark.parametrize("name", FURTHER["ENDLESS"])
def test_values_and_stand_ins_that_never_end_are_stopped(hurried, name):
    program, tests = FURTHER["ENDLESS"][name]
    ruling = hurried.judge(Job(program, tests))
    assert (ruling.passed, ruling.together) == (False, False)
    assert goes_on(hurried)


@pytest.mark.parametrize("name", FURTHER["ESCAPES"])
def test_a_program_cannot_reach_anything_by_an_event_loop_or_a_pair_of_sockets(sandbox, known, name):
    program = ATTEMPT.format(known=known, body=FURTHER["ESCAPES"][name]) + FURTHER["DATAGRAM"]
    ruling = sandbox.judge(Job(program, ("assert attempt() == 'stopped', attempt()",)))
    assert ruling == (True, "", False)


@pytest.mark.parametrize("name", FURTHER["BOUNDED"])
def test_what_a_program_can_take_of_sockets_is_bounded(sandbox, name):
    most, program = FURTHER["BOUNDED"][name]
    assert sandbox.judge(Job(program, (f"n = count(); assert 0 < n <= {most}, n",))) == (True, "", False)


def test_a_pair_of_sockets_that_knows_nobody_else_is_given(sandbox):
    program = (
        "import socket\ndef f(data):\n    a, b = socket.socketpair()\n    a.sendall(data)\n    return b.recv(99)\n"
    )
    assert sandbox.judge(Job(program, ("assert f(b'to itself') == b'to itself'",))) == (True, "", False)


def test_a_program_does_not_change_what_the_tests_draw(sandbox):
    program = "import random\ndef f(x):\n    random.seed(0)\n    random.random = lambda: 0.5\n    return x\n"
    tests = """
import random
random.seed(3)
drawn = [random.random(), f(random.random())]
random.seed(3)
assert drawn == [random.random(), random.random()]
"""
    assert sandbox.judge(Job(program, (tests,))) == (True, "", False)


@pytest.mark.parametrize(
    "test",
    [
        "assert all(map(lambda n: f(n) == n + 1, [1, 2]))",
        "for got, wanted in zip(map(f, [1, 2]), [2, 3]): assert got == wanted",
    ],
)
def test_a_program_does_not_end_what_the_tests_go_through(sandbox, test):
    stops = "def f(n):\n    raise StopIteration\n"
    ruling = sandbox.judge(Job(stops, (test,)))
    assert (ruling.passed, "RuntimeError: the program raised StopIteration" in ruling.detail) == (False, True)
    assert sandbox.judge(Job("def f(n):\n    return n + 1\n", (test,))).passed is True
    expected = "try:\n    f(1)\nexcept StopIteration:\n    pass\nelse:\n    assert False"
    assert sandbox.judge(Job(stops, (expected,))).passed is True
