"""How a workflow opens its run folder: source and recipe are checked before, answers of another recipe are refused.

Not covered: the folder itself, its lock and manifest (see `run`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import msgspec

from promptmill.config import Use, dump
from promptmill.errors import ConfigError, DataError, RunError
from promptmill.run import Run, manifest_for, open_run, read_manifest
from promptmill.sources.rows import source_paths
from promptmill.workflows import asking as asked
from promptmill.workflows import stages
from promptmill.workflows.asking import Asking
from promptmill.workflows.options import GenerateOptions, Recipe

_FILE = re.compile(r"prompts\.files\.(\d+)\.([01]): (.*)", re.DOTALL)


def asking_of(recipe: Recipe, out: Path, *, only: Sequence[str], limit: int | None) -> Asking:
    """Who is asked. Selecting prompts needs no model, and what only reads answers takes the model that gave them."""
    known = None
    if "generate" not in only:
        known = "" if "prompts" in only else remembered_model(out)
    return asked.asking(recipe.generate, recipe.serve, limit=limit, known=known)


def remembered_model(out: Path) -> str | None:
    """The model that answered in a run, for stages that ask nobody and may not have its server."""
    known = read_manifest(out)["stages"].get("generate")
    return None if known is None else str(known["options"]["model"])


def changes_of(run: Run) -> list[str]:
    """What differs between today's recipe and the one that the answers were made by."""
    prompts = run.changed("prompts")
    if not run.options("prompts").get("select"):
        # more or fewer prompts from the beginning: each stays in its part, and its answers with it
        prompts = [change for change in prompts if not change.startswith("prompts.source.n:")]
    return [*prompts, *run.changed("generate")]


def foreign(changes: list[str], options: GenerateOptions) -> list[str]:
    """Those changes that the recipe's `reuse` does not allow for."""
    allowed = {"complete": "generate.sampling.max_tokens:", "top-up": "generate.sampling.seed:"}.get(options.reuse)
    return [change for change in changes if allowed is None or not change.startswith(allowed)]


def refuse_foreign(changes: list[str], answers: Path, options: GenerateOptions) -> None:
    """Raise unless the answers in this folder were made by today's recipe, or its `reuse` says what to do with them.

    Raises:
        RunError: they were not; names what differs.
    """
    if not any(answers.glob("part-*")):
        return
    changes = foreign(changes, options)
    if changes:
        hint = "".join(
            f" (or --generate.reuse {policy} keeps what is still valid)"
            for policy, field in (("complete", "max_tokens"), ("top-up", "seed"))
            if all(change.startswith(f"generate.sampling.{field}:") for change in changes)
        )
        differs = "; ".join(map(in_words, changes[:5]))
        raise RunError(
            f"{answers.parent}: holds answers of another recipe. What differs: {differs}. "
            f"Use another --out, or set the recipe back{hint}."
        )


def refuse_folder(recipe: Recipe, changes: list[str], out: Path) -> None:
    """Raise what a run of the recipe into this folder would, for what stands there; nothing is made.

    Raises:
        RunError: it holds other files, a run of another workflow, or answers of another recipe.
    """
    manifest_for(out, recipe.workflow)
    refuse_foreign(changes, out / "generate", recipe.generate)


def in_words(change: str) -> str:
    """A change in the words of the recipe: a file of the source is known by its name and a hash, which tells nobody."""
    found = _FILE.fullmatch(change)
    if found is None:
        return "source.path: another number of files" if change.startswith("prompts.files:") else change
    number, what, names = int(found[1]) + 1, found[2], found[3]
    return f"source.path: file {number}: {names if what == '0' else 'its content'}"


@contextmanager
def opened(
    recipe: Recipe, asking: Asking, out: Path, *, only: Sequence[str], seeds: dict[str, int] | None = None
) -> Iterator[Run]:
    """The run folder, locked, with its prompts and answers identified and the recipe kept in it.

    Args:
        recipe: what to do.
        asking: who is asked; a model of no name leaves the answers out.
        out: the folder.
        only: the stages that will run; without `prompts` those that stand are taken.
        seeds: further seeds that belong into the manifest.

    Raises:
        DataError: a file of the source cannot be read.
        RunError: the folder holds answers of another recipe, or has no prompts yet where they are needed.
    """
    steps = stages.steps_of(recipe.source, recipe.select)
    # whatever can be found wrong is found before a folder is made and before a token is paid for
    known = None if "prompts" in only else stages.remembered_prompts(out)
    if known is not None:
        _refuse_other_source(recipe.source, out, known)
    identity = stages.source_identity(recipe.source, steps, rows_per_part=recipe.rows_per_part, known=known)
    with open_run(out, workflow=recipe.workflow, seeds={**_seeds(recipe, steps), **(seeds or {})}) as folder:
        folder.identify("prompts", identity)
        if asking.model:
            folder.identify("generate", asking.identity())
        refuse_foreign(changes_of(folder), folder.path / "generate", recipe.generate)
        assert isinstance(recipe, msgspec.Struct)
        folder.save_recipe(dump(recipe))
        yield folder


def _refuse_other_source(source: Use, out: Path, remembered: Any) -> None:
    """Refuse another source where none is read: it would stand in the kept recipe and change nothing else.

    A file that is gone, moved, renamed or edited since is not another one.

    Raises:
        ConfigError: neither name nor content of the files is what the prompts of the run were made of, or another
            number of problems is wanted.
    """
    taken, wanted, known = remembered["source"].get("n"), source.get("n"), remembered["files"]
    if taken != wanted:
        raise ConfigError(
            f"source.n: the run took {taken}, the recipe says {wanted}, and this command reads no source. Set it back "
            "(--num-problems), or take the first ones only with --limit."
        )
    with suppress(DataError):
        names, contents = zip(*stages.source_files(source), strict=True) if source.get("path") else ((), ())
        if all(name not in names and content not in contents for name, content in known) and names:
            raise ConfigError(
                f"source.path: the answers in {out} are to {', '.join(name for name, _ in known)}, and this command "
                f"reads no source. Leave out {source['path']} (--input), or name another --out."
            )


def _seeds(recipe: Recipe, steps: list[Use]) -> dict[str, int]:
    seeds = {step["kind"]: step["seed"] for step in steps if "seed" in step}
    sampling = recipe.generate.sampling.seed
    return seeds if sampling is None else {**seeds, "sampling": sampling}


def refuse_overwriting(source: Use, written: set[Path], *, read: bool) -> None:
    """Refuse a recipe whose files would take the place of the files that it reads.

    Args:
        source: the `source:` section.
        written: absolute paths that the run writes.
        read: whether the source will be read, and must be there.

    Raises:
        ConfigError: they would.
        DataError: a file of the source is missing, and is to be read.
    """
    if source.get("path") is None:
        return
    with nullcontext() if read else suppress(DataError):
        for path in source_paths(source["path"], source.get("format")):
            if path.resolve() in written:
                raise ConfigError(
                    f"{path}: is read as the input and would be overwritten. Name another --output or --out."
                )
