"""`answers`: problems -> k responses each -> answers taken out -> verdicts -> accuracy with intervals.

    sources.problems -> prompts (choice, open or code) -> x k -> generate -> derive.answers -> evaluate -> unsettled
    -> evaluate.judge -> generate -> report

The stages are `prompts`, `generate`, `grade`, `judge` where the recipe has a judge, and `report`. Responses are paid
for and never thrown away; everything behind them is made again when its rules or the responses have changed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from promptmill.config import Table, Use
from promptmill.io.jsonl import iter_jsonl
from promptmill.io.targets import check_target
from promptmill.records import Prompt, Score, content_id
from promptmill.run import Run
from promptmill.sources.rows import stem_of
from promptmill.workflows import asking as asked
from promptmill.workflows import attempts, grading, stages
from promptmill.workflows.asking import Asking, outcome_sizes, parts_of
from promptmill.workflows.attempts import Usable
from promptmill.workflows.grading import GradeOptions, Grader, Row
from promptmill.workflows.judging import Bench, Judge, unsettled
from promptmill.workflows.opening import asking_of, opened, refuse_overwriting, remembered_model
from promptmill.workflows.options import GenerateOptions, Positive, ProblemGenerate
from promptmill.workflows.planning import preview
from promptmill.workflows.reporting import Files, files_of, write_report
from promptmill.workflows.stages import Reporter

STAGES = ("prompts", "generate", "grade", "judge", "report")
SHORT_FLAGS = {
    "--input": "source.path",
    "--num-problems": "source.n",
    "--output": "output",
    "--model": "generate.model",
    "--api": "generate.endpoints.0.base_url",
    "--api-key-env": "generate.endpoints.0.api_key_env",
    "--k-responses": "generate.k",
    "--temperature": "generate.sampling.temperature",
    "--max-tokens": "generate.sampling.max_tokens",
    "--stop": "generate.sampling.stop",
    "--max-attempts": "generate.max_attempts",
    "--max-concurrent": "generate.concurrency",
    "--metric": "grade.metric",
}
"""The flags people use today, and the option of the recipe that each one sets."""


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """The recipe of `answers`.

    Attributes:
        workflow: always `answers`.
        source: where the problems come from, an entry of the table `sources`.
        select: selection steps in order; left out, none.
        serve: a server to start for the run and to stop after it, an entry of the table `servers`.
        generate: which model is asked, what, and how hard.
        grade: how answers are found and judged.
        judge: a model that is asked about what the rules cannot settle; left out, nobody is.
        output: path of the responses file, the graded ones and the summary stand beside it; left out, exports/MODEL_DATASET.jsonl in the run folder.
        rows_per_part: problems in one part file.
    """  # noqa: E501 - one line per option: it is the help text

    workflow: Literal["answers"] = "answers"
    source: Annotated[Use, Table("sources", default="problems")]
    select: list[Annotated[Use, Table("filters")]] | None = []
    serve: Annotated[Use, Table("servers")] | None = None
    generate: ProblemGenerate = ProblemGenerate()
    grade: GradeOptions = GradeOptions()
    judge: Judge | None = None
    output: str | None = None
    rows_per_part: Positive = 2000

    def __post_init__(self) -> None:
        """Check what one section says about another."""
        if self.serve is not None and self.generate.endpoints:
            raise ValueError(
                "serve: the server that it starts is asked, and no other. Take out generate.endpoints or serve."
            )
        if self.grade.metric["kind"] == "judge" and self.judge is None:
            raise ValueError("grade.metric: 'judge' needs to know whom to ask. Write a section judge, with generate.")

    @property
    def asks(self) -> dict[str, GenerateOptions]:
        """How each stage that asks a model asks it."""
        return {"generate": self.generate} | ({"judge": self.judge.generate} if self.judge is not None else {})

    @property
    def later(self) -> str | None:
        """Whom the judge asks depends on the answers."""
        if self.judge is None:
            return None
        who = self.judge.generate.model or "the judge"
        return (
            f"{who} is asked about answers that the rules leave open; how many, and what that costs, is not in this "
            "plan (judge.generate.budget caps it)"
        )


def run(
    recipe: Answers, out: Path, *, only: Sequence[str] = STAGES, limit: int | None = None, reporter: Reporter
) -> dict[str, Any]:
    """Run the stages of `only` that the recipe has; return the counts of each.

    Args:
        recipe: what to do.
        out: the run folder; made, or gone on with.
        only: names of the stages to run.
        limit: ask only the first so many problems.
        reporter: is told what happens.

    Raises:
        PromptmillError: one line that says what is wrong and what to do; what was answered is kept.
    """
    began = time.monotonic()
    asking = asking_of(recipe, out, only=only, limit=limit)
    results = _results(recipe, out, asking)
    bench = None if recipe.judge is None else Bench(out, recipe.judge)
    if "generate" in only:
        _check(asking, results)
    if "judge" in only and bench is not None:
        bench.asking().check()
    refuse_overwriting(recipe.source, {path.resolve() for path in results if path}, read="prompts" in only)
    counts: dict[str, Any] = {}
    with opened(recipe, asking, out, only=only) as folder, Grader(recipe.grade) as grader:
        usable = grading.usable_of(recipe.generate, grader)
        if "prompts" in only:
            steps = stages.steps_of(recipe.source, recipe.select)
            counts["prompts"] = stages.make_prompts(
                folder, recipe.source, steps, rows_per_part=recipe.rows_per_part, reporter=reporter
            )
        if "generate" in only and "grade" in only:
            grading.check(parts_of(folder, asking), grader)
        if "generate" in only:
            counts["generate"], asking = _ask(folder, recipe, asking, usable, reporter=reporter)
        elif set(only) - {"prompts"}:
            asking = _with_further(folder, recipe, asking, usable)
        if "grade" in only:
            counts["grade"] = grading.make_scores(
                folder,
                asking,
                grader,
                usable,
                rule=grading.rule_of(recipe.generate, recipe.grade),
                reporter=reporter,
            )
        if "judge" in only and bench is not None:
            counts["judge"] = _judge(folder, asking, bench, reporter)
        if "report" in only:
            rows = _Rows(asking, bench, usable)
            counts["report"] = _report(folder, rows, results, reporter)
        folder.heartbeat(stage="done", elapsed_s=round(time.monotonic() - began, 1), counts=counts)
    return counts


def _check(asking: Asking, results: Files) -> None:
    """Find out what can be wrong before anything is asked."""
    asking.check()
    asking.identity()  # reads the templates
    for path in filter(None, results):
        check_target(path)


def _with_further(folder: Run, recipe: Answers, asking: Asking, usable: Usable) -> Asking:
    return attempts.further(
        folder,
        asking,
        usable,
        max_attempts=recipe.generate.max_attempts,
        rule=grading.rule_of(recipe.generate, recipe.grade),
    )


def _ask(
    folder: Run, recipe: Answers, asking: Asking, usable: Usable, *, reporter: Reporter
) -> tuple[dict[str, Any], Asking]:
    """Ask until every problem has its k answers, or its attempts are used up."""
    asking = _with_further(folder, recipe, asking, usable)
    while True:
        counts = asked.ask(folder, asking, reporter=reporter)
        following = _with_further(folder, recipe, asking, usable)
        if "stopped" in counts or following.further == asking.further:
            return counts, asking
        more = sum(_n_further(following).values()) - sum(_n_further(asking).values())
        reporter.line(
            f"generate: {more} answers are of no use ({', '.join(recipe.generate.unusable)}); as many further samples "
            f"are asked, up to {recipe.generate.max_attempts} attempts."
        )
        asking = following


def _n_further(asking: Asking) -> dict[str, int]:
    return {part: sum(more.values()) for part, more in asking.further.items()}


def _judge(folder: Run, asking: Asking, bench: Bench, reporter: Reporter) -> dict[str, Any]:
    folder.heartbeat(stage="judge")
    counts = bench.ask(
        unsettled(folder, parts_of(folder, asking), bench),
        reporter=reporter,
        beat=lambda facts: folder.heartbeat(stage="judge", **facts),
    )
    reporter.line(f"judge: {counts['asked']} different answers that the rules left open were put before the judge.")
    if counts.get("missing"):
        reporter.line(f"judge: not asked: {counts['missing']} of them; they stay as the rules left them.")
    silent = sum(counts.get("failures", {}).values())
    if silent:
        reporter.line(
            f"judge: {silent} of them got no verdict, for their requests failed, and stay as the rules left them. "
            "Requests that were refused are asked again with judge.generate.retry_refused."
        )
    return counts


class _Rows:
    """The problems of a run with their responses and scores.

    Args:
        asking: who was asked.
        bench: the judge, if there is one.
        usable: whether an answer can be used.
    """

    def __init__(self, asking: Asking, bench: Bench | None, usable: Usable) -> None:
        self.asking, self.bench, self._usable = asking, bench, usable
        self.verdicts = {} if bench is None else bench.verdicts()

    def of(self, folder: Run) -> Iterator[Row]:
        """The problems, in order."""
        for part in parts_of(folder, self.asking):
            scores = {(each.prompt_id, each.key): each for each in iter_jsonl(grading.scores_of(folder, part), Score)}
            for prompt, responses in grading.iter_chosen(part, self.asking, self._usable):
                yield prompt, [(said, self._judged(prompt, scores[prompt.id, said.key])) for said in responses]

    def _judged(self, prompt: Prompt, score: Score) -> Score:
        """The score with the judge's verdict, if he was asked about it."""
        put = None if self.bench is None else self.bench.prompt(prompt, score)
        return score if put is None or put.id not in self.verdicts else replace(score, judged=self.verdicts[put.id])


