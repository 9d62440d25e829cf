"""What a generation looks like: the facts of its heartbeat as a panel of at most 12 lines, or as one plain line.

The facts are those of `status.json`; whatever is not there is not shown. Names and reasons come from servers and are
hostile input: control characters never reach the terminal (`clean`). Money is a bare number, since the currency is
that of the recipe's prices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

LINES = 12
LANES = 8
WAITS = 2
NARROWEST_NAME = 14
WORST = ("refused", "no quota", "out", "cooling", "ok")
STYLES = {"ok": "green", "cooling": "yellow"}  # every other state is red


def clean(text: str) -> str:
    """Text without control characters (a model may send terminal escapes); newlines stay."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def duration(seconds: float) -> str:
    """`3725.0` -> `1h02m`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def money(amount: float) -> str:
    """`1234.5` -> `1234.50`, `0.03124` -> `0.0312`: two decimals, below 1 as many as three digits need."""
    if not amount or abs(amount) >= 1:
        return f"{amount:.2f}"
    whole, _, decimals = f"{amount:.{2 - math.floor(math.log10(abs(amount)))}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def progress_line(facts: dict[str, Any]) -> str:
    """One line: done / failed / in flight, rates, money, time left, and what is not as it should be."""
    wrong = [f"lane {_name(lane)} {_state(lane)}" for lane in _worst_first(facts) if lane.get("state", "ok") != "ok"]
    more = [f"lanes not ok: {len(wrong)} of {len(facts['lanes'])}"] if len(wrong) > WAITS else []
    waits = [f"waiting: {_one_line(wait)}" for wait in facts.get("waiting") or []][:WAITS]
    paused = ["paused"] if facts.get("paused") else []
    return "; ".join(
        ["generate: " + ", ".join([*_parts(facts), *_left(facts)]), *paused, *wrong[:WAITS], *more, *waits]
    )


def panel(facts: dict[str, Any], width: int) -> Group:
    """At most 12 lines, none wider than `width`: bar, counts, lanes, what is waited for."""
    came = sum(facts.get(name) or 0 for name in ("reused", "done", "failed"))
    total = facts.get("total") or 0
    right = "  ".join([f"{100 * came // total if total else 0}%", *_left(facts)])
    bar = Table.grid(padding=(0, 1), expand=False)
    bar.add_row(
        "generate", ProgressBar(total=max(1, total), completed=came, width=max(8, width - len(right) - 11)), right
    )
    lines = [Text(line) for line in _flow(_parts(facts), width)]
    lines += [Text(_cut(line, width), style="yellow") for line in _notes(facts)]
    lanes = _lane_lines(_worst_first(facts), width, min(LANES, LINES - 2 - len(lines)))
    return Group(bar, *lines, *lanes)


def _parts(facts: dict[str, Any]) -> list[str]:
    """The counts, each a few words."""
    width = facts.get("width")
    parts = [
        f"{(facts.get('reused') or 0) + (facts.get('done') or 0)}/{facts.get('total') or 0} done",
        f"{facts.get('failed') or 0} failed",
    ]
    if facts.get("truncated"):
        parts.append(f"{facts['truncated']} truncated")
    if facts.get("in_flight") is not None:
        parts.append(f"{facts['in_flight']}{f'/{width}' if width else ''} in flight")
    if facts.get("retries"):
        parts.append(f"{facts['retries']} retries")
    if facts.get("requests_per_s") is not None:
        parts.append(f"{facts['requests_per_s']:.1f} requests/s")
    if facts.get("tokens_per_s") is not None:
        parts.append(f"{facts['tokens_per_s']:.0f} tokens/s")
    return parts + _spent(facts)


def _spent(facts: dict[str, Any]) -> list[str]:
    """Money, and whatever has a limit beside its limit."""
    spent, limits = facts.get("spent") or {}, facts.get("limits") or {}
    parts = []
    cost = None if facts.get("cost") is None else spent.get("cost", facts["cost"])  # no price, no money
    if cost is not None:
        parts.append(f"cost {money(cost)}{_of(limits.get('max_cost'), money)}")
    if spent.get("uncertain_cost"):
        parts.append(f"perhaps {money(spent['uncertain_cost'])} more")
    for name, word in (("tokens", "tokens"), ("requests", "sent")):
        if limits.get(f"max_{name}") and spent.get(name) is not None:
            parts.append(f"{word} {spent[name]}{_of(limits[f'max_{name}'], str)}")
    if limits.get("max_wall_s") and facts.get("elapsed_s") is not None:
        parts.append(f"{duration(facts['elapsed_s'])}{_of(limits['max_wall_s'], duration)}")
    return parts


def _of(limit: Any, say: Any) -> str:
    return f" of {say(limit)}" if limit else ""


def _left(facts: dict[str, Any]) -> list[str]:
    return [] if facts.get("eta_s") is None else [f"{duration(facts['eta_s'])} left"]


def _notes(facts: dict[str, Any]) -> list[str]:
    """Why nothing moves."""
    waits = [f"waiting: {_one_line(wait)}" for wait in facts.get("waiting") or []]
    more = [f"and {len(waits) - WAITS} more"] if len(waits) > WAITS else []
    paused = ["paused: no request is started until 'promptmill resume'"] if facts.get("paused") else []
    return [*paused, *waits[:WAITS], *more]


def _flow(parts: Sequence[str], width: int) -> list[str]:
    """Lay words side by side; what does not fit begins a line. At most three lines."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 2 + len(part) < width:
            lines[-1] += f", {part}"
        else:
            lines.append(_cut(part, width))
    kept = lines[:3]
    return [*(f"{line}," for line in kept[:-1]), *kept[-1:]]


