"""`promptmill answers ...`: the whole workflow (`run`), stages of it, and grading of files that others wrote."""

from __future__ import annotations

from pathlib import Path

import click

from promptmill.cli.figures import read_report, show_report
from promptmill.cli.screen import Screen
from promptmill.cli.stages import Stages
from promptmill.prompts.problems import KINDS, packaged
from promptmill.workflows import answers as workflow
from promptmill.workflows.reporting import SUMMARY


@click.group()
def answers() -> None:
    """Problems -> k answers each -> answers taken out, verified, scored and compared."""


_by_category = click.option("--by-category", is_flag=True, help="Show the figures of each category too.")


def _finish(screen: Screen, recipe: workflow.Answers, folder: Path, *, by_category: bool) -> None:
    files = workflow.files(recipe, folder)
    for path in files:
        if path.name.endswith(SUMMARY):
            show_report(read_report(path), by_category=by_category)
    screen.summary(folder, files)


_stages = Stages(answers, workflow, workflow.Answers, finish=_finish, extra=(_by_category,))
_stages.add("run", workflow.STAGES, "Run every stage that the recipe has.")
_stages.add("prompts", ("prompts",), "Read the problems.")
_stages.add("generate", ("prompts", "generate"), "Ask the model; grades nothing.")
_stages.add("evaluate", ("grade", "report"), "Grade the stored answers again and write the files; asks nobody.")


@answers.command()
@click.argument("folder", type=click.Path(path_type=Path))
def templates(folder: Path) -> None:
    """Copy the words that are put around a problem into FOLDER, to be edited and named in generate.templates."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        target = folder / f"{kind}.txt"
        if target.exists():
            raise click.UsageError(f"{target}: is there already. Remove it, or name another folder.")
        target.write_text(packaged(kind), encoding="utf-8")
        click.echo(f"{target}")
