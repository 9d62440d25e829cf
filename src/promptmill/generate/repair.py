"""Repairing a part that was looked at (`proof`): what is readable stays and is put in order, the rest is set aside.

Nothing is thrown away: a line that cannot stay is first copied to the file of damaged lines, with its place and the
reason; only lines that stand elsewhere byte for byte, and failures that were answered since, simply go. Every file is
written whole under another name and renamed, so a kill leaves something that can be repaired again, and repairing again
changes nothing.

Not covered: a change that the rows do not show (see `proof`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from promptmill.errors import RunError
from promptmill.generate.proof import Aside, Line, Looked
from promptmill.io.jsonl import atomic


def mend(looked: Looked, damaged: Path, *, dry: bool) -> list[str]:
    """Repair a part; return what was done, a line each.

    Args:
        looked: the part.
        damaged: the file to which lines are moved that cannot stay.
        dry: only say what would be done.

    Raises:
        RunError: a file cannot be read or written.
    """
    path = looked.part.outcomes
    if looked.unreadable is not None:
        raise RunError(f"{looked.unreadable}: cannot be read. Mend the disk or its rights, then recover again.")
    files = (path, path.with_suffix(".journal"), path.with_suffix(".done"))
    said = [move_away(file, damaged.parent, dry=dry) for file in files if file.is_dir()]
    if looked.aside:
        new = _keep_aside(looked.aside, damaged, dry=dry)
        said.append(f"{path}: {len(looked.aside)} lines cannot stay, {new} of them moved to {damaged}")
    if not looked.in_place or looked.aside:
        said += _commit(looked, dry=dry) if looked.is_complete else _rewrite(looked, dry=dry)
    return said


def move_away(path: Path, damaged: Path, *, dry: bool) -> str:
    """Move a file or folder that stands in the way to the folder of damaged things."""
    target = damaged / path.name
    number = 1
    while target.exists():
        number += 1
        target = damaged / f"{path.name}.{number}"
    if not dry:
        damaged.mkdir(exist_ok=True)
        path.rename(target)
    return f"{path}: moved to {target}"


def _keep_aside(asides: Sequence[Aside], damaged: Path, *, dry: bool) -> int:
    """Copy lines to the file of damaged lines, those that are not there yet; return how many."""
    try:
        before = damaged.read_bytes() if damaged.exists() else b""
        blocks = []
        for aside in asides:
            with aside.path.open("rb") as file:
                file.seek(aside.start)
                line = file.read(aside.size)
            head = f"# {aside.path.name}:{aside.number}: {aside.why}\n".encode()
            block = head + line + (b"" if line.endswith(b"\n") else b"\n")
            if block not in before:
                blocks.append(block)
        if blocks and not dry:
            damaged.parent.mkdir(exist_ok=True)
            with atomic(damaged) as file:
                file.write(before + b"".join(blocks))
    except OSError as error:
        raise RunError(f"{error.filename or damaged}: {error.strerror}. Mend the folder and recover again.") from error
    return len(blocks)


def _commit(looked: Looked, *, dry: bool) -> list[str]:
    """Write the rows and a true summary; the journal goes."""
    assert looked.expected is not None
    if not dry:
        looked.journal().commit(looked.expected.groups, plan=looked.part.plan)
    return [f"{looked.part.outcomes}: committed anew with {len(looked.kept)} outcomes"]


def _rewrite(looked: Looked, *, dry: bool) -> list[str]:
    """Leave only whole lines that count; a summary that is not true goes, so that the next run looks at the rows."""
    path = looked.part.outcomes
    done = path.with_suffix(".done")
    said = []
    for file in (path, path.with_suffix(".journal")):
        lines = [line for line in looked.kept.values() if line.path == file]
        content = b"".join(_lines(file, lines))
        if file.is_file() and file.read_bytes() != content:
            said.append(f"{file}: {len(lines)} outcomes stay")
            if not dry:
                _replace(file, content)
    if done.is_file() and not looked.is_summed:
        said.append(f"{done}: removed, the next run writes it anew")
        if not dry:
            done.unlink()
    return said


def _lines(file: Path, lines: Iterable[Line]) -> Iterable[bytes]:
    if not file.is_file():
        return
    with file.open("rb") as source:
        for line in sorted(lines, key=lambda line: line.mark.start):
            found = os.pread(source.fileno(), line.mark.size, line.mark.start)
            yield found if found.endswith(b"\n") else found + b"\n"


def _replace(file: Path, content: bytes) -> None:
    if not content:
        file.unlink()
        return
    with atomic(file) as target:
        target.write(content)


def adopt(part_file: Path, source: Path, lines: Sequence[Line]) -> None:
    """Append lines of another part's file to this part's journal, on the disk when this returns."""
    journal = part_file.with_suffix(".journal")
    content = journal.read_bytes() if journal.exists() else b""
    with atomic(journal) as target:
        target.write(content + b"".join(_lines(source, lines)))
