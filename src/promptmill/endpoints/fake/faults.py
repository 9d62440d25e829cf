"""What a fault looks like on the wire."""

from __future__ import annotations

import email.utils
import gzip
import math
import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from promptmill.endpoints.fake.http import How, Plan, head, reply

_encode = msgspec.json.encode

_HOWS: dict[str, How] = {
    "timeout": "never",
    "half": "half",
    "drop": "drop",
    "reset-before": "reset",
    "slow-head": "hang",
    "slow": "slow",
}
_BODIES = {
    "json": b'{"id": "fake", "choices": [{"index": 0, "mess',
    "null": b"null",
    "array": b'[{"choices": []}]',
    "error-200": b'{"error": {"message": "scripted fault error-200", "code": 500}}',
    "error-200-429": b'{"error": {"message": "scripted fault error-200-429", "code": 429}}',
}
_CODES = {  # what hosted services write into the error of a body
    "429-quota": ("insufficient_quota", "You exceeded your current quota, please check your plan and billing details."),
    "400-too-long": (
        "context_length_exceeded",
        "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens.",
    ),
    "400-filter": (
        "content_filter",
        "The response was filtered due to the prompt triggering the content management policy.",
    ),
    "402": ("insufficient_credits", "Insufficient credits."),
    "404": ("model_not_found", "The model does not exist or you do not have access to it."),
}
_HTML = b"<html><head><title>500 Internal Server Error</title></head><body><h1>Internal Server Error</h1></body></html>"
_TEXT = re.compile(rb'("(?:content|text|generated_text)":")')
_TGI_TYPES = {429: "overloaded", 422: "validation", 424: "generation"}


def on_the_wire(fault: str, payload: bytes, *, retry_after_s: float, tgi: bool) -> Plan:
    """The plan of a fault that needs no knowledge of what an answer means.

    Args:
        fault: one of `answers.FAULTS`.
        payload: the reply that would be right.
        retry_after_s: seconds named in Retry-After.
        tgi: errors look like those of text-generation-inference.
    """
    if fault in _BODIES:
        return Plan(reply(200, _BODIES[fault]))
    if fault in _HOWS:
        return Plan(payload, how=_HOWS[fault])
    if fault in _WRAPPED:
        begin, _, body = payload.partition(b"\r\n\r\n")
        return _WRAPPED[fault](begin, body)
    return Plan(_status(fault, retry_after_s=retry_after_s, tgi=tgi))


def bend(said: dict[str, Any], fault: str) -> None:
    """Make a right answer of any protocol a wrong one: `empty`, `no-text`, `no-finish`, `wrong-finish`."""
    if fault == "empty":
        said.clear()
        said["choices"] = []
        return
    parts = [*said.get("choices", ()), said, said.get("details") or {}]
    names = ("text", "content", "generated_text") if fault == "no-text" else ("finish_reason", "stop_type")
    for part in parts:
        part.update({name: "abort" if fault == "wrong-finish" else None for name in names if name in part})
        if fault == "no-text" and "message" in part:
            part["message"] = {"role": "assistant", "content": None}
    if fault == "no-finish":
        said.pop("usage", None)


def error_body(status: int, message: str, *, tgi: bool, code: str | int | None = None) -> bytes:
    """The body of an error status."""
    if tgi:
        return _encode({"error": message, "error_type": _TGI_TYPES.get(status, "incomplete_generation")})
    return _encode({"error": {"message": message, "code": status if code is None else code}})


def retry_after(form: str, retry_after_s: float) -> dict[str, str]:
    """The header of a form of 429: seconds unless the form says otherwise."""
    if form in {"none", "quota"}:
        return {}
    if form == "ms":
        return {"retry-after-ms": f"{retry_after_s * 1000:g}"}
    if form == "date":
        # dates have whole seconds: round up, so that waiting until then is never too short
        return {"Retry-After": email.utils.formatdate(math.ceil(time.time() + retry_after_s), usegmt=True)}
    words = {"garbage": "soon; as soon as possible", "negative": "-5"}
    return {"Retry-After": words.get(form, f"{retry_after_s:g}")}


def _status(fault: str, *, retry_after_s: float, tgi: bool) -> bytes:
    number, _, form = fault.partition("-")
    status = int(number)
    if status == 204:
        return reply(204, b"")
    if form == "html":
        return reply(status, _HTML, kind="text/html")
    headers = retry_after(form, retry_after_s) if status in {429, 503, 529} else {}
    if status == 302:
        headers = {"Location": "/elsewhere"}
    code, message = _CODES.get(fault, (None, f"scripted fault {fault}"))
    return reply(status, error_body(status, message, tgi=tgi, code=code), headers)


def _kind(begin: bytes) -> str:
    return "text/event-stream" if b"text/event-stream" in begin else "application/json"


def _wrong_length(begin: bytes, body: bytes) -> Plan:
    longer = {"Content-Type": _kind(begin), "Content-Length": str(len(body) + 1000)}
    return Plan(head(200, longer) + body, how="close")


def _cut(begin: bytes, body: bytes) -> Plan:
    return Plan(reply(200, body[: len(body) * 9 // 10], kind=_kind(begin)))


def _bad_utf8(begin: bytes, body: bytes) -> Plan:
    return Plan(reply(200, _TEXT.sub(b"\\1\xff\xfe", body), kind=_kind(begin)))


def _chunked(begin: bytes, body: bytes) -> Plan:
    third = len(body) // 3 or 1
    pieces = [body[at : at + third] for at in range(0, len(body), third)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
    return Plan(head(200, {"Content-Type": _kind(begin), "Transfer-Encoding": "chunked"}) + framed)


def _gzip(begin: bytes, body: bytes) -> Plan:
    return Plan(reply(200, gzip.compress(body), {"Content-Encoding": "gzip"}, kind=_kind(begin)))


def _extra(begin: bytes, body: bytes) -> Plan:
    return Plan(begin + b"\r\n\r\n" + body + b"\r\nbytes that nobody asked for")


def _twice(begin: bytes, body: bytes) -> Plan:
    lines = b"Server: fake\r\nServer: fake\r\nX-Request-Id: 1\r\nX-Request-Id: 2"
    return Plan(begin + b"\r\n" + lines + b"\r\n\r\n" + body)


_WRAPPED: dict[str, Callable[[bytes, bytes], Plan]] = {
    "wrong-length": _wrong_length,
    "cut": _cut,
    "bad-utf8": _bad_utf8,
    "chunked": _chunked,
    "gzip": _gzip,
    "extra": _extra,
    "twice": _twice,
}
