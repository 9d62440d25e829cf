"""The fake server's batch pages: files go up, batches work through them, results come in any order.

A line gets the text that the live page gives to the same body. Results are shuffled by a hash of their id. What goes
wrong is scripted: how a whole batch ends (`batch_script`), which lines are struck (`batch_faults`, by a hash of seed,
line and how often that line came before), and creations whose answer is lost (`batch_lost`).

Not covered: deleting files, more than one page of batches at a time than `limit` asks for, output that expires.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from promptmill.endpoints.fake.answers import fraction, parse_faults
from promptmill.endpoints.fake.http import Asked, Plan, reply
from promptmill.endpoints.fake.options import FakeOptions
from promptmill.errors import ConfigError
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import stable_hash

MAX_LINES = 50_000
MAX_BYTES = 200_000_000
LINE_FAULTS = {
    "400": "refused",
    "429": "too many requests",
    "500": "a server error",
    "expired": "not reached in time",
    "missing": "in neither file",
    "double": "there twice",
    "stranger": "there, and a line that nobody asked for beside it",
    "json": "cut off, so that it is no JSON",
}
ENDS = ("completed", "expired", "failed")
_encode = msgspec.json.encode


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


class _Job:
    """One batch."""

    def __init__(self, asked: dict[str, Any], number: int) -> None:
        self.facts = {
            "id": f"batch_{number:04d}",
            "object": "batch",
            "endpoint": asked["endpoint"],
            "errors": None,
            "input_file_id": asked["input_file_id"],
            "completion_window": asked.get("completion_window"),
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time.time()),
            "expires_at": int(time.time()) + 86400,
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": asked.get("metadata"),
        }
        self.lines: list[_Line] = []
        self.began = time.monotonic()
        self.end = "completed"

    @property
    def is_open(self) -> bool:
        return self.facts["status"] in {"validating", "in_progress"}


class FakeBatches:
    """Files and batches of one fake server.

    Args:
        options: how it behaves.
        answer: the whole HTTP reply of the live page to a body.

    Raises:
        ConfigError: `batch_faults` or `batch_script` is not readable.
    """

    def __init__(self, options: FakeOptions, answer: Callable[[str, dict[str, Any]], bytes]) -> None:
        self._options = options
        self._answer = answer
        self._faults = parse_faults(options.batch_faults, "batch_faults", LINE_FAULTS)
        self._script = [end.strip() for end in options.batch_script.split(",") if end.strip()]
        if unknown := set(self._script) - set(ENDS):
            raise ConfigError(f"batch_script: no '{min(unknown)}'. There are: {', '.join(ENDS)}")
        self._files: dict[str, tuple[str, bytes]] = {}
        self._jobs: dict[str, _Job] = {}
        self._came: dict[str, int] = {}
        self._lost = options.batch_lost

    def respond(self, asked: Asked) -> Plan:
        """Answer one request of the file and batch pages."""
        keys = self._options.keys
        if keys and asked.headers.get("authorization", "").removeprefix("Bearer ") not in keys:
            return _error(401, "Incorrect API key provided.")
        page, *rest = asked.path.removeprefix("/v1/").strip("/").split("/")
        if page == "files":
            return self._respond_file(asked, rest)
        for each in self._jobs.values():
            self._advance(each)
        if not rest:
            return self._create(asked) if asked.method == "POST" else self._list(asked)
        if rest[0] not in self._jobs:
            return _error(404, f"No batch found with id '{rest[0]}'.")
        job = self._jobs[rest[0]]
        if rest[1:] == ["cancel"] and asked.method == "POST":
            if not job.is_open:
                return _error(409, f"Cannot cancel a batch with status '{job.facts['status']}'.")
            self._finish(job, "cancelled")
        return _said(job.facts)

    def _respond_file(self, asked: Asked, rest: list[str]) -> Plan:
        if asked.method == "POST" and not rest:
            boundary = asked.headers.get("content-type", "").partition("boundary=")[2]
            form = _parts(asked.body, boundary)
            if form.get("purpose") != ("", b"batch") or "file" not in form:
                return _error(400, "A form with purpose=batch and a file is needed.")
            return _said(self._file_facts(self._keep(*form["file"])))
        if rest[:1] and rest[0] in self._files:
            if rest[1:] == ["content"]:
                return Plan(reply(200, self._files[rest[0]][1]))
            return _said(self._file_facts(rest[0]))
        if not rest:
            return _said({"object": "list", "data": [self._file_facts(file) for file in self._files]})
        return _error(404, f"No such File object: {rest[0]}")

    def _keep(self, name: str, content: bytes) -> str:
        file_id = f"file-{len(self._files):04d}"
        self._files[file_id] = (name, content)
        return file_id

    def _file_facts(self, file_id: str) -> dict[str, Any]:
        name, content = self._files[file_id]
        return {"id": file_id, "object": "file", "bytes": len(content), "filename": name, "purpose": "batch"}

    def _create(self, asked: Asked) -> Plan:
        try:
            body = msgspec.json.decode(asked.body, type=dict[str, Any])
            _, content = self._files[body["input_file_id"]]
            job = _Job(body, len(self._jobs))
        except (*UNREADABLE, KeyError):
            return _error(400, "input_file_id, endpoint and completion_window are needed.")
        job.end = self._script[len(self._jobs)] if len(self._jobs) < len(self._script) else "completed"
        self._jobs[job.facts["id"]] = job
        said = _said(job.facts)
        problem = self._validate(job, content)
        if problem:
            job.facts |= {"status": "failed", "errors": {"object": "list", "data": [problem]}}
        if self._lost:
            self._lost -= 1
            return _error(500, "the answer was lost")
        return said

    def _validate(self, job: _Job, content: bytes) -> dict[str, Any] | None:
        """Read the lines of a file; the first thing that is wrong with them."""
        if job.end == "failed":
            return {"code": "scripted", "message": "scripted to fail", "line": None}
        if len(content) > MAX_BYTES or content.count(b"\n") > MAX_LINES:
            return {"code": "too_large", "message": "The file is too large.", "line": None}
        seen = set()
        for number, text in enumerate(content.splitlines(), 1):
            try:
                line = msgspec.json.decode(text, type=_Line)
            except UNREADABLE as error:
                return {"code": "invalid_json_line", "message": str(error), "line": number}
            if line.custom_id in seen:
                return {"code": "duplicate_custom_id", "message": "The custom_id stands twice.", "line": number}
            if line.url != job.facts["endpoint"] or line.method != "POST":
                return {"code": "mismatched_endpoint", "message": "The url is not the batch's.", "line": number}
            seen.add(line.custom_id)
            job.lines.append(line)
        job.facts["request_counts"]["total"] = len(job.lines)
        job.facts["status"] = "in_progress"
        return None

    def _list(self, asked: Asked) -> Plan:
        query = parse_qs(asked.query)
        newest_first = [job.facts for job in reversed(self._jobs.values())]
        ids = [facts["id"] for facts in newest_first]
        start = ids.index(query["after"][0]) + 1 if query.get("after", [""])[0] in ids else 0
        page = newest_first[start : start + int(query.get("limit", ["20"])[0])]
        more = start + len(page) < len(newest_first)
        return _said({"object": "list", "data": page, "has_more": more, "last_id": page[-1]["id"] if page else None})

    def _advance(self, job: _Job) -> None:
        if job.is_open and time.monotonic() - job.began >= self._options.batch_s:
            self._finish(job, job.end)

    def _finish(self, job: _Job, status: str) -> None:
        """Answer the lines, all or, of a batch that ends early, the first of them."""
        cut = len(job.lines) if status == "completed" else round(len(job.lines) * self._options.batch_done)
        good: list[tuple[str, bytes]] = []
        bad: list[tuple[str, bytes]] = []
        for number, line in enumerate(job.lines):
            fault = self._fault(line.custom_id) if number < cut else status
            if fault == "missing":
                continue
            for text, is_good in self._results(line, fault, f"{job.facts['id']}_{number}"):
                (good if is_good else bad).append((line.custom_id, text))
        for name, rows in (("output", good), ("error", bad)):
            if rows:
                rows.sort(key=lambda row: stable_hash(11, row[0]))
                content = b"\n".join(text for _, text in rows) + b"\n"
                job.facts[f"{name}_file_id"] = self._keep(f"{job.facts['id']}_{name}.jsonl", content)
        job.facts["status"] = status
        job.facts["request_counts"] |= {"completed": len(good), "failed": len(bad)}

    def _fault(self, custom_id: str) -> str | None:
        key = custom_id.rpartition("-")[2]  # the run's own part is drawn at random
        came = self._came.get(key, 0)
        self._came[key] = came + 1
        if self._options.fault_attempts and came >= self._options.fault_attempts:
            return None
        drawn = fraction(self._options.seed, f"line {key} {came}")
        return next((fault for fault, upto in self._faults if drawn < upto), None)

    def _results(self, line: _Line, fault: str | None, name: str) -> list[tuple[bytes, bool]]:
        """The result lines of one request line, each with whether it belongs to the answers."""
        row: dict[str, Any] = {"id": f"batch_req_{name}", "custom_id": line.custom_id, "response": None, "error": None}
        if fault in {"expired", "cancelled"}:
            row["error"] = {"code": f"batch_{fault}", "message": f"This request could not be executed: {fault}."}
            return [(_encode(row), False)]
        if fault in {"400", "429", "500"}:
            content = _encode({"error": {"message": f"scripted fault {fault}", "code": int(fault)}})
            status = int(fault)
        else:
            head, _, content = self._answer(line.url, line.body).partition(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
        row["response"] = {"status_code": status, "request_id": f"req_{name}", "body": msgspec.Raw(content)}
        made = [(_encode(row), status == 200)]
        if fault == "double":
            return [*made, *made]
        if fault == "stranger":
            return [*made, (_encode({**row, "custom_id": "somebody-else"}), True)]
        if fault == "json":
            return [(made[0][0][: len(made[0][0]) // 2], True)]
        return made


def _parts(body: bytes, boundary: str) -> dict[str, tuple[str, bytes]]:
    """The fields of a form: name -> (file name, content)."""
    form = {}
    for part in body.split(f"--{boundary}".encode())[1:-1] if boundary else ():
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        words = dict(
            word.strip().split("=", 1) for word in head.decode("latin-1").split("\r\n")[0].split(";") if "=" in word
        )
        name = words.get("name", "").strip('"')
        form[name] = (words.get("filename", "").strip('"'), content.removesuffix(b"\r\n"))
    return form


def _said(facts: dict[str, Any]) -> Plan:
    return Plan(reply(200, _encode(facts)))


def _error(status: int, message: str) -> Plan:
    return Plan(reply(status, _encode({"error": {"message": message, "code": status}})))
