"""Targets per prompt: quantiles and mean of the answer length over its samples, censored ones included.

The quantiles are those of the Kaplan-Meier estimate of the length's distribution (Kaplan and Meier 1958, "Nonparametric
Estimation from Incomplete Observations", JASA 53), with the usual midpoint where the curve is flat at the asked height
(as `quantile.survfit` of R's `survival`; without censoring it is type 2 of Hyndman and Fan 1996). A quantile that the
samples do not identify, because the answers that would tell were cut, is null; so is the mean when the longest was cut.

Not covered: smoothing across prompts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from promptmill.records import Prompt, content_id

_HEIGHTS = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}


class LengthTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `<stem>_lengths.jsonl`.

    Attributes:
        prompt_id: the prompt.
        input_prompt: its text.
        n_samples: completions that count, censored ones included.
        n_censored: those cut by the limit.
        median: median length in tokens.
        q10: quantile 0.1 of the length.
        q25: quantile 0.25 of the length.
        q75: quantile 0.75 of the length.
        q90: quantile 0.9 of the length.
        mean: mean length in tokens.
    """

    prompt_id: str
    input_prompt: str
    n_samples: int
    n_censored: int
    median: float | None
    q10: float | None
    q25: float | None
    q75: float | None
    q90: float | None
    mean: float | None


def length_target(prompt_id: str, input_prompt: str, lengths: Sequence[int], censored: Sequence[bool]) -> LengthTarget:
    """Summarise the samples of one prompt; `censored[i]` says that answer i is at least `lengths[i]` tokens long."""
    steps = survival(lengths, censored)
    whole = not steps or steps[-1][1] > 1e-9
    return LengthTarget(
        prompt_id=prompt_id,
        input_prompt=input_prompt,
        n_samples=len(lengths),
        n_censored=sum(censored),
        mean=None if whole else _mean(steps),
        **{name: quantile(steps, height) for name, height in _HEIGHTS.items()},
    )


def survival(lengths: Sequence[int], censored: Sequence[bool]) -> list[tuple[int, float]]:
    """Return the Kaplan-Meier steps `(length, share of answers that are longer)`, one for each length seen to end.

    An answer cut at the length at which another ended counts as longer (the usual order of ties).
    """
    ended = sorted(length for length, cut in zip(lengths, censored, strict=True) if not cut)
    above = 1.0
    steps = []
    for length in dict.fromkeys(ended):
        at_risk = sum(other >= length for other in lengths)
        above *= 1 - ended.count(length) / at_risk
        steps.append((length, above))
    return steps


def quantile(steps: Sequence[tuple[int, float]], height: float) -> float | None:
    """Return the length that a share `height` of the answers do not exceed, or `None` if it is not identified."""
    for number, (length, above) in enumerate(steps):
        if abs(above - (1 - height)) < 1e-9 and above > 1e-9:
            return (length + steps[number + 1][0]) / 2 if number + 1 < len(steps) else None
        if above < 1 - height:
            return float(length)
    return None


def _mean(steps: Sequence[tuple[int, float]]) -> float:
    shares = [1.0, *(above for _, above in steps)]
    return sum(length * (shares[number] - shares[number + 1]) for number, (length, _) in enumerate(steps))


class Observed:
    """The lengths of all completions, on disk until every sample of a prompt is known.

    Samples come in the order the server finished them, so those of one prompt are not together; DuckDB groups them.
    The prompts' texts wait in a file of their own and are read back one by one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=".lengths-", dir=folder)
        self._lengths = (Path(self._folder.name) / "lengths.jsonl").open("wb")
        self._texts = (Path(self._folder.name) / "texts").open("w+b")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lengths.close()
        self._texts.close()
        self._folder.cleanup()

    def add(self, prompt: Prompt, sample: int, tokens: int, *, censored: bool) -> None:
        """Take note of one completion's length.

        A prompt is known by id and text, since data sets use ids twice; where a prompt stands twice its answers do too,
        and count once.
        """
        text = prompt.plain.encode()
        row = _Observation(prompt.id, content_id(prompt.plain), sample, tokens, censored, self._texts.tell(), len(text))
        self._texts.write(text)
        self._lengths.write(msgspec.json.encode(row) + b"\n")

    def targets(self) -> Iterator[LengthTarget]:
        """Yield the target of each prompt, in the order in which the prompts came first."""
        import duckdb

        self._lengths.flush()
        if not self._lengths.tell():
            return
        with duckdb.connect(config={"memory_limit": "512MB", "temp_directory": self._folder.name}) as database:
            rows = database.execute(
                "SELECT prompt_id, list(tokens), list(censored), min(place) FROM (SELECT prompt_id, content, "
                "arg_min(tokens, start) AS tokens, arg_min(censored, start) AS censored, "
                "min({start: start, size: size}) AS place FROM read_json(?, format='newline_delimited', "
                "columns={prompt_id: 'VARCHAR', content: 'VARCHAR', sample: 'BIGINT', tokens: 'BIGINT', "
                "censored: 'BOOLEAN', start: 'BIGINT', size: 'BIGINT'}) GROUP BY prompt_id, content, sample) "
                "GROUP BY prompt_id, content ORDER BY min(place), prompt_id",
                [self._lengths.name],
            )
            while batch := rows.fetchmany(1000):
                for prompt_id, lengths, censored, text in batch:
                    self._texts.seek(text["start"])
                    yield length_target(prompt_id, self._texts.read(text["size"]).decode(), lengths, censored)


class _Observation(msgspec.Struct, frozen=True):
    prompt_id: str
    content: str
    sample: int
    tokens: int
    censored: bool
    start: int
    size: int
