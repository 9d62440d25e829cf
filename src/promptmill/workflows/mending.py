"""`recover`: what can be repaired of a run folder is, and what was lost is said.

What cannot stay moves to `RUN/damaged/`, with its place and the reason; nothing that is readable is given up. Stages
whose rows or whose memory are damaged become unfinished, so that the run's own command checks them: it selects the
prompts again from their source, and asks what has no outcome. Every file is written whole or not at all, so recovering
can be stopped at any instant and begun again, and what is whole is left alone.

Not covered: batch ledgers, recipes and exports. The first say themselves what to do; the run's own command writes the
others again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from promptmill.errors import PromptmillError, RunError
from promptmill.generate import repair
from promptmill.generate.budget import Spent
from promptmill.generate.parts import Part
from promptmill.generate.proof import Looked
from promptmill.io.locks import locked
from promptmill.run import DAMAGED, MANIFEST, SPENT, Run, holds_run, inner_runs
from promptmill.workflows import batching, stages
from promptmill.workflows.asking import remember_asked
from promptmill.workflows.options import Recipe
from promptmill.workflows.proving import Survey, check_run, refuse_live


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What was repaired.

    Attributes:
        done: what was done, a line each.
        left: what cannot be repaired here.
        lost: outcomes that are known to have been there and are not any more.
        open: requests that the next run asks.
    """

    done: list[str]
    left: list[str]
    lost: int
    open: int


def recover(
    out: Path, recipe: Recipe | None, *, workflow: str, trouble: str | None = None, dry: bool = False
) -> Mended:
    """Repair a run.

    Args:
        out: the run folder.
        recipe: what its `recipe.yaml` says.
        workflow: whose run it is, as the recipe says.
        trouble: why there is no recipe.
        dry: only say what would be done.

    Raises:
        RunError: no run is here, a process works in it, or a file cannot be read or written.
    """
    check_run(out)
    refuse_live(out)
    if dry:
        return _recover(out, recipe, workflow=workflow, trouble=trouble, dry=True)
    with locked(out):
        return _recover(out, recipe, workflow=workflow, trouble=trouble, dry=False)


def _mend_inner(path: Path, *, dry: bool) -> tuple[list[str], int]:
    """Repair a run inside a run: what was done, and how many outcomes are lost.

    Its requests follow from what the outer run found, so the next run makes them.
    """
    survey = Survey(path, None, None)
    done: list[str] = []
    if survey.bad_manifest:
        if (path / MANIFEST).exists():
            done.append(repair.move_away(path / MANIFEST, path / DAMAGED, dry=dry))
        done.append(f"{path / MANIFEST}: written anew; the next run puts the same questions together again")
        if not dry:
            Run(path, {"workflow": path.name, "seeds": {}, "versions": {}, "stages": {}}).save_manifest()
    lost = 0
    for part in survey.parts():
        looked = survey.look(part)
        done += repair.mend(looked, path / DAMAGED / f"{part.outcomes.stem}.lines", dry=dry)
        lost += _n_lost(looked)
    return done, lost


def _recover(out: Path, recipe: Recipe | None, *, workflow: str, trouble: str | None, dry: bool) -> Mended:
    survey = Survey(out, recipe, trouble)
    if survey.bad_manifest and survey.asking is None:
        raise RunError(
            f"{out}: neither {MANIFEST} nor recipe.yaml can be used ({trouble or 'it does not say who is asked'}). Put "
            "the recipe there as recipe.yaml and recover again."
        )
    done = list(_mend_manifest(survey, workflow, dry=dry))
    strangers: dict[str, Path] = {}
    short: list[Part] = []
    counts: Counter[str] = Counter()
    for part in survey.parts():
        looked = survey.look(part)
        done += repair.mend(looked, _aside(survey, part), dry=dry)
        counts["lost"] += _n_lost(looked)
        strangers |= dict.fromkeys(looked.strangers, part.outcomes)
        _count(counts, looked)
        if looked.missing:
            short.append(part)
    for part in short if strangers else ():
        done += _bring_home(survey, part, strangers, counts, dry=dry)
    done += _mend_prompts(survey, dry=dry)
    done += _mend_small(survey, counts, dry=dry)
    lost = max(0, counts["lost"])
    for inner in filter(holds_run, inner_runs(out)):
        with nullcontext() if dry else locked(inner):
            mended, more = _mend_inner(inner, dry=dry)
        done, lost = done + mended, lost + more
    return Mended(done=done, left=list(_left(survey)), lost=lost, open=counts["open"])


