"""Programs and tests that are honest: what passes, what fails, what is said of it; and what is left behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from promptmill.errors import ConfigError
from promptmill.evaluate.sandbox.jail import Limits
from promptmill.evaluate.sandbox.pool import Job, Ruling, Sandbox

LIMITS = Limits(timeout_s=120.0, memory_mib=256, disk_mib=4)
APART = Ruling(passed=True, detail="", together=False)


def start_or_skip(sandbox):
    try:
        sandbox.start()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module", params=["full", "rlimits-only"])
def sandbox(request):
    sandbox = Sandbox(LIMITS, level=request.param, workers=2)
    start_or_skip(sandbox)
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(x):\n    return x + 1", ("assert f(1) == 2", "assert f(f(1)) == 3")),
        ("def f(x):\n    x.sort()", ("x = [3, 1, 2]\nassert f(x) is None\nassert x == [1, 2, 3]",)),
        ("def f(x):\n    return x", ("x = [1]\nassert f(x) is x",)),
        ("def f(x):\n    x['a'].append(x)", ("x = {'a': []}\nf(x)\nassert x['a'][0] is x",)),
        ("def f(x):\n    x |= {2}", ("x = {1}\nf(x)\nassert x == {1, 2}",)),
        ("def f(*, a, b=2):\n    return (a, b)", ("assert f(a=1) == (1, 2)",)),
        ("def f(x):\n    raise KeyError(x)", ("try:\n    f('a')\n    assert False\nexcept KeyError:\n    pass",)),
        ("class Own(ValueError): pass\ndef f(x):\n    raise Own('no')", (
            "try:\n    f(1)\n    found = ''\nexcept ValueError as e:\n    found = str(e)\nassert found == 'no'",)),
        ("def f(n):\n    yield from range(n)", ("assert list(f(3)) == [0, 1, 2]",)),
        ("from collections import Counter\ndef f(s):\n    return Counter(s)", ("assert f('aab') == {'a': 2, 'b': 1}",)),
        ("def sum(a, b):\n    return a - b", ("assert sum(3, 2) == 1",)),
        ("def f(x):\n    return x * 2", ("def test_f():\n    assert f(2) == 4",)),
        ("def f(x):\n    return x * 2", (
            "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n        self.assertEqual(f(2), 4)",)),
        ("def f(xs):\n    return [g(x) for x in xs]\ndef g(x):\n    return -x", (
            "assert f([1]) == [-1] and g(2) == -2",)),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(x):\n    return P(x).x", (
            "assert f(1) == 1",)),
        ("if __name__ == '__main__':\n    input()\ndef f():\n    return 1", ("assert f() == 1",)),
        ("def f(p):\n    open('x', 'w').write(p)\n    return open('x').read()", ("assert f('a') == 'a'",)),
        ("from threading import Thread\ndef f():\n    t = Thread(target=print)\n    t.start()\n    t.join()", (
            "assert f() is None",)),
        ("def f(x):\n    print('x' * 10**7)\n    return x", ("assert f(1) == 1",)),
        ("def f(n):\n    return list(range(n))", ("assert len(f(300_000)) == 300_000",)),
    ],
)  # fmt: skip
def test_a_right_program_passes(sandbox, program, tests):
    assert sandbox.judge(Job(program, tests)) == APART


@pytest.mark.parametrize(
    ("program", "tests", "said"),
    [
        ("def f(x):\n    return x", ("assert f(1) == 1", "assert f(1) == 2"), "test 2 of 2: AssertionError (line 1)"),
        ("def g(x):\n    return x", ("assert f(1) == 1",), "test 1 of 1: KeyError: 'f' (line 1)"),
        ("def f(x):\n    return 1 / 0", ("assert f(1)",), "test 1 of 1: ZeroDivisionError: division by zero (line 1)"),
        ("1 / 0", ("assert f(1)",), "the program does not load: ZeroDivisionError: division by zero"),
        ("def f(:", ("assert f(1)",), "the program does not load: SyntaxError: invalid syntax (<program>, line 1)"),
        ("def f(x):\n    return object()", ("assert f(1) == 1",),
         "test 1 of 1: AssertionError (line 1); 'f' returned an object of its own"),
        ("class Own(KeyError): pass\ndef f(x):\n    raise Own('no')", ("f(1)",),
         "test 1 of 1: KeyError: Own: 'no' (line 1)"),
        ("def f(x):\n    return 3", ("def test_f():\n    assert f(1) == 2",), "test_f: AssertionError (line 2)"),
        ("def f(x):\n    exit(0)", ("try:\n    f(1)\nexcept BaseException:\n    pass",),
         "the program ended itself: SystemExit"),
        ("def f(x):\n    x.append(\n", ("assert f(1)",),
         "the program does not load: SyntaxError: '(' was never closed (<program>, line 2)"),
    ],
)  # fmt: skip
def test_a_wrong_program_fails_and_is_told_why(sandbox, program, tests, said):
    assert sandbox.judge(Job(program, tests)) == Ruling(passed=False, detail=said, together=False)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (("assert f(1) ==",), "the tests are no Python: invalid syntax (<unknown>, line 1)"),
        (("x = 1",), "the tests call nothing of the program (no name)"),
        (
            ("import numpy as np\nassert f(1) == np.int8(1)",),
            "the tests need the package 'numpy', which the sandbox has not",
        ),
        (("def unused():\n    f(1)",), "the tests call nothing of the program (f)"),
    ],
)
def test_tests_that_cannot_be_run_give_no_verdict(sandbox, tests, said):
    ruling = sandbox.judge(Job("def f(x):\n    return 1", tests))
    assert ruling == Ruling(passed=None, detail=said, together=False)


def test_the_setups_helpers_are_the_setups_and_not_the_programs(sandbox):
    setup = "def poly(x):\n    return x - 5\n\ndef zero():\n    '''Find x for which poly(x) is 0.'''\n"
    honest = Job("def zero():\n    return 5", ("assert abs(poly(zero())) < 0.1",), setup, "zero")
    forged = honest._replace(program="def poly(x):\n    return 0\ndef zero():\n    return 7")
    assert sandbox.judge(honest) == APART
    assert sandbox.judge(forged).passed is False


def test_a_function_without_a_body_in_the_setup_is_no_answer(sandbox):
    job = Job("", ("assert f() is None",), "def f():\n    '''Return nothing.'''\n", "f")
    assert sandbox.judge(job).detail == "test 1 of 1: KeyError: 'f' (line 1)"


CLASSES = "class Node:\n    def __init__(self, x):\n        self.x = x\n        self.left = None\n"
TREE = ("root = Node(1)\nroot.left = Node(2)", "assert depth(root) == 2")


def test_tests_with_objects_are_run_together_and_say_so(sandbox):
    right = CLASSES + "def depth(n):\n    return 1 + depth(n.left) if n else 0"
    wrong = CLASSES + "def depth(n):\n    return 7"
    assert sandbox.judge(Job(right, TREE)) == Ruling(passed=True, detail="", together=True)
    assert sandbox.judge(Job(wrong, TREE)) == Ruling(passed=False, detail="test 2 of 2: AssertionError", together=True)


def test_a_function_as_argument_is_run_together(sandbox):
    assert sandbox.judge(Job("def f(g):\n    return g(2)", ("assert f(lambda x: x + 1) == 3",))) == Ruling(
        passed=True, detail="", together=True
    )


@pytest.mark.parametrize(
    "trick",
    [
        "print('passed')\nraise SystemExit(0)",
        "import os\nos._exit(0)",
        "import builtins\nbuiltins.AssertionError = KeyError\nbuiltins.compile = lambda *a, **k: 'pass'",
        "import builtins\nbuiltins.exec = lambda *a, **k: None",
        "def depth(n):\n    raise SystemExit(0)",
    ],
)
def test_naive_tricks_do_not_work_together_either(sandbox, trick):
    ruling = sandbox.judge(Job(f"{CLASSES}\ndef depth(n):\n    return 7\n{trick}", TREE))
    assert ruling.passed is False


def test_a_program_cannot_choose_to_be_judged_together(sandbox):
    job = Job(
        "class Same:\n    def __eq__(self, o): return True\ndef f(x):\n    return Same()", ("assert f(f(1)) == 3",)
    )
    assert sandbox.judge(job).together is False


def test_a_program_cannot_choose_so_by_the_depth_of_what_it_returns(sandbox):
    program = "def f(x):\n    v = []\n    for _ in range({}): v = [v]\n    return v"
    tests = ("assert f([f([f([[1]])])]) == 3",)
    for depth in (50, 97, 98, 99, 100, 101, 150):
        assert sandbox.judge(Job(program.format(depth), tests))[::2] == (False, False)


def test_several_threads_may_judge_at_a_time(sandbox):
    jobs = [Job(f"def f():\n    return {n}", (f"assert f() == {n % 3}",)) for n in range(12)]
    with ThreadPoolExecutor(4) as threads:
        assert [ruling.passed for ruling in threads.map(sandbox.judge, jobs)] == [True] * 3 + [False] * 9


def children(pid):
    """All processes below one."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, parent = int(status.parent.name), int(status.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue  # it ended meanwhile
        if parent == pid:
            found += [number, *children(number)]
    return found


