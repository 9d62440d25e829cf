"""The stages that every workflow shares: `make_prompts` (source -> select -> parts) and `ask` (requests -> outcomes).

A workflow is a recipe struct that contains these options, and a list of stages. Nothing here knows what is derived.
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

from promptmill import prompts, registry
from promptmill.config import Use
from promptmill.endpoints import serve
from promptmill.errors import ConfigError, DataError, PromptmillError, RunError
from promptmill.generate.journal import Journal
from promptmill.generate.lanes import Lanes
from promptmill.generate.status import Progress
from promptmill.generate.window import Part, Window
from promptmill.io.jsonl import iter_jsonl, write_jsonl
from promptmill.records import Completion, Outcome, Prompt, Request
from promptmill.run import Run, read_manifest
from promptmill.select import pipeline
from promptmill.sources.rows import source_paths
from promptmill.workflows.options import GenerateOptions

HASH_WHOLE_BYTES = 256 << 20
CONVERSATION_STEPS: tuple[Use, ...] = tuple(
    {"kind": kind} for kind in ("language", "sample", "turns", "dedup", "outliers")
)


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


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked what: the `generate:` and `serve:` sections with the model's name settled.

    Attributes:
        options: the `generate:` section.
        serve: the `serve:` section, if there is one.
        model: the name the server knows the model by.
        limit: ask only the first so many prompts.
    """

    options: GenerateOptions
    serve: Use | None
    model: str
    limit: int | None = None

    def identity(self) -> dict[str, Any]:
        """What the text of the answers depends on; more samples or other servers do not change what is there."""
        o = self.options
        return {
            "model": self.model,
            "protocol": o.protocol,
            "template": o.template,
            "system": o.system,
            "sampling": msgspec.to_builtins(o.sampling),
        }

    def requests(self, prompt: Prompt) -> Iterator[Request]:
        """The requests of one prompt."""
        o = self.options
        return prompts.requests(
            prompt,
            model=self.model,
            k=o.k,
            protocol=o.protocol,
            sampling=o.sampling.record(),
            template=o.template,
            system=o.system,
        )

    def check(self) -> None:
        """Raise a ConfigError if nobody can be asked."""
        if not self.options.endpoints and self.serve is None:
            raise ConfigError(
                "generate.endpoints: is empty and there is no 'serve:'. Name a server (--server-url URL), or let "
                "promptmill start one (serve: {kind: llama.cpp, model: smollm2})."
            )


def asking(
    options: GenerateOptions, serve_use: Use | None, *, limit: int | None = None, known: str | None = None
) -> Asking:
    """Settle the model's name: the recipe's, else `known`, else the one that its server will serve.

    Raises:
        ConfigError: there is neither.
    """
    model = options.model if options.model is not None else known
    if model is None and serve_use is not None:
        model = registry.build("servers", serve_use).model
    if model is None:
        raise ConfigError("generate.model: is missing. Name the model as the server knows it (--model NAME).")
    return Asking(options=options, serve=serve_use, model=model, limit=limit)


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
    if known is not None:
        files = known["files"]
    else:
        found = source_paths(source["path"], source.get("format")) if source.get("path") is not None else []
        files = [[path.name, _fingerprint(path)] for path in found]
    own = {k: v for k, v in source.items() if k != "path"}
    return {"source": own, "files": files, "select": steps, "rows_per_part": rows_per_part}


def remembered_model(out: Path) -> str | None:
    """The model that answered in a run, for stages that ask nobody and may not have its server."""
    known = read_manifest(out)["stages"].get("generate")
    return None if known is None else str(known["options"]["model"])


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


def prompts_stand(run: Run) -> bool:
    """Whether the prompts of today's recipe are in the folder, every part of them."""
    return run.is_current("prompts") and run.counts("prompts").get("parts") == len(_prompt_files(run))


def _prompt_files(run: Run) -> list[Path]:
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
    return {"kept": total, "parts": len(_prompt_files(run)), "steps": selection.report}


