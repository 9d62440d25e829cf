"""`lengths`: chat prompts -> completions -> token slices with remaining tokens, for length predictors in schedulers.

    sources -> select -> generate -> derive.slices -> train.lengths -> train.simulate

The stages are `prompts`, `generate`, `slices`, and, where the recipe has their sections, `train` and `simulate`. Each
can run alone on a run folder. Answers are paid for and are never thrown away; everything behind them is rebuilt when
its options or the answers have changed.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from promptmill import registry, tokens
from promptmill import report as plots
from promptmill.config import Table, Use
from promptmill.derive import slice_files
from promptmill.derive.row_files import Located
from promptmill.derive.slices import SliceOptions
from promptmill.encode import Stored
from promptmill.errors import MissingExtra, RunError
from promptmill.io.jsonl import atomic, iter_jsonl
from promptmill.io.targets import check_target
from promptmill.records import Prompt, split_of
from promptmill.run import Run
from promptmill.select.processed import write_processed
from promptmill.train import lengths as predictor
from promptmill.train import simulate as queue
from promptmill.train.lengths import LengthRow
from promptmill.train.predictor import load_predictor
from promptmill.workflows import asking as asked
from promptmill.workflows import stages
from promptmill.workflows.asking import Asking
from promptmill.workflows.opening import asking_of, opened, refuse_overwriting
from promptmill.workflows.options import GenerateOptions, Positive
from promptmill.workflows.planning import preview
from promptmill.workflows.slicing import Cutting, make_slices, may_write, published
from promptmill.workflows.stages import Reporter

STAGES = ("prompts", "generate", "slices", "train", "simulate")
PROCESSED = "processed_dataset.json"
PLOTS = {"train": "length_predictor.png", "simulate": "simulation.png"}
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
        engine: where the shards of a stage run, an entry of the table `engines`.
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
    slices: SliceOptions = SliceOptions()
    engine: Annotated[Use, Table("engines", default="local")] = msgspec.field(default_factory=lambda: {"kind": "local"})
    train: predictor.TrainOptions | None = None
    simulate: queue.SimulateOptions | None = None
    output: str | None = None
    rows_per_part: Positive = 2000

    def __post_init__(self) -> None:
        """Check what one section says about another."""
        if self.serve is not None and self.generate.endpoints:
            raise ValueError(
                "serve: the server that it starts is asked, and no other. Take out generate.endpoints or serve."
            )
        if self.train is not None and "jsonl" not in self.slices.formats:
            raise ValueError("slices.formats: train reads the rows as JSON Lines. Name jsonl too.")
        if self.simulate is not None and self.simulate.window % self.slices.step:
            raise ValueError(
                f"simulate.window: {self.simulate.window} is no multiple of slices.step ({self.slices.step}), so rows "
                f"would be missing at the predictions. Set one of them."
            )

    @property
    def asks(self) -> dict[str, GenerateOptions]:
        """How each stage that asks a model asks it."""
        return {"generate": self.generate}

    @property
    def later(self) -> None:
        """Nobody is asked but in `generate`."""
        return


def run(
    recipe: Lengths, out: Path, *, only: Sequence[str] = STAGES, limit: int | None = None, reporter: Reporter
) -> dict[str, Any]:
    """Run the stages of `only` that the recipe has; return the counts of each.

    Args:
        recipe: what to do.
        out: the run folder.
        only: stages to run; the rows of the others must stand where they are needed.
        limit: ask only the first so many prompts.
        reporter: is told what happens.

    Raises:
        PromptmillError: one line that says what is wrong and what to do; what was answered is kept.
    """
    began = time.monotonic()
    asking = asking_of(recipe, out, only=only, limit=limit)
    _check_extras(recipe, only)
    if "generate" in only:
        asking.check()
        tokens.load_tokenizer(_tokenizer(recipe, asking))
        check_target(_results(recipe, out))
    _keep_input(recipe, out, only)
    steps = stages.steps_of(recipe.source, recipe.select)
    with opened(recipe, asking, out, only=only, seeds={"split": recipe.slices.split_seed}) as folder:
        counts: dict[str, Any] = {}
        if "prompts" in only:
            if not stages.prompts_stand(folder):
                _processed(folder.exports).unlink(missing_ok=True)
            counts["prompts"] = stages.make_prompts(
                folder,
                recipe.source,
                steps,
                rows_per_part=recipe.rows_per_part,
                reporter=reporter,
            )
            _export_prompts(folder)
        if "generate" in only:
            counts["generate"] = asked.ask(folder, asking, reporter=reporter)
        if "slices" in only:
            cutting = Cutting(
                asking=asking,
                options=recipe.slices,
                tokenizer=_tokenizer(recipe, asking),
                results=_results(recipe, out),
            )
            before = folder.fingerprint("slices") if folder.is_finished("slices") else None
            counts["slices"] = make_slices(folder, cutting, recipe.engine, reporter=reporter)
            if folder.fingerprint("slices") != before:
                _drop_learned(folder, "train", "simulate")
        if "train" in only and recipe.train is not None:
            counts["train"] = _train(folder, recipe, recipe.train, reporter)
        if "simulate" in only and recipe.simulate is not None:
            counts["simulate"] = _simulate(folder, recipe, recipe.simulate, reporter)
        folder.heartbeat(stage="done", elapsed_s=round(time.monotonic() - began, 1), counts=counts)
    return counts


def _check_extras(recipe: Lengths, only: Sequence[str]) -> None:
    """Raise before anything is asked if a later stage could not run for want of a library.

    Raises:
        MissingExtra: names what to install.
    """
    needs = [
        (stage, module, extra)
        for stage in ("train", "simulate")
        for module, extra in (("torch", "train"), ("safetensors", "train"), ("matplotlib", "plots"))
        if stage in only and getattr(recipe, stage) is not None
    ]
    for stage, module, extra in needs:
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(extra, needed_for=f"the stage '{stage}'")


def _keep_input(recipe: Lengths, out: Path, only: Sequence[str]) -> None:
    """Refuse a recipe whose files would take the place of the files that it reads; see `refuse_overwriting`."""
    written = {path.resolve() for path in (*may_write(_results(recipe, out)), out / "exports" / PROCESSED)}
    refuse_overwriting(recipe.source, written, read="prompts" in only)


def _processed(exports: Path) -> Path:
    return exports / PROCESSED


def _export_prompts(folder: Run) -> None:
    target = _processed(folder.exports)
    if not target.exists():
        parts = asked.parts_of(folder)
        write_processed(target, (prompt for part in parts for prompt in iter_jsonl(part.prompts, Prompt)))


def files(recipe: Lengths, out: Path) -> list[Path]:
    """The files people came for, those that are there."""
    results = _results(recipe, out)
    named = [_processed(out / "exports"), results, *published(out / "slices", results).values()]
    named += [*(out / "exports").glob("*.png"), out / "train" / "report.json", out / "simulate" / "report.json"]
    return sorted({path for path in named if path.exists()})


def dry_run(recipe: Lengths, out: Path, *, only: Sequence[str], limit: int | None) -> dict[str, Any]:
    """Count what each stage would do and render the first three requests; sends nothing and keeps nothing.

    Returns:
        `lines` for people and `requests`, as JSON texts.
    """
    asking = asked.asking(recipe.generate, recipe.serve, limit=limit)
    lines, shown, total = preview(recipe, asking, out)
    if isinstance(recipe.generate.sampling.max_tokens, int):
        most = total * -(-recipe.generate.sampling.max_tokens // recipe.slices.step)
        lines.append(f"slices: at most {most} rows (answers of {recipe.generate.sampling.max_tokens} tokens)")
    else:
        lines.append(f"slices: a row for every {recipe.slices.step} tokens of the answers and one at each end")
    lines += [f"{stage}: would run" for stage in ("train", "simulate") if stage in only and getattr(recipe, stage)]
    return {"lines": lines, "requests": shown}


def _results(recipe: Lengths, out: Path) -> Path:
    return Path(recipe.output) if recipe.output is not None else out / "exports" / "vllm_results.json"


def _tokenizer(recipe: Lengths, asking: Asking) -> str:
    """The tokenizer's name: the recipe's, else that of the served model, else the model's own name."""
    if recipe.slices.tokenizer is not None:
        return recipe.slices.tokenizer
    if recipe.serve is not None:
        return str(recipe.serve.get("model", asking.model))
    return asking.model


