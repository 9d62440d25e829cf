"""Collecting batch files: what batches answered becomes outcomes (`collect`), or they are stopped (`cancel`).

`status` looks at both sides and changes nothing.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from promptmill.endpoints.batches import AGAIN, Batch, Batches
from promptmill.errors import DataError, EndpointError, PromptmillError, Refused, RunError
from promptmill.run import read_manifest
from promptmill.workflows.asking import open_store
from promptmill.workflows.batching.desk import WIRE, Desk, Server, Wire, open_desk
from promptmill.workflows.batching.ledger import (
    FOLDER,
    UNSENT,
    WAITING,
    RequestFile,
    State,
    iter_keys,
    load_ledger,
)
from promptmill.workflows.batching.results import Results, iter_parts, merge
from promptmill.workflows.options import GenerateOptions
from promptmill.workflows.stages import Reporter

ENDINGS: dict[str, State] = {
    "completed": "collected",
    "expired": "expired",
    "cancelled": "cancelled",
    "failed": "failed",
}


def collect(
    out: Path,
    options: GenerateOptions,
    *,
    reporter: Reporter,
    wait: bool = False,
    every_s: float = 30.0,
    wire: Wire = WIRE,
) -> dict[str, int]:
    """Fetch and keep the results of every batch that has ended, parts of expired and cancelled ones too.

    Args:
        out: the run folder.
        options: the recipe's `generate:` section.
        reporter: is told what happens.
        wait: go on until no batch is under way.
        every_s: seconds between two looks.
        wire: how servers are reached.

    Returns:
        What became of the lines, as `merge` counts them, and `missing` (lines that did not come back).

    Raises:
        EndpointError: the server does not answer; what was kept is kept, and calling again goes on.
        DataError: a result belongs to another run; nothing of its file was kept.
    """
    total: Counter[str] = Counter()
    with open_desk(out, options, reporter=reporter, wire=wire) as desk:
        while under_way := _round(desk, total, patient=wait):
            reporter.line(f"collect: under way: {', '.join(under_way)}")
            if not wait:
                break
            time.sleep(every_s)
        _say_what_is_left(desk)
    return dict(total)


def _round(desk: Desk, total: Counter[str], *, patient: bool) -> list[str]:
    """Collect every batch that has ended, also when one of them cannot be; return what is still under way.

    Raises:
        EndpointError: a server did not answer; not when `patient`, if it may answer later.
        DataError: a result belongs to another run.
    """
    under_way = []
    errors: list[PromptmillError] = []
    for file in desk.ledger.files:
        if file.state not in {"submitted", "submitting"}:
            continue
        try:
            batch = desk.server.ask(file, partial(desk.look, file))
            if batch is not None and batch.has_ended:
                total.update(_collect(desk, file, batch))
            elif batch is not None:
                under_way.append(f"{file.name} ({_said(batch)})")
            else:
                desk.reporter.line(f"collect: {file.name}: its batch was never started. Submit it again.")
        except AGAIN as error:
            under_way.append(f"{file.name} ({str(error).rstrip('.')})")
            errors += [] if patient else [error]
        except Refused as error:
            todo = f"If it is gone for good: promptmill batch cancel {desk.run.path} {file.name} --give-up"
            errors.append(Refused(f"{file.name}: {error} {todo}"))
        except (EndpointError, DataError) as error:
            errors.append(error)
    desk.run.heartbeat(stage="batch", under_way=len(under_way), counts=dict(total))
    if errors:
        raise errors[0]
    return under_way


def _collect(desk: Desk, file: RequestFile, batch: Batch) -> dict[str, int]:
    """Fetch and merge the results of a batch that has ended."""
    paths = []
    stem = desk.folder / Path(file.name).stem
    for kind, file_id in (("output", batch.output_file_id), ("errors", batch.error_file_id)):
        if file_id is not None:
            path = stem.with_name(f"{stem.name}.{kind}.jsonl")
            desk.server.ask(file, partial(_fetch, file_id, path))
            paths.append(path)
    results = Results(paths, desk.ledger)
    with open_store(desk.asking.options, desk.reporter) as store:
        counts = merge(desk.run, desk.asking, results, desk.server.endpoint(file.endpoint), store=store)
    counts["missing"] = sum(key not in results for key in iter_keys(desk.run.path, file))
    desk.note(file, state=ENDINGS[batch.status], status=batch.status, counts=counts)
    why = f": {batch.why}" if batch.status == "failed" else ""
    desk.reporter.line(f"collect: {file.name}: {batch.status}{why}: {counts_text(counts)}.")
    return counts


async def _fetch(file_id: str, path: Path, batches: Batches) -> None:
    await batches.save(file_id, path)


async def _get(batch_id: str, batches: Batches) -> Batch:
    return await batches.get(batch_id)


def collect_file(out: Path, options: GenerateOptions, results: Path, *, reporter: Reporter) -> dict[str, int]:
    """Keep the results in a file that was fetched by hand, or made by a server without batches.

    A request file whose every line is answered in it is collected with it.

    Raises:
        DataError: it cannot be read, belongs to another run, or answers nothing of this one; nothing was kept.
    """
    with open_desk(out, options, reporter=reporter, wire=WIRE) as desk:
        found = Results([results], desk.ledger)
        if not len(found):
            raise DataError(
                f"{results}: has no line that answers a request of this run ('pm-{desk.ledger.run}-...'). Nothing was "
                "kept. Name the result file of a batch of this run."
            )
        endpoint = desk.server.endpoint(desk.server.number(None))
        with open_store(options, reporter) as store:
            counts = merge(desk.run, desk.asking, found, endpoint, store=store)
        for file in desk.ledger.waiting:
            if all(key in found for key in iter_keys(out, file)):
                desk.note(file, state="collected", counts=counts)
        reporter.line(f"collect: {results}: {counts_text(counts)}.")
        _say_what_is_left(desk)
    return counts


def _say_what_is_left(desk: Desk) -> None:
    total = left = 0
    for _, asked in iter_parts(desk.run, desk.asking):
        total += len(asked)
        left += sum(each.is_open for each in asked)
    waiting = sum(file.lines for file in desk.ledger.waiting)
    then = f"{waiting} of them wait in batches." if waiting else "Write again, or go on live: the recipe's run command."
    desk.reporter.line(
        f"collect: all {total} requests are settled." if not left else f"collect: {left} of {total} are open. {then}"
    )


def cancel(
    out: Path,
    options: GenerateOptions,
    names: Sequence[str] = (),
    *,
    reporter: Reporter,
    give_up: bool = False,
    wire: Wire = WIRE,
) -> int:
    """Stop batches; what is done by then is kept by `collect`. Without names, all that wait.

    Args:
        out: the run folder.
        options: the recipe's `generate:` section.
        names: request files.
        reporter: is told what happens.
        give_up: forget the files without asking the server; their requests are open again.
        wire: how servers are reached.

    Returns:
        How many were stopped.

    Raises:
        ConfigError: no such file.
        EndpointError: the server does not answer.
    """
    with open_desk(out, options, reporter=reporter, wire=wire) as desk:
        chosen = [file for file in desk.chosen(names) if file.state in WAITING]
        for file in chosen:
            if not give_up and file.state not in UNSENT:
                said = desk.server.ask(file, partial(_cancel, desk, file))
            else:
                desk.note(file, state="cancelled")
                said = "given up" if give_up else "was not sent, and is not"
            reporter.line(f"cancel: {file.name}: {said}.")
        if not chosen:
            reporter.line("cancel: no batch is under way.")
    return len(chosen)


async def _cancel(desk: Desk, file: RequestFile, batches: Batches) -> str:
    batch = await desk.look(file, batches)
    if batch is None:
        desk.note(file, state="cancelled")
        return "its batch was never started"
    if batch.has_ended:
        return f"{file.batch_id} is {batch.status} already; collect it"
    batch = await batches.cancel(batch.id)
    desk.note(file, status=batch.status)
    return f"{file.batch_id} is {batch.status}; collect what is done"


def status(out: Path, options: GenerateOptions, *, wire: Wire = WIRE) -> list[dict[str, Any]]:
    """What ledger and server say about every request file; changes nothing, so it works beside `collect --wait`.

    Raises:
        RunError: no run, or no batch files in it.
        EndpointError: the server does not answer.
    """
    read_manifest(out)
    ledger = load_ledger(out)
    if ledger is None:
        raise RunError(f"{out / FOLDER}: no batch files are here. Write them first (promptmill batch write).")
    server = Server(options, wire)
    rows = []
    for file in ledger.files:
        row = {**msgspec.to_builtins(file), "age_s": round(time.time() - file.written_at), "says": None}
        if file.state == "submitted" and file.batch_id is not None:
            batch = server.ask(file, partial(_get, file.batch_id))
            row |= {"status": batch.status, "expires_at": batch.expires_at}
            row["says"] = msgspec.to_builtins(batch.request_counts)
        row["expires_in_s"] = round(row["expires_at"] - time.time()) if row["expires_at"] else None
        rows.append(row)
    return rows


def counts_text(counts: dict[str, int]) -> str:
    """Counts for people, the important ones always."""
    shown = [f"{counts.get('answers', 0)} answers"]
    words = {
        "refused": "refused",
        "again": "to ask again",
        "missing": "did not come back",
        "unsent": "not reached",
        "already": "known already",
        "doubled": "there twice",
        "unknown": "asked by nobody here",
        "broken": "no JSON",
    }
    return ", ".join([*shown, *(f"{counts[name]} {word}" for name, word in words.items() if counts.get(name))])


def _said(batch: Batch) -> str:
    counts = batch.request_counts
    done = f", {counts.completed + counts.failed} of {counts.total}" if counts and counts.total else ""
    return f"{batch.status}{done}"
