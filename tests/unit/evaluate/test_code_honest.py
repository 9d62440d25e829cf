"""Honest programs: the sandbox says of each what a plain interpreter says, in whatever shape the answer comes."""

import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from promptmill.errors import ConfigError
from promptmill.records import Reference
from promptmill.registry import build

DATA = Path(__file__).parents[2] / "data"
PROGRAMS = runpy.run_path(str(DATA / "honest.py"))["PROGRAMS"]
SHAPES = runpy.run_path(str(DATA / "shapes.py"))
FENCE = "```"
# their tests need what the program has: its own classes, functions of theirs in its hands, its files, its `input`
TOGETHER = {
    "a class whose methods the tests use",
    "a context manager and a generator that is sent to",
    "a function of the tests' own as argument",
    "a program that asks",
    "files",
}  # fmt: skip
# as the sandbox does it: the program is no script, and test functions are run
PLAIN = """
import asyncio, inspect, sys
program, tests = sys.stdin.read().split("\\0")
sys.stdin = open("/dev/null")
import types
module = sys.modules["solution"] = types.ModuleType("solution")
exec(compile(program, "<program>", "exec", dont_inherit=True), module.__dict__)
exec(compile(tests, "<tests>", "exec", dont_inherit=True), module.__dict__)
for name, value in list(vars(module).items()):
    if name.startswith("test_"):
        asyncio.run(value()) if inspect.iscoroutinefunction(value) else value()
"""


@pytest.fixture(scope="module")
def judge():
    try:
        metric = build("metrics", {"kind": "code", "timeout_s": 120.0, "workers": 2})
    except ConfigError as error:
        pytest.skip(str(error))
    yield metric
    metric.close()


def plainly(program, tests, folder):
    """Whether the tests pass under a plain interpreter."""
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", PLAIN],
        input=f"{program}\0{tests}".encode(),
        capture_output=True,
        timeout=120,
        check=False,
        cwd=folder,
    )
    return done.returncode == 0


def shapes(program):
    """The answer in each shape."""
    found = SHAPES["of_function"](program)
    blocks = (("text", "think\n"), ("python", program), ("", "$ run\n"))
    found["several blocks"] = "First:\n" + "\nThen:\n".join(f"{FENCE}{kind}\n{text}{FENCE}" for kind, text in blocks)
    found["numbered steps"] = f"1. Read the task.\n2. Solve it:\n\n{FENCE}python3\n{program}{FENCE}\n\n3. Done."
    return found


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_verdict_is_that_of_a_plain_interpreter_in_every_shape(judge, name, tmp_path):
    extract = build("extractors", {"kind": "code"})
    right, wrong, tests = PROGRAMS[name]
    reference = Reference(tests=(tests,))
    assert (plainly(right, tests, tmp_path), plainly(wrong, tests, tmp_path)) == (True, False)
    for program, passes in ((right, 1.0), (wrong, 0.0)):
        texts = {extract(text, reference).text for text in shapes(program).values()}
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(lambda text: judge(reference, text), texts))
        assert [verdict.value for verdict in found] == [passes] * len(found), found
        together = "code: full, together" if name in TOGETHER else "code: full"
        assert {verdict.method for verdict in found} == {together}