def _report(folder: Run, rows: _Rows, results: Files, reporter: Reporter) -> dict[str, Any]:
    folder.recall("grade")
    identity = {
        "results": str(results.plain),
        "limit": rows.asking.limit,
        "outcomes": outcome_sizes(parts_of(folder, rows.asking)),
        "verdicts": content_id(rows.verdicts),
        "judge": None if rows.bench is None else rows.bench.facts(),
    }
    folder.identify("report", identity)
    if folder.is_current("report") and folder.counts("report").get("bytes") == _sizes(results):
        reporter.line("report: the files stand.")
        return folder.counts("report")
    folder.begin("report")
    folder.heartbeat(stage="report")
    judge = None if rows.bench is None else rows.bench.facts()
    report = write_report(rows.of(folder), results, k=rows.asking.options.k, judge=judge)
    counts = {"problems": report.problems, "responses": report.responses, "files": len(results)}
    folder.finish("report", {**counts, "bytes": _sizes(results)})
    return folder.counts("report")


def _sizes(results: Files) -> list[int | None]:
    """The sizes of the files: one that another command wrote, or that was cut, is written again."""
    return [path.stat().st_size if path is not None and path.is_file() else None for path in results]


def files(recipe: Answers, out: Path) -> list[Path]:
    """The files people came for, those that are there."""
    return [path for path in _results(recipe, out, None) if path is not None and path.exists()]


