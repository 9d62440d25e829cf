"""The figures of graded answers on a terminal: a table of each model, and of each pair of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.cells import cell_len
from rich.console import Console

from promptmill.cli.panel import clean
from promptmill.evaluate.comparisons import Comparison
from promptmill.evaluate.estimates import Scores
from promptmill.evaluate.intervals import Estimate
from promptmill.workflows.reporting import Report

WIDTH = 150  # where the output is no terminal
GAP = 2
Columns = list[tuple[str, list[str]]]


def read_report(path: Path) -> Report:
    """The figures of a summary file."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def show_report(report: Report, *, by_category: bool) -> None:
    """Print the figures; intervals hold 95 %, clustered by problem. What is too wide for the terminal goes below."""
    if not report.models:
        click.echo(f"None of the {report.problems:,} problems has a response: there are no figures.")
        return
    console = Console()
    width = console.width if console.is_terminal else WIDTH
    for columns in (_figures(report, by_category=by_category), _pairs(report.comparisons)):
        for some in _fitting(columns, width):
            click.echo()
            header, *rows = _lines(some)
            click.secho(header, bold=True)
            for row in rows:
                click.echo(row)
    if len(report.models) == 1 and (silent := report.problems - report.models[0].overall.problems):
        click.echo(f"{silent:,} of {report.problems:,} problems have no response and count in no figure.")
    left_out = max((pair.left_out for pair in report.comparisons), default=0)
    if left_out:
        click.echo(
            f"Problems that only one of a pair was graded on are left out of its comparison: {left_out:,} at most."
        )
    click.echo("In brackets: 95 % intervals, clustered by problem.")


def _fitting(columns: Columns, width: int) -> Iterator[Columns]:
    """The columns in as many tables as the width needs, the first column in each of them."""
    if not columns:
        return
    first, *others = columns
    taken: Columns = []
    for column in others:
        if taken and sum(_width(each) + GAP for each in (first, *taken)) + _width(column) > width:
            yield [first, *taken]
            taken = []
        taken.append(column)
    yield [first, *taken]


def _width(column: tuple[str, list[str]]) -> int:
    return max(cell_len(text) for text in (column[0], *column[1]))


def _lines(columns: Columns) -> Iterator[str]:
    """The table, its header first: the first column stands on the left, numbers on the right."""
    widths = [_width(column) for column in columns]
    for row in zip(*([name, *cells] for name, cells in columns), strict=True):
        pads = [" " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True)]
        cells = [row[0] + pads[0], *(pad + text for pad, text in zip(pads[1:], row[1:], strict=True))]
        yield (" " * GAP).join(cells)


def _figures(report: Report, *, by_category: bool) -> Columns:
    rows: list[tuple[str, Scores]] = []
    for model in report.models:
        rows.append((clean(model.model or "(model not named)"), model.overall))
        if by_category:
            rows += [(f"  {clean(category)}", scores) for category, scores in model.by_category.items()]
    numbers = {model.overall.k for model in report.models}
    k = min(numbers, default=1)  # the largest pass@k that every model has
    columns: Columns = [
        ("", [name for name, _ in rows]),
        ("problems", [f"{scores.problems:,}" for _, scores in rows]),
        ("responses", [f"{scores.samples:,}" for _, scores in rows]),
        ("accuracy", [_percent(scores.accuracy) for _, scores in rows]),
    ]
    if k > 1:
        columns.append((f"pass@{k}", [_percent(scores.pass_at.get(k)) for _, scores in rows]))
    if max(numbers, default=1) > 1:
        name = f"maj@{k}" if len(numbers) == 1 else "maj@k"  # each model votes with all of its answers
        columns.append((name, [_percent(scores.maj_at_k) for _, scores in rows]))
    return [
        *columns,
        ("truncated", [_percent(scores.truncated, interval=False) for _, scores in rows]),
        ("unanswered", [_percent(scores.unanswered, interval=False) for _, scores in rows]),
        ("not gradable", [_percent(scores.ungraded, interval=False) for _, scores in rows]),
    ]


def _percent(estimate: Estimate | None, *, interval: bool = True) -> str:
    if estimate is None:
        return "-"
    value = f"{100 * estimate.value:.1f} %"
    return f"{value} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]" if interval else value


def _pairs(comparisons: list[Comparison]) -> Columns:
    if not comparisons:
        return []
    columns: Columns = [
        ("on the same problems", [clean(f"{pair.first} - {pair.second}") for pair in comparisons]),
        ("difference", [_points(pair.difference) for pair in comparisons]),
        ("better", [f"{pair.wins:,}" for pair in comparisons]),
        ("equal", [f"{pair.ties:,}" for pair in comparisons]),
        ("worse", [f"{pair.losses:,}" for pair in comparisons]),
        ("p", [_chance(pair.p_value) for pair in comparisons]),
    ]
    if len(comparisons) > 1:
        columns.append(("p (Holm)", [_chance(pair.p_holm) for pair in comparisons]))
    return columns


def _chance(p_value: float) -> str:
    return f"{p_value:.4f}" if p_value >= 0.0001 else "<0.0001"


def _points(difference: Estimate) -> str:
    return f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]"
