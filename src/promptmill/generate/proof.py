"""Proving a part: every outcome that is expected is there once, every line is one, and the summary tells the truth.

A part is read whole, once, and nothing is changed (see `repair` for that). What is odd is graded: a `note` is as it may
be, `open` is what a further run settles by itself, `damage` is what a further run would trip over or not see.

A committed line is known by the checksum that the summary keeps of it, so a flipped byte is found and condemns its own
line alone. Where no summary speaks of a file (a journal, a part that is under way), a change that leaves a line
readable cannot be seen.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zlib import crc32

import msgspec
from msgspec.structs import asdict

from promptmill.generate.index import LASTING, Mark, Summary, charged_tokens
from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part, ToRequests
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Completion, Outcome

Grade = Literal["note", "open", "damage"]
_decode = msgspec.json.Decoder(Outcome).decode


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it was meant to be.

    Attributes:
        grade: `note`, `open` (a further run settles it) or `damage` (needs `recover`).
        where: file, or file:line of the first.
        what: what is wrong.
        count: lines or requests that it is about.
    """

    grade: Grade
    where: str
    what: str
    count: int = 1

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.where}: {self.what}"


class Tally:
    """What was found, alike things in one place put together."""

    def __init__(self) -> None:
        self._found: dict[tuple[Grade, Path, str], tuple[int | None, str, int]] = {}

    def add(self, grade: Grade, path: Path, what: str, *, line: int | None = None, detail: str = "") -> None:
        """Take note; the first of those that are alike tells its line and detail."""
        first, said, count = self._found.get((grade, path, what), (line, detail, 0))
        self._found[grade, path, what] = (first, said, count + 1)

    def found(self) -> list[Found]:
        """Everything, in the order in which it came."""
        return [
            Found(
                grade=grade,
                where=str(path) if line is None else f"{path}:{line}",
                what=f"{what}{detail}{f' (and {count - 1} more)' if count > 1 else ''}.",
                count=count,
            )
            for (grade, path, what), (line, detail, count) in self._found.items()
        ]


class Line(NamedTuple):
    """A line that is an outcome."""

    path: Path
    number: int
    mark: Mark
    key: str
    names: tuple[str, str, int]
    crc: int


class Aside(NamedTuple):
    """A line that cannot stay where it is."""

    path: Path
    number: int
    start: int
    size: int
    why: str


class Expected(NamedTuple):
    """What a part is to hold: keys prompt by prompt, and the prompts, model and sample of each key."""

    groups: list[list[str]]
    names: dict[str, set[tuple[str, str, int]]]


class Looked:
    """A part that was looked at.

    Attributes:
        part: which.
        expected: what it is to hold; None if nobody knows.
        tally: what was found.
        kept: the line that counts for each key.
        aside: lines that cannot stay.
        strangers: keys that nobody asks in this part.
        in_place: whether files and summary are as a run leaves them behind.
        is_summed: whether the summary tells the truth about the committed rows.
        unreadable: a file that is there and cannot be read.
        summary: what the summary says, whether it is true or not.
        rows: lines that were read.
    """

    def __init__(self, part: Part, expected: Expected | None) -> None:
        self.part = part
        self.expected = expected
        self.tally = Tally()
        self.kept: dict[str, Line] = {}
        self.aside: list[Aside] = []
        self.strangers: list[str] = []
        self.in_place = True
        self.is_summed = False
        self.unreadable: Path | None = None
        self.summary: Summary | None = None
        self.rows = 0

    @property
    def keys(self) -> list[str]:
        """The keys that are to be there, each once."""
        return [] if self.expected is None else list(self.expected.names)

    @property
    def missing(self) -> list[str]:
        """Those of them without an outcome."""
        return [key for key in self.keys if key not in self.kept]

    @property
    def is_complete(self) -> bool:
        """Whether every request has an outcome, so that the part can be committed."""
        return self.expected is not None and bool(self.keys) and all(key in self.kept for key in self.keys)

    def journal(self) -> Journal:
        """The part's journal with the lines that count as its index."""
        journal = Journal(self.part.outcomes)
        journal.marks = {key: line.mark for key, line in self.kept.items()}
        return journal

    def counts(self) -> Counter[str]:
        """Requests, answers and failures by kind (`failed: timeout`), and what was charged."""
        found = Counter(requests=len(self.keys), missing=len(self.missing), rows=self.rows)
        for key in self.keys:
            line = self.kept.get(key)
            if line is not None:
                found[f"failed: {line.mark.kind}" if line.mark.kind else "answered"] += 1
        found["strangers"] = len(self.strangers)
        found["tokens"] = sum(sum(line.mark.tokens) for line in self.kept.values())
        return found


