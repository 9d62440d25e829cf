"""`--detach`: the same command in the background, in a session of its own, with its words in `OUT/detached.log`.

The command waits until the background process has the run's lock, so a recipe that cannot run is told here and now.
Not covered: starting it again after the machine was; the same command goes on from where it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from promptmill.cli.panel import clean
from promptmill.errors import RunError
from promptmill.io.locks import is_live
from promptmill.run import check_folder

LOG = "detached.log"
FLAG = "--detach"
PATIENCE_S = 15.0
SETTLE_S = 1.0  # after it has the lock: a server that does not answer is found out now
TAIL_LINES = 20
TAIL_BYTES = 16384


def detach(arguments: list[str], out: Path) -> int:
    """Start `promptmill ARGUMENTS` (without `--detach`) in the background; return the exit code of this command.

    Raises:
        RunError: the folder cannot be a run folder, or another process works in it.
    """
    if (pid := is_live(out)) is not None:
        raise RunError(f"{out}: process {pid} works in this folder. Wait for it, or use another --out.")
    check_folder(out)
    path = out / LOG
    try:
        out.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            begin = log.tell()
            child = _start([each for each in arguments if each != FLAG], log.fileno())
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}. Name another folder with --out.") from error
    state = _wait(child, out)
    if child.returncode is not None:
        return _ended(child, path, begin)
    click.echo(f"PID {child.pid} {state}")
    click.echo(f"log: {path}")
    click.echo(f"watch it with: promptmill status {out} --watch")
    child.returncode = 0  # it is nobody's child from now on, and Python need not warn that it still runs
    return 0


def _start(arguments: list[str], log: int) -> subprocess.Popen[bytes]:
    # a terminal's colours are not for a file, whatever this terminal's settings ask for
    environment = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "TTY_COMPATIBLE"}}
    return subprocess.Popen(  # noqa: S603 - the command that the person has just given
        [sys.executable, "-m", "promptmill", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=environment,
    )


def _wait(child: subprocess.Popen[bytes], out: Path) -> str:
    """Wait until the child works in the folder, has ended, or the person or we have waited long enough."""
    deadline = time.monotonic() + PATIENCE_S
    settled: float | None = None
    try:
        while child.poll() is None and time.monotonic() < (settled or deadline):
            if settled is None and is_live(out) == child.pid:
                settled = time.monotonic() + SETTLE_S
            time.sleep(0.05)
        if settled is not None:
            return "works in the background"
    except KeyboardInterrupt:
        return "was started in the background; it has not opened the run folder yet"
    return f"is in the background; it has not opened the run folder within {PATIENCE_S:g} s"


def _ended(child: subprocess.Popen[bytes], path: Path, begin: int) -> int:
    """Tell what a child said that ended at once; return its exit code."""
    with path.open("rb") as file:
        file.seek(max(begin, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in lines[-TAIL_LINES:]:
        click.echo(clean(line), err=child.returncode != 0)
    if child.returncode < 0:
        click.echo(f"error: PID {child.pid} was ended by signal {-child.returncode}. Log: {path}", err=True)
        return 128 - child.returncode
    return child.returncode
