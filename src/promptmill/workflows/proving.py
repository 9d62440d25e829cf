"""`verify`: a run folder proved whole, or what is not named.

Everything is read once, a part at a time, and nothing is changed. What is expected follows from the prompts and the
resolved recipe: every key once among the outcomes. Keys that nobody asks are remembered over all parts, to find
outcomes that stand in the wrong one; else memory is bounded by a part.

Not covered: exports are known by being there and being made of today's answers, not by their bytes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from promptmill.errors import ConfigError, DataError, RunError
from promptmill.generate.budget import Spent
from promptmill.generate.control import CONTROL, Limits
from promptmill.generate.parts import Part
from promptmill.generate.proof import Found, Grade, Looked, Tally, expect, look
from promptmill.generate.reuse import Earlier
from promptmill.io.jsonl import UNREADABLE
from promptmill.io.locks import is_live
from promptmill.records import content_id
from promptmill.run import MANIFEST, SPENT, STATUS, Run, holds_run, inner_runs
from promptmill.workflows import slicing, stages
from promptmill.workflows.asking import Asking, asking, outcome_sizes
from promptmill.workflows.attempts import remembered
from promptmill.workflows.batching import ledger as batches
from promptmill.workflows.options import Recipe
from promptmill.workflows.reporting import files_of
from promptmill.workflows.stages import CHECKSUMS, PromptPart

State = Literal["whole", "open", "damaged"]


class Stage(msgspec.Struct):
    """What the manifest remembers of a stage."""

    finished: bool
    fingerprint: str
    options: Any
    counts: dict[str, Any]


class Manifest(msgspec.Struct):
    """What the manifest is to be."""

    workflow: str
    stages: dict[str, Stage]
    asked: list[Earlier] = []
    seeds: dict[str, int] = {}
    versions: dict[str, str] = {}


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was proved of a run.

    Attributes:
        run: the folder.
        state: `whole`; `open`, a further run settles the rest; `damaged`, it needs `recover`.
        parts: parts that were looked at.
        requests: different requests of all parts.
        answered: how many of them have an answer.
        failed: how many failed, by kind.
        missing: how many have no outcome.
        rows: lines that were read.
        strangers: outcomes that nobody asks today; they are kept.
        found: everything that is not as it was meant to be.
    """

    run: str
    state: State
    parts: int
    requests: int
    answered: int
    failed: dict[str, int]
    missing: int
    rows: int
    strangers: int
    found: list[Found]


