"""`set`, `pause`, `resume`, `stop`, `status`: steer and watch a run that another process works on.

Steering writes the run's `control.json`, which the run looks at each second while it asks (`generate.control`).
Watching reads its `status.json` and asks who holds its lock. Neither needs a port, and neither can harm the run.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.text import Text

from promptmill import config
from promptmill.cli.metrics import exposition, written_at
from promptmill.cli.options import plain
from promptmill.cli.panel import clean, panel, progress_line
from promptmill.cli.screen import QUIET_S, can_draw, live
from promptmill.config import Document
from promptmill.errors import ConfigError, RunError
from promptmill.generate.control import Limits, read_control, write_control
from promptmill.registry import did_you_mean
from promptmill.run import inner_runs, is_live, read_manifest, read_status

LATE_S = 10.0  # a heartbeat of a live generation that is older than this is worth a word
PLAIN_WIDTH = 100
_OPTIONS = {o.name: o for o in config.struct_options(Limits) if o.name not in {"paused", "stop"}}


@click.command("set")
@click.argument("run_folder", metavar="RUN")
@click.argument("assignments", metavar="NAME=VALUE...", nargs=-1, required=True)
def set_limits(run_folder: str, assignments: tuple[str, ...]) -> None:
    """Change the limits of the live run RUN.

    NAME is concurrency (a number or auto), max_concurrency, max_cost, max_tokens, max_requests or max_wall_s; the
    value null is the recipe's own. For example: promptmill set runs/mine concurrency=64 max_cost=20
    """
    changes = dict(map(_parsed, assignments))
    run = Path(run_folder)
    pid = _live(run)
    ear = _ear(run, pid)
    beat = _status(ear) or {}
    if changes.get("max_cost") is not None and "lanes" in beat and beat.get("cost") is None:
        raise ConfigError(f"set max_cost: {run} counts no money, its endpoints have no price_in. Use max_tokens.")
    before = read_control(ear)
    after = write_control(ear, changes)
    for name in changes:
        old, new = getattr(before, name), getattr(after, name)
        click.echo(f"{name}: {_said(new)}, as it was" if old == new else f"{name}: {_said(old)} -> {_said(new)}")
    click.echo(f"process {pid} hears of it within a second.")


def _parsed(assignment: str) -> tuple[str, Any]:
    name, equals, text = assignment.partition("=")
    if not equals or not text.strip():
        raise ConfigError(f"set {assignment}: is not of the form name=value. Names are: {', '.join(_OPTIONS)}.")
    if name not in _OPTIONS:
        hint = did_you_mean(name, _OPTIONS)
        raise ConfigError(f"set {assignment}: no limit '{name}'.{hint} There are: {', '.join(_OPTIONS)}.")
    value = config.parse_value(text, _OPTIONS[name].type)
    checked = config.check(Document({name: value}, {}, f"set {assignment}"), Limits)
    return name, getattr(checked, name)


def _said(value: Any) -> str:
    return "the recipe's own" if value is None else plain(value)


@click.command()
@click.argument("run_folder", metavar="RUN")
def pause(run_folder: str) -> None:
    """Let the live run RUN start no request until it is resumed; what is under way is finished."""
    pid = _live(Path(run_folder))
    write_control(_ear(Path(run_folder), pid), {"paused": True})
    click.echo(f"{run_folder}: process {pid} starts no request until: promptmill resume {run_folder}")


@click.command()
@click.argument("run_folder", metavar="RUN")
def resume(run_folder: str) -> None:
    """Let the paused run RUN go on."""
    run = Path(run_folder)
    pid = _live(run)
    ear = _ear(run, pid)
    was = read_control(ear).paused
    write_control(ear, {"paused": False})
    click.echo(f"{run}: process {pid} goes on." if was else f"{run}: process {pid} was not paused.")


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=30.0, help="Seconds to wait for its end [30].")
def stop(run_folder: str, *, wait_s: float) -> None:
    """End the live run RUN cleanly; the same command goes on from there."""
    run = Path(run_folder)
    pid = _live(run)
    write_control(_ear(run, pid), {"stop": True})
    if not wait_s:
        click.echo(f"{run}: process {pid} was asked to end.")
        return
    deadline = time.monotonic() + wait_s
    while is_live(run) == pid:
        if time.monotonic() >= deadline:
            stage = (_status(run) or {}).get("stage", "unknown")
            raise RunError(
                f"{run}: process {pid} has not ended within {wait_s:g} s (stage {clean(str(stage))}; only stages that "
                f"ask a model can be told). Wait for it, or end it with: kill {pid}"
            )
        time.sleep(0.1)
    click.echo(f"{run}: process {pid} has ended. The same command goes on from here.")


def _live(run: Path) -> int:
    """The process that works in a run.

    Raises:
        RunError: there is none.
    """
    pid = is_live(run)
    if pid is None:
        read_manifest(run)  # says what is wrong where no run is at all
        raise RunError(f"{run}: no process works here, so there is nothing to steer. The run's own command goes on.")
    return pid


def _ear(run: Path, pid: int) -> Path:
    """The folder in which the process listens: the run's, or that of the run inside it which it works on."""
    return next((inner for inner in inner_runs(run) if is_live(inner) == pid), run)


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--watch", is_flag=True, help="Show it anew each second until the run ends; Ctrl-C leaves the run alone.")
@click.option("--json", "as_json", is_flag=True, help="The heartbeat as it is, and whether the run is live.")
@click.option("--prometheus", is_flag=True, help="The heartbeat as Prometheus text.")
def status(run_folder: str, *, watch: bool, as_json: bool, prometheus: bool) -> None:
    """Show how far the run RUN is."""
    if watch + as_json + prometheus > 1:
        raise click.UsageError("--watch, --json and --prometheus: only one of them at a time.")
    run = Path(run_folder)
    pid, beat = _look(run)
    if as_json:
        click.echo(msgspec.json.encode({**(beat or {}), "live": pid is not None}).decode())
    elif prometheus:
        click.echo(exposition(beat or {}, live=pid is not None), nl=False)
    elif watch and pid is not None:
        try:
            _watch(run)
        except KeyboardInterrupt:
            click.echo(f"{run}: the run goes on. End it with: promptmill stop {run}", err=True)
    else:
        _show(run, pid, beat)


