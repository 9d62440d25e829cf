"""Metric `code`: run a program against the tests of its problem, in a sandbox (HumanEval, MBPP, any list of asserts).

A program passes when every test ran without an error, judged by a process that the program cannot reach. What the
sandbox keeps out, and how well, is in docs/sandbox.md; `promptmill doctor` says what this machine offers of it.

Not covered: programs that read input and are judged by what they print; packages beyond the standard library.
"""

from __future__ import annotations

from typing import Literal

from promptmill.errors import ConfigError
from promptmill.evaluate.sandbox.jail import Limits
from promptmill.evaluate.sandbox.pool import Job, Sandbox
from promptmill.records import Reference, Verdict

MIN_MEMORY_MIB = 64  # the interpreter itself


def code(
    *,
    timeout_s: float = 10.0,
    memory_mib: int = 512,
    disk_mib: int = 16,
    sandbox: Literal["full", "rlimits-only"] = "full",
    workers: int = 0,
) -> Code:
    """Judge a program by running the tests of its problem in a sandbox.

    Args:
        timeout_s: seconds that a program and its tests may take together; later they count as failed.
        memory_mib: memory that each of the two processes of a program may use.
        disk_mib: size of the private folder, the only place a program can write to.
        sandbox: full refuses to run where this machine cannot isolate programs; rlimits-only runs them with what there
            is, for code that you trust.
        workers: programs that run at a time; 0 is one for each core.

    Raises:
        ConfigError: an option is out of range, or this machine does not allow the sandbox.
    """
    if timeout_s <= 0 or memory_mib < MIN_MEMORY_MIB or disk_mib < 1 or workers < 0:
        raise ConfigError(
            f"metric code: timeout_s {timeout_s:g}, memory_mib {memory_mib}, disk_mib {disk_mib}, workers {workers}:"
            f" one of them is too small. Give more than 0 s, at least {MIN_MEMORY_MIB} MiB of memory, 1 MiB of disk."
        )
    metric = Code(Sandbox(Limits(timeout_s, memory_mib, disk_mib), level=sandbox, workers=workers or None))
    metric.start()
    return metric


class Code:
    """Runs programs; several threads may call it at a time."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def start(self) -> None:
        """Start the sandbox before the first program needs it.

        Raises:
            ConfigError: this machine does not allow it.
        """
        self._sandbox.start()

    def __call__(self, reference: Reference, answer: str) -> Verdict:
        """Run the program `answer` against the reference's tests."""
        method = f"code: {self._sandbox.level}"
        if self._sandbox.level == "full" and not self._sandbox.landlock:
            method += " without landlock"
        if not reference.tests:
            return Verdict(value=None, method=method, detail="the reference has no tests")
        job = Job(answer, reference.tests, reference.setup or "", reference.entry_point)
        ruling = self._sandbox.judge(job)
        return Verdict(
            value=None if ruling.passed is None else float(ruling.passed),
            method=f"{method}, together" if ruling.together else method,
            detail=ruling.detail or None,
        )

    def close(self) -> None:
        """End the sandbox's processes."""
        self._sandbox.close()
