"""Runs selection steps one after another over a stream of prompts, and says of every prompt why it was dropped.

A step is a `Filter` (a function), an `Expand` (one prompt to several) or a `Look` (must see all before it judges one).
Filters and expansions are chained generators. A Look ends a segment: prompts that it did not drop at once go to a
temporary file in the work folder, and are read back with the filter that the Look returns. So memory does not grow with
the number of rows, and the order of rows never changes.

Not covered: sharing the work among processes. One core selects a million conversations in seconds, and a look at
everything (sample, dedup, outliers) needs everything in one place anyway.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from promptmill.errors import DataError
from promptmill.io.jsonl import atomic
from promptmill.records import Prompt
from promptmill.registry import Expand, Filter, HasHeads, Head, Look

Step = Filter | Expand | Look
Dropped = Callable[[Prompt, str, str], None]


class StepCount(msgspec.Struct, kw_only=True, rename={"n_in": "in", "n_out": "out"}):
    """What one step did.

    Attributes:
        step: its name.
        n_in: prompts that came in; written as `in`.
        n_out: prompts that went on; written as `out`.
        dropped: how many were dropped, by reason.
    """

    step: str
    n_in: int = 0
    n_out: int = 0
    dropped: dict[str, int] = {}


class Selection:
    """Kept prompts, and why the others were dropped.

    Attributes:
        kept: the prompts, to be read once.
        counts: what each step did; right when `kept` has been read to its end.
    """

    def __init__(self, kept: Iterator[Prompt], counts: list[StepCount]) -> None:
        self.kept = kept
        self.counts = counts

    def __iter__(self) -> Iterator[Prompt]:
        """The kept prompts."""
        return self.kept

    @property
    def report(self) -> list[dict[str, Any]]:
        """The counts, once `kept` was read: `{"step", "in", "out", "dropped": {reason: count}}` a step."""
        report: list[dict[str, Any]] = msgspec.to_builtins(self.counts)
        return report


def select(
    prompts: Iterable[Prompt], steps: Sequence[tuple[str, Step]], *, work: Path, dropped: Dropped | None = None
) -> Selection:
    """Run named steps in order over prompts.

    Args:
        prompts: what to select from; read once, when `kept` is read.
        steps: `(name, step)` pairs, as `registry.build("filters", ...)` makes them.
        work: a folder for temporary files, which are gone when the selection is; made if it is not there.
        dropped: called with each dropped prompt (perhaps only its `Head`), the step's name and the reason.
    """
    leading = 0
    while leading < len(steps) and getattr(steps[leading][1], "by_head", False):
        leading += 1
    rows: Iterator[Any] = prompts.heads() if leading and isinstance(prompts, HasHeads) else iter(prompts)
    counts = []
    for place, (name, step) in enumerate(steps):
        if place == leading:
            rows = map(_whole, rows)
        count = StepCount(step=name)
        counts.append(count)
        if isinstance(step, Look):
            rows = _looked(rows, step, count, work=work, dropped=dropped)
        elif isinstance(step, Expand):
            rows = _expanded(rows, step, count, dropped)
        else:
            rows = _filtered(rows, step, count, dropped)
    return Selection(map(_whole, rows) if leading == len(steps) else rows, counts)


@contextmanager
def dropped_rows(path: Path) -> Iterator[Dropped]:
    """A `dropped.jsonl` for `select(dropped=...)`: `{"id", "source", "step", "reason"}` a line, there when whole."""
    encode = msgspec.json.Encoder().encode
    with atomic(path) as file:

        def note(prompt: Prompt, step: str, reason: str) -> None:
            row = {"id": prompt.id, "source": prompt.source, "step": step, "reason": reason}
            file.write(encode(row) + b"\n")

        yield note


def _whole(prompt: Head | Prompt) -> Prompt:
    return prompt.whole() if isinstance(prompt, Head) else prompt


def _filtered(rows: Iterator[Prompt], step: Filter, count: StepCount, dropped: Dropped | None) -> Iterator[Prompt]:
    reasons, kept = count.dropped, 0  # a million rows come through here: local names, and the total at the end
    try:
        for prompt in rows:
            reason = step(prompt)
            if reason is None:
                kept += 1
                yield prompt
            else:
                reasons[reason] = reasons.get(reason, 0) + 1
                if dropped:
                    dropped(prompt, count.step, reason)
    finally:
        count.n_out = kept
        count.n_in = kept + sum(reasons.values())


def _expanded(rows: Iterator[Prompt], step: Expand, count: StepCount, dropped: Dropped | None) -> Iterator[Prompt]:
    reasons = count.dropped
    for prompt in rows:
        count.n_in += 1
        result = step.expand(prompt)
        if isinstance(result, str):
            reasons[result] = reasons.get(result, 0) + 1
            if dropped:
                dropped(prompt, count.step, result)
        else:
            count.n_out += len(result)
            yield from result


def _looked(
    rows: Iterator[Prompt], step: Look, count: StepCount, *, work: Path, dropped: Dropped | None
) -> Iterator[Prompt]:
    encode = msgspec.json.Encoder().encode
    decode = msgspec.json.Decoder(Prompt).decode
    with _temporary(work) as file:
        step.begin(work)
        for prompt in _filtered(rows, step.observe, count, dropped):
            file.write(encode(_whole(prompt)) + b"\n")
        file.seek(0)
        yield from _filtered(map(decode, file), step.filter(), count, dropped)


@contextmanager
def _temporary(work: Path) -> Iterator[IO[bytes]]:
    """A file without a name: it is gone even after SIGKILL."""
    try:
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=work, buffering=1 << 18) as file:
            yield file
    except OSError as error:
        if error.filename is not None and not str(error.filename).startswith(str(work)):
            raise
        raise DataError(
            f"{work}: temporary file: {error.strerror or error}. Free space or set another folder."
        ) from error