def expect(part: Part, to_requests: ToRequests) -> Expected:
    """What a part is to hold.

    Raises:
        DataError: its prompts cannot be read.
    """
    groups: list[list[str]] = []
    names: dict[str, set[tuple[str, str, int]]] = {}
    for prompt in part.read_prompts():
        group = []
        for request in to_requests(prompt):
            group.append(request.key)
            names.setdefault(request.key, set()).add((request.prompt_id, request.model, request.sample))
        groups.append(group)
    return Expected(groups, names)


def look(part: Part, expected: Expected | None) -> Looked:
    """Read a part whole and say what is odd."""
    looked = Looked(part, expected)
    path, tally = part.outcomes, looked.tally
    journal, done = path.with_suffix(".journal"), path.with_suffix(".done")
    committed, digest, size = _scan(looked, path)
    journalled, _, _ = _scan(looked, journal)
    looked.rows = len(committed) + len(journalled) + len(looked.aside)
    looked.summary = summary = _read_done(looked, done)
    changed = _changed(committed, journalled, summary, digest=digest, size=size)
    for line in changed:
        _set_aside(looked, line, "is not what was committed")
    gone = {line.number for line in changed}
    for line in (*(line for line in committed if line.number not in gone), *journalled):
        if expected is not None and line.key in expected.names and line.names not in expected.names[line.key]:
            _set_aside(looked, line, "names another prompt, model or sample than its key")
        else:
            _take(looked, line)
    if expected is not None:
        looked.strangers = [key for key in looked.kept if key not in expected.names]
        for key in looked.strangers:
            tally.add("note", path, "asked by nobody today, kept", detail=f" (the first: {key})")
    _check_files(looked, has_journal=journal.exists(), digest=digest, size=size)
    _say_open(looked)
    return looked


def _scan(looked: Looked, path: Path) -> tuple[list[Line], str, int]:
    """The lines of a file that are outcomes, its checksum and its size; what is none is set aside."""
    lines: list[Line] = []
    digest, start = hashlib.blake2b(digest_size=16), 0
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                digest.update(text)
                line = _read_line(looked, path, text, number=number, start=start)
                if line is not None:
                    lines.append(line)
                start += len(text)
    except FileNotFoundError:
        pass
    except OSError as error:
        _unreadable(looked, path, error)
    return lines, digest.hexdigest(), start


def _read_line(looked: Looked, path: Path, text: bytes, *, number: int, start: int) -> Line | None:
    committed, has_end = path.suffix == ".jsonl", text.endswith(b"\n")
    try:
        outcome = _decode(text)
    except UNREADABLE as error:
        torn = not committed and not has_end
        what = "is torn: its write was cut" if torn else "is not an outcome"
        looked.tally.add("open" if torn else "damage", path, what, line=number, detail=f" ({error})")
        looked.aside.append(Aside(path, number, start, len(text), what))
        return None
    if not has_end:
        looked.in_place = False
        looked.tally.add("damage" if committed else "open", path, "has no end of line", line=number)
    crc = crc32(text if has_end else text + b"\n")
    return _line(outcome, path, number=number, start=start, size=len(text), crc=crc)


def _line(outcome: Outcome, path: Path, *, number: int, start: int, size: int, crc: int) -> Line:
    mark = Mark(
        committed=path.suffix == ".jsonl",
        start=start,
        size=size,
        kind="" if isinstance(outcome, Completion) else outcome.kind,
        finish=outcome.finish if isinstance(outcome, Completion) else "",
        tokens=charged_tokens(outcome) if isinstance(outcome, Completion) else (0, 0),
        cost=(outcome.cost or 0.0) if isinstance(outcome, Completion) and not outcome.reused_from else 0.0,
        alike=crc32(outcome.text.encode()) if isinstance(outcome, Completion) else 0,
    )
    return Line(path, number, mark, outcome.key, (outcome.prompt_id, outcome.model, outcome.sample), crc)


def _read_done(looked: Looked, done: Path) -> Summary | None:
    try:
        return msgspec.json.decode(done.read_bytes(), type=Summary)
    except FileNotFoundError:
        return None
    except UNREADABLE as error:
        looked.in_place = False
        looked.tally.add("open", done, "is not a summary; the rows are looked at instead", detail=f" ({error})")
    except OSError as error:
        _unreadable(looked, done, error)
    return None


def _unreadable(looked: Looked, path: Path, error: OSError) -> None:
    looked.in_place = False
    looked.unreadable = None if path.is_dir() else path
    looked.tally.add("damage", path, f"cannot be read: {error.strerror}")


