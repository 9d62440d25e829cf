"""A run: one folder that holds everything about one use of a recipe.

    RUN/
      recipe.yaml      the resolved recipe
      manifest.json    identity of every stage, versions, counts
      status.json      heartbeat: stage, counts, rates, time left
      spent.json       requests, tokens and money of all sessions
      run.log          what happened
      control.json     what a person said to the live run (`generate.control`)
      <stage>/part-00000.jsonl ...
      <run>/           a run inside this one, such as the judge's (`inner_runs`)
      exports/         the files people came for

Files are the truth for progress, the manifest for configuration; both are written whole or not at all. A lock
(`io.locks`) keeps a second process out. A stage is current when the identity that the manifest remembers (its own
options and those of everything before it) equals today's; what costs no model is rebuilt when it is not, what was paid
for is never thrown away without being asked.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

import promptmill
from promptmill.config import differences
from promptmill.errors import RunError
from promptmill.io.jsonl import UNREADABLE, atomic
from promptmill.io.locks import locked
from promptmill.records import content_id

MANIFEST = "manifest.json"
STATUS = "status.json"
SPENT = "spent.json"
DAMAGED = "damaged"  # the folder of what `recover` put aside
S = TypeVar("S", bound=msgspec.Struct)


class Run:
    """An open, locked run folder. Make one with `open_run`.

    Attributes:
        path: the folder.
        manifest: what is remembered about every stage.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._identities: dict[str, Any] = {}
        self._beat: dict[str, Any] = {}

    @property
    def exports(self) -> Path:
        """The folder of the files people came for."""
        return self.folder("exports")

    def folder(self, stage: str) -> Path:
        """The folder of a stage, made if it is not there."""
        path = self.path / stage
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error
        return path

    def identify(self, stage: str, identity: Any) -> None:
        """Say what a stage's rows depend on; stages are identified in order, each rests on those before it."""
        before = [content_id(earlier) for name, earlier in self._identities.items() if name != stage]
        self._identities[stage] = {"options": identity, "after": content_id(before)}

    @property
    def identified(self) -> list[str]:
        """The stages whose identity was said, in their order."""
        return list(self._identities)

    def recall(self, stage: str) -> None:
        """Take a stage as it is remembered: for stages that rest on it when it was not made today."""
        if stage not in self._identities:
            self.identify(stage, self.manifest["stages"].get(stage, {}).get("options"))

    def is_current(self, stage: str) -> bool:
        """Whether the stage is finished and was made by exactly today's recipe."""
        known = self.manifest["stages"].get(stage)
        return bool(known and known["finished"] and known["fingerprint"] == content_id(self._identities[stage]))

    def fingerprint(self, stage: str) -> str | None:
        """What a stage is known by in the manifest; None if it never began."""
        known = self.manifest["stages"].get(stage)
        return None if known is None else str(known["fingerprint"])

    def is_finished(self, stage: str) -> bool:
        """Whether the stage is finished, by whatever recipe."""
        return bool(self.manifest["stages"].get(stage, {}).get("finished"))

    def options(self, stage: str) -> Any:
        """What the manifest remembers of what a stage was made of; empty if it never began."""
        return self.manifest["stages"].get(stage, {}).get("options") or {}

    def changed(self, stage: str) -> list[str]:
        """What differs between the remembered identity of a stage and today's, a line each; empty if nothing does."""
        known = self.manifest["stages"].get(stage)
        if known is None or stage not in self._identities:
            return []
        today = msgspec.json.decode(msgspec.json.encode(self._identities[stage]["options"]))
        return differences(known["options"], today, (stage,))

    def begin(self, stage: str) -> None:
        """Remember that a stage has begun under today's identity."""
        self._remember(stage, finished=False, counts={})

    def finish(self, stage: str, counts: dict[str, Any]) -> None:
        """Remember that a stage is finished, and its counts."""
        self._remember(stage, finished=True, counts=counts)

    def counts(self, stage: str) -> dict[str, Any]:
        """The counts of a finished stage."""
        found: dict[str, Any] = self.manifest["stages"].get(stage, {}).get("counts", {})
        return found

    def clear(self, stage: str) -> None:
        """Remove a stage's rows, to build them again."""
        shutil.rmtree(self.path / stage, ignore_errors=True)
        self.manifest["stages"].pop(stage, None)

    def forget(self, stage: str) -> None:
        """Forget that a stage was made, and remove its own files; what is in folders (vectors) is kept."""
        if self.manifest["stages"].pop(stage, None) is not None:
            self.save_manifest()
        for path in (self.path / stage).glob("*"):
            if path.is_file():
                path.unlink()

    def save_recipe(self, text: str) -> None:
        """Keep the resolved recipe beside the rows it made."""
        with atomic(self.path / "recipe.yaml") as file:
            file.write(text.encode())

    def heartbeat(self, **facts: Any) -> None:
        """Write `status.json`: who runs what, since when, how far."""
        self._beat = facts
        status = {"pid": os.getpid(), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **facts}
        self._write_aside(STATUS, msgspec.json.encode(status))

    def interrupted(self) -> None:
        """Say in the last heartbeat that somebody ended the run; of a process that was killed it says nothing."""
        if self._beat:
            with suppress(RunError):  # the disk is full or gone: the interrupt is what matters now
                self.heartbeat(**self._beat, ended="interrupted")

    def _write_aside(self, name: str, content: bytes) -> None:
        """Replace a small file that is written every second: whole, but not worth an fsync."""
        temporary = self.path / f".{name}.tmp"
        try:
            temporary.write_bytes(content)
            temporary.replace(self.path / name)
        except OSError as error:
            raise _unwritable(self.path / name, error) from error

    def read_spent(self, kind: type[S]) -> S:
        """What earlier sessions noted of money and tokens; a new one where they noted nothing readable."""
        try:
            return msgspec.json.decode((self.path / SPENT).read_bytes(), type=kind)
        except (FileNotFoundError, *UNREADABLE):  # the answers themselves tell, too
            return kind()

    def write_spent(self, spent: msgspec.Struct) -> None:
        """Note what is spent so far."""
        self._write_aside(SPENT, msgspec.json.encode(spent))

    def _remember(self, stage: str, *, finished: bool, counts: dict[str, Any]) -> None:
        identity = self._identities[stage]
        self.manifest["stages"][stage] = {
            "finished": finished,
            "fingerprint": content_id(identity),
            "options": identity["options"],
            "counts": counts,
        }
        self.save_manifest()

    def save_manifest(self) -> None:
        """Write what is remembered."""
        with atomic(self.path / MANIFEST) as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.manifest), indent=1))


