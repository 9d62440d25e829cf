"""The results file that tools of this field exchange: `vllm_results.json`, one JSON object, streamed out.

Its counts stand first although they are known last: room is left for them and filled at the end. A failed request is a
row with `status: "failed"` and no text; its error stands where the response would.

Not covered: training rows (see `slice_files`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from promptmill.io.jsonl import atomic
from promptmill.records import Completion, Failure, Outcome, Prompt

_FINISH = {"stop": "stop", "length": "length", "filter": "content_filter", "tool": "tool_calls"}
_json = msgspec.json.encode


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of `results`.

    Attributes:
        index: the prompt's position in the input.
        input_prompt: the prompt.
        output_text: the answer; null for a failure.
        full_response: the server's body, or one of its shape made of the record; `{"error": ...}` for a failure.
        status: `success` or `failed`.
    """

    index: int
    input_prompt: str
    output_text: str | None
    full_response: Any
    status: Literal["success", "failed"]


def write_results(
    path: Path,
    rows: Iterable[tuple[int, Prompt, Outcome | None]],
    *,
    training_samples: int,
    protocol: Literal["chat", "completion"] = "completion",
) -> dict[str, int]:
    """Write `{total, success, failed, total_training_samples, results}`; return the first three.

    Args:
        path: where to.
        rows: index, prompt and outcome of each request; `None` for one that was never answered.
        training_samples: rows of the training file.
        protocol: the shape of a response that was not kept.

    Raises:
        DataError: the disk is full or the path cannot be written; nothing is left half-written.
    """
    counts = {"total": 0, "success": 0, "failed": 0}
    with atomic(path) as file:
        file.write(_head(counts, training_samples))
        separator = b"\n"
        for index, prompt, outcome in rows:
            result = _result(index, prompt, outcome, protocol)
            counts["total"] += 1
            counts[result.status] += 1
            file.write(separator + _json(result))
            separator = b",\n"
        file.write(b"\n]}\n")
        file.seek(0)
        file.write(_head(counts, training_samples))
    return counts


def _head(counts: dict[str, int], training_samples: int) -> bytes:
    """The counts, padded with blanks to a length that does not depend on them."""
    numbers = "".join(f'"{name}": {count},\n' for name, count in counts.items())
    return f'{{{numbers}"total_training_samples": {training_samples},'.ljust(160).encode() + b'\n"results": ['


def _result(index: int, prompt: Prompt, outcome: Outcome | None, protocol: Literal["chat", "completion"]) -> Result:
    if isinstance(outcome, Completion):
        response = outcome.response or _response(outcome, protocol)
        return Result(
            index=index, input_prompt=prompt.plain, output_text=outcome.text, full_response=response, status="success"
        )
    kind, detail = ("missing", "not answered yet") if outcome is None else _why(outcome)
    error = {"error": {"kind": kind, "detail": detail}}
    return Result(index=index, input_prompt=prompt.plain, output_text=None, full_response=error, status="failed")


def _why(failure: Failure) -> tuple[str, str]:
    return failure.kind, failure.detail


def _response(completion: Completion, protocol: Literal["chat", "completion"]) -> dict[str, Any]:
    """A body as an OpenAI-compatible server sends it, with what the record knows."""
    choice: dict[str, Any] = {"index": 0, "finish_reason": _FINISH[completion.finish]}
    if protocol == "chat":
        message = {"role": "assistant", "content": completion.text}
        choice["message"] = message | ({"reasoning": completion.reasoning} if completion.reasoning else {})
    else:
        choice["text"] = completion.text
    if completion.token_ids is not None:
        choice["token_ids"] = completion.token_ids
    body: dict[str, Any] = {
        "id": completion.key,
        "object": "chat.completion" if protocol == "chat" else "text_completion",
        "model": completion.model,
        "choices": [choice],
    }
    if completion.usage is not None:
        prompt_tokens, new = completion.usage.prompt_tokens, completion.usage.completion_tokens
        body["usage"] = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": new,
            "total_tokens": prompt_tokens + new,
        }
    return body
