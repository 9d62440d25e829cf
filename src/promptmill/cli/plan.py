"""`promptmill plan`: what a recipe would send, why, and what it would cost, before it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from promptmill.cli.panel import clean, duration, money
from promptmill.cli.recipes import document_of, recipe_of
from promptmill.cli.screen import Screen
from promptmill.generate.plan import Estimate, Range


@click.command()
@click.argument("given", metavar="RECIPE|RUN")
@click.option("--out", metavar="DIR", help="Run folder whose answers are reused [as the workflow would choose].")
@click.option("--pilot", type=click.IntRange(min=1), metavar="N", help="Ask N prompts for real and learn from them.")
@click.option("--limit", type=click.IntRange(min=1), help="Plan the first N prompts.")
@click.option("--set", "assignments", multiple=True, metavar="A.B=VALUE", help="Set any key of the recipe.")
@click.option("--json", "as_json", is_flag=True, help="The plan as one JSON object.")
def plan(
    given: str,
    *,
    out: str | None,
    pilot: int | None,
    limit: int | None,
    assignments: tuple[str, ...],
    as_json: bool,
) -> int:
    """Say what RECIPE would send, what it reuses and why not more, and what the rest would cost.

    Without --pilot nothing is sent and nothing is written. A pilot's answers are kept in the run folder.
    Exit code 2: a run into the folder would be refused.
    """
    from promptmill.workflows import planning
    from promptmill.workflows.asking import asking
    from promptmill.workflows.stages import default_folder

    document = document_of(given, assignments)
    _, recipe = recipe_of(document)
    asked = asking(recipe.generate, recipe.serve, limit=limit)
    folder = Path(given) if Path(given).is_dir() else default_folder(document.name, recipe.output)
    folder = Path(out) if out else folder
    basis = "the answers so far"
    if pilot is not None:
        with Screen() as screen:
            planning.run_pilot(recipe, asked, folder, count=pilot, reporter=screen)
        basis = "the pilot and the answers so far"
    found = planning.make_plan(recipe, asked, folder, basis=basis)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        for line in _lines(found):
            click.echo(clean(line))
    return 0 if found.refused is None else 2


def _lines(found: Any) -> list[str]:
    lines = [f"prompts   {found.prompts:,}", f"requests  {found.requests:,}", f"to send   {found.to_send:,}"]
    lines += [f"  {n:,} {why}" for why, n in found.why.items()]
    lines += [f"reused    {sum(found.reused.values()):,}"]
    lines += [f"  {n:,} {where}" for where, n in found.reused.items() if n]
    lines += [f"differs   {change}" for change in found.changes]
    if found.refused is not None:
        lines.append(f"refused   a run into this folder would end at once: {found.refused}")
    if found.later is not None:
        lines.append(f"later     {found.later}")
    if not found.to_send:
        return [*lines, "nothing is to be sent."]
    lines.append(f"estimate  from {found.basis}")
    return lines + (_estimate(found.estimate) if found.estimate is not None else [])


def _estimate(found: Estimate) -> list[str]:
    lines = [
        f"  prompt tokens  {_range(found.prompt_tokens, _count)}",
        f"  new tokens     {_range(found.new_tokens, _count)}",
    ]
    if found.cost is not None:
        lines.append(f"  money          {_range(found.cost, money)}")
    lines.append(f"  time           {_range(found.time_s, _seconds)}")
    return lines


def _range(value: Range, say: Any) -> str:
    return f"{say(value.mid)}  [{say(value.low)} to {say(value.high)}]"


def _seconds(value: float) -> str:
    return f"{value:.1f}s" if value < 10 else duration(value)


def _count(value: float) -> str:
    return f"{round(value):,}"
