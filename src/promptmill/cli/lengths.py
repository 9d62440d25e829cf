"""`promptmill lengths ...`: the whole workflow (`run`), or one stage of it."""

from __future__ import annotations

from pathlib import Path

import click

from promptmill.cli.screen import Screen
from promptmill.cli.stages import Stages
from promptmill.config import Document
from promptmill.errors import ConfigError
from promptmill.workflows import lengths as workflow


@click.group()
def lengths() -> None:
    """Prompts -> answers -> token slices with remaining tokens -> a length predictor."""


def _check(name: str, document: Document, recipe: workflow.Lengths) -> None:
    if name in ("train", "simulate") and getattr(recipe, name) is None:
        raise ConfigError(
            f"{document.name}: has no section '{name}'. Write '{name}: {{}}' into it, or --set {name}={{}}."
        )


def _finish(screen: Screen, recipe: workflow.Lengths, folder: Path) -> None:
    screen.summary(folder, workflow.files(recipe, folder))


_stages = Stages(lengths, workflow, workflow.Lengths, finish=_finish, check=_check)
_stages.add("run", workflow.STAGES, "Run every stage that the recipe has.")
_stages.add("prompts", ("prompts",), "Read the source and select prompts.")
_stages.add(
    "generate", ("prompts", "generate", "slices"), "Ask the model; writes the results file and the training rows."
)
_stages.add("slices", ("slices",), "Cut the stored answers into training rows; asks nobody.")
_stages.add("train", ("train",), "Train the length predictor on the slices.")
_stages.add("simulate", ("simulate",), "Simulate a serving queue with the predictor.")
