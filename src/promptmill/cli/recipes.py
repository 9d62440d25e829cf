"""Which workflow a recipe is of: the one table of workflows, for the commands that work on a recipe of any.

A workflow is a module with its recipe's struct and `run(recipe, out, *, only, limit, reporter)`; its first stage is
`prompts`. Its own commands (`promptmill lengths ...`) are a file of their own beside this one.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from promptmill import config, registry
from promptmill.config import Document

WORKFLOWS = {
    "answers": "promptmill.workflows.answers:Answers",
    "lengths": "promptmill.workflows.lengths:Lengths",
}


def recipe_of(document: Document) -> tuple[str, Any]:
    """The workflow that a document names, and the document checked as its recipe.

    Raises:
        ConfigError: no such workflow, or something in the recipe is wrong.
    """
    name = document.tree.get("workflow")
    if name not in WORKFLOWS:
        hint = registry.did_you_mean(str(name), WORKFLOWS)
        said = "is missing." if name is None else f"{name!r} is no workflow.{hint}"
        raise document.error(("workflow",), f"{said} There are: {', '.join(WORKFLOWS)}.")
    return name, config.check(document, getattr(module_of(name), WORKFLOWS[name].partition(":")[2]))


def module_of(workflow: str) -> Any:
    """The module of a workflow."""
    return importlib.import_module(WORKFLOWS[workflow].partition(":")[0])


def document_of(given: str | Path, assignments: tuple[str, ...] = ()) -> Document:
    """A recipe file, or the recipe of a run folder, with `--set` laid over it."""
    path = Path(given)
    document = config.read_recipe(path / "recipe.yaml" if path.is_dir() else path)
    for assignment in assignments:
        config.assign(document, assignment)
    return document