@contextmanager
def open_run(path: Path, *, workflow: str, seeds: dict[str, int]) -> Iterator[Run]:
    """Open or make a run folder and hold its lock until the block ends.

    Raises:
        RunError: not a run folder, another workflow's, another process works in it, or it cannot be written.
    """
    with locked(path):
        manifest = manifest_for(path, workflow)
        manifest.setdefault("workflow", workflow)
        manifest["seeds"] = seeds
        manifest["versions"] = {"promptmill": promptmill.__version__, "python": platform.python_version()}
        handler = _log_file(path / "run.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("promptmill")
        logger.addHandler(handler)
        run = Run(path, manifest)
        try:
            yield run
        except KeyboardInterrupt:
            run.interrupted()
            raise
        finally:
            logger.removeHandler(handler)
            handler.close()


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a run, for looking only (no lock).

    Raises:
        RunError: there is no run in this folder, or its manifest is damaged.
    """
    if not (path / MANIFEST).is_file():
        raise RunError(f"{path}: no run is here ({MANIFEST} is missing). Name the folder given with --out.")
    try:
        manifest: dict[str, Any] = json.loads((path / MANIFEST).read_bytes())
    except ValueError as error:
        raise RunError(f"{path / MANIFEST}: is damaged: {error}. Mend it: promptmill recover {path}") from error
    return manifest


def holds_run(path: Path) -> bool:
    """Whether anything in a folder is of a run; one that was killed as it began leaves a lock and a log."""
    return any((path / name).exists() for name in (MANIFEST, "generate", "prompts", "recipe.yaml"))


def inner_runs(path: Path) -> list[Path]:
    """The runs inside a run, such as that of its judge: each a folder with files, a lock and a budget of its own.

    One with a recipe of its own is nobody's part: a copy, or a run that was put there.
    """
    marks = (".lock", MANIFEST, "generate", "prompts")
    found = {found.parent for mark in marks for found in path.glob(f"*/{mark}")}
    return sorted(each for each in found - {path / DAMAGED} if not (each / "recipe.yaml").exists())


def read_status(path: Path) -> dict[str, Any] | None:
    """The last heartbeat of a run, if there was one."""
    try:
        status: dict[str, Any] = json.loads((path / "status.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return status


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(
        f"{path}: cannot be written: {error.strerror}. Make room or mend the folder and run again: what was done is "
        "kept."
    )


class _LogFile(logging.FileHandler):
    """A log that a full disk may cut short: the disk's own error is told where rows are written, once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's signature
        """Say nothing."""


def _log_file(path: Path) -> logging.FileHandler:
    try:
        return _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from error


def check_folder(path: Path) -> None:
    """See that a folder is a run's, empty or not there, before anything is written into it.

    Raises:
        RunError: it holds other files.
    """
    if not path.is_dir() or (path / MANIFEST).exists():
        return
    known = {
        "control.json",
        "detached.log",
        "exports",
        "prompts",
        "recipe.yaml",
        "run.log",
        "spent.json",
        "status.json",
    }
    strangers = sorted(
        entry.name for entry in path.iterdir() if not entry.name.startswith(".") and entry.name not in known
    )
    if strangers:
        hint = f" To mend what is left of a run: promptmill recover {path}" if (path / "generate").is_dir() else ""
        raise RunError(
            f"{path}: is not empty and holds no run ('{strangers[0]}' ...). Name a new folder with --out.{hint}"
        )


def manifest_for(path: Path, workflow: str) -> dict[str, Any]:
    """What a run of a workflow into this folder goes on with: its manifest, or an empty one.

    Raises:
        RunError: the folder holds other files, another workflow's run, or a damaged manifest.
    """
    if not (path / MANIFEST).exists():
        check_folder(path)
        return {"stages": {}}
    manifest = read_manifest(path)
    if manifest.get("workflow") != workflow:
        raise RunError(f"{path}: holds a run of '{manifest.get('workflow')}'. Use another --out for '{workflow}'.")
    return manifest
