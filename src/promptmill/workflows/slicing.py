"""The stage `slices` of `lengths`: stored answers -> training rows, shard by shard, handed out beside the results file.

A shard is one part of the run; an engine maps `slice_shard` over them, and the files of several shards are joined. The
stage makes its files in its own folder; people find them beside `results.json` as `results_training.jsonl` and
`results_splits/train.jsonl`, so that two runs may write into one folder. What a run hands out it also takes back before
it makes the files anew: rows of other settings must not stand beside today's.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from promptmill import registry, tokens
from promptmill.config import Use
from promptmill.derive import exports, slice_files
from promptmill.derive.slices import SliceOptions
from promptmill.generate.parts import Part
from promptmill.io.targets import publish
from promptmill.registry import Counts
from promptmill.run import Run
from promptmill.workflows import asking
from promptmill.workflows.asking import Asking
from promptmill.workflows.stages import Reporter


class Cutting(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the stage needs of a recipe.

    Attributes:
        asking: who was asked what.
        options: the `slices:` section.
        tokenizer: name of the model's own tokenizer.
        results: the results file; the rows are handed out beside it.
    """

    asking: Asking
    options: SliceOptions
    tokenizer: str
    results: Path

    @property
    def stem(self) -> str:
        """What the names of the files begin with."""
        return self.results.stem


class SliceShard(msgspec.Struct, frozen=True, kw_only=True):
    """One part to cut, and where its files go; it pickles.

    Attributes:
        cutting: how.
        part: what.
        out: the folder for its files.
    """

    cutting: Cutting
    part: Part
    out: Path


def slice_shard(shard: SliceShard) -> Counts:
    """Cut every completion of one part; return the counts."""
    cutting = shard.cutting
    # equal prompts share one answer, which is one observation of a length, not two
    found = asking.iter_outcomes(cutting.asking, [shard.part])
    once = {outcome.key: (prompt, outcome) for _, prompt, _, outcome in found if outcome is not None}
    return slice_files.write_slices(
        once.values(),
        tokens.load_tokenizer(cutting.tokenizer, threads=cutting.options.threads),
        cutting.options,
        shard.out,
        stem=cutting.stem,
    )


def make_slices(run: Run, cutting: Cutting, engine: Use, *, reporter: Reporter) -> dict[str, Any]:
    """Cut every completion; write the results file and the training rows; return the counts."""
    parts = asking.parts_of(run, cutting.asking)
    run.identify("slices", _identity(cutting, parts))
    made, results = run.path / "slices", cutting.results
    counts = run.counts("slices")
    if run.is_current("slices") and stands(made, results, files=counts["files"]):
        reporter.line(f"slices: {counts['training_rows']} training rows stand in the run folder.")
        return counts
    run.begin("slices")
    run.heartbeat(stage="slices")
    _withdraw(made, results)
    shutil.rmtree(made, ignore_errors=True)
    counts = _cut(parts, cutting, run.folder("slices"), engine)
    results.parent.mkdir(parents=True, exist_ok=True)
    rows = ((index, prompt, outcome) for index, prompt, _, outcome in asking.iter_outcomes(cutting.asking, parts))
    totals = exports.write_results(
        results, rows, training_samples=counts["training_rows"], protocol=cutting.asking.options.protocol
    )
    run.finish("slices", {**counts, **totals, "files": _hand_out(made, results)})
    reporter.line(
        f"slices: {counts['tokens']} tokens of {counts['whole']} whole answers -> {counts['training_rows']} training "
        f"rows; {counts['censored']} truncated answers -> {counts['censored_rows']} censored rows."
    )
    if counts["ids_not_matching"]:
        reporter.line(
            f"slices: WARNING: the ids of {counts['ids_not_matching']} answers do not spell their text with tokenizer "
            f"{cutting.tokenizer}; their tokens were counted anew. Is it the model's own tokenizer?"
        )
    return run.counts("slices")


def _identity(cutting: Cutting, parts: list[Part]) -> dict[str, Any]:
    return {
        "slices": msgspec.to_builtins(cutting.options),
        "tokenizer": cutting.tokenizer,
        "k": cutting.asking.options.k,
        "limit": cutting.asking.limit,
        "results": str(cutting.results),
        "outcomes": asking.outcome_sizes(parts),
    }


def _cut(parts: list[Part], cutting: Cutting, made: Path, engine: Use) -> Counts:
    """Cut the parts where the engine runs them; the files of several parts are joined in order."""
    if len(parts) == 1:
        return slice_shard(SliceShard(cutting=cutting, part=parts[0], out=made))
    plain = replace(
        cutting, options=replace(cutting.options, formats=("jsonl",))
    )  # tables are made of the joined files
    folders = [made / part.outcomes.stem for part in parts]
    shards = [SliceShard(cutting=plain, part=part, out=folder) for part, folder in zip(parts, folders, strict=True)]
    for _ in registry.build("engines", engine).map(slice_shard, shards):
        pass  # the counts are read back with the files
    joined = slice_files.merge_slices(folders, cutting.options, made, stem=cutting.stem, tokenizer=cutting.tokenizer)
    for folder in folders:
        shutil.rmtree(folder)
    return joined


def published(made: Path, results: Path) -> dict[Path, Path]:
    """The files of a stage's folder, sorted, and where each is handed out."""
    found = sorted(path for path in made.rglob("*") if path.is_file())
    return {file: _target(file.relative_to(made), results) for file in found}


def may_write(results: Path) -> list[Path]:
    """Every file that the stage may hand out for this results file, the results file first."""
    inside = [path.relative_to("made") for path in slice_files.paths(Path("made"), results.stem).values()]
    inside += [path.with_suffix(".parquet") for path in inside if path.suffix == ".jsonl"]
    return [results, *(_target(path, results) for path in inside)]


def _target(inside: Path, results: Path) -> Path:
    return results.parent / (inside if len(inside.parts) == 1 else f"{results.stem}_{inside}")


def _withdraw(made: Path, results: Path) -> None:
    """Remove what was handed out beside this results file, and the results file itself.

    Only names that belong to this results file: the stage's folder may hold files made for another one, and what stands
    under their names here is somebody else's.
    """
    own = set(may_write(results))
    for path in (results, *published(made, results).values()):
        if path in own:
            path.unlink(missing_ok=True)


def _hand_out(made: Path, results: Path) -> int:
    """Hand every file out; return how many."""
    files = published(made, results)
    for file, target in files.items():
        publish(file, target)
    return len(files)


def stands(made: Path, results: Path, *, files: int) -> bool:
    """Whether the results file and all `files` that were handed out are there."""
    targets = published(made, results).values()
    return results.exists() and len(targets) == files and all(path.exists() for path in targets)
