"""`promptmill lengths ...`: the whole workflow (`run`), or one stage of it."""

from __future__ import annotations

from pathlib import Path

import click

from promptmill import config
from promptmill.cli import detach as background
from promptmill.cli.options import recipe_options
from promptmill.cli.screen import Screen
from promptmill.config import Document
from promptmill.errors import ConfigError
from promptmill.workflows import lengths as workflow
from promptmill.workflows.asking import is_short_of_answers
from promptmill.workflows.stages import default_folder


@click.group()
def lengths() -> None:
    """Prompts -> answers -> token slices with remaining tokens -> a length predictor."""


def _command(name: str, only: tuple[str, ...], text: str) -> None:
    """Add one command; they differ in the stages they run."""

    @click.option("--out", metavar="DIR", help="Run folder [runs/<recipe name>].")
    @click.option("--limit", type=click.IntRange(min=1), help="Ask only the first N prompts.")
    @click.option("--dry-run", is_flag=True, help="Count and show prompts; send and keep nothing.")
    @click.option("--detach", is_flag=True, help="Run in the background; print the process number and the log.")
    @recipe_options(workflow.Lengths, workflow.SHORT_FLAGS)
    def command(document: Document, out: str | None, limit: int | None, *, dry_run: bool, detach: bool) -> int:
        recipe = config.check(document, workflow.Lengths)
        if name in ("train", "simulate") and getattr(recipe, name) is None:
            raise ConfigError(
                f"{document.name}: has no section '{name}'. Write '{name}: {{}}' into it, or --set {name}={{}}."
            )
        folder = Path(out) if out else default_folder(document.name, recipe.output)
        if detach and dry_run:
            raise click.UsageError("--detach: does not go with --dry-run.")
        if detach:
            return background.detach(click.get_current_context().find_root().obj, folder)
        screen = Screen()
        if dry_run:
            screen.dry_run(workflow.dry_run(recipe, folder, only=only, limit=limit))
            return 0
        with screen:
            counts = workflow.run(recipe, folder, only=only, limit=limit, reporter=screen)
        screen.summary(folder, workflow.files(recipe, folder))
        return 1 if is_short_of_answers(recipe.generate, counts) else 0

    command.__doc__ = text
    lengths.add_command(click.command(name)(command))


_command("run", workflow.STAGES, "Run every stage that the recipe has.")
_command("prompts", ("prompts",), "Read the source and select prompts.")
_command("generate", ("prompts", "generate", "slices"), "Ask the model; writes the results file and the training rows.")
_command("slices", ("slices",), "Cut the stored answers into training rows; asks nobody.")
_command("train", ("train",), "Train the length predictor on the slices.")
_command("simulate", ("simulate",), "Simulate a serving queue with the predictor.")
