"""The index of a part: where each outcome stands and what must be known of it, without its text.

A part that is done has a `Summary` beside it, so that a run of a million finished rows starts by reading a few hundred
small files. A part that is not has its lines skimmed: `Mark`s are kept, texts are not.

Not covered: writing (see `journal`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec

from promptmill.errors import Filtered, Refused, RunError, TooLong
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Completion, Failure, Outcome, Usage

_decode = msgspec.json.Decoder(Outcome).decode
LASTING = frozenset(error.kind for error in (Refused, TooLong, Filtered))
"""Failures that asking again cannot change; all others are asked again by the next run."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The fields of an outcome that the index needs."""

    type: str
    key: str
    text: str = ""
    kind: str = ""
    finish: str = ""
    usage: Usage | None = None
    billed: Usage | None = None
    cost: float | None = None
    reused_from: str | None = None


class Mark(NamedTuple):
    """Where an outcome stands, and what must be known of it.

    Attributes:
        committed: in the committed file; else in the journal.
        start: offset of its line in bytes.
        size: bytes of its line, newline included.
        kind: "" for a completion, else the failure's kind.
        finish: of a completion.
        tokens: prompt tokens and new tokens that were charged.
        cost: money that was charged.
        alike: a checksum of the text: equal for equal texts.
        origin: key of the answer that it was taken over from.
    """

    committed: bool
    start: int
    size: int
    kind: str
    finish: str
    tokens: tuple[int, int]
    cost: float
    alike: int
    origin: str | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether it settles its request."""
        return not self.kind or self.kind in LASTING


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a committed part holds; stands beside it as `part-00000.done`.

    Attributes:
        plan: id of what was asked: the recipe's identity, the samples, the prompts.
        requests: requests of the plan, equal ones counted each.
        completions: how many of them have an answer.
        truncated: how many of these were cut by their limit.
        repeated: completions whose text another sample of their prompt has too.
        failures: how many failed, by kind.
        asked: different requests among them.
        prompt_tokens: charged for all lines of the file.
        completion_tokens: charged for all lines of the file.
        cost: money charged for all lines of the file.
        lines: lines of the file; more than `asked` where answers to other plans are kept.
        size: bytes of the file.
        blake2b: its checksum.
        crcs: a CRC-32 of every line, four bytes each: where the checksum is wrong they tell which line is.
    """

    plan: str
    requests: int
    completions: int
    truncated: int
    repeated: int
    failures: dict[str, int]
    asked: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    lines: int
    size: int
    blake2b: str
    crcs: bytes = b""

    def n_open(self, *, retry_refused: bool = False) -> int:
        """Requests that another run asks again."""
        return sum(n for kind, n in self.failures.items() if retry_refused or kind not in LASTING)


def read_summary(outcomes: Path) -> Summary | None:
    """The summary of a committed part; None if the part is not done, was written to since, or has none."""
    path = outcomes.with_suffix(".done")
    try:
        content = path.read_bytes()
        size = outcomes.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. Mend the folder and run again.") from error
    try:
        summary = msgspec.json.decode(content, type=Summary)
    except UNREADABLE:  # cut by a crash of the machine: the rows themselves tell
        return None
    if summary.size != size or outcomes.with_suffix(".journal").exists():
        return None
    return summary


def read_outcomes(path: Path, *, torn: bool = False) -> Iterator[Outcome]:
    """Yield the outcomes of a file, if it is there.

    Args:
        path: a committed part or a journal.
        torn: drop a last line without a newline instead of complaining.

    Raises:
        RunError: a line is not an outcome; names file and line.
    """
    for number, line in iter_lines(path, torn=torn):
        try:
            yield _decode(line)
        except UNREADABLE as error:
            raise _no_outcome(path, number, error) from error


def is_lasting(outcome: Outcome) -> bool:
    """Whether an outcome settles its request: a completion, or a failure that asking again cannot change."""
    return not isinstance(outcome, Failure) or outcome.kind in LASTING


def iter_lines(path: Path, *, torn: bool) -> Iterator[tuple[int, bytes]]:
    """Yield `(line number, line)` of a file, if it is there; `torn` drops a last line without a newline."""
    if not path.exists():
        return
    try:
        opened = path.open("rb")
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror}. Mend the folder and run again.") from error
    with opened as file:
        for number, line in enumerate(file, 1):
            if torn and not line.endswith(b"\n"):
                return
            yield number, line


def iter_heads(path: Path, *, torn: bool) -> Iterator[tuple[Head, int]]:
    """Yield the head of every outcome of a file and the size of its line in bytes.

    Raises:
        RunError: a line is not an outcome; names file and line.
    """
    decode = msgspec.json.Decoder(Head).decode
    for number, line in iter_lines(path, torn=torn):
        try:
            head = decode(line)
            if head.type not in {"completion", "failure"}:
                raise msgspec.ValidationError(f"Invalid value {head.type!r} - at `$.type`")
        except UNREADABLE as error:
            raise _no_outcome(path, number, error) from error
        yield head, len(line)


def _no_outcome(path: Path, number: int, error: Exception) -> RunError:
    return RunError(f"{path}:{number}: is not an outcome: {error}. Remove the line to have its request asked again.")


def mark_of(head: Head, *, committed: bool, start: int, size: int) -> Mark:
    """The mark of an outcome that is read from a file."""
    return Mark(
        committed=committed,
        start=start,
        size=size,
        kind=head.kind if head.type == "failure" else "",
        finish=head.finish,
        tokens=charged_tokens(head),
        cost=0.0 if head.reused_from else head.cost or 0.0,
        alike=crc32(head.text.encode()),
        origin=head.reused_from,
    )


def charged_tokens(outcome: Head | Completion) -> tuple[int, int]:
    """Tokens that were charged: none for an answer that was taken over."""
    charged = outcome.billed or outcome.usage
    if charged is None or outcome.reused_from:
        return 0, 0
    return charged.prompt_tokens, charged.completion_tokens
