"""What the error of a server means: its status, the codes in its body, and where both are vague, its words.

Servers agree on statuses and on little else, so the tables below hold what each of them really says. A word decides
only beside the statuses it was seen with: an error text may quote the prompt, and a prompt may say anything.

Sources: OpenAI "Error codes" (insufficient_quota, context_length_exceeded, content_filter); Azure OpenAI "Content
filtering" (innererror.code ResponsibleAIPolicyViolation); vLLM serving errors ("maximum context length", "longer than
the maximum model length"); SGLang ("longer than the model's context length"); llama.cpp server README
(exceed_context_size_error); text-generation-inference router/src/validation.rs and its error types (validation,
generation = 424, overloaded = 429); Anthropic "Errors" (overloaded_error = 529, "prompt is too long", "credit balance
is too low"); Gemini ("exceeds the maximum number of tokens"; its 429 says "exceeded your current quota" for limits per
minute too, and then when to come back); OpenRouter "Errors" (402 credits, 403 moderation); DeepSeek (402).

Not covered: errors of batch files and of servers that answer 200 with an apology as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from promptmill.errors import (
    AuthFailed,
    EndpointError,
    Filtered,
    Forbidden,
    Overloaded,
    QuotaSpent,
    RateLimited,
    Refused,
    Timeout,
    TooLong,
    Unavailable,
)
from promptmill.io.jsonl import UNREADABLE

CLASS_OF_STATUS: dict[int, type[EndpointError]] = {
    401: AuthFailed,
    403: Forbidden,
    **dict.fromkeys((408, 504), Timeout),
    # come again; 424 is text-generation-inference that failed while it generated
    **dict.fromkeys((409, 424, 425), Unavailable),
    429: RateLimited,
    **dict.fromkeys((503, 529), Overloaded),
}
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits"}
QUOTA_WORDS = re.compile(
    r"exceeded your current quota|quota exceeded.{0,80}billing"
    r"|(credit )?balance is too low|insufficient (balance|credits)",
    re.IGNORECASE | re.DOTALL,
)
COME_BACK = re.compile(r"(retry|try again) (in|after) [\d.]", re.IGNORECASE)
LONG_CODES = {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"}
LONG_WORDS = re.compile(
    r"maximum context length|longer than the (maximum model length|model'?s context length)"
    r"|exceeds? the (available )?context (size|length|window)|prompt is too long"
    r"|`inputs` tokens \+ `max_new_tokens` must be|`inputs` must have less than"
    r"|input token count.{0,40}exceeds the maximum number of tokens",
    re.IGNORECASE | re.DOTALL,
)
FILTER_CODES = {
    *("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"),
    "data_inspection_failed",
}
FILTER_WORDS = re.compile(r"requires moderation|input was flagged", re.IGNORECASE)  # OpenRouter, with 403
# errors in the body of a 200 often have a word where others have a number
STATUS_OF_CODE = {
    **dict.fromkeys(("rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted"), 429),
    **dict.fromkeys(("overloaded_error", "overloaded", "engine_overloaded", "service_unavailable", "unavailable"), 503),
    **dict.fromkeys(("server_error", "internal_server_error", "internal_error", "api_error", "internal"), 500),
    **dict.fromkeys(("timeout", "timeout_error", "request_timeout", "gateway_timeout", "deadline_exceeded"), 504),
    **dict.fromkeys(("invalid_api_key", "authentication_error", "permission_error", "unauthorized"), 401),
    **dict.fromkeys(("invalid_request_error", "bad_request", "badrequesterror", "validation", "invalid_argument"), 400),
    **dict.fromkeys(QUOTA_CODES, 402),
    **dict.fromkeys(LONG_CODES | FILTER_CODES, 400),
}


def class_of(status: int, body: bytes) -> type[EndpointError]:
    """The class of error that a status and its body stand for."""
    codes = set(codes_of(body))
    said = message_of(body) or ""
    if _no_quota(status, codes, said):
        return QuotaSpent
    if status in {400, 403, 413, 422} and (codes & FILTER_CODES or (status == 403 and FILTER_WORDS.search(said))):
        return Filtered
    if status in {400, 413, 422} and (codes & LONG_CODES or LONG_WORDS.search(said)):
        return TooLong
    return CLASS_OF_STATUS.get(status) or (Refused if 300 <= status < 500 else Unavailable)


def status_in(body: bytes) -> int | None:
    """The status that an error in the body of a 200 stands for; None where there is no error, or an unknown one."""
    error = _object(body).get("error")
    if not error:
        return None
    codes = list(codes_of(body))
    numbers = [int(code) for code in codes if re.fullmatch(r"[45]\d\d", code, re.ASCII)]
    return next(iter(numbers), None) or next((STATUS_OF_CODE[code] for code in codes if code in STATUS_OF_CODE), None)


def message_of(body: bytes) -> str | None:
    """`error.message`, `message`, `detail` or `error` of a JSON body: the ways servers say what is wrong."""
    said = _object(body)
    error = said.get("error")
    found = [error.get("message") if isinstance(error, dict) else error, said.get("message"), said.get("detail")]
    return next((text for text in found if isinstance(text, str) and text.strip()), None)


def codes_of(body: bytes) -> Iterator[str]:
    """The codes and types of an error, in small letters, the most exact first."""
    said = _object(body)
    error = said.get("error")
    inside = error if isinstance(error, dict) else {}
    inner = inside.get("innererror")
    for holder in (inner if isinstance(inner, dict) else {}, inside, said):
        for name in ("code", "type", "status", "error_type"):
            code = holder.get(name)
            if isinstance(code, str | int) and not isinstance(code, bool):
                yield str(code).lower()


def _no_quota(status: int, codes: set[str], said: str) -> bool:
    if status == 402:
        return True
    if status in {403, 429}:
        return bool(codes & QUOTA_CODES or (QUOTA_WORDS.search(said) and not COME_BACK.search(said)))
    return status == 400 and "your credit balance is too low" in said.lower()


def _object(body: bytes) -> dict[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except UNREADABLE:
        return {}
    return said if isinstance(said, dict) else {}