class Survey:
    """A run folder as it stands, all but its outcomes.

    Attributes:
        path: the folder.
        recipe: what it keeps as its recipe, if that can be read.
        run: the run, with what can be read of its manifest; not locked.
        tally: what was found.
        asking: who is asked what; None if the recipe does not tell.
        bad_manifest: whether the manifest is missing or damaged.
        bad_prompts: names of prompts parts that are not as they were written.
        bad_files: small files that are damaged; a run does without them.
    """

    def __init__(self, path: Path, recipe: Recipe | None, trouble: str | None) -> None:
        self.path = path
        self.recipe = recipe
        self.tally = Tally()
        self.bad_manifest = False
        self.bad_prompts: set[str] = set()
        self.bad_files: list[Path] = []
        self.run = Run(path, self._read_manifest())
        if trouble is not None:
            folder = (path / "recipe.yaml").is_dir()
            self.tally.add("damage" if folder else "open", path / "recipe.yaml", f"cannot be used ({trouble})")
        self.asking = self._asking()
        self._check_prompts()
        for name, kind in ((STATUS, dict[str, Any]), (SPENT, Spent), (CONTROL, Limits)):
            self._check_small(path / name, kind)
        self._check_batches()

    def _read_manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        try:
            content = path.read_bytes()
            known = msgspec.json.decode(content, type=Manifest)
            manifest: dict[str, Any] = msgspec.json.decode(content)
        except FileNotFoundError:
            self._bad_manifest("is missing")
        except OSError as error:
            self._bad_manifest(f"cannot be read: {error.strerror}")
        except UNREADABLE as error:
            self._bad_manifest(f"is damaged ({error})")
        else:
            before: list[str] = []
            for name in ("prompts", "generate"):
                if (stage := known.stages.get(name)) is not None:
                    identity = {"options": stage.options, "after": content_id(before)}
                    before.append(content_id(identity))
                    if stage.fingerprint != before[-1]:
                        self._bad_manifest(f"its stage '{name}' is not what its fingerprint says")
            return manifest
        return {"stages": {}}

    def _bad_manifest(self, what: str) -> None:
        self.bad_manifest = True
        self.tally.add("damage", self.path / MANIFEST, what)

    def _asking(self) -> Asking | None:
        if self.recipe is None:
            return None
        try:
            known = self.run.manifest["stages"].get("generate", {}).get("options", {}).get("model")
            found = asking(self.recipe.generate, self.recipe.serve, known=known)
            found = replace(found, further=remembered(self.path))
        except ConfigError as error:
            self.tally.add("open", self.path / "recipe.yaml", f"does not say who is asked ({error})")
            return None
        self.run.identify("prompts", None)
        self.run.identify("generate", found.identity())
        for change in [] if self.bad_manifest else self.run.changed("generate"):
            self.tally.add("open", self.path / "recipe.yaml", f"is not what the answers were made by: {change}")
        return found

    def _check_prompts(self) -> None:
        """Whether the parts of the prompts are those that were written."""
        folder, known = self.path / "prompts", self.run.counts("prompts")
        grade: Grade = "damage" if self.run.is_finished("prompts") else "open"
        if grade == "open" and not self.bad_manifest:
            self.tally.add("open", folder, "are not all selected; the next run selects them")
        written = self._checksums(folder / CHECKSUMS)
        found = {path.name: path for path in stages.prompt_files(self.run)}
        if written is None:
            if known.get("parts", len(found)) != len(found):
                self.bad_prompts.add("")
                self.tally.add(grade, folder, f"has {len(found)} parts, and the manifest says {known.get('parts')}")
            return
        for name in sorted({*written, *found}):
            what = _differs(found.get(name), written.get(name))
            if what is not None:
                self.bad_prompts.add(name)
                self.tally.add(grade, folder / name, what)

    def _checksums(self, path: Path) -> dict[str, PromptPart] | None:
        try:
            return {part.name: part for part in msgspec.json.decode(path.read_bytes(), type=list[PromptPart])}
        except FileNotFoundError:  # a run of a version before them
            return None
        except (OSError, *UNREADABLE) as error:
            self.bad_prompts.add("")
            self.tally.add("damage" if self.run.is_finished("prompts") else "open", path, f"cannot be read ({error})")
            return None

    def _check_small(self, path: Path, kind: Any) -> None:
        try:
            msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return
        except OSError as error:
            self.tally.add("damage", path, f"cannot be read: {error.strerror}")
        except UNREADABLE as error:
            self.tally.add("open", path, f"is damaged, a run does without it ({error})")
        else:
            return
        self.bad_files.append(path)

    def _check_batches(self) -> None:
        folder = self.path / batches.FOLDER
        try:
            ledger = batches.load_ledger(self.path)
            for file in ledger.waiting if ledger is not None else ():
                self.tally.add("note", folder / file.name, f"{file.lines} requests wait in a batch ({file.state})")
                batches.check_file(self.path, file)
        except RunError as error:
            self.tally.add("damage", folder, str(error).rstrip("."))

    def parts(self) -> list[Part]:
        """The parts that stand, by their prompts or by their outcomes."""
        prompts = {path.stem for path in stages.prompt_files(self.run)}
        outcomes = {path.stem for path in (self.path / "generate").glob("part-*") if not path.name.startswith(".")}
        return [
            Part(self.path / "prompts" / name, self.path / "generate" / name, plan=self._plan(name))
            for name in (f"{stem}.jsonl" for stem in sorted(prompts | outcomes))
        ]

    def _plan(self, name: str) -> str:
        return self.asking.plan(self.run, name) if self.asking is not None else ""

    def look(self, part: Part) -> Looked:
        """Look at a part; what it is to hold is known where its prompts are as they were written."""
        asked = self.asking
        if not part.prompts.exists() and part.prompts.name not in self.bad_prompts:
            self.tally.add("note", part.outcomes, "belongs to no part of the prompts")
            return look(part, None)
        if asked is None or part.prompts.name in self.bad_prompts:
            return look(part, None)
        try:
            return look(part, expect(part, asked.requests))
        except DataError as error:
            self.bad_prompts.add(part.prompts.name)
            grade: Grade = "damage" if self.run.is_finished("prompts") else "open"
            self.tally.add(grade, part.prompts, str(error).removeprefix(f"{part.prompts}: ").rstrip("."))
            return look(part, None)

    def iter_misplaced(self, looked: Looked, strangers: dict[str, Path]) -> Iterator[tuple[str, Path]]:
        """Yield the keys that a part misses and another part holds, and that part's file."""
        for key in looked.missing:
            if (path := strangers.get(key)) is not None and path != looked.part.outcomes:
                yield key, path


def _differs(path: Path | None, written: PromptPart | None) -> str | None:
    if path is None or written is None:
        return "is missing" if path is None else "was not there when the prompts were selected"
    try:
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if checksum == written.blake2b else "is not as it was written"