def _aside(survey: Survey, part: Part) -> Path:
    return survey.path / DAMAGED / f"{part.outcomes.stem}.lines"


def _n_lost(looked: Looked) -> int:
    """Outcomes that the summary counted and that are gone; without a summary, lines that cannot be read."""
    if looked.summary is not None and looked.summary.asked and looked.expected is not None:
        if looked.summary.plan == looked.part.plan:
            return max(0, looked.summary.asked - sum(key in looked.kept for key in looked.keys))
        return max(0, looked.summary.lines - len(looked.kept))
    return sum(aside.why != "answers a request again" for aside in looked.aside)


def _count(counts: Counter[str], looked: Looked) -> None:
    for line in looked.kept.values():
        counts["rows"] += 1
        counts["tokens"] += sum(line.mark.tokens)
        counts["micro cost"] += round(line.mark.cost * 1e6)
    found = looked.counts()
    counts["open"] += found["missing"]


def _mend_manifest(survey: Survey, workflow: str, *, dry: bool) -> Iterator[str]:
    """Make a new manifest of what the recipe says; every stage is unfinished."""
    if not survey.bad_manifest:
        return
    assert survey.asking is not None
    assert survey.recipe is not None
    path = survey.path / MANIFEST
    survey.run = run = Run(survey.path, {"workflow": workflow, "seeds": {}, "versions": {}, "stages": {}})
    recipe = survey.recipe
    steps = stages.steps_of(recipe.source, recipe.select)
    try:
        identity: Any = stages.source_identity(recipe.source, steps, rows_per_part=recipe.rows_per_part)
    except PromptmillError as error:
        yield f"{path}: what the prompts were made of is not known: {error}"
    else:
        run.identify("prompts", identity)
    run.identify("generate", survey.asking.identity())
    if path.exists():
        yield repair.move_away(path, survey.path / DAMAGED, dry=dry)
    yield f"{path}: written anew from recipe.yaml; the next run checks every stage"
    if dry:
        return
    for stage in run.identified:
        run.begin(stage)
    remember_asked(run, survey.asking)


def _bring_home(
    survey: Survey, part: Part, strangers: dict[str, Path], counts: Counter[str], *, dry: bool
) -> Iterator[str]:
    """Move outcomes that stand in another part to this one, which asks for them."""
    looked = survey.look(part)
    by_file: dict[Path, set[str]] = {}
    for key, path in survey.iter_misplaced(looked, strangers):
        by_file.setdefault(path, set()).add(key)
    for path, keys in by_file.items():
        source = survey.look(Part(survey.path / "prompts" / path.name, path, plan=part.plan))
        lines = [line for key, line in source.kept.items() if key in keys]
        yield f"{part.outcomes}: {len(lines)} outcomes brought from {path.name}"
        counts["open"] -= len(lines)
        counts["lost"] -= len(lines)
        if dry:
            continue
        for file in (path, path.with_suffix(".journal")):
            repair.adopt(part.outcomes, file, [line for line in lines if line.path == file])
        for key in keys:
            source.kept.pop(key, None)
        source.in_place = source.is_summed = False
        yield from repair.mend(source, _aside(survey, part), dry=dry)
    if by_file and not dry:
        yield from repair.mend(survey.look(part), _aside(survey, part), dry=dry)


def _mend_prompts(survey: Survey, *, dry: bool) -> Iterator[str]:
    """Have damaged prompts selected again: their source is read, nobody is asked."""
    run = survey.run
    if not survey.bad_prompts or not run.is_finished("prompts"):
        return
    yield f"{survey.path / 'prompts'}: are damaged; the next run selects them again from their source"
    if not dry:
        run.manifest["stages"]["prompts"]["finished"] = False
        run.save_manifest()


def _mend_small(survey: Survey, counts: Counter[str], *, dry: bool) -> Iterator[str]:
    for path in survey.bad_files:
        yield repair.move_away(path, survey.path / DAMAGED, dry=dry)
        if path.name == SPENT and not dry:
            survey.run.write_spent(
                Spent(requests=counts["rows"], tokens=counts["tokens"], cost=counts["micro cost"] / 1e6)
            )
    recipe = survey.path / "recipe.yaml"
    if recipe.is_dir():
        yield repair.move_away(recipe, survey.path / DAMAGED, dry=dry)


def _left(survey: Survey) -> Iterator[str]:
    try:
        batching.load_ledger(survey.path)
    except RunError as error:
        yield str(error)
