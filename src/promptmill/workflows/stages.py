"""The stage `prompts` that every workflow shares: source -> select -> parts.

A workflow is a recipe struct that contains these options, and a list of stages. Nothing here knows what is asked (see
`asking`) or derived.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec

from promptmill import registry
from promptmill.config import Use
from promptmill.errors import ConfigError, DataError, PromptmillError, RunError
from promptmill.io.jsonl import atomic, write_jsonl
from promptmill.records import Prompt
from promptmill.run import Run, read_manifest
from promptmill.select import pipeline
from promptmill.sources.rows import source_paths

HASH_WHOLE_BYTES = 256 << 20
CHECKSUMS = "checksums.json"
CONVERSATION_STEPS: tuple[Use, ...] = tuple(
    {"kind": kind} for kind in ("language", "sample", "turns", "dedup", "outliers")
)


class PromptPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a part of the prompts was when it was written: by it a changed byte is found (`mending`).

    Attributes:
        name: of the file.
        rows: prompts in it.
        size: bytes.
        blake2b: its checksum.
    """

    name: str
    rows: int
    size: int
    blake2b: str


class Reporter(Protocol):
    """What a workflow tells the person who runs it."""

    def line(self, text: str) -> None:
        """Say one line."""
        ...

    def progress(self, facts: dict[str, Any]) -> None:
        """Show how far the generation is; called every second."""
        ...


class Silent:
    """A reporter that says nothing."""

    def line(self, text: str) -> None:
        """Say nothing."""

    def progress(self, facts: dict[str, Any]) -> None:
        """Show nothing."""


def default_folder(recipe_name: str, output: str | None) -> Path:
    """Where a run goes when nobody says: beside the recipe's output file, else `runs/<recipe name>`.

    Raises:
        ConfigError: the output names no file.
    """
    if output is not None:
        if not Path(output).name or output.endswith("/"):
            raise ConfigError(f"output: '{output}' names no file. Write it like results/results.json.")
        return Path(output).with_suffix(".run")
    return Path("runs") / Path(recipe_name).name.removesuffix(".yaml").removesuffix(".yml")  # Qwen2.5 has a dot, too


def source_identity(source: Use, steps: list[Use], *, rows_per_part: int, known: Any = None) -> dict[str, Any]:
    """What the selected prompts depend on: the options, and the content of the files (not where they lie).

    Args:
        source: the `source:` section.
        steps: the selection steps.
        rows_per_part: prompts in one part, whose answers stand in the part of the same number.
        known: the identity that a run remembers; a stage that does not read the source takes its files as they were.

    Raises:
        DataError: a file of the source cannot be read.
    """
    files = source_files(source) if known is None else known["files"]
    own = {k: v for k, v in source.items() if k != "path"}
    return {"source": own, "files": files, "select": steps, "rows_per_part": rows_per_part}


def source_files(source: Use) -> list[list[str]]:
    """Name and content of each file of a source, as far as an id tells it.

    Raises:
        DataError: a file cannot be read.
    """
    found = source_paths(source["path"], source.get("format")) if source.get("path") is not None else []
    return [[path.name, _fingerprint(path)] for path in found]


def remembered_prompts(out: Path) -> Any:
    """What the prompts of a run were made of, for stages that read them and not their source.

    Raises:
        RunError: no run is there, or it has no prompts yet.
    """
    known = read_manifest(out)["stages"].get("prompts")
    if known is None or not known["finished"]:
        raise RunError(f"{out / 'prompts'}: no prompts are here yet. Run the stage 'prompts' first.")
    return known["options"]


