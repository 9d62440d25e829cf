"""The process that runs the tests: they call stand-ins, which ask the process with the model's code and get values.

This process never runs a byte of the model's code, and the model's code never sees the tests nor what they expect. All
it can do is to answer calls with plain values, and if those are right it is right. Whether the tests passed is decided
here and said to promptmill over a channel that the other process does not have.
"""

from __future__ import annotations

import builtins
import gc
import importlib
import secrets
import sys
from functools import partial
from types import CodeType, CoroutineType
from typing import Any, NamedTuple

from promptmill.evaluate.sandbox.frames import Channel
from promptmill.evaluate.sandbox.plan import Plan, plan_of
from promptmill.evaluate.sandbox.program import prelude
from promptmill.evaluate.sandbox.raising import raised, shown
from promptmill.evaluate.sandbox.stand_ins import Program, Stopped

CANNOT, WRONG, RIGHT = None, False, True


class Ruled(NamedTuple):
    """How a job went.

    Attributes:
        passed: whether the tests passed; None where they cannot be run.
        detail: why not.
        together: they must be run in the program's process, or were.
    """

    passed: bool | None
    detail: str
    together: bool


def judge(promptmill: Channel, program_channel: Channel, pid: int) -> None:
    """Take one job, say how it went. Runs jailed, in a process of its own."""
    job = promptmill.receive()
    known = job["plan"]
    ruled = ruling(job, Program(program_channel, pid))
    said = {"passed": ruled.passed, "detail": ruled.detail[:500], "together": ruled.together}
    promptmill.send(said if known else {**said, "plan": job["plan"]})


def ruling(job: dict[str, Any], program: Program) -> Ruled:
    """Run the tests of a job."""
    setup, tests, together = job["setup"], job["tests"], bool(job["together"])
    try:
        before, setup = prelude(setup)
        plan = Plan(*job["plan"]) if job["plan"] else plan_of(setup, tests, job["entry_point"])
        job["plan"] = plan
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Ruled(CANNOT, f"the tests are no Python: {error}", together)
    if plan.missing or (plan.together and not together):
        package = f"the tests need the package '{plan.missing}', which the sandbox has not" if plan.missing else ""
        return Ruled(CANNOT, package or plan.together, together=together or not package)
    try:
        answer = program.ask({key: job[key] for key in ("setup", "program", "entry_point")})
        if "raised" in answer:
            return Ruled(WRONG, "the program does not load: {}: {}".format(*raised(answer)), together)
        if together:
            return _together(tests, program)
    except Stopped:
        return Ruled(WRONG, program.stopped, together)
    return _apart(before, tests, plan, program)


def _apart(setup: CodeType, tests: list[str], plan: Plan, program: Program) -> Ruled:
    """Run tests here, with stand-ins for what they take from the program."""
    names: dict[str, Any] = {"__name__": "tests", "__builtins__": builtins}
    failure = _failure(lambda: exec(setup, names), "the setup")  # noqa: S102 - the data set's code, jailed
    names |= {name: importlib.import_module(name) for name in plan.modules}
    names |= {name: program.stand_in(name) for name in plan.called}
    program.seeded = plan.seeded
    program.stops = any("StopIteration" in test for test in tests)
    failure = failure or _run(tests, names)
    if program.together:
        return Ruled(CANNOT, program.together, together=True)
    if failure or program.stopped:
        own = f"; '{program.own}' returned an object of its own" if program.own else ""
        return Ruled(WRONG, program.stopped or failure + own, together=False)
    if not program.calls:
        called = ", ".join(plan.called) or "no name"
        return Ruled(CANNOT, f"the tests call nothing of the program ({called})", together=False)
    return Ruled(RIGHT, "", together=False)


def _together(tests: list[str], program: Program) -> Ruled:
    token = secrets.token_hex(16)
    answer = program.ask({"tests": tests, "token": token})
    if answer.get("passed") == token:
        return Ruled(RIGHT, "", together=True)
    said = [str(answer.get("where", "")), *raised(answer)]
    return Ruled(WRONG, ": ".join(filter(None, said)) or "the program's answer is no answer", together=True)


def _run(tests: list[str], names: dict[str, Any]) -> str:
    """Run each test in turn, then what they only define; the first failure, or nothing."""
    for number, text in enumerate(tests, 1):
        where = f"test {number} of {len(tests)}"
        failure = _failure(partial(_execute, text, f"<{where}>", names), where)
        if failure:
            return failure
    return _run_defined(names)


def _execute(text: str, name: str, names: dict[str, Any]) -> None:
    exec(compile(text, name, "exec", dont_inherit=True), names)  # noqa: S102 - the data set's code, jailed


def _run_defined(names: dict[str, Any]) -> str:
    """Run test functions without parameters and cases of unittest: tests may define them and leave it at that."""
    for name, value in list(names.items()):
        code = getattr(value, "__code__", None) if name.startswith("test_") else None
        if code and code.co_filename.startswith("<test") and not code.co_argcount:
            failure = _failure(partial(_run_function, value), name)
            if failure:
                return failure
    unittest: Any = sys.modules.get("unittest")
    cases = [v for v in names.values() if isinstance(v, type) and unittest and issubclass(v, unittest.TestCase)]
    for case in cases:
        if case.__module__ == "tests":
            result = unittest.TestResult()
            unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
            if not result.wasSuccessful():
                found = [*result.failures, *result.errors]
                return f"{found[0][0]}: {found[0][1].strip().splitlines()[-1]}" if found else f"{case.__name__} failed"
    return ""


def _run_function(function: Any) -> None:
    found = function()
    if isinstance(found, CoroutineType):
        import asyncio

        asyncio.run(found)


def _failure(work: Any, where: str) -> str:
    """Run something; what went wrong, or nothing."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - a test may raise anything, and all of it means that it failed
        gc.collect()
        line = _line(error)
        return f"{where}: {shown(error)}{line}"
    return ""


def _line(error: BaseException) -> str:
    """` (line N)` of the test that failed."""
    trace, found = error.__traceback__, 0
    while trace:
        if trace.tb_frame.f_code.co_filename.startswith("<test"):
            found = trace.tb_lineno
        trace = trace.tb_next
    return f" (line {found})" if found else ""