def _length_rows(folder: Run, stem: str) -> list[LengthRow]:
    """The training rows, each with its prompt and split as the index has them."""
    files = slice_files.paths(folder.path / "slices", stem)
    if not folder.is_finished("slices") or not files["training"].exists():
        raise RunError(f"{files['training']}: no slices are here yet. Run the stage 'slices' first.")
    stored = predictor.iter_length_rows(files["training"])
    return [
        msgspec.structs.replace(row, prompt_id=entry.prompt_id, sample=entry.sample, split=entry.split)
        for entry in iter_jsonl(files["index"], Located)
        for row in islice(stored, entry.rows)
    ]


def _censored_rows(folder: Run, options: SliceOptions) -> list[LengthRow]:
    """The rows of truncated answers, split by prompt as the others were."""
    return [
        msgspec.structs.replace(row, split=split_of(row.input_prompt, shares=options.shares, seed=options.split_seed))
        for path in (folder.path / "slices").glob("*_censored.jsonl")
        for row in predictor.iter_length_rows(path)
    ]


def _drop_learned(folder: Run, *names: str) -> None:
    """Remove what was learned from other rows: it must not stand beside today's. Vectors of texts stay."""
    for stage in names:
        folder.forget(stage)
        (folder.exports / PLOTS[stage]).unlink(missing_ok=True)