@contextmanager
def _work_folder(path: Path) -> Iterator[Path]:
    """A folder for temporary files; those that killed runs left behind go first."""
    for left in path.glob(".select-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=path, prefix=".select-") as work:
        yield Path(work)


def _write_parts(folder: Path, kept: Iterator[Prompt], rows_per_part: int) -> int:
    number = total = 0
    while (first := next(kept, None)) is not None:
        rows = itertools.chain([first], islice(kept, rows_per_part - 1))
        total += write_jsonl(folder / f"part-{number:05d}.jsonl", rows)
        number += 1
    return total


def parts_of(run: Run, limit: int | None = None) -> list[Part]:
    """The parts of a run: the prompt files that stand, and where their outcomes go.

    Raises:
        RunError: there are no prompts yet.
    """
    found = _prompt_files(run)
    if not run.is_finished("prompts") or not found:
        raise RunError(f"{run.path / 'prompts'}: no prompts are here yet. Run the stage 'prompts' first.")
    outcomes = run.folder("generate")
    parts = []
    for path in found:
        if limit is not None and limit <= 0:
            break
        parts.append(Part(path, outcomes / path.name, limit))
        if limit is not None:
            limit -= sum(1 for _ in iter_jsonl(path, msgspec.Raw))
    return parts


def refuse_foreign(run: Run, answers: Path) -> None:
    """Raise unless the answers in this folder were made by today's recipe.

    Raises:
        RunError: they were not; names what differs.
    """
    if not any(answers.glob("part-*")):
        return
    changes = [*run.changed("prompts"), *run.changed("generate")]
    if changes:
        raise RunError(
            f"{answers.parent}: holds answers of another recipe. What differs: {'; '.join(changes[:5])}. "
            "Use another --out, or set the recipe back."
        )


def count_open(asking: Asking, parts: list[Part]) -> tuple[int, int]:
    """Return how many requests the parts have, and how many of them are still to be sent."""
    total = left = 0
    for part in parts:
        settled = part.settled()
        for prompt in islice(iter_jsonl(part.prompts, Prompt), part.limit):
            for request in asking.requests(prompt):
                total += 1
                left += (key := request.key) not in settled
                settled.add(key)  # equal requests of a part are asked once
    return total, left


def ask(run: Run, asking: Asking, *, reporter: Reporter) -> dict[str, Any]:
    """Stage `generate`: ask the model everything that is not answered yet; return the counts.

    Raises:
        EndpointError: a server is unreachable or gone.
        KeyboardInterrupt: stopped; the folder is resumable.
    """
    parts = [part._replace(retry_refused=asking.options.retry_refused) for part in parts_of(run, asking.limit)]
    total, left = count_open(asking, parts)
    if left == 0:
        reporter.line(f"generate: all {total} requests are answered from the run folder, nothing is sent.")
    else:
        asking.check()
        rest = "; the rest is answered, or asks the same." if left < total else "."
        reporter.line(f"generate: {left} of {total} requests to send{rest}")
        run.begin("generate")
        with _endpoints(asking, reporter) as endpoints:
            _ask(run, asking, parts, endpoints=endpoints, total=total, reporter=reporter)
    counts = count_outcomes(asking, parts)
    run.finish("generate", counts)
    return counts


def _ask(run: Run, asking: Asking, parts: list[Part], *, endpoints: list[Use], total: int, reporter: Reporter) -> None:
    options = asking.options
    progress = Progress(total)
    lanes = Lanes(
        [registry.build("endpoints", use) for use in endpoints],
        attempts=options.attempts,
        deadline_s=options.deadline_s,
    )

    def beat() -> None:
        facts = {**progress.facts(), "retries": lanes.retries}
        run.heartbeat(stage="generate", **facts)
        reporter.progress(facts)

    window = Window(lanes, progress, width=options.concurrency, delay_s=options.delay_s, beat=beat)
    window.run(parts, asking.requests, model=asking.model)


@contextmanager
def _endpoints(asking: Asking, reporter: Reporter) -> Iterator[list[Use]]:
    """The endpoints of the recipe, or of the server that it asks to be started and stopped."""
    if asking.serve is None:
        yield asking.options.endpoints
        return
    with serve.running(asking.serve) as server:
        reporter.line(f"serve: {server.model} answers at {server.url} (PID {server.pid}, log {server.log}).")
        yield [{"kind": server.endpoint, "base_url": server.url}]
    reporter.line(f"serve: PID {server.pid} is stopped.")


def iter_outcomes(asking: Asking, parts: list[Part]) -> Iterator[tuple[int, Prompt, Request, Outcome | None]]:
    """Yield `(prompt index, prompt, request, outcome or None)` in the order of the prompts and samples."""
    index = 0
    for part in parts:
        outcomes = Journal(part.outcomes).read()
        for prompt in islice(iter_jsonl(part.prompts, Prompt), part.limit):
            for request in asking.requests(prompt):
                yield index, prompt, request, outcomes.get(request.key)
            index += 1


def outcome_sizes(parts: list[Part]) -> list[list[Any]]:
    """Name and size of every file of outcomes: they change when an answer comes."""
    files = (file for part in parts for file in (part.outcomes, part.outcomes.with_suffix(".journal")))
    return [[file.name, file.stat().st_size] for file in files if file.exists()]


def count_outcomes(asking: Asking, parts: list[Part]) -> dict[str, Any]:
    """Count completions by finish and failures by kind."""
    counts: dict[str, Any] = {"requests": 0, "completions": 0, "truncated": 0, "failures": {}, "missing": 0}
    for _, _, _, outcome in iter_outcomes(asking, parts):
        counts["requests"] += 1
        if outcome is None:
            counts["missing"] += 1
        elif isinstance(outcome, Completion):
            counts["completions"] += 1
            counts["truncated"] += outcome.finish == "length"
        else:
            counts["failures"][outcome.kind] = counts["failures"].get(outcome.kind, 0) + 1
    return counts
