"""Between a live run and the people who watch and steer it: the heartbeat, `control.json`, the watchdog."""

from __future__ import annotations

import time
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from promptmill.generate.budget import Caps
from promptmill.generate.control import Limits, Watcher
from promptmill.generate.lanes import Lanes
from promptmill.generate.open_files import connections
from promptmill.generate.status import Progress
from promptmill.generate.watch import Watchdog
from promptmill.generate.window import Pace, Window
from promptmill.run import Run
from promptmill.workflows.options import GenerateOptions
from promptmill.workflows.stages import Reporter

STILL_S = 10.0  # without an answer; from then on people see what is waited for (the log: `watch.QUIET_S`)


class Steering:
    """Beats once a second.

    Args:
        run: where status and control stand.
        options: what the recipe says.
        lanes: who is asked.
        progress: how far it is.
        reporter: is told what happens.

    Attributes:
        window: what is steered; set before it runs.
        reached: most requests that were seen in flight.
    """

    def __init__(
        self, run: Run, options: GenerateOptions, *, lanes: Lanes, progress: Progress, reporter: Reporter
    ) -> None:
        self.window: Window | None = None
        self.reached = 0
        self._run = run
        self._options = options
        self._lanes = lanes
        self._progress = progress
        self._reporter = reporter
        self._watcher = Watcher(run.path)
        self._watchdog = Watchdog()
        self._came = -1
        self._moved_at = time.monotonic()
        self._said = Limits()
        self._most: int | None = None

    def pace(self) -> Pace:
        """How many at a time, by the recipe and what was said since."""
        o, said = self._options, self._said
        number = said.concurrency or o.concurrency
        return Pace(
            width=self._possible_width(
                number if isinstance(number, int) else said.max_concurrency or o.max_concurrency
            ),
            delay_s=o.delay_s,
            by_prefix=o.order == "prefix",
            max_wall_s=said.max_wall_s or o.budget.max_wall_s,
        )

    def beat(self) -> None:
        """Listen, write `status.json`, tell people, watch whether anything moves."""
        changed = self._watcher.changed()
        if changed is not None:
            self._steer(changed)
        facts = self._facts()
        self._run.heartbeat(stage="generate", **facts)
        self._lanes.budget.note()
        self._reporter.progress(facts)
        came = self._progress.done + self._progress.failed
        if came != self._came:
            self._came, self._moved_at = came, time.monotonic()
            self._watchdog.moved()
        elif self._said.paused:
            self._watchdog.moved()  # whoever paused it knows; `waiting` tells it still
        elif self.window is not None:
            for line in self._watchdog.look(time.monotonic(), self.window.waits) or ():
                self._reporter.line(f"generate: nothing has come for a while; waiting: {line}")

    def _steer(self, said: Limits) -> None:
        assert self.window is not None
        before, self._said = self._said, self._possible(said)
        said = self._said
        number = said.concurrency or self._options.concurrency
        self._lanes.steer(
            paused=said.paused,
            fixed=number if isinstance(number, int) else None,
            most=said.max_concurrency or self._options.max_concurrency,
            caps=self._caps(),
        )
        self.window.set_pace(self.pace())
        if said.paused != before.paused:
            self._reporter.line("generate: paused." if said.paused else "generate: goes on.")
        if said.stop:
            self.window.end(KeyboardInterrupt(), grace_s=0.0)

    def _possible_width(self, wanted: int) -> int:
        """As many requests at a time as there can be connections, of which some may be idle at another server."""
        uses = self._options.endpoints
        if uses and all(use["kind"] == "function" for use in uses):  # what a function opens, nobody knows
            return wanted
        many = 2 if len({lane.home for lane in self._lanes.lanes}) > 1 else 1
        most = max(1, connections(many * wanted) // many)
        if most < wanted and most != self._most:
            self._reporter.line(
                f"generate: {most} requests at a time instead of {wanted}: this process may open no more files "
                "(ulimit -n)."
            )
        self._most = most
        return most

    def _possible(self, said: Limits) -> Limits:
        """What was said without caps that cannot be kept: nobody knows how long an answer can get."""
        known = self._options.sampling.max_tokens != "context" or self._lanes.budget.context is not None
        if known or (said.max_tokens is None and said.max_cost is None):
            return said
        self._reporter.line(
            "generate: max_tokens and max_cost are not taken: how long an answer can get is not known, since "
            "sampling.max_tokens is 'context' and the server does not tell it. Stop, and give it a number."
        )
        return replace(said, max_tokens=None, max_cost=None)

    def _caps(self) -> Caps:
        said = {name: getattr(self._said, name) for name in Caps.__struct_fields__}
        return replace(self._options.budget, **{name: value for name, value in said.items() if value is not None})

    def _is_quiet(self) -> bool:
        """Whether no answer has come for a while; what is waited for is no news before."""
        return time.monotonic() - self._moved_at >= STILL_S

    def _facts(self) -> dict[str, Any]:
        pace = self.pace()
        facts = self._progress.facts(self._lanes)
        self.reached = max(self.reached, facts["in_flight"])
        return {
            **facts,
            "reached": self.reached,
            "width": min(pace.width, sum(lane.width.value for lane in self._lanes.lanes)),
            "paused": self._said.paused,
            "waiting": self.window.waits() if self.window is not None and self._is_quiet() else [],
            "limits": {"concurrency": self._said.concurrency or self._options.concurrency, **to_builtins(self._caps())},
        }