def _train(folder: Run, recipe: Lengths, options: predictor.TrainOptions, reporter: Reporter) -> dict[str, Any]:
    """Train the predictor of remaining tokens into `train/`, with its report and a plot."""
    folder.recall("slices")
    folder.identify("train", msgspec.to_builtins(options))
    if folder.is_current("train"):
        reporter.line("train: the predictor stands in the run folder.")
        return folder.counts("train")
    rows = _length_rows(folder, _results(recipe, folder.path).stem) + _censored_rows(folder, recipe.slices)
    _drop_learned(folder, "train", "simulate")
    folder.begin("train")
    folder.heartbeat(stage="train", rows=len(rows))
    reporter.line(f"train: {len(rows)} rows; vectors are computed once and kept.")
    made = folder.folder("train")
    encoder = registry.build("encoders", options.encoder)
    if options.freeze:  # an encoder that learns gives other vectors after every step
        encoder = Stored(encoder, made / "vectors")
    report = msgspec.to_builtins(predictor.train(rows, encoder, options, made))
    plots.plot_lengths(report, folder.exports / PLOTS["train"])
    test = report["test"]
    counts = {"mae": test["predictor"]["mae"], "baselines": {n: b["mae"] for n, b in test["baselines"].items()}}
    folder.finish("train", counts)
    reporter.line(f"train: mean absolute error {_interval(counts['mae'])} tokens on prompts never trained on;")
    for name, mae in counts["baselines"].items():
        reporter.line(f"train:   baseline {name}: {_interval(mae)}")
    return counts


def _simulate(folder: Run, recipe: Lengths, options: queue.SimulateOptions, reporter: Reporter) -> dict[str, Any]:
    """Simulate a serving queue on the answers to test prompts, into `simulate/`, with a plot."""
    folder.recall("slices")
    folder.recall("train")
    folder.identify("simulate", msgspec.to_builtins(options))
    if folder.is_current("simulate"):
        reporter.line("simulate: the result stands in the run folder.")
        return folder.counts("simulate")
    trained = folder.path / "train"
    if not folder.is_finished("train"):
        raise RunError(f"{trained}: no predictor is here yet. Run the stage 'train' first.")
    _drop_learned(folder, "simulate")
    folder.begin("simulate")
    folder.heartbeat(stage="simulate")
    model = load_predictor(trained)
    model.encoder = Stored(model.encoder, trained / "vectors")
    rows = [row for row in _length_rows(folder, _results(recipe, folder.path).stem) if row.split == "test"]
    lengths, predictions = predictor.jobs_of(rows, model, window=options.window)
    result = queue.compare(lengths, predictions, options)
    with atomic(folder.folder("simulate") / "report.json") as file:
        file.write(msgspec.json.format(msgspec.json.encode(result), indent=2))
    facts = msgspec.to_builtins(result)
    plots.plot_simulation(facts, folder.exports / PLOTS["simulate"])
    counts = {name: times["mean_s"] for name, times in facts["policies"].items()}
    folder.finish("simulate", counts)
    for name, times in facts["policies"].items():
        reporter.line(f"simulate: {name}: mean {_interval(times['mean_s'])} s, p99 {_interval(times['p99_s'])} s")
    return counts


def _interval(value: dict[str, float]) -> str:
    return f"{value['value']:.1f} [{value['low']:.1f}, {value['high']:.1f}]"
