"""The figures of graded answers on a terminal: a table of each model, and of each pair of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from promptmill.cli.panel import clean
from promptmill.evaluate.comparisons import Comparison
from promptmill.evaluate.estimates import Scores
from promptmill.evaluate.intervals import Estimate
from promptmill.workflows.reporting import Report

WIDTH = 150


def read_report(path: Path) -> Report:
    """The figures of a summary file."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def show_report(report: Report, *, by_category: bool) -> None:
    """Print the figures; intervals hold 95 %, clustered by problem."""
    console = Console(highlight=False)
    console.width = max(console.width, WIDTH)  # a figure that is cut is worse than a line that is wrapped
    click.echo()
    console.print(_figures(report, by_category=by_category))
    if report.comparisons:
        console.print(_pairs(report.comparisons))
    elif len(report.models) > 1:
        click.echo("No problem was graded for two of these models: there is nothing to compare.")
    click.echo("In brackets: 95 % intervals, clustered by problem.")


def _figures(report: Report, *, by_category: bool) -> Table:
    k = max((model.overall.k for model in report.models), default=1)
    names = ["", "problems", "responses", "accuracy"]
    names += [f"pass@{k}", f"maj@{k}"] if k > 1 else []
    names += ["truncated", "unanswered", "not gradable"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, justify="left" if not name else "right", no_wrap=bool(name), overflow="fold")
    for model in report.models:
        table.add_row(clean(model.model or "(model not named)"), *_cells(model.overall, k))
        for category, scores in model.by_category.items() if by_category else ():
            table.add_row(f"  {clean(category)}", *_cells(scores, k))
    return table


def _cells(scores: Scores, k: int) -> Iterator[str]:
    yield f"{scores.problems:,}"
    yield f"{scores.samples:,}"
    yield _percent(scores.accuracy)
    if k > 1:
        yield _percent(scores.pass_at.get(k))
        yield _percent(scores.maj_at_k)
    for share in (scores.truncated, scores.unanswered, scores.ungraded):
        yield _percent(share, interval=False)


def _percent(estimate: Estimate | None, *, interval: bool = True) -> str:
    if estimate is None:
        return "-"
    value = f"{100 * estimate.value:.1f} %"
    return f"{value} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" if interval else value


def _pairs(comparisons: list[Comparison]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(1, 2, 0, 0), header_style="bold")
    for name in ("on the same problems", "difference", "better", "equal", "worse", "p", "p (Holm)"):
        table.add_column(name, justify="left" if name.startswith("on") else "right", no_wrap=True)
    for pair in comparisons:
        d = pair.difference
        table.add_row(
            clean(f"{pair.first} - {pair.second}"),
            f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]",
            *(str(number) for number in (pair.wins, pair.ties, pair.losses)),
            f"{pair.p_value:.4f}",
            f"{pair.p_holm:.4f}",
        )
    return table
