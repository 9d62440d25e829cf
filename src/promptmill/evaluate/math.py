r"""Metric `math`: whether two answers mean the same number, expression, set, interval, matrix, date or word.

Three steps, the next only where the one before cannot decide:

    number       plain numbers are compared exactly, in this process                          (`numbers`)
    spelling     equal spellings are equal; sets, tuples and intervals are taken apart        (`shapes`, `equality`)
    math_verify  what must be computed goes to a worker process, which is killed at the limit (`math_worker`)

The library (math-verify, with SymPy below it) is loaded in the workers only. Its own time limit is a signal, which
fails outside the main thread; it is switched off, and the kill is the limit.

Not covered: finding the answer in a response (`derive`).
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import msgspec

from promptmill.errors import ConfigError, MissingExtra
from promptmill.evaluate.equality import Unsure, equal
from promptmill.evaluate.math_worker import Finding, Question
from promptmill.evaluate.numbers import equal_numbers, other_number, read_number
from promptmill.evaluate.shapes import Shape, readings
from promptmill.evaluate.spelling import MAX_LENGTH
from promptmill.evaluate.workers import MAX_REQUEST, Workers
from promptmill.records import Reference, Verdict

_RIGHT = {method: Verdict(value=1.0, method=method) for method in ("number", "spelling", "math_verify")}
_NO_REFERENCE = Verdict(value=None, method="spelling", detail="there is no reference answer", settled=False)
_TOO_LONG = Verdict(
    value=None, method="spelling", detail=f"longer than {MAX_LENGTH} characters: no short answer", settled=False
)
_EMPTY = Verdict(value=0.0, method="spelling", detail="the answer is empty")


class _NoResult(Exception):  # noqa: N818 - it never leaves this file
    """A comparison came to no end; the text says why."""


_findings = msgspec.msgpack.Decoder(Finding)


def math(*, limit_s: float = 1.0, workers: int = 0) -> Math:
    """Mathematical equality: numbers, expressions, sets, tuples, intervals, matrices, dates and words.

    Args:
        limit_s: seconds that one comparison may compute before its process is killed and the answer has no verdict.
        workers: processes that compare at a time; 0 means one for each core.

    Raises:
        ConfigError: an option is out of range.
        MissingExtra: math-verify is not installed.
    """
    if limit_s <= 0:
        raise ConfigError(f"limit_s: is {limit_s}. Give seconds above 0.")
    if workers < 0:
        raise ConfigError(f"workers: is {workers}. Give a number of processes, or 0 for one per core.")
    if importlib.util.find_spec("math_verify") is None:
        raise MissingExtra("math", needed_for="metric math")
    return Math(limit_s=limit_s, workers=workers or os.cpu_count() or 1)


class Math:
    """The metric; one object may be called from any number of threads.

    Args:
        limit_s: seconds that one comparison may compute.
        workers: processes at a time.
    """

    def __init__(self, *, limit_s: float, workers: int) -> None:
        self._limit_s = limit_s
        self._pool = Workers("promptmill.evaluate.math_worker:load", workers=workers)
        self._computed = lru_cache(maxsize=4096)(self._compute)

    def __call__(self, reference: Reference, answer: str) -> Verdict:
        """Say whether an answer means the same as the reference or one of its aliases."""
        gold = reference.answer
        if gold is not None and not reference.aliases:
            one, other = read_number(gold), read_number(answer)
            if one is not None and other is not None:
                if equal_numbers(one, other, rounded=True):
                    return _RIGHT["number"]
                if "," not in gold or "," not in answer:  # with commas both may be lists as well
                    return other_number(one, other)
        golds = tuple(text for text in (gold, *reference.aliases) if text is not None and text.strip())
        return self._judge(golds, answer)

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def pids(self) -> list[int]:
        """The processes that are known to work for this metric."""
        return self._pool.pids()

    def _judge(self, golds: tuple[str, ...], answer: str) -> Verdict:
        said = answer.strip()
        if not golds or not said:
            return _EMPTY if golds else _NO_REFERENCE
        if said in {gold.strip() for gold in golds}:
            return _RIGHT["spelling"]
        if max(map(len, (*golds, answer))) > MAX_LENGTH:
            return _TOO_LONG
        return self._compare(golds, answer)

    def _compare(self, golds: tuple[str, ...], answer: str) -> Verdict:
        unsure: list[str] = []
        shapes = list(readings(answer))
        for gold in golds:
            found = _plainly(gold, answer)
            if found is True:
                return _RIGHT["spelling"]
            if found is None:
                unsure.append(gold)
            shapes += readings(gold)
        wrong = _wrong(shapes)
        if not unsure:
            return wrong
        try:
            computed = self._computed(tuple(unsure), answer)
        except _NoResult as why:  # an exception, since a cache must not keep it: the machine may have been busy
            return Verdict(value=None, method="math_verify", detail=str(why), settled=False)
        return computed if computed.value or wrong.settled else msgspec.structs.replace(computed, settled=False)

    def _compute(self, golds: tuple[str, ...], answer: str) -> Verdict:
        try:
            request = msgspec.msgpack.encode(Question(list(golds), answer))
        except UnicodeEncodeError:
            raise _NoResult("half of a surrogate pair is no character") from None
        if len(request) > MAX_REQUEST:
            raise _NoResult("too long to be compared")
        body, why = self._pool.ask(request, limit_s=self._limit_s)
        if body is None:
            late = why == "late"
            raise _NoResult(f"no result within {self._limit_s:g} s" if late else "its worker ended: out of memory")
        found = _findings.decode(body)
        if found.equal:
            return _RIGHT["math_verify"]
        if found.unread:
            return Verdict(value=0.0, method="math_verify", detail=f"cannot read {found.unread}", settled=False)
        return Verdict(value=0.0, method="math_verify", detail="another value")


def _plainly(gold: str, answer: str) -> bool | None:
    """Whether spelling and plain numbers show that two texts mean the same; None where they do not decide."""
    unsure = False
    for one in readings(gold):
        for other in readings(answer):
            try:
                if equal(one, other, _cannot_say):
                    return True
            except Unsure:
                unsure = True
    return None if unsure else False


def _cannot_say(_one: Shape, _other: Shape) -> bool:
    raise Unsure


def _wrong(shapes: list[Shape]) -> Verdict:
    kinds = {shape.kind for shape in shapes}
    if kinds == {"number"}:
        return Verdict(value=0.0, method="number", detail="another number")
    # words on either side may mean the same in another way; numbers and sets that differ do not
    return Verdict(value=0.0, method="spelling", detail="another answer", settled=not kinds & {"text", "date"})