def alive(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and "State:\tZ" not in status_of(pid)]


def status_of(pid):
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "State:\tZ"


def gone(pids):
    until = time.monotonic() + 120
    while alive(pids) and time.monotonic() < until:
        time.sleep(0.01)
    return not alive(pids)


@pytest.mark.parametrize("level", ["full", "rlimits-only"])
def test_nothing_is_left_when_the_sandbox_is_closed_under_a_running_program(level):
    sandbox = Sandbox(Limits(600.0, 256, 4), level=level, workers=1)
    start_or_skip(sandbox)
    server = sandbox._process.pid
    endless = {
        "program": "while True: pass",
        "tests": ["f()"],
        "setup": "",
        "entry_point": "f",
        "together": False,
        "plan": None,
    }
    thread = threading.Thread(target=sandbox._once, args=(endless,))
    thread.start()
    until = time.monotonic() + 120
    while len(children(server)) < 3 and time.monotonic() < until:  # the server proper and the pair
        time.sleep(0.01)
    running = [server, *children(server)]
    assert len(running) == 4
    sandbox.close()
    assert gone(running)
    thread.join(120)
    assert not thread.is_alive()


@pytest.mark.parametrize("level", ["full", "rlimits-only"])
def test_a_server_that_was_killed_is_started_again(level):
    sandbox = Sandbox(LIMITS, level=level, workers=1)
    start_or_skip(sandbox)
    job = Job("def f():\n    return 1", ("assert f() == 1",))
    assert sandbox.judge(job) == APART
    first = [sandbox._process.pid, *children(sandbox._process.pid)]
    os.kill(first[1], signal.SIGKILL)
    assert gone(first[1:])
    assert sandbox.judge(job) == APART
    sandbox.close()