def verify(out: Path, recipe: Recipe | None, *, trouble: str | None = None) -> Proof:
    """Prove a run whole, or name what is not.

    Args:
        out: the run folder.
        recipe: what its `recipe.yaml` says.
        trouble: why there is no recipe.

    Raises:
        RunError: no run is here, or a process works in it.
    """
    refuse_live(out)
    check_run(out)
    survey = Survey(out, recipe, trouble)
    found: list[Found] = []
    counts: Counter[str] = Counter()
    strangers: dict[str, Path] = {}
    short: list[Part] = []
    parts = survey.parts()
    for part in parts:
        looked = survey.look(part)
        found += looked.tally.found()
        counts += looked.counts()
        strangers |= dict.fromkeys(looked.strangers, part.outcomes)
        if looked.missing:
            short.append(part)
    misplaced = Tally()
    for part in short if strangers else ():
        for _, path in survey.iter_misplaced(survey.look(part), strangers):
            misplaced.add("damage", path, f"holds an outcome of {part.outcomes.name}")
    _check_exports(survey, parts)
    refuse_live(out)
    found = [*survey.tally.found(), *found, *misplaced.found(), *_of_inner(out)]
    grades = {each.grade for each in found}
    return Proof(
        run=str(out),
        state="damaged" if "damage" in grades else "open" if "open" in grades else "whole",
        parts=len(parts),
        requests=counts["requests"],
        answered=counts["answered"],
        failed={name.removeprefix("failed: "): n for name, n in counts.items() if name.startswith("failed: ")},
        missing=counts["missing"],
        rows=counts["rows"],
        strangers=counts["strangers"],
        found=found,
    )


def _of_inner(out: Path) -> Iterator[Found]:
    """What is not as it was written in the runs inside a run; their requests follow from what the outer one found."""
    for inner in filter(holds_run, inner_runs(out)):
        yield from _of_one_inner(inner)


def _of_one_inner(inner: Path) -> Iterator[Found]:
    survey = Survey(inner, None, None)
    for each in survey.tally.found():  # what is asked is put together again where it is not as it was
        yield each if survey.bad_manifest else msgspec.structs.replace(each, grade="open")
    kept = 0
    for part in survey.parts():
        looked = survey.look(part)
        kept += len(looked.kept)
        yield from (each for each in looked.tally.found() if each.grade != "note")
    counts = survey.run.counts("generate")
    known = counts.get("completions", 0) + sum(counts.get("failures", {}).values())
    if kept < known or not survey.run.is_finished("generate"):
        what = f"holds {kept} outcomes, and there were {known}" if kept < known else "has not every outcome yet"
        what += "; the next run asks the rest"
        yield Found(grade="open", where=str(inner / "generate"), what=what)


def refuse_live(out: Path) -> None:
    """Raise a RunError if a process works in a run or in one inside it: files change while they are read."""
    for run in (out, *inner_runs(out)):
        pid = is_live(run)
        if pid is not None:
            raise RunError(f"{run}: process {pid} works here, and its files change. Wait for it, or stop it first.")


def check_run(out: Path) -> None:
    """Raise a RunError if nothing in a folder looks like a run."""
    if not holds_run(out):
        raise RunError(f"{out}: no run is here. Name the folder given with --out.")


def _check_exports(survey: Survey, parts: list[Part]) -> None:
    """Whether the files people came for are there, made of today's answers."""
    run, tally = survey.run, survey.tally
    name = "report" if "report" in run.manifest["stages"] else "slices"
    stage = run.manifest["stages"].get(name)
    if not run.is_finished(name) or stage is None:
        tally.add("open", survey.path / "exports", "are not made yet; the next run makes them")
        return
    options = stage["options"]
    try:
        results, sizes = Path(options["results"]), options["outcomes"]
        if survey.recipe is None or survey.recipe.output is None:  # in the run folder, wherever that is now
            results = survey.path / "exports" / results.name
        n_files, sizes_made = int(stage["counts"]["files"]), stage["counts"].get("bytes")
    except (KeyError, TypeError, ValueError):
        tally.add("open", survey.path / MANIFEST, "does not say what the exports were made of; the next run does")
        return
    if sizes != outcome_sizes([part for part in parts if part.prompts.exists()]):
        tally.add("open", results, "was made of other answers than those that stand; the next run makes it anew")
    elif name == "report":
        for path, made in zip(files_of(results), sizes_made or [None] * n_files, strict=False):
            if path is not None and (not path.is_file() or made not in {None, path.stat().st_size}):
                tally.add("open", path, "is missing or not as it was written; the next run makes it anew")
    elif not slicing.stands(survey.path / "slices", results, files=n_files):
        tally.add("open", results, "or a file beside it is missing; the next run makes them anew")