def _fingerprint(path: Path) -> str:
    """A hash of a file's content; of its size and both ends where reading it whole would take seconds."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= HASH_WHOLE_BYTES:
                return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
            ends = hashlib.blake2b(str(size).encode(), digest_size=16)
            ends.update(file.read(1 << 20))
            file.seek(-(1 << 20), 2)
            ends.update(file.read())
            return ends.hexdigest()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path (working folder: {Path.cwd()}).") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Check source.path.") from error


def steps_of(source: Use, steps: list[Use] | None) -> list[Use]:
    """The selection steps: as written, else none for plain prompts and the default order for conversations."""
    if steps is not None:
        return steps
    if source["kind"] == "prompts":
        return []
    return [_filled(step) for step in CONVERSATION_STEPS]


def _filled(step: Use) -> Use:
    options = registry.options(registry.load("filters", step["kind"]))
    return {**{option.name: option.default for option in options}, **step}


def make_prompts(run: Run, source: Use, steps: list[Use], *, rows_per_part: int, reporter: Reporter) -> dict[str, Any]:
    """Stage `prompts`: read the source, select, write `prompts/part-*.jsonl`; return the counts of every step.

    Raises:
        RunError: the folder holds answers to other prompts.
    """
    if prompts_stand(run):
        counts = run.counts("prompts")
        reporter.line(f"prompts: {counts['kept']} stand in the run folder.")
        return counts
    run.clear("prompts")
    run.begin("prompts")
    run.heartbeat(stage="prompts")
    try:
        counts = _select(run, source, steps, rows_per_part)
    except PromptmillError:
        run.clear("prompts")  # no half of a selection stays
        raise
    run.finish("prompts", counts)
    for step in counts["steps"]:
        reporter.line(f"prompts: {step['step']}: {step['in']} -> {step['out']} {step['dropped'] or ''}".rstrip())
    return counts


def keep_prompts(run: Run, prompts: Iterator[Prompt], *, rows_per_part: int) -> int:
    """Stage `prompts` for prompts that are made and not selected; return how many."""
    run.clear("prompts")
    run.begin("prompts")
    total = _write_parts(run.folder("prompts"), prompts, rows_per_part)
    run.finish("prompts", {"kept": total, "parts": len(prompt_files(run)), "steps": []})
    return total


def prompts_stand(run: Run) -> bool:
    """Whether the prompts of today's recipe are in the folder, every part of them."""
    return run.is_current("prompts") and run.counts("prompts").get("parts") == len(prompt_files(run))


def prompt_files(run: Run) -> list[Path]:
    """The prompts of a run, a file for each part."""
    return sorted((run.path / "prompts").glob("part-*.jsonl"))


def _select(run: Run, source: Use, steps: list[Use], rows_per_part: int) -> dict[str, Any]:
    folder = run.folder("prompts")
    with (
        _work_folder(run.path) as work,
        pipeline.dropped_rows(folder / "dropped.jsonl") as dropped,
    ):
        selection = pipeline.select(
            registry.build("sources", source),
            [(step["kind"], registry.build("filters", step)) for step in steps],
            work=work,
            dropped=dropped,
        )
        total = _write_parts(folder, selection.kept, rows_per_part)
    if total == 0:
        reasons = "; ".join(f"{s['step']}: {s['dropped']}" for s in selection.report if s["dropped"])
        raise DataError(f"select: no prompt is left ({reasons or 'the source is empty'}). Loosen the steps.")
    return {"kept": total, "parts": len(prompt_files(run)), "steps": selection.report}


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """A folder for temporary files; those that killed runs left behind go first."""
    for left in path.glob(".select-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path, prefix=".select-") as work:
        yield Path(work)


def _write_parts(folder: Path, kept: Iterator[Prompt], rows_per_part: int) -> int:
    number = total = 0
    parts: list[PromptPart] = []
    while (first := next(kept, None)) is not None:
        rows = itertools.chain([first], islice(kept, rows_per_part - 1))
        path = folder / f"part-{number:05d}.jsonl"
        n_rows = write_jsonl(path, rows)
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        parts.append(PromptPart(name=path.name, rows=n_rows, size=path.stat().st_size, blake2b=checksum))
        total += n_rows
        number += 1
    with atomic(folder / CHECKSUMS) as file:
        file.write(msgspec.json.format(msgspec.json.encode(parts), indent=1))
    return total
