"""`promptmill answers ...`: the whole workflow (`run`), stages of it, and grading of files that others wrote."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from promptmill import config
from promptmill.cli.figures import read_report, show_report
from promptmill.cli.screen import Screen, size
from promptmill.cli.stages import Stages
from promptmill.prompts.problems import KINDS, packaged
from promptmill.workflows import answers as workflow
from promptmill.workflows.grading import GradeOptions
from promptmill.workflows.reporting import SUMMARY


@click.group()
def answers() -> None:
    """Problems -> k answers each -> answers taken out, verified, scored and compared."""


_by_category = click.option("--by-category", is_flag=True, help="Show the figures of each category too.")


def _finish(screen: Screen, recipe: workflow.Answers, folder: Path, *, by_category: bool | None = None) -> None:
    files = workflow.files(recipe, folder)
    if by_category is not None:  # a command without this flag made no figures: those that stand are old
        for path in files:
            if path.name.endswith(SUMMARY):
                show_report(read_report(path), by_category=by_category)
    screen.summary(folder, files)


_stages = Stages(answers, workflow, workflow.Answers, finish=_finish, name=workflow.name_of)
_stages.add("run", workflow.STAGES, "Run every stage that the recipe has.", extra=(_by_category,))
_stages.add("prompts", ("prompts",), "Read the problems.")
_stages.add("generate", ("prompts", "generate"), "Ask the model; grades nothing.")
_stages.add("evaluate", ("grade", "report"), "Grade the stored answers again; asks nobody.", extra=(_by_category,))


@answers.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def templates(folder: Path) -> None:
    """Copy the words around a problem into FOLDER.

    Edit the files there, and name them in the recipe under generate.templates.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        target = folder / f"{kind}.txt"
        if target.exists():
            raise click.UsageError(f"{target}: is there already. Remove it, or name another folder.")
        target.write_text(packaged(kind), encoding="utf-8")
        click.echo(f"{target}")


@answers.command()
@click.option("--input", "source", required=True, type=click.Path(path_type=Path), help="File or folder of responses.")
@click.option(
    "--output", "target", type=click.Path(path_type=Path), help="The graded file, or a folder [beside the input]."
)
@click.option("--metric", help="A metric for every row [chosen from the row].")
@click.option(
    "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="An option of grading: code.timeout_s=5."
)
@click.option("--model", default="", help="Who answered, where the rows do not say.")
@_by_category
def extract(
    *,
    source: Path,
    target: Path | None,
    metric: str | None,
    assignments: tuple[str, ...],
    model: str,
    by_category: bool,
) -> None:
    """Grade files of responses that other tools wrote.

    Takes the answer out of each response, verifies it, and writes NAME_processed.jsonl and NAME_summary.json; asks
    nobody. Files are JSON, JSON Lines, CSV or Parquet.
    """
    from promptmill.workflows.regrading import regrade

    document = config.Document({}, {}, "extract")
    if metric is not None:
        config.override(document, "metric", metric, origin="--metric")
    for assignment in assignments:
        config.assign(document, assignment)
    options = config.check(document, GradeOptions)
    for graded in regrade(source, target, options, model=model, reporter=Screen()):
        show_report(graded.report, by_category=by_category)
        for path in graded.files:
            if path is not None:
                click.echo(f"  {path}  ({size(path)})")


@answers.command()
@click.argument("given", metavar="RUN|FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The figures as one JSON object.")
@_by_category
def compare(given: tuple[Path, ...], *, as_json: bool, by_category: bool) -> None:
    """Compare two or more models on the same problems.

    Give run folders, or processed files.
    """
    from promptmill.workflows.regrading import compare_files

    report = compare_files(given)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        show_report(report, by_category=by_category)