def _changed(
    committed: list[Line], journalled: list[Line], summary: Summary | None, *, digest: str, size: int
) -> list[Line]:
    """The committed lines that their summary does not know, if it speaks of this file at all.

    A commit that was cut between the rows and their summary leaves lines that an older summary does not know; they
    still stand in the journal.
    """
    if summary is None or digest == summary.blake2b:
        return []
    crcs = summary.crcs
    known = {int.from_bytes(crcs[at : at + 4], "little") for at in range(0, len(crcs), 4)}
    known |= {line.crc for line in journalled}
    strange = [line for line in committed if line.crc not in known]
    is_of_this_file = bool(crcs) and (len(strange) < len(committed) or size == summary.size)
    return strange if is_of_this_file else []


def _set_aside(looked: Looked, line: Line, why: str) -> None:
    looked.tally.add("damage", line.path, why, line=line.number)
    looked.aside.append(Aside(line.path, line.number, line.mark.start, line.mark.size, why))


def _take(looked: Looked, line: Line) -> None:
    """Count a line; a completion beats a failure, the first completion stays."""
    before = looked.kept.get(line.key)
    if before is None:
        looked.kept[line.key] = line
        return
    is_same = before.crc == line.crc and before.mark.size == line.mark.size
    if before.mark.committed and line.mark.committed:
        looked.in_place = False
        looked.tally.add("damage", line.path, "holds the outcome of a request again", line=line.number)
    elif not before.mark.kind and not (is_same and before.mark.committed):
        looked.in_place = False
        looked.tally.add("open", line.path, "answers a request again", line=line.number)
    if before.mark.kind and not is_same:
        looked.kept[line.key] = line
    elif not is_same:
        looked.aside.append(Aside(line.path, line.number, line.mark.start, line.mark.size, "answers a request again"))


def _check_files(looked: Looked, *, has_journal: bool, digest: str, size: int) -> None:
    """Whether journal, rows and summary go together."""
    part, tally, summary = looked.part, looked.tally, looked.summary
    path = part.outcomes
    journal, done = path.with_suffix(".journal"), path.with_suffix(".done")
    in_place = looked.in_place
    looked.in_place = False
    looked.is_summed = summary is not None and (size, digest) == (summary.size, summary.blake2b)
    if not path.exists() and summary is not None:
        tally.add("damage", path, f"is missing; its summary says that it held {summary.lines} outcomes")
    elif has_journal and looked.is_complete:
        tally.add("open", journal, "is not committed yet, though every request of the part has an outcome")
    elif has_journal or not path.exists():
        looked.in_place = in_place
    elif summary is None:
        looked.in_place = in_place and not looked.is_complete
        if not done.exists():
            tally.add("open", done, "is missing; the next run looks at the rows")
    elif not looked.is_summed:
        differs = "other bytes" if size == summary.size else f"{size} bytes instead of {summary.size}"
        tally.add("damage", path, f"is not the file that its summary was made of ({differs})")
    elif looked.expected is not None and summary.plan != part.plan:
        looked.in_place = in_place and not looked.is_complete
        tally.add("open", done, "was written for other prompts, samples or sampling; the next run looks at the rows")
    else:
        untrue = _untrue(looked, summary) if looked.expected is not None else {}
        looked.in_place, looked.is_summed = in_place and not untrue, not untrue
        for name, (said, real) in untrue.items():
            tally.add("damage", done, f"says {name} {said}, and it is {real}")


def _untrue(looked: Looked, summary: Summary) -> dict[str, tuple[Any, Any]]:
    """The fields of a summary that the rows do not bear out."""
    assert looked.expected is not None
    if looked.missing:
        return {"asked": (summary.asked, len(looked.keys) - len(looked.missing))}
    real = asdict(looked.journal().count(looked.expected.groups, plan=looked.part.plan))
    in_order = sorted(looked.kept.values(), key=lambda line: line.mark.start)
    real["crcs"] = b"".join(line.crc.to_bytes(4, "little") for line in in_order)
    untrue = {}
    for name, value in real.items():
        said = getattr(summary, name)
        if name in {"size", "blake2b"} or said == value or (name == "crcs" and not said):
            continue
        if name == "cost" and math.isclose(said, value, rel_tol=1e-9):  # added up in another order
            continue
        untrue[name] = (said, value) if name != "crcs" else ("of lines", "another")
    return untrue


def _say_open(looked: Looked) -> None:
    path = looked.part.outcomes
    for _ in looked.missing:
        looked.tally.add("open", path, "has no outcome for a request")
    for key in looked.keys:
        line = looked.kept.get(key)
        if line is not None and line.mark.kind and line.mark.kind not in LASTING:
            looked.tally.add("open", path, f"failed ({line.mark.kind}), is asked again by the next run")
