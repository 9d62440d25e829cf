"""A heartbeat as Prometheus text (exposition format 0.0.4), for `promptmill status RUN --prometheus`.

Names follow prometheus.io/docs/practices/naming: counters end in `_total`, times are in seconds. Counters count what
this process did: they begin at 0 when a run is started again, as Prometheus expects. There is no port: write the text
into the folder of a node exporter's text file collector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from promptmill.cli.panel import clean

STATES = ("ok", "cooling", "out", "refused", "no quota")


class Family(NamedTuple):
    """All samples of one name.

    Attributes:
        name: without the prefix `promptmill_`.
        kind: `counter` or `gauge`.
        text: its help.
        samples: labels and value; a value of None is left out.
    """

    name: str
    kind: str
    text: str
    samples: list[tuple[dict[str, str], Any]]


def exposition(status: dict[str, Any], *, live: bool) -> str:
    """The text of all that the heartbeat says."""
    lines = []
    for family in (*_run(status, live=live), *_counts(status), *_lanes(status)):
        samples = [(labels, value) for labels, value in family.samples if value is not None]
        if not samples:
            continue
        name = f"promptmill_{family.name}"
        lines += [f"# HELP {name} {family.text}", f"# TYPE {name} {family.kind}"]
        lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _run(status: dict[str, Any], *, live: bool) -> Iterator[Family]:
    yield Family("up", "gauge", "Whether a process works in the run folder.", [({}, live)])
    yield Family("heartbeat_timestamp_seconds", "gauge", "When the heartbeat was written.", [({}, written_at(status))])
    stage = status.get("stage")
    yield Family("stage", "gauge", "The stage of the run.", [({"stage": stage}, 1)] if stage else [])
    yield Family("paused", "gauge", "Whether a person has paused the run.", [({}, status.get("paused"))])
    yield Family("elapsed_seconds", "gauge", "Seconds since the stage began.", [({}, status.get("elapsed_s"))])
    yield Family(
        "left_seconds", "gauge", "Seconds until the stage is done, if it goes on so.", [({}, status.get("eta_s"))]
    )
    limits = status.get("limits") or {}
    yield Family(
        "limit",
        "gauge",
        "What the run may use, by kind of limit.",
        [({"kind": name}, value) for name, value in limits.items() if isinstance(value, int | float)],
    )
    spent = status.get("spent") or {}
    yield Family(
        "spent", "gauge", "What counts against the limits, by kind.", [({"kind": n}, v) for n, v in spent.items()]
    )


def _counts(status: dict[str, Any]) -> Iterator[Family]:
    get = status.get
    yield Family("requests_planned", "gauge", "Requests of the plan.", [({}, get("total"))])
    yield Family("requests_reused", "gauge", "Requests of the plan that need not be sent.", [({}, get("reused"))])
    yield Family(
        "requests_total",
        "counter",
        "Requests with an outcome.",
        [({"outcome": "completion"}, get("done")), ({"outcome": "failure"}, get("failed"))],
    )
    yield Family("truncated_total", "counter", "Completions that their limit cut.", [({}, get("truncated"))])
    yield Family("retries_total", "counter", "Attempts beyond the first.", [({}, get("retries"))])
    yield Family("in_flight", "gauge", "Requests under way.", [({}, get("in_flight"))])
    yield Family("width", "gauge", "Requests that may be under way now.", [({}, get("width"))])
    yield Family(
        "tokens_total",
        "counter",
        "Tokens, as the servers counted them.",
        [({"direction": "prompt"}, get("prompt_tokens")), ({"direction": "completion"}, get("tokens"))],
    )
    yield Family("cost_total", "counter", "Money charged, in the currency of the recipe's prices.", [({}, get("cost"))])


def _lanes(status: dict[str, Any]) -> Iterator[Family]:
    lanes = _named(status.get("lanes") or [])

    def of(key: str, **labels: str) -> list[tuple[dict[str, str], Any]]:
        return [({"lane": name, **labels}, lane.get(key)) for name, lane in lanes.items()]

    outcomes = [*of("done", outcome="completion"), *of("failed", outcome="failure")]
    yield Family("lane_requests_total", "counter", "Requests with an outcome, by lane.", outcomes)
    errors = [
        ({"lane": name, "kind": str(kind)}, count)
        for name, lane in lanes.items()
        for kind, count in (lane.get("errors") or {}).items()
    ]
    yield Family("lane_errors_total", "counter", "Attempts that failed, by lane and kind of error.", errors)
    yield Family("lane_tokens_total", "counter", "Tokens of completions, by lane.", of("tokens"))
    yield Family("lane_cost_total", "counter", "Money charged, by lane.", of("cost"))
    yield Family("lane_in_flight", "gauge", "Requests under way, by lane.", of("in_flight"))
    yield Family("lane_width", "gauge", "Requests that may be under way now, by lane.", of("width"))
    states = [
        ({"lane": name, "state": state}, lane.get("state") == state)
        for name, lane in lanes.items()
        for state in STATES
        if "state" in lane
    ]
    yield Family("lane_state", "gauge", "1 for the state that a lane is in.", states)
    latencies = [*of("p50_s", quantile="0.5"), *of("p95_s", quantile="0.95")]
    yield Family("lane_latency_seconds", "gauge", "From sending to the whole answer, by lane.", latencies)


def _named(lanes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Lanes by name; of equal names the later ones are numbered: Prometheus refuses doubled samples."""
    named: dict[str, dict[str, Any]] = {}
    for lane in lanes:
        name = unique = clean(str(lane.get("name", "?")))
        number = 1
        while unique in named:
            number += 1
            unique = f"{name} ({number})"
        named[unique] = lane
    return named


def _labels(labels: dict[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value + 0)  # a truth value as a number
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def written_at(status: dict[str, Any]) -> float | None:
    """When a heartbeat was written, in seconds since 1970; None if it does not say."""
    try:
        return datetime.strptime(str(status.get("time")), "%Y-%m-%dT%H:%M:%S%z").timestamp()
    except ValueError:
        return None
