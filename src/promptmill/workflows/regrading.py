"""Grading files of responses, whoever wrote them: nobody is asked.

Input are lines of the plain or the processed file of `answers` (see `derive.responses`), or of what other tools write
(see `foreign`): a problem, what is right, and the responses to it. Of a file `NAME.jsonl` come `NAME_processed.jsonl`
and `NAME_summary.json`.

Not covered: the judge, who asks a model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import replace

from promptmill.derive.responses import of_row
from promptmill.errors import ConfigError, DataError
from promptmill.evaluate.comparisons import compare
from promptmill.evaluate.estimates import Graded, summarise
from promptmill.evaluate.votes import spelled
from promptmill.io.targets import check_target
from promptmill.records import content_id
from promptmill.run import MANIFEST
from promptmill.sources.rows import Rows, stem_of
from promptmill.workflows.foreign import COLUMNS, RESPONSES, SHAPE, ResponseRows
from promptmill.workflows.grading import GradeOptions, Grader, Row
from promptmill.workflows.reporting import PROCESSED, SUMMARY, Files, Report, check_name, write_report
from promptmill.workflows.stages import Reporter

JSON_LINES = {".json", ".jsonl", ".ndjson"}
SUFFIXES = {*JSON_LINES, ".csv", ".tsv", ".parquet"}


class Regraded(msgspec.Struct, frozen=True):
    """One file that was graded.

    Attributes:
        source: the file.
        files: what was written.
        report: the figures.
    """

    source: Path
    files: Files
    report: Report


def regrade(
    source: Path, target: Path | None, options: GradeOptions, *, model: str = "", reporter: Reporter
) -> list[Regraded]:
    """Grade a file, or every file of a folder.

    Args:
        source: a file, a folder or a run; in a folder, what was written by this command is passed over.
        target: the processed file, or a folder for it; left out, beside the source.
        options: how answers are found and judged.
        model: who answered, where the rows do not say.
        reporter: is told what happens.

    Raises:
        ConfigError: the target would take the place of the source, or is one file for several; or the metric is the
            judge, who asks a model.
        DataError: a file is missing or a row is wrong; names file and line.
    """
    if options.metric["kind"] == "judge":
        raise ConfigError("metric: 'judge' asks a model, and this command asks nobody. See docs/judge.md for files.")
    sources = _sources(source)
    places = [_place(each, target, alone=not source.is_dir()) for each in sources]
    taken: dict[Path, Path] = {}
    for each, files in zip(sources, places, strict=True):
        other = taken.setdefault(files.processed, each)
        if other != each:
            raise ConfigError(f"{each}: {files.processed} would hold it and {other}. Give one of them another name.")
        if each.resolve() in {files.processed.resolve(), files.summary.resolve()}:
            raise ConfigError(f"{each}: is read as the input and would be overwritten. Name another --output.")
        check_target(files.processed)
    found = []
    with Grader(options) as grader:
        for each, files in zip(sources, places, strict=True):
            reader = ResponseRows(model)
            rows = _rows(grader, each, reader)
            report = write_report(rows, files, k=None, judge=None)
            columns = ", ".join(sorted(reader.read_from))
            reporter.line(
                f"extract: {each}: {report.responses} responses to {report.problems} problems, read from '{columns}'."
            )
            if reader.missing:
                reporter.line(f"extract: {each}: {reader.missing} responses hold no text and are left out.")
            if reader.unanswerable:
                reporter.line(
                    f"extract: {each}: {reader.unanswerable} problems do not say what is right, and are not graded. "
                    "Call the column that does answer_correct, choice_index_correct or tests."
                )
            found.append(Regraded(each, files, report))
    return found


def compare_files(given: Sequence[Path]) -> Report:
    """The figures of every model in some runs and processed files, and of each pair on the problems they share.

    Raises:
        DataError: a file is missing, not graded or named twice, an id is another problem elsewhere, there is only one
            model, or no two of them share a problem.
    """
    files = list({file.resolve(): file for each in given for file in _processed(each)}.values())
    questions: dict[str, tuple[str, str]] = {}
    named = [(file, *each) for file in files for each in _iter_graded(file, questions)]
    names = _names({(file, model) for file, model, _ in named})
    rows = [replace(row, model=names[file, model]) for file, model, row in named]
    report = Report(
        problems=len({row.problem for row in rows}),
        responses=len(rows),
        k=None,
        metrics={},
        models=summarise(rows),
        comparisons=compare(rows),
    )
    if len(report.models) < 2:
        raise DataError(
            f"{', '.join(map(str, given))}: only one model is in there. Name another run or file beside it."
        )
    if not report.comparisons:
        raise DataError(
            f"{', '.join(map(str, given))}: no problem was graded for two of these models. Compare answers to the same "
            "problems: they are known by their ids."
        )
    return report


def _names(models: set[tuple[Path, str]]) -> dict[tuple[Path, str], str]:
    """What each model of each file is called: its name, with as much of the file's as tells it from others."""
    several = Counter(model for _, model in models)
    ways: list[Callable[[Path], str]] = [_stem, lambda file: f"{file.resolve().parent.parent.name}: {_stem(file)}", str]
    names = {}
    for file, model in models:
        same = [other for other, name in models if name == model]
        told = next(way for way in ways if len({way(other) for other in same}) == len(same))
        names[file, model] = (
            model if model and several[model] == 1 else f"{model} ({told(file)})" if model else told(file)
        )
    return names


