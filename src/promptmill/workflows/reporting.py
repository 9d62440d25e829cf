"""The stage `report` of `answers`: the files people came for, and the figures.

    NAME.jsonl             problems with their responses, as other tools read them
    NAME_processed.jsonl   the same with every answer taken out and graded
    NAME_summary.json      accuracy, pass@k, maj@k and more, each with its interval; comparisons where there are models

Nothing is asked and nothing is graded here. The same is made of a file of responses, whoever wrote it (`regrading`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from promptmill.derive.responses import ProblemRow, Response, graded_row, plain_row, vote_of
from promptmill.errors import ConfigError
from promptmill.evaluate.comparisons import Comparison, compare
from promptmill.evaluate.estimates import Graded, Summary, summarise
from promptmill.io.jsonl import atomic
from promptmill.records import Prompt, Score
from promptmill.workflows.grading import Row

PROCESSED, SUMMARY = "_processed.jsonl", "_summary.json"
_encode = msgspec.json.Encoder().encode


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the summary file holds.

    Attributes:
        problems: how many there are.
        responses: how many were given to them.
        k: responses that each problem was to have; None where nobody knows.
        metrics: how many responses each metric judged.
        models: the figures of each model.
        comparisons: each pair of models on the problems that both answered.
        judge: who judged what the rules could not settle, as `model` and `prompt`; None without a judge.
    """

    problems: int
    responses: int
    k: int | None
    metrics: dict[str, int]
    models: list[Summary]
    comparisons: list[Comparison]
    judge: dict[str, Any] | None = None


class Files(NamedTuple):
    """Where the three files go; `plain` is None where it is the input.

    Attributes:
        plain: problems with their responses.
        processed: the same, graded.
        summary: the figures.
    """

    plain: Path | None
    processed: Path
    summary: Path


TABLES = {".csv", ".tsv", ".parquet", ".gz", ".zst", ".txt", ".xlsx"}


def check_name(path: Path) -> Path:
    """The same path, if it is a name for JSON Lines.

    Raises:
        ConfigError: its ending says that it is something else.
    """
    if path.suffix.lower() in TABLES:
        raise ConfigError(f"{path}: JSON Lines are written, and this name says otherwise. Let it end in .jsonl.")
    return path


def files_of(plain: Path) -> Files:
    """The three files beside one another, named after the first.

    Raises:
        ConfigError: the name is one of another format.
    """
    check_name(plain)
    return Files(plain, plain.with_name(plain.stem + PROCESSED), plain.with_name(plain.stem + SUMMARY))


def write_report(rows: Iterable[Row], files: Files, *, k: int | None, judge: dict[str, Any] | None) -> Report:
    """Write the files, each whole or not at all, and return the figures.

    Raises:
        DataError: the disk is full or a path cannot be written.
    """
    seen = _Seen()
    files.processed.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        plain = stack.enter_context(atomic(files.plain)) if files.plain is not None else None
        processed = stack.enter_context(atomic(files.processed))
        for prompt, graded in seen.note(rows):
            if plain is not None:
                plain.write(_line(plain_row(prompt, (response for response, _ in graded))))
            processed.write(_line(graded_row(prompt, graded, judge or {})))
    report = seen.report(k, judge)
    with atomic(files.summary) as file:
        file.write(msgspec.json.format(_encode(report), indent=2) + b"\n")
    return report


def _line(row: ProblemRow) -> bytes:
    return _encode(row) + b"\n"


class _Seen:
    """What was graded, as rows for the figures."""

    def __init__(self) -> None:
        self._graded: list[Graded] = []
        self._problems = 0
        self._metrics: dict[str, int] = {}

    def note(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows on and keep what the figures need of them."""
        for prompt, graded in rows:
            self._problems += 1
            for response, score in graded:
                self._metrics[score.metric] = self._metrics.get(score.metric, 0) + 1
                self._graded.append(graded_of(prompt, response, score))
            yield prompt, graded

    def report(self, k: int | None, judge: dict[str, Any] | None) -> Report:
        """The figures."""
        models = summarise(self._graded)
        return Report(
            problems=self._problems,
            responses=len(self._graded),
            k=k,
            metrics=self._metrics,
            models=models,
            comparisons=compare(self._graded) if len(models) > 1 else [],
            judge=judge,
        )


def graded_of(prompt: Prompt, response: Response, score: Score) -> Graded:
    """One sample as the figures want it."""
    return Graded(
        problem=prompt.id,
        category=prompt.meta.get("category"),
        model=response.model,
        sample=response.sample,
        value=score.value,
        answer=vote_of(score),
        truncated=response.truncated,
    )
