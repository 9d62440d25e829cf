"""OpenAI's batch protocol: files of requests go up, a batch works through them, files of results come back.

    POST /v1/files              a file of requests (multipart)       -> file id
    GET  /v1/files/ID/content   a file of results
    POST /v1/batches            start on a file                      -> batch id
    GET  /v1/batches            all batches, newest first, in pages
    GET  /v1/batches/ID         how far it is
    POST /v1/batches/ID/cancel

What may be done twice without harm is tried again after a pause. Creating a batch is not: a server can have made it and
lost the answer. `create` therefore asks once (but for 429, which says that nothing was made), and `find` looks for a
batch by the mark in its metadata or by its file, so that the caller can tell before asking again.

Not covered: what stands in the files (see `workflows.batching`), prices.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from promptmill.endpoints.link import Link
from promptmill.endpoints.transport import Reply
from promptmill.errors import DataError, EndpointError, RateLimited, Timeout, Unavailable
from promptmill.io.jsonl import atomic

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_LINES = 50_000
MAX_BYTES = 200_000_000  # "200 MB": the smaller of the two readings
ATTEMPTS = 5
PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
FILE_S = 1800.0  # 200 MB over a line of 1 Mbit/s
PAGE = 100
MAX_PAGES = 1000
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
AGAIN = (RateLimited, Unavailable, Timeout)


class Counts(msgspec.Struct):
    """What the server says about the lines of a batch; it may lag behind."""

    total: int = 0
    completed: int = 0
    failed: int = 0


class _Problem(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    line: int | None = None


class _Problems(msgspec.Struct):
    data: list[_Problem] | None = None


class Batch(msgspec.Struct):
    """What the server says about one batch.

    Attributes:
        id: its name.
        status: validating, in_progress, finalizing, cancelling, or one of `ENDED`.
        input_file_id: the requests.
        output_file_id: the answers, also the first part of them when the batch expired or was cancelled.
        error_file_id: the lines that got none.
        request_counts: how many lines are done.
        metadata: the marks that it was created with.
        created_at: Unix time.
        expires_at: Unix time.
        errors: why the whole batch failed.
    """

    id: str
    status: str
    input_file_id: str | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    request_counts: Counts | None = None
    metadata: dict[str, Any] | None = None
    created_at: float | None = None
    expires_at: float | None = None
    errors: _Problems | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.status in ENDED

    @property
    def why(self) -> str:
        """The first reason for which the whole batch failed, with the line of the request file."""
        for problem in (self.errors.data if self.errors else None) or ():
            where = f"line {problem.line}: " if problem.line is not None else ""
            return f"{where}{problem.message or problem.code or 'no reason given'}"
        return "no reason given"


class _Page(msgspec.Struct):
    data: list[Batch]
    has_more: bool = False
    last_id: str | None = None


class _File(msgspec.Struct):
    id: str


class Batches:
    """The batch pages of one server.

    Args:
        link: the server and its key.
        pause_s: first pause before a further attempt; it doubles.
    """

    def __init__(self, link: Link, *, pause_s: float = PAUSE_S) -> None:
        self._link = link
        self._pause_s = pause_s

    async def upload(self, path: Path) -> str:
        """Send a file of requests; return its id. One that was sent twice does no harm.

        Raises:
            EndpointError: the server did not take it.
            DataError: the file cannot be read.
        """
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}. Write the batch files again.") from error
        body, content_type = multipart({"purpose": "batch"}, name=path.name, content=content)
        del content

        async def send() -> str:
            url = self._link.address.api + "/files"
            reply = await self._link.send("POST", url, body, content_type=content_type, timeout_s=FILE_S)
            return self._read(reply, _File).id

        return await self._patiently(send)

    async def create(self, file_id: str, *, endpoint: str, window: str, metadata: dict[str, str]) -> Batch:
        """Start a batch. Never asks twice unless the server said that nothing was made.

        Raises:
            EndpointError: no batch, or no answer; after `Unavailable` and `Timeout` there may be one: see `find`.
        """
        body = {
            "input_file_id": file_id,
            "endpoint": endpoint,
            "completion_window": window,
            "metadata": metadata,
        }
        return await self._patiently(lambda: self._post("", body), again=(RateLimited,))

    async def get(self, batch_id: str) -> Batch:
        """How far a batch is.

        Raises:
            EndpointError: the server does not say.
        """
        return await self._patiently(lambda: self._ask(f"/{batch_id}", Batch))

    async def find(self, metadata: Mapping[str, str], *, file_id: str | None, since: float) -> Batch | None:
        """The batch with this metadata or this file, if there is one; one that still lives before one that ended.

        Args:
            metadata: marks it was created with.
            file_id: its request file, for servers that forget metadata.
            since: Unix time before which it cannot have been made.

        Raises:
            EndpointError: the server does not say.
        """
        ended = None
        async for batch in self._iter_newest_first():
            if batch.created_at is not None and batch.created_at < since:
                break
            marks = batch.metadata or {}
            marked = all(marks.get(name) == value for name, value in metadata.items())
            if marked or (file_id is not None and batch.input_file_id == file_id):
                if not batch.has_ended:
                    return batch
                ended = ended or batch
        return ended

    async def cancel(self, batch_id: str) -> Batch:
        """Stop a batch; what is done by then still comes.

        Raises:
            Refused: it has ended.
            EndpointError: the server does not say.
        """
        return await self._patiently(lambda: self._post(f"/{batch_id}/cancel", {}))

    async def save(self, file_id: str, path: Path) -> None:
        """Write a file of results to `path`, whole or not at all.

        Raises:
            EndpointError: it did not come whole.
            DataError: it cannot be written.
        """

        async def fetch() -> None:
            with atomic(path) as file:
                await self._link.save(f"{self._link.address.api}/files/{file_id}/content", file, timeout_s=FILE_S)

        await self._patiently(fetch)

    async def close(self) -> None:
        """Close the connections."""
        await self._link.close()

    async def _iter_newest_first(self) -> AsyncIterator[Batch]:
        after = ""
        for _ in range(MAX_PAGES):
            path = f"?limit={PAGE}{after}"
            page = await self._patiently(lambda path=path: self._ask(path, _Page))  # type: ignore[misc]
            for batch in page.data:
                yield batch
            if not page.has_more or not page.data:
                return
            after = f"&after={page.last_id or page.data[-1].id}"
        raise Unavailable(f"{self._link.shown}: the list of batches has no end.")

    async def _ask(self, path: str, type_: type[T]) -> T:
        return self._read(await self._link.send("GET", f"{self._link.address.api}/batches{path}"), type_)

    async def _post(self, path: str, body: Any) -> Batch:
        reply = await self._link.send("POST", f"{self._link.address.api}/batches{path}", msgspec.json.encode(body))
        return self._read(reply, Batch)

    def _read(self, reply: Reply, type_: type[T]) -> T:
        if reply.status in {201, 202}:  # some servers say that they made something
            reply = reply._replace(status=200)
        return self._link.read(reply, type_)

    async def _patiently(self, ask: Callable[[], Awaitable[T]], *, again: tuple[type[EndpointError], ...] = AGAIN) -> T:
        """Ask, and after a pause again, `ATTEMPTS` times at most."""
        for attempt in range(1, ATTEMPTS):
            try:
                return await ask()
            except again as error:
                pause_s = error.retry_after_s
                if pause_s is None:
                    pause_s = random.uniform(0, min(LONGEST_PAUSE_S, self._pause_s * 2**attempt))  # noqa: S311 - spreads load
                pause_s = min(pause_s, 10 * LONGEST_PAUSE_S)
                log.info("%s Asked again in %.1f s.", error, pause_s)
                await asyncio.sleep(pause_s)
        return await ask()


def multipart(fields: Mapping[str, str], *, name: str, content: bytes) -> tuple[bytes, str]:
    """A form with one file, as RFC 7578 has it; return the body and its content type."""
    boundary = f"promptmill-{secrets.token_hex(16)}"
    heads = [f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    heads.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    body = b"".join(["".join(heads).encode(), content, f"\r\n--{boundary}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={boundary}"


class _Said(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Why(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class ResultLine(msgspec.Struct):
    """One line of a result or error file.

    Attributes:
        custom_id: which request it answers.
        id: the server's own name of the line.
        response: what the live page would have answered.
        error: why there is no response.
    """

    custom_id: str
    id: str | None = None
    response: _Said | None = None
    error: _Why | None = None

    @property
    def is_good(self) -> bool:
        """Whether it holds an answer, as far as its status tells."""
        return self.response is not None and self.response.status_code == 200

    @property
    def ending(self) -> Literal["expired", "cancelled"] | None:
        """Whether the line has no answer because the batch ended before its turn came."""
        code = (self.error.code or "") if self.error and self.response is None else ""
        return "expired" if "expired" in code else "cancelled" if "cancel" in code else None

    def reply(self) -> Reply:
        """The line as the live page would have answered."""
        why = {"message": (self.error.message or self.error.code or "") if self.error else "no response"}
        if self.response is None:
            return Reply(500, {}, msgspec.json.encode({"error": why}))
        body = bytes(self.response.body)
        return Reply(self.response.status_code, {}, body if body != b"null" else msgspec.json.encode({"error": why}))