def _worst_first(facts: dict[str, Any]) -> list[dict[str, Any]]:
    def badness(lane: dict[str, Any]) -> tuple[int, int]:
        state = lane.get("state", "ok")
        return WORST.index(state) if state in WORST else 0, -(lane.get("failed") or 0)

    return sorted(facts.get("lanes") or [], key=badness)


def _lane_lines(lanes: list[dict[str, Any]], width: int, room: int) -> list[Text]:
    shown = lanes if len(lanes) <= room + 1 else lanes[:room]  # "and 1 more" would take the line of that one
    columns = [column for column in map(_aligned, zip(*map(_cells, shown), strict=True)) if column[0]]
    names = [_name(lane) for lane in shown]
    longest = max(map(cell_len, names), default=0)
    room_left = width - min(longest, max(NARROWEST_NAME, width // 3))
    taken = 0
    while taken < len(columns) and len(columns[taken][0]) + 2 <= room_left:
        room_left -= len(columns[taken][0]) + 2
        taken += 1
    name_width = min(longest, max(NARROWEST_NAME, width // 3) + room_left)
    lines = []
    for row, lane in enumerate(shown):
        text = Text(set_cell_size(_cut(names[row], name_width), name_width), no_wrap=True)
        for number, column in enumerate(columns[:taken]):
            text.append("  ")
            text.append(column[row], style=STYLES.get(lane.get("state", "ok"), "red") if number == 0 else None)
        text.rstrip()
        lines.append(text)
    if len(shown) < len(lanes):
        rest = [lane.get("state", "ok") for lane in lanes[len(shown) :]]
        counts = ", ".join(f"{rest.count(state)} {_one_line(state)}" for state in dict.fromkeys(rest))
        lines.append(Text(_cut(f"and {len(rest)} more: {counts}", width)))
    return lines


def _cells(lane: dict[str, Any]) -> list[str]:
    """What is said of a lane, the most wanted first; words with their numbers, since there is no heading."""
    errors = sorted((lane.get("errors") or {}).items(), key=lambda item: -item[1])
    cells = [_state(lane)]
    cells.append(f"{lane.get('in_flight') or 0}{_over(lane.get('width'))} in flight")
    cells.append(f"{lane.get('done') or 0} done")
    cells.append(f"{lane['failed']} failed" if lane.get("failed") else "")
    cells.append("" if lane.get("p95_s") is None else f"p95 {lane['p95_s']:.2f}s")
    cells.append("" if lane.get("cost") is None else f"cost {money(lane['cost'])}")
    cells.append(_cut(", ".join(f"{_one_line(kind)} {count}" for kind, count in errors[:3]), 40))
    cells.append("" if lane.get("p50_s") is None else f"p50 {lane['p50_s']:.2f}s")
    cells.append(f"{lane['tokens']} tokens" if lane.get("tokens") else "")
    return cells


def _over(width: Any) -> str:
    return f"/{width}" if width else ""


def _aligned(cells: Sequence[str]) -> list[str]:
    """A column: numbers end below each other, words begin below each other."""
    widest = max(map(cell_len, cells))
    numbers = any(cell[:1].isdigit() for cell in cells)
    pads = [" " * (widest - cell_len(cell)) for cell in cells]
    return [pad + cell if numbers else cell + pad for pad, cell in zip(pads, cells, strict=True)]


def _name(lane: dict[str, Any]) -> str:
    name = _one_line(str(lane.get("name", "?")))
    return name.removeprefix("http://").removeprefix("https://")


def _state(lane: dict[str, Any]) -> str:
    state, until = _one_line(str(lane.get("state", "ok"))), lane.get("until_s")
    return state if until is None or state == "ok" else f"{state} {duration(max(0.0, until))}"


def _one_line(text: str) -> str:
    return clean(" ".join(text.split()))


def _cut(text: str, width: int) -> str:
    """Take from the middle what is too much: ports and keys stand at the end."""
    if cell_len(text) <= width:
        return text
    end = text[-max(1, (width - 3) // 2) :]
    while cell_len(end) > (width - 3) // 2:  # some characters are two cells wide
        end = end[1:]
    return f"{set_cell_size(text, max(0, width - 3 - cell_len(end)))}...{end}"
