"""`lengths`: chat prompts -> completions -> token slices with remaining tokens, for length predictors in schedulers.

    sources -> select -> generate -> derive.slices -> train.lengths -> train.simulate

The stages are `prompts`, `generate`, `slices`, and, where the recipe has their sections, `train` and `simulate`. Each
can run alone on a run folder. Answers are paid for and are never thrown away; everything behind them is rebuilt when
its options or the answers have changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from promptmill import config, registry, tokens
from promptmill.config import Table, Use
from promptmill.derive import exports, slices
from promptmill.encode import Stored
from promptmill.errors import ConfigError, RunError
from promptmill.records import Completion
from promptmill.run import Run, open_run
from promptmill.select.pipeline import write_processed
from promptmill.train import lengths as predictor
from promptmill.train import simulate as queue
from promptmill.workflows import stages
from promptmill.workflows.stages import Asking, GenerateOptions, Positive, Reporter

STAGES = ("prompts", "generate", "slices", "train", "simulate")
SHORT_FLAGS = {
    "--input": "source.path",
    "--output": "output",
    "--server-url": "generate.endpoints.0.base_url",
    "--model": "generate.model",
    "--max-tokens": "generate.sampling.max_tokens",
    "--temperature": "generate.sampling.temperature",
    "--batch-size": "generate.concurrency",
    "--tokenizer-path": "slices.tokenizer",
    "--delay": "generate.delay_s",
}
"""The flags people use today, and the option of the recipe that each one sets."""


class Lengths(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe of `lengths`.

    Attributes:
        workflow: always `lengths`.
        source: where the prompts come from, an entry of the table `sources`.
        select: selection steps in order; left out, none for plain prompts, and language, sample, turns, dedup and outliers for conversations.
        serve: a server to start for the run and to stop after it, an entry of the table `servers`.
        generate: which model is asked, what, and how hard.
        slices: how answers are cut into training rows.
        train: train a length predictor; left out, no training.
        simulate: simulate a serving queue with the predictor; left out, no simulation.
        output: path of the results file, the training rows stand beside it; left out, exports/vllm_results.json in the run folder.
        rows_per_part: prompts in one part file.
    """  # noqa: E501 - one line per option: it is the help text

    workflow: Literal["lengths"] = "lengths"
    source: Annotated[Use, Table("sources", default="prompts")]
    select: list[Annotated[Use, Table("filters")]] | None = None
    serve: Annotated[Use, Table("servers")] | None = None
    generate: GenerateOptions = GenerateOptions()
    slices: slices.SliceOptions = slices.SliceOptions()
    train: predictor.TrainOptions | None = None
    simulate: queue.SimulateOptions | None = None
    output: str | None = None
    rows_per_part: Positive = 2000


def default_folder(recipe_name: str, recipe: Lengths) -> Path:
    """Where a run goes when nobody says: beside the results, else `runs/<recipe name>`."""
    if recipe.output is not None:
        return Path(recipe.output).with_suffix(".run")
    return Path("runs") / Path(recipe_name).stem


def run(
    recipe: Lengths, out: Path, *, only: Sequence[str] = STAGES, limit: int | None = None, reporter: Reporter
) -> dict[str, Any]:
    """Run the stages of `only` that the recipe has; return the counts of each.

    Args:
        recipe: what to do.
        out: the run folder.
        only: stages to run; the others' rows must stand where they are needed.
        limit: ask only the first so many prompts.
        reporter: is told what happens.

    Raises:
        PromptmillError: one line that says what is wrong and what to do; what was answered is kept.
    """
    began = time.monotonic()
    asking = Asking(options=recipe.generate, serve=recipe.serve, limit=limit)
    steps = stages.steps_of(recipe.source, recipe.select)
    if "generate" in only:
        asking.check()
    target = _target(recipe, out)
    with open_run(out, workflow="lengths", seeds=_seeds(recipe, steps)) as folder:
        folder.identify("prompts", stages.source_identity(recipe.source, steps))
        folder.identify("generate", asking.identity())
        stages.refuse_foreign(folder)
        folder.save_recipe(config.dump(recipe))
        counts: dict[str, Any] = {}
        if "prompts" in only:
            counts["prompts"] = stages.make_prompts(
                folder, recipe.source, steps, rows_per_part=recipe.rows_per_part, reporter=reporter
            )
            _export_prompts(folder)
        if "generate" in only:
            tokenizer = load_tokenizer(recipe, asking)  # before a token is paid for
            counts["generate"] = stages.ask(folder, asking, reporter=reporter)
        if "slices" in only:
            counts["slices"] = _slice(folder, recipe, asking, target, reporter)
        if "train" in only and recipe.train is not None:
            counts["train"] = _train(folder, recipe, target, reporter)
        if "simulate" in only and recipe.simulate is not None:
            counts["simulate"] = _simulate(folder, recipe, reporter)
        folder.heartbeat(stage="done", elapsed_s=round(time.monotonic() - began, 1), counts=counts)
    return counts
