"""Plots of what was measured, drawn from the plain data of the JSON reports: they can be drawn again at any time.

Not covered: measuring (`train.measure`, `train.simulate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptmill.errors import MissingExtra

INK, OURS = "#222222", "#1f6fb4"
_BASELINES = {
    "mean": ("training mean", "#b8bcc4", ":"),
    "prompt_length": ("linear in prompt length", "#c98b2b", "-."),
    "tokens_so_far": ("mean by tokens so far", "#a8443a", "--"),
}
_POLICIES = {
    "fcfs": ("first come,\nfirst served", "#8a8f98"),
    "predicted": ("shortest predicted\nremaining first", OURS),
    "oracle": ("shortest true\nremaining first", "#5f9e6e"),
}


def plot_lengths(report: Mapping[str, Any], path: Path) -> None:
    """Draw the errors of a length predictor on the test split: overall, and by tokens so far.

    Args:
        report: `report.json` of a training, decoded.
        path: the picture to write; the suffix chooses the kind (.png, .svg, .pdf).

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure, (left, right) = _figure(widths=(1, 1.7))
    test = report["test"]
    entries = [("predictor", test["predictor"]["mae"], OURS)]
    entries += [(_BASELINES[name][0], test["baselines"][name]["mae"], _BASELINES[name][1]) for name in _BASELINES]
    _bars(left, entries, unit="")
    left.set_title("Mean absolute error, tokens", loc="left")
    # a bucket of a handful of prompts says nothing and would stretch the axis
    buckets = [b for b in test["by_prefix"] if b["prompts"] >= 5] or test["by_prefix"]
    at = [bucket["from_tokens"] for bucket in buckets]
    for name, (label, colour, style) in _BASELINES.items():
        right.plot(at, [b["baselines"][name] for b in buckets], style, color=colour, label=label, linewidth=1.6)
    mae = [bucket["mae"] for bucket in buckets]
    right.fill_between(at, [m["low"] for m in mae], [m["high"] for m in mae], color=OURS, alpha=0.18, linewidth=0)
    right.plot(at, [m["value"] for m in mae], color=OURS, label="predictor, 95 % interval", linewidth=2.2)
    right.set_title("Mean absolute error by tokens so far", loc="left")
    right.set_xlabel("tokens of the answer so far")
    right.set_ylim(bottom=0)
    right.set_xlim(min(at), max(*at, min(at) + 1))
    right.legend(frameon=False)
    title = f"Remaining tokens: {test['rows']:,} rows of {test['prompts']:,} prompts never trained on"
    _save(figure, title, path)


def plot_simulation(simulation: Mapping[str, Any], path: Path) -> None:
    """Draw mean and 99th percentile of the completion time of each policy.

    Args:
        simulation: `simulation.json`, decoded.
        path: the picture to write; the suffix chooses the kind.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure, axes = _figure(widths=(1, 1))
    for axis, field, title in zip(axes, ("mean", "p99"), ("mean", "99th percentile"), strict=True):
        entries = []
        for name, (label, colour) in _POLICIES.items():
            times = simulation["policies"][name]
            change = -times[f"{field}_gain"]["value"]
            shown = label if name == "fcfs" else f"{label} ({change:+.0%})"
            entries.append((shown, times[f"{field}_s"], colour))
        _bars(axis, entries, unit=" s")
        axis.set_title(f"Completion time, {title}", loc="left")
    options = simulation["options"]
    title = (
        f"{options['jobs']:,} jobs, {simulation['arrival_rate']:.2g} a second, {options['slots']} slots of "
        f"{options['tokens_per_s']:g} tokens/s, load {simulation['load']:.0%}, {options['repeats']} repeats"
    )
    _save(figure, title, path)


def _figure(*, widths: Sequence[float]) -> tuple[Any, Any]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("plots", needed_for="a plot") from error
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    FigureCanvasAgg(figure)  # draws without a display and leaves the user's backend alone
    axes = figure.subplots(1, len(widths), width_ratios=widths)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, length=0)
        axis.grid(axis="x" if axis is axes[0] else "both", color="#e8eaee", linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes


def _bars(axis: Any, entries: Sequence[tuple[str, Mapping[str, float], str]], *, unit: str) -> None:
    """Horizontal bars with their intervals and values, first entry on top."""
    for place, (_, value, colour) in enumerate(entries):
        around = [[value["value"] - value["low"]], [value["high"] - value["value"]]]
        axis.barh(place, value["value"], color=colour, height=0.62)
        axis.errorbar(value["value"], place, xerr=around, color=INK, linewidth=1.2, capsize=3)
        axis.annotate(
            f"{value['value']:.1f}{unit}",
            (max(value["value"], value["high"]), place),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=INK,
            fontweight="bold" if colour == OURS else "normal",
        )
    axis.set_xlim(0, 1.22 * max(max(value["value"], value["high"]) for _, value, _ in entries))
    axis.set_yticks(range(len(entries)), [label for label, _, _ in entries])
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")


def _save(figure: Any, title: str, path: Path) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
