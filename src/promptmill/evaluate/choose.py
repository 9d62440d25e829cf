"""Metric `auto`: the metric that fits the row, for a recipe that names none.

    tests -> code      choices -> em_mc      a number or mathematics -> math      other texts -> exact

A text that differs is not settled, so that a judge may look at it. Not covered: judging by a model (`judge`).
"""

from __future__ import annotations

import threading
from typing import Any

from promptmill.evaluate.shapes import readings
from promptmill.evaluate.spelling import MAX_LENGTH
from promptmill.records import Reference, Verdict
from promptmill.registry import HasClose, Metric, build


def metric_of(reference: Reference) -> str:
    """The name of the metric that fits a reference: `code`, `em_mc`, `math` or `exact`."""
    if reference.tests:
        return "code"
    if reference.choices:
        return "em_mc"
    golds = [text for text in (reference.answer, *reference.aliases) if text is not None and text.strip()]
    return "math" if any(_is_mathematical(gold) for gold in golds) else "exact"


def _is_mathematical(gold: str) -> bool:
    if len(gold) > MAX_LENGTH:
        return False
    first = readings(gold)[0]
    return first.kind not in {"text", "empty"} or "\\" in gold


def auto(*, limit_s: float = 1.0, workers: int = 0) -> Auto:
    """The metric that fits each row: its tests, else its options, else mathematics or text as the reference is.

    Args:
        limit_s: seconds that one mathematical comparison may compute.
        workers: processes that compare at a time; 0 means one for each core.
    """
    return Auto({"math": {"limit_s": limit_s, "workers": workers}})


class Auto:
    """Builds each metric when the first row needs it.

    Args:
        options: of metrics by their names.
    """

    def __init__(self, options: dict[str, dict[str, Any]]) -> None:
        self._options = options
        self._metrics: dict[str, Metric] = {}
        self._lock = threading.Lock()

    def __call__(self, reference: Reference, answer: str) -> Verdict:
        """Judge by the metric that fits the reference."""
        return self.fitting(reference)[1](reference, answer)

    def fitting(self, reference: Reference) -> tuple[str, Metric]:
        """The metric that fits a reference: its name, and itself."""
        name = metric_of(reference)
        return name, self._metric(name)

    def close(self) -> None:
        """End the processes of the metrics that were used."""
        for metric in self._metrics.values():
            if isinstance(metric, HasClose):
                metric.close()

    def _metric(self, name: str) -> Metric:
        found = self._metrics.get(name)
        if found is None:
            with self._lock:
                found = self._metrics.get(name) or build("metrics", {"kind": name, **self._options.get(name, {})})
                self._metrics[name] = found
        return found
