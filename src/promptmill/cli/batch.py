"""`promptmill batch ...`: a run's open requests as batch files, which hosted servers answer within a day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from promptmill.cli.panel import clean
from promptmill.cli.recipes import document_of, module_of, recipe_of
from promptmill.cli.screen import Screen
from promptmill.endpoints.batches import MAX_BYTES, MAX_LINES
from promptmill.errors import ConfigError, RunError
from promptmill.run import read_manifest
from promptmill.workflows import batching
from promptmill.workflows.stages import default_folder

_RUN = click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
_ENDPOINT = click.option(
    "--endpoint", type=int, metavar="N", help="Number of the endpoint in the recipe, from 0 [the first of kind openai]."
)
_MEGABYTE = 1_000_000


@click.group()
def batch() -> None:
    """Ask by batch files: write, submit, collect; the run folder then goes on as after asking live."""


@batch.command()
@click.argument("target", metavar="RUN|RECIPE", type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Run folder [runs/<recipe name>].")
@_ENDPOINT
@click.option(
    "--max-lines",
    type=click.IntRange(1, MAX_LINES),
    default=MAX_LINES,
    show_default=True,
    help="Requests in one file.",
)
@click.option(
    "--max-mb",
    type=click.FloatRange(0, MAX_BYTES / _MEGABYTE, min_open=True),
    default=MAX_BYTES / _MEGABYTE,
    show_default=True,
    help="Size of one file in millions of bytes.",
)
@click.option("--set", "assignments", multiple=True, metavar="A.B=VALUE", help="Set any key of the RECIPE.")
def write(
    target: Path,
    *,
    out: Path | None,
    endpoint: int | None,
    max_lines: int,
    max_mb: float,
    assignments: tuple[str, ...],
) -> None:
    """Write every open request of RUN into request files; of a RECIPE, select its prompts first."""
    folder, recipe = _target(target, out, assignments)
    batching.check_options(recipe.generate)
    with Screen() as screen:
        if folder != target or not _has_prompts(folder):
            module_of(recipe.workflow).run(recipe, folder, only=("prompts",), reporter=screen)
        batching.write(
            folder,
            recipe.generate,
            reporter=screen,
            endpoint=endpoint,
            max_lines=max_lines,
            max_bytes=int(max_mb * _MEGABYTE),
        )


@batch.command()
@_RUN
@_ENDPOINT
@click.option("--window", default="24h", show_default=True, help="Within which time the server is to be done.")
def submit(run_folder: Path, *, endpoint: int | None, window: str) -> None:
    """Send the request files of RUN and start their batches; called again, it goes on and sends nothing twice."""
    with Screen() as screen:
        batching.submit(run_folder, _recipe_of(run_folder).generate, reporter=screen, endpoint=endpoint, window=window)


@batch.command()
@_RUN
@click.option("--json", "as_json", is_flag=True, help="All that is known of each file, as a JSON list.")
def status(run_folder: Path, *, as_json: bool) -> None:
    """Show the request files of RUN and how far the server says their batches are; change nothing."""
    rows = batching.status(run_folder, _recipe_of(run_folder).generate)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        click.echo("no request files: every request is settled, or none was written")
    for row in rows:
        click.echo(clean(_line(row)))


@batch.command()
@_RUN
@click.option("--wait", is_flag=True, help="Go on until no batch is under way.")
@click.option(
    "--every",
    "every_s",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option(
    "--file", "results", type=click.Path(path_type=Path), help="A result file fetched by hand; asks no server."
)
def collect(run_folder: Path, *, wait: bool, every_s: float, results: Path | None) -> None:
    """Fetch and keep what the batches of RUN have answered, parts of expired and cancelled ones too."""
    options = _recipe_of(run_folder).generate
    with Screen() as screen:
        if results is not None:
            batching.collect_file(run_folder, options, results, reporter=screen)
        else:
            batching.collect(run_folder, options, reporter=screen, wait=wait, every_s=every_s)


@batch.command()
@_RUN
@click.argument("files", metavar="[FILE]...", nargs=-1)
@click.option("--give-up", is_flag=True, help="Forget the files without asking the server; write asks theirs again.")
def cancel(run_folder: Path, files: tuple[str, ...], *, give_up: bool) -> None:
    """Stop the batches of RUN, or those of the request files named; collect keeps what was done by then."""
    with Screen() as screen:
        batching.cancel(run_folder, _recipe_of(run_folder).generate, files, reporter=screen, give_up=give_up)


def _target(target: Path, out: Path | None, assignments: tuple[str, ...]) -> tuple[Path, Any]:
    """The run folder and the recipe that a RUN or a RECIPE stands for."""
    if target.is_dir():
        if out is not None and out != target:
            raise ConfigError(f"--out {out}: {target} is a run folder already. Leave one of them out.")
        if assignments:  # what follows reads the recipe that the run keeps
            raise ConfigError(f"--set: {target} keeps a recipe of its own. Give the recipe file and --out {target}.")
        return target, _recipe_of(target)
    document = document_of(target, assignments)
    _, recipe = recipe_of(document)
    return out or default_folder(document.name, recipe.output), recipe


def _recipe_of(folder: Path) -> Any:
    """The recipe that a run keeps."""
    read_manifest(folder)
    if not (folder / "recipe.yaml").is_file():
        raise RunError(f"{folder / 'recipe.yaml'}: is missing. Write it again: promptmill batch write RECIPE --out ...")
    return recipe_of(document_of(folder))[1]


def _has_prompts(folder: Path) -> bool:
    return bool(read_manifest(folder)["stages"].get("prompts", {}).get("finished"))


def _line(row: dict[str, Any]) -> str:
    """One request file, for people."""
    state = row["state"]
    parts = [row["name"], f"{row['lines']} requests", f"{state} ({row['status']})" if row["status"] else state]
    if row["batch_id"]:
        parts.append(row["batch_id"])
    if row["says"]:
        says = row["says"]
        parts.append(f"the server says {says['completed']} done, {says['failed']} failed of {says['total']}")
    if row["counts"]:
        parts.append(batching.counts_text(row["counts"]))
    parts.append(f"written {_duration(row['age_s'])} ago")
    if state == "submitted" and row["expires_in_s"]:
        parts.append(f"expires in {_duration(row['expires_in_s'])}" if row["expires_in_s"] > 0 else "past its time")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
