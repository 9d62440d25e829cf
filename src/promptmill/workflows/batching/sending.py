"""Sending batch files: open requests -> request files (`write`) -> uploaded files and their batches (`submit`).

Each step is in the ledger before it is done, so both can be stopped at any instant and called again, and no request is
in two batches. The one step that a server may do without saying so, starting a batch, is looked up before it is done
again.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from promptmill.endpoints.batches import MAX_BYTES, MAX_LINES, Batch, Batches
from promptmill.endpoints.openai import OpenAI, path_of
from promptmill.errors import DataError, EndpointError, Refused, Timeout, Unavailable
from promptmill.io.jsonl import atomic
from promptmill.workflows.asking import parts_of, remember_asked, take_over
from promptmill.workflows.batching.desk import WIRE, Desk, Wire, open_desk
from promptmill.workflows.batching.ledger import UNSENT, RequestFile, check_file, iter_keys, save_ledger
from promptmill.workflows.batching.results import iter_parts
from promptmill.workflows.options import GenerateOptions
from promptmill.workflows.stages import Reporter

LOOKS = 3


class _Start(NamedTuple):
    """How a batch is started.

    Attributes:
        window: within which time it is to be done.
        pause_s: first pause before looking for a batch whose creation went unanswered.
    """

    window: str
    pause_s: float


def write(
    out: Path,
    options: GenerateOptions,
    *,
    reporter: Reporter,
    endpoint: int | None = None,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
    wire: Wire = WIRE,
) -> dict[str, int]:
    """Write every open request that no file waits for into request files; return how many `files` and `requests`.

    What the recipe's `store` and `reuse` have for them is taken over first.

    Raises:
        RunError: the run has no prompts, or another process works in it.
        EndpointError: the server is asked whether it is vLLM (`token_ids: auto`), and does not answer.
        DataError: one request is larger than a file may be.
    """
    with open_desk(out, options, reporter=reporter, wire=wire) as desk:
        number = desk.server.number(endpoint)
        remember_asked(desk.run, desk.asking)
        take_over(desk.run, desk.asking, parts_of(desk.run, desk.asking), reporter=reporter)
        waiting = {key for file in desk.ledger.waiting for key in iter_keys(out, file)}
        n_waiting = len(waiting)
        made = asyncio.run(_write(desk, number, waiting, max_lines=max_lines, max_bytes=max_bytes))
    beside = f"; {n_waiting} wait in files written before" if n_waiting else ""
    reporter.line(
        f"write: {sum(file.lines for file in made)} requests in {len(made)} file{'s' * (len(made) != 1)}{beside}."
    )
    return {"files": len(made), "requests": sum(file.lines for file in made)}


async def _write(desk: Desk, number: int, known: set[bytes], *, max_lines: int, max_bytes: int) -> list[RequestFile]:
    endpoint = desk.server.endpoint(number)
    page = "/v1" + path_of(desk.asking.options.protocol)
    made = []
    try:
        lines = _iter_lines(desk, endpoint, page, known=known, max_bytes=max_bytes)
        line = await anext(lines, None)
        while line is not None:
            name = desk.ledger.next_name
            digest = hashlib.blake2b(digest_size=16)
            n_lines = n_bytes = 0
            with atomic(desk.folder / name) as file:
                while line is not None and n_lines < max_lines and n_bytes + len(line) <= max_bytes:
                    file.write(line)
                    digest.update(line)
                    n_lines, n_bytes = n_lines + 1, n_bytes + len(line)
                    line = await anext(lines, None)
            written = RequestFile(
                name=name,
                lines=n_lines,
                bytes=n_bytes,
                checksum=digest.hexdigest(),
                url=page,
                endpoint=number,
                server=endpoint.link.shown,
                written_at=time.time(),
            )
            desk.ledger.files.append(written)
            save_ledger(desk.run.path, desk.ledger)
            made.append(written)
    finally:
        await endpoint.close()
    return made


async def _iter_lines(
    desk: Desk, endpoint: OpenAI, page: str, *, known: set[bytes], max_bytes: int
) -> AsyncIterator[bytes]:
    """The lines of the open requests whose keys are not in `known`, each key once."""
    for _, asked in iter_parts(desk.run, desk.asking):
        for each in asked:
            key = bytes.fromhex(each.request.key)
            if not each.is_open or key in known:
                continue
            known.add(key)
            body = await endpoint.body_of(each.request)
            name = desk.ledger.custom_id(each.request.key)
            line = msgspec.json.encode({"custom_id": name, "method": "POST", "url": page, "body": body}) + b"\n"
            if len(line) > max_bytes:
                raise DataError(
                    f"prompt {each.request.prompt_id}: its request has {len(line):,} bytes, and a file may have "
                    f"{max_bytes:,}. Shorten the prompt, or leave it out of the source."
                )
            yield line


def submit(
    out: Path,
    options: GenerateOptions,
    *,
    reporter: Reporter,
    endpoint: int | None = None,
    window: str = "24h",
    wire: Wire = WIRE,
) -> int:
    """Send every file that was not sent yet, and start its batch; return how many batches were started.

    Raises:
        EndpointError: the server did not take a file; those before it are sent, and calling again goes on.
        RunError: a file is not as it was written.
    """
    with open_desk(out, options, reporter=reporter, wire=wire) as desk:
        unsent = [file for file in desk.ledger.files if file.state in UNSENT or file.state == "submitting"]
        for file in unsent:
            check_file(out, file)
            if endpoint is not None and file.state == "written":
                number = desk.server.number(endpoint)
                desk.note(file, endpoint=number, server=desk.server.endpoint(number).link.shown)
        start = _Start(window, wire.pause_s)
        checked: set[int] = set()
        for file in unsent:
            if file.endpoint not in checked:
                asyncio.run(_check(desk.server.endpoint(file.endpoint), desk.asking.model))
                checked.add(file.endpoint)
            desk.server.ask(file, partial(_submit, desk, file, start))
            reporter.line(f"submit: {file.name}: {file.lines} requests are {file.batch_id} ({file.status}).")
        if not unsent:
            reporter.line("submit: no file waits to be sent.")
    return len(unsent)


async def _check(endpoint: OpenAI, model: str) -> None:
    try:
        await endpoint.check(model)
    finally:
        await endpoint.close()


async def _submit(desk: Desk, file: RequestFile, start: _Start, batches: Batches) -> None:
    """Bring one file from where the ledger has it to `submitted`; every step is in the ledger before it is done."""
    if file.state in {"written", "uploading"}:
        desk.note(file, state="uploading")
        file_id = await batches.upload(desk.folder / file.name)
        desk.note(file, state="uploaded", file_id=file_id)
    batch = await desk.find(file, batches) if file.state == "submitting" else None
    if batch is None:
        desk.note(file, state="submitting", submitting_at=file.submitting_at or time.time())
        batch = await _create(desk, file, batches, start)
    desk.note(file, state="submitted", batch_id=batch.id, status=batch.status, expires_at=batch.expires_at)


async def _create(desk: Desk, file: RequestFile, batches: Batches, start: _Start) -> Batch:
    assert file.file_id is not None
    try:
        return await batches.create(
            file.file_id, endpoint=file.url, window=start.window, metadata=desk.ledger.mark(file)
        )
    except (Unavailable, Timeout) as error:  # it may have been made all the same
        for look in range(LOOKS):
            await asyncio.sleep(start.pause_s * 2**look)
            batch = await desk.find(file, batches)
            if batch is not None:
                return batch
        raise EndpointError(
            f"{error} Submit again: whether {file.name} has a batch is looked up before it is sent."
        ) from None
    except Refused:  # surely none was made; the file may be what is wrong
        desk.note(file, state="written", file_id=None)
        raise
    except EndpointError:  # surely none was made
        desk.note(file, state="uploaded")
        raise
