"""Commands that run stages of a workflow: `promptmill lengths run`, `promptmill answers evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from promptmill import config
from promptmill.cli import detach as background
from promptmill.cli.options import FLAGS, recipe_options
from promptmill.cli.recipes import WORKFLOWS
from promptmill.cli.screen import Screen
from promptmill.config import Document
from promptmill.workflows.asking import is_short_of_answers
from promptmill.workflows.stages import default_folder

Finish = Callable[..., None]


class Stages:
    """A group's way to commands that differ in the stages they run.

    Args:
        group: the group of the workflow.
        workflow: its module.
        recipe: its recipe.
        finish: shows what came of it: a screen, the recipe, the folder, and the flags that `add` gave the command.
        name: what a run is called that flags alone describe.
        check: refuses a recipe that a command cannot run: its name, the document, the recipe.
    """

    def __init__(
        self,
        group: click.Group,
        workflow: Any,
        recipe: type[msgspec.Struct],
        *,
        finish: Finish,
        name: Callable[[Any], str] = lambda _: "flags",
        check: Callable[[str, Document, Any], None] | None = None,
    ) -> None:
        self._group, self._workflow, self._recipe = group, workflow, recipe
        self._finish, self._name, self._check = finish, name, check

    def add(self, name: str, only: Sequence[str], text: str, *, extra: Sequence[Callable[[Any], Any]] = ()) -> None:
        """Add one command.

        Args:
            name: of the command.
            only: the stages that it runs, where the recipe has them.
            text: its help.
            extra: decorators with further flags, which change nothing but what is shown.
        """

        @click.option("--out", metavar="DIR", help="Run folder [runs/<recipe name>].")
        @click.option("--limit", type=click.IntRange(min=1), help="Ask only the first N prompts.")
        @click.option("--dry-run", is_flag=True, help="Count and show prompts; send and keep nothing.")
        @click.option("--detach", is_flag=True, help="Run in the background; print the process number and the log.")
        @recipe_options(self._recipe, self._workflow.SHORT_FLAGS)
        def command(
            document: Document, out: str | None, limit: int | None, *, dry_run: bool, detach: bool, **shown: Any
        ) -> int:
            self._refuse_other_workflow(document)
            recipe: Any = config.check(document, self._recipe)
            if self._check is not None:
                self._check(name, document, recipe)
            called = self._name(recipe) if document.name == FLAGS else document.name
            folder = Path(out) if out else default_folder(called, recipe.output)
            if detach and dry_run:
                raise click.UsageError("--detach: does not go with --dry-run.")
            if detach:
                return background.detach(click.get_current_context().find_root().obj, folder)
            screen = Screen()
            if dry_run:
                screen.dry_run(self._workflow.dry_run(recipe, folder, only=only, limit=limit))
                return 0
            with screen:
                counts = self._workflow.run(recipe, folder, only=only, limit=limit, reporter=screen)
            self._finish(screen, recipe, folder, **shown)
            return int(any(is_short_of_answers(made, counts.get(stage)) for stage, made in recipe.asks.items()))

        command.__doc__ = text
        for decorate in extra:
            command = decorate(command)
        self._group.add_command(click.command(name)(command))

    def _refuse_other_workflow(self, document: Document) -> None:
        # before its options are looked at: those of another workflow would all be called unknown
        named = document.tree.get("workflow")
        if named != self._group.name and named in WORKFLOWS:
            raise document.error(("workflow",), f"this recipe is of {named}. Give it to promptmill {named}.")