REFUSED = """
import sys
sys.path.insert(0, sys.argv[1])
from promptmill.errors import ConfigError
from promptmill.evaluate.code import code
try:
    code()
except ConfigError as error:
    print(error)
verdict = code(sandbox="rlimits-only")
"""


def test_a_machine_that_does_not_allow_the_isolation_is_refused_in_one_line(tmp_path):
    src = str(Path(__file__).parents[4] / "src")
    script = f'echo 0 > /proc/sys/user/max_user_namespaces || exit 9; exec "$0" -c "$1" {src}'
    unshare = shutil.which("unshare") or pytest.skip("no program unshare")
    done = subprocess.run(
        [unshare, "-Ur", "sh", "-c", script, sys.executable, REFUSED],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode in (1, 9) and not done.stdout:
        pytest.skip(f"no user namespace to try it in: {done.stderr[-200:]}")
    assert done.stdout.startswith(
        "metric code: this machine does not allow the sandbox: [Errno 28] unshare user namespace"
    )
    assert done.stdout.endswith("or set `sandbox: rlimits-only` for code that you trust.\n")
    assert done.stdout.count("\n") == 1


class FirstEndless:
    """A job whose program ends only where the first server that ran it was killed."""

    tests, setup, entry_point = ("assert f() == 1",), "", None

    def __init__(self):
        self.killed = False

    def _asdict(self):
        body = "return 1" if self.killed else "while True: pass"
        return Job(f"def f():\n    {body}\n", self.tests)._asdict()


def test_programs_of_other_threads_survive_the_death_of_the_server():
    sandbox = Sandbox(LIMITS._replace(timeout_s=600.0), level="rlimits-only", workers=4)
    start_or_skip(sandbox)
    server, job = sandbox._process.pid, FirstEndless()
    with ThreadPoolExecutor(4) as threads:
        found = [threads.submit(sandbox.judge, job) for _ in range(4)]
        until = time.monotonic() + 120
        while len(children(server)) < 9 and time.monotonic() < until:  # the server proper and four pairs
            time.sleep(0.01)
        running = children(server)
        job.killed = True
        os.kill(running[0], signal.SIGKILL)
        assert [each.result(120) for each in found] == [APART] * 4
    assert len(running) == 9
    sandbox.close()