def _look(run: Path) -> tuple[int | None, dict[str, Any] | None]:
    """Who works in a run, and its last heartbeat.

    Raises:
        RunError: there is no run in this folder.
    """
    pid = is_live(run)
    if pid is None:
        read_manifest(run)
    return pid, _status(run)


def _status(run: Path) -> dict[str, Any] | None:
    found = read_status(run)
    return found if isinstance(found, dict) else None


def _show(run: Path, pid: int | None, beat: dict[str, Any] | None) -> None:
    console = Console(highlight=False)
    click.echo(_headline(run, pid, beat))
    if beat is not None and "total" in beat:
        facts = _facts(pid, beat)
        console.print(panel(facts, console.width if console.is_terminal else PLAIN_WIDTH), soft_wrap=True)


def _headline(run: Path, pid: int | None, beat: dict[str, Any] | None) -> str:
    """One line: who works, at what, and how fresh the news are."""
    stage, when = (clean(str((beat or {}).get(name, "unknown"))) for name in ("stage", "time"))
    if pid is None:
        if stage == "done":
            stopped = _stopped(beat)
            if stopped is not None:
                return f"{run}: ended early ({stopped}), last heartbeat {when}."
            return f"{run}: done ({when})."
        if (beat or {}).get("ended") == "interrupted":
            return f"{run}: was interrupted (stage {stage}, {when}); the same command goes on."
        return f"{run}: the process is gone (stage {stage}, last heartbeat {when}); the same command goes on."
    if beat is None or beat.get("pid") != pid:
        return f"{run}: process {pid} has begun and has not told yet how far it is."
    at, late = written_at(beat), ""
    if at is not None and "total" in beat and time.time() - at > LATE_S:
        late = f", silent for {time.time() - at:.0f} s"
    return f"{run}: process {pid}, stage {stage}{late}"


def _stopped(beat: dict[str, Any] | None) -> str | None:
    """Which cap ended the run before all was asked, and how much was; None where none did."""
    counts = (beat or {}).get("counts")
    for stage, made in counts.items() if isinstance(counts, dict) else ():
        if isinstance(made, dict) and "stopped" in made:
            answered = f"{made.get('completions')} of {made.get('requests')} requests"
            return clean(f"{stage}: {answered} are answered; {made['stopped']}")
    return None


def _facts(pid: int | None, beat: dict[str, Any]) -> dict[str, Any]:
    """The facts of a heartbeat that are still true: a process that is gone has no rate and no time left."""
    if pid is not None and beat.get("pid") == pid:
        return beat
    gone = {"in_flight", "width", "requests_per_s", "tokens_per_s", "eta_s", "waiting", "paused"}
    return {name: value for name, value in beat.items() if name not in gone}


def _watch(run: Path) -> None:
    """Show a run until it ends."""
    console = Console(highlight=False)
    if can_draw(console):
        with live(console) as shown:
            while (pid := is_live(run)) is not None:
                beat = _status(run)
                shown.update(_picture(run, pid, beat, console.width), refresh=True)
                time.sleep(1.0)
    else:
        due = time.monotonic()
        while (pid := is_live(run)) is not None:
            if time.monotonic() >= due:
                due += QUIET_S
                _tell(run, pid, _status(run))
            time.sleep(1.0)
    _show(run, *_look(run))


def _picture(run: Path, pid: int, beat: dict[str, Any] | None, width: int) -> Any:
    from rich.console import Group

    head = Text(_headline(run, pid, beat), no_wrap=True, overflow="ellipsis")
    if beat is None or "total" not in beat or beat.get("pid") != pid:
        return head
    return Group(head, panel(beat, width))


def _tell(run: Path, pid: int, beat: dict[str, Any] | None) -> None:
    if beat is None or "total" not in beat or beat.get("pid") != pid:
        click.echo(_headline(run, pid, beat))
    else:
        click.echo(progress_line(beat))
