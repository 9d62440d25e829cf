"""`verify` and `recover`: prove a run folder whole, and repair what can be repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from promptmill.cli.panel import clean
from promptmill.cli.recipes import WORKFLOWS, document_of, recipe_of
from promptmill.errors import PromptmillError

EXIT = {"whole": 0, "open": 1, "damaged": 2}


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="The proof as one JSON object.")
def verify(run_folder: str, *, as_json: bool) -> int:
    """Prove the run folder RUN whole, or name what is not.

    Exit code 0: whole. 1: not whole, and a further run settles the rest. 2: damaged, it needs promptmill recover.
    """
    from promptmill.workflows import proving

    _, recipe, trouble = _recipe_of(run_folder)
    proof = proving.verify(Path(run_folder), recipe, trouble=trouble)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(proof)).decode())
        return EXIT[proof.state]
    for found in proof.found:
        click.echo(clean(f"{found.grade:<6}  {found}"))
    failed = "".join(f", {n:,} failed ({kind})" for kind, n in proof.failed.items())
    click.echo(
        f"{proof.requests:,} requests in {proof.parts:,} parts: {proof.answered:,} answered{failed}, "
        f"{proof.missing:,} without an outcome; {proof.rows:,} rows read"
    )
    click.echo(
        {
            "whole": f"{run_folder}: is whole.",
            "open": f"{run_folder}: is not whole; the run's own command goes on and settles the rest.",
            "damaged": f"{run_folder}: is damaged. Repair it: promptmill recover {run_folder}",
        }[proof.state]
    )
    return EXIT[proof.state]


@click.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
def recover(run_folder: str, *, dry_run: bool) -> int:
    """Repair the run folder RUN, and say what was lost.

    Nothing that is readable is given up; what cannot stay moves to RUN/damaged. The run's own command then asks what
    is missing.
    """
    from promptmill.workflows import mending

    name, recipe, trouble = _recipe_of(run_folder)
    mended = mending.recover(Path(run_folder), recipe, workflow=name, trouble=trouble, dry=dry_run)
    for line in (*mended.done, *(f"cannot be repaired: {line}" for line in mended.left)):
        click.echo(clean(line))
    if not mended.done and not mended.left:
        click.echo(f"{run_folder}: nothing is to be repaired.")
    elif dry_run:
        click.echo(f"{run_folder}: nothing was changed.")
    if mended.lost:
        click.echo(f"{run_folder}: {mended.lost:,} outcomes are lost.")
    if mended.open:
        click.echo(f"{run_folder}: {mended.open:,} requests have no outcome; the run's own command asks them.")
    return 2 if mended.left else 0


def _recipe_of(run_folder: str) -> tuple[str, Any, str | None]:
    """The workflow and recipe that a run keeps; without one, why."""
    if not (Path(run_folder) / "recipe.yaml").exists():
        return next(iter(WORKFLOWS)), None, "it is missing"
    try:
        return *recipe_of(document_of(run_folder)), None
    except PromptmillError as error:
        return next(iter(WORKFLOWS)), None, str(error)
