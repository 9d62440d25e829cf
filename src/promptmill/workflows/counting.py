"""What became of the requests of a run, in numbers."""

from __future__ import annotations

from typing import Any

from promptmill.generate.journal import Journal
from promptmill.generate.parts import Part, ToRequests


def count_outcomes(to_requests: ToRequests, parts: list[Part]) -> dict[str, Any]:
    """Count completions by finish and failures by kind; parts that are done are counted from their summaries."""
    counts: dict[str, Any] = {
        **dict.fromkeys(("requests", "completions", "truncated", "repeated"), 0),
        "failures": {},
        "missing": 0,
    }
    for part in parts:
        summary = part.summary()
        if summary is None:
            _count_open_part(to_requests, part, counts)
            continue
        for name in ("requests", "completions", "truncated", "repeated"):
            counts[name] += getattr(summary, name)
        for kind, n in summary.failures.items():
            counts["failures"][kind] = counts["failures"].get(kind, 0) + n
    return counts


def _count_open_part(to_requests: ToRequests, part: Part, counts: dict[str, Any]) -> None:
    journal = Journal(part.outcomes)
    journal.load()
    for prompt in part.read_prompts():
        texts = []
        for key in dict.fromkeys(request.key for request in to_requests(prompt)):
            mark = journal.marks.get(key)
            counts["requests"] += 1
            if mark is None:
                counts["missing"] += 1
            elif mark.kind:
                counts["failures"][mark.kind] = counts["failures"].get(mark.kind, 0) + 1
            else:
                counts["completions"] += 1
                counts["truncated"] += mark.finish == "length"
                texts.append(mark.alike)
        counts["repeated"] += len(texts) - len(set(texts))