def dry_run(recipe: Answers, out: Path, *, only: Sequence[str], limit: int | None) -> dict[str, Any]:
    """Count what each stage would do and render the first three requests; sends nothing and keeps nothing.

    Returns:
        `lines` for people and `requests`, as JSON texts.
    """
    asking = asked.asking(recipe.generate, recipe.serve, limit=limit)
    lines, shown, total = preview(recipe, asking, out)
    skipped = {"prompts", "generate"} | (set() if recipe.judge is not None else {"judge"})
    lines += [f"{stage}: would run" for stage in only if stage not in skipped]
    return {"lines": lines, "requests": shown, "total": total}


def _results(recipe: Answers, out: Path, asking: Asking | None) -> Files:
    """Where the results go: what the recipe says, else named after the model and the data."""
    if recipe.output is not None:
        return files_of(Path(recipe.output))
    model = asking.model if asking is not None else recipe.generate.model or remembered_model(out)
    return files_of(out / "exports" / f"{name_of(recipe, model)}.jsonl")


def name_of(recipe: Answers, model: str | None = None) -> str:
    """`MODEL_DATASET`, as part of a file's name."""
    served = recipe.serve.get("model") if recipe.serve is not None else None
    path = recipe.source.get("path") or recipe.source.get("dataset") or recipe.source["kind"]
    first = path[0] if isinstance(path, list) else path
    names = (model or recipe.generate.model or str(served or "model"), stem_of(Path(str(first)).name))
    return "_".join("".join(c if c.isalnum() or c in "-." else "-" for c in name) for name in names)
