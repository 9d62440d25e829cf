"""Status: how far a generation is; `Progress.facts` goes to `status.json` and to what people see."""

from __future__ import annotations

import time
from typing import Any

from promptmill.generate.lanes import Lanes
from promptmill.records import Completion, Outcome


class Progress:
    """Counts of one generation.

    Attributes:
        total: requests of the plan.
        reused: requests of the plan that were not sent: answered before, or equal to another of their part.
        done: completions of this process.
        failed: failures of this process.
        truncated: completions cut by their limit.
        tokens: new tokens received.
        prompt_tokens: prompt tokens that were charged.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.reused = 0
        self.done = 0
        self.failed = 0
        self.truncated = 0
        self.tokens = 0
        self.prompt_tokens = 0
        self._began = time.monotonic()

    def count(self, outcome: Outcome) -> None:
        """Take note of an outcome that is safe in the journal."""
        if isinstance(outcome, Completion):
            self.done += 1
            self.truncated += outcome.finish == "length"
            charged = outcome.billed or outcome.usage
            if charged is not None:
                self.tokens += charged.completion_tokens
                self.prompt_tokens += charged.prompt_tokens
        else:
            self.failed += 1

    def facts(self, lanes: Lanes | None = None) -> dict[str, Any]:
        """Counts, rates per second and seconds left (None until something has come), and the state of every lane."""
        now = time.monotonic()
        seconds = now - self._began
        came = self.done + self.failed
        left = max(0, self.total - self.reused - came)
        found: dict[str, Any] = {
            "total": self.total,
            "reused": self.reused,
            "done": self.done,
            "failed": self.failed,
            "truncated": self.truncated,
            "in_flight": 0,
            "tokens": self.tokens,
            "prompt_tokens": self.prompt_tokens,
            "elapsed_s": round(seconds, 1),
            "requests_per_s": round(came / seconds, 2) if seconds else 0.0,
            "tokens_per_s": round(self.tokens / seconds, 1) if seconds else 0.0,
            "eta_s": round(left * seconds / came, 1) if came else None,
        }
        if lanes is not None:
            spent = lanes.budget.spent
            priced = any(lane.has_price for lane in lanes.lanes)
            found |= {
                "in_flight": sum(lane.in_flight for lane in lanes.lanes),
                "retries": lanes.retries,
                "hedged": lanes.hedged,
                "cost": spent.cost if priced else None,
                "spent": {
                    "requests": spent.requests,
                    "tokens": spent.tokens,
                    "cost": spent.cost,
                    "uncertain_tokens": spent.uncertain_tokens,
                    "uncertain_cost": spent.uncertain_cost,
                },
                "lanes": [lane.facts(now) for lane in lanes.lanes],
            }
        return found
