"""Status: how far a generation is; `Progress.facts` goes to `status.json` and to the line that people see."""

from __future__ import annotations

import time
from typing import Any

from promptmill.records import Completion, Outcome


class Progress:
    """Counts of one generation.

    Attributes:
        total: requests of the plan.
        reused: requests of the plan that were not sent: answered in the run folder, or equal to another of their part.
        done: completions of this process.
        failed: failures of this process.
        truncated: completions cut by their limit.
        in_flight: requests under way.
        tokens: new tokens received.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.reused = 0
        self.done = 0
        self.failed = 0
        self.truncated = 0
        self.in_flight = 0
        self.tokens = 0
        self._began = time.monotonic()

    def count(self, outcome: Outcome) -> None:
        """Take note of an outcome that is safe in the journal."""
        if isinstance(outcome, Completion):
            self.done += 1
            self.truncated += outcome.finish == "length"
            self.tokens += outcome.usage.completion_tokens if outcome.usage else 0
        else:
            self.failed += 1

    def facts(self) -> dict[str, Any]:
        """Counts, rates per second and seconds left (None until something has come)."""
        seconds = time.monotonic() - self._began
        came = self.done + self.failed
        left = max(0, self.total - self.reused - came)
        return {
            "total": self.total,
            "reused": self.reused,
            "done": self.done,
            "failed": self.failed,
            "truncated": self.truncated,
            "in_flight": self.in_flight,
            "tokens": self.tokens,
            "elapsed_s": round(seconds, 1),
            "requests_per_s": round(came / seconds, 2) if seconds else 0.0,
            "tokens_per_s": round(self.tokens / seconds, 1) if seconds else 0.0,
            "eta_s": round(left * seconds / came, 1) if came else None,
        }