def _stem(file: Path) -> str:
    return file.stem.removesuffix("_processed")


def _processed(given: Path) -> list[Path]:
    """The processed files that a run, a folder or a file stands for."""
    if not given.is_dir():
        return [given]
    folder = given / "exports" if (given / MANIFEST).exists() else given
    found = sorted(folder.glob(f"*{PROCESSED}"))
    if not found:
        raise DataError(f"{given}: holds no graded answers (*{PROCESSED}). Grade them first (evaluate, extract).")
    return found


def _iter_graded(path: Path, questions: dict[str, tuple[str, str]]) -> Iterator[tuple[str, Graded]]:
    """Model and sample of every response of a processed file.

    Args:
        path: the file.
        questions: what is asked under each id, and where that was seen first; grows.

    Raises:
        DataError: a response is not graded, or an id stands for another problem elsewhere.
    """
    reader = ResponseRows("")
    for prompt in Rows(str(path), "auto", columns=COLUMNS, read=reader.read):
        asked = content_id([prompt.plain.split(), prompt.reference.choices if prompt.reference else ()])
        before, where = questions.setdefault(prompt.id, (asked, str(path)))
        if before != asked:
            raise DataError(
                f"{path}: {prompt.source}: problem '{prompt.id}' is another one in {where}. Compare answers to the "
                "same problems, with the same ids."
            )
        for sample, row in enumerate(prompt.meta[RESPONSES]):
            if not isinstance(row, dict) or "is_correct" not in row:
                raise DataError(f"{path}: {prompt.source}: has responses that are not graded. Grade them (extract).")
            try:
                verdict = msgspec.convert(row, _Verdict)
            except msgspec.ValidationError as error:
                raise DataError(
                    f"{path}: {prompt.source}: is not as 'extract' writes it: {error}. Grade it again (extract)."
                ) from error
            response = of_row(row, "", sample)
            model = response.model if response is not None else ""
            yield (
                model,
                Graded(
                    problem=prompt.id,
                    category=prompt.meta.get("category"),
                    model=model,
                    sample=sample,
                    value=verdict.value,
                    answer=verdict.counted,
                    truncated=None if response is None else response.truncated,
                ),
            )


class _Verdict(msgspec.Struct, frozen=True):
    """What a graded response says of its answer; files of others have less than ours."""

    is_correct: bool | None
    score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    extracted_answer: str | float | None = None
    vote: str | msgspec.UnsetType | None = msgspec.UNSET

    @property
    def value(self) -> float | None:
        """How right it is."""
        return float(self.is_correct) if self.score is None and self.is_correct is not None else self.score

    @property
    def counted(self) -> str | None:
        """What the answer counts as in a vote: by its spelling, where nobody compared the answers."""
        if self.vote is not msgspec.UNSET:
            return self.vote
        return None if self.extracted_answer is None else spelled(str(self.extracted_answer))


def _sources(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    if (source / MANIFEST).exists():
        raise DataError(f"{source}: is a run. Grade it with: promptmill answers evaluate --out {source}")
    files = [path for path in sorted(source.iterdir()) if path.is_file() and SUFFIXES.intersection(path.suffixes[-2:])]
    files = [path for path in files if not path.name.endswith((PROCESSED, SUMMARY))]
    if not files:
        raise DataError(f"{source}: holds no file of responses. Name a file, or another folder.")
    return files


def _place(source: Path, target: Path | None, *, alone: bool) -> Files:
    stem = stem_of(source.name)
    if target is not None and alone and not target.is_dir() and check_name(target).suffix.lower() in JSON_LINES:
        return Files(None, target, target.with_name(target.stem.removesuffix("_processed") + SUMMARY))
    if target is not None and target.is_file():
        raise ConfigError(f"{target}: is a file, and a folder is graded. Name a folder with --output.")
    folder = source.parent if target is None else target
    return Files(None, folder / (stem + PROCESSED), folder / (stem + SUMMARY))


def _rows(grader: Grader, path: Path, reader: ResponseRows) -> Iterator[Row]:
    """The problems of a file with their graded responses, in order; also those that got none.

    Raises:
        DataError: a row is wrong, or there are responses and none of them holds a text.
    """
    problems = Rows(str(path), "auto", columns=COLUMNS, read=reader.read)
    n_graded = 0
    for prompt, graded in grader.graded((prompt, list(reader.responses(prompt))) for prompt in reader.joined(problems)):
        n_graded += len(graded)
        yield prompt, graded
    if reader.missing and not n_graded:
        raise DataError(f"{path}: none of its {reader.missing} responses holds a text. Write {SHAPE}.")
