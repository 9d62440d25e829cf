"""What a person sees while a workflow runs: a live panel on a terminal, a plain line every 30 s elsewhere.

What the panel and the line say is `panel`'s business. Model text is hostile input: control characters never reach the
terminal (`panel.clean`).
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from promptmill.cli.panel import clean, panel, progress_line

QUIET_S = 30.0
log = logging.getLogger(__name__)


class Screen:
    """Tells a person what a workflow says (`workflows.stages.Reporter`)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._next = time.monotonic() + QUIET_S

    def __enter__(self) -> Self:
        """Begin the live panel, on a terminal."""
        if can_draw(self._console):
            self._live = live(self._console)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the live panel away."""
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """Say one line."""
        log.info("%s", text)
        self._console.print(Text(clean(text)), soft_wrap=True)

    def progress(self, facts: dict[str, Any]) -> None:
        """Show how far the generation is; when all has come, what follows is not its business."""
        if self._live is not None:
            over = not facts["in_flight"] and facts["reused"] + facts["done"] + facts["failed"] >= facts["total"]
            self._live.update(Text() if over else panel(facts, self._console.width), refresh=True)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + QUIET_S
            self.line(progress_line(facts))

    def summary(self, folder: Path, files: Sequence[Path]) -> None:
        """Print a few rows of the training file, then where the files are."""
        for path in files:
            if path.name.endswith("_training.jsonl") and path.stat().st_size:
                click.echo(f"\nFirst rows of {path}:")
                click.echo("\n".join(first_rows(path, 3)))
        click.echo(f"\nFiles of the run {folder}:")
        for path in files:
            click.echo(f"  {path}  ({size(path)})")

    def dry_run(self, plan: dict[str, Any]) -> None:
        """Print the plan: counts a stage, then the first prompts as they would be sent."""
        for text in plan["lines"]:
            click.echo(clean(text))
        for number, request in enumerate(plan["requests"], 1):
            click.echo(f"\nRequest {number}:")
            click.echo(clean(request))


def can_draw(console: Console) -> bool:
    """Whether lines can be drawn over: not in a file, and not in an editor's terminal (TERM=dumb)."""
    return console.is_terminal and not console.is_dumb_terminal


def live(console: Console) -> Live:
    """A panel that is drawn anew when it is told to, and is gone at the end."""
    return Live(Text(), console=console, auto_refresh=False, transient=True, vertical_overflow="crop")


def size(path: Path) -> str:
    """Size of a file for people."""
    number = float(path.stat().st_size)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def first_rows(path: Path, count: int, *, width: int = 32) -> list[str]:
    """The first rows of a JSONL file, long strings cut, one line each."""
    with path.open("rb") as file:
        lines = list(itertools.islice(file, count))
    shown = []
    for line in lines:
        row = {k: _short(v, width) for k, v in json.loads(line).items()}
        shown.append("  " + clean(json.dumps(row, ensure_ascii=False)))
    return shown


def _short(value: Any, width: int) -> Any:
    """A value of a row as it is shown: long texts cut, of lists the first item and how many there are."""
    if isinstance(value, str):
        return _cut(value, width)
    if isinstance(value, dict):
        return {key: _short(inside, width) for key, inside in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_short(value[0], width), f"... {len(value)} in all"] if len(value) > 1 else [_short(value[0], width)]
    return value


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width // 2]} ... {text[-width // 2 :]}"
