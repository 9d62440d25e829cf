"""What graded answers say of a model: accuracy, pass@k, maj@k and shares of what went wrong, each with its interval.

Every figure is a mean over problems with a 95 % interval clustered by problem; see `intervals` for the method.

- **accuracy**: mean of a problem's graded values. It is pass@1.
- **pass@k'** for every k' up to k: that at least one of k' samples is right (value 1.0), by the unbiased estimator of
  Chen et al. (2021), "Evaluating Large Language Models Trained on Code". A problem with fewer than k' graded samples
  cannot tell pass@k' and is left out of it; `problems` says how many count.
- **maj@k**: that the answer most samples gave is right (Wang et al. 2022, "Self-Consistency Improves Chain of Thought
  Reasoning"). Of several answers with as many votes each is as likely to be taken: the value is the expected one.
- **truncated**, **unanswered**, **ungraded**: shares of all samples.

A value of None is not 0: it is counted as ungraded and stands in no other figure.

Not covered: comparing models (`comparisons`), plots.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from promptmill.errors import DataError
from promptmill.evaluate import intervals
from promptmill.evaluate.intervals import Estimate

UNCATEGORISED = "uncategorised"


class Graded(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One graded sample.

    Attributes:
        problem: id of the problem.
        category: the problem's category, where it has one.
        model: the model that answered.
        sample: sample number.
        value: 1.0 right, 0.0 wrong, or between; None where it could not be graded.
        answer: the extracted answer in a form in which equal answers are equal texts; None where there is none.
        truncated: whether the limit on tokens cut the response; None where nobody knows.
    """

    problem: str
    category: str | None = None
    model: str
    sample: int
    value: float | None
    answer: str | None = None
    truncated: bool | None = False


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one model on some problems.

    Attributes:
        problems: problems with a sample.
        samples: their samples.
        k: samples of the problem that has most.
        accuracy: mean value; None where nothing was graded.
        pass_at: by k': that at least one of k' samples is right.
        maj_at_k: that the answer of the most samples is right.
        truncated: share of samples that the limit cut; None where that is not known of all.
        unanswered: share of samples without an answer.
        ungraded: share of samples that could not be graded.
    """

    problems: int
    samples: int
    k: int
    accuracy: Estimate | None
    pass_at: dict[int, Estimate]
    maj_at_k: Estimate | None
    truncated: Estimate | None
    unanswered: Estimate | None
    ungraded: Estimate | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one model.

    Attributes:
        model: the model.
        overall: on all problems.
        by_category: on the problems of each category, by name; empty where no problem has one.
    """

    model: str
    overall: Scores
    by_category: dict[str, Scores]


Problems = dict[str, list[Graded]]


def summarise(rows: Iterable[Graded]) -> list[Summary]:
    """The figures of every model, by name; the order of the rows does not matter.

    Raises:
        DataError: a sample is there twice, a value is not in [0, 1], or a problem has two categories.
    """
    return [_summary(model, problems) for model, problems in by_model(rows).items()]


def by_model(rows: Iterable[Graded]) -> dict[str, Problems]:
    """The rows of each problem of each model, all sorted.

    Raises:
        DataError: as `summarise`.
    """
    models: dict[str, Problems] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.value is not None and not 0 <= row.value <= 1:
            raise DataError(
                f"problem {row.problem}: sample {row.sample}: the value {row.value} is not between 0 and 1."
            )
        models[row.model][row.problem].append(row)
    for model, problems in models.items():
        for problem, samples in problems.items():
            samples.sort(key=lambda row: row.sample)
            _check(model, problem, samples)
    return {model: dict(sorted(models[model].items())) for model in sorted(models)}


def pass_at(graded: int, right: int, k: int) -> float:
    """That at least one of `k` samples is right, if `right` of `graded` are: 1 - C(graded - right, k) / C(graded, k).

    Chen et al. (2021), equation 1: unbiased, as the product that does not overflow.

    Raises:
        ValueError: `k` is not between 1 and `graded`, or `right` not between 0 and `graded`.
    """
    if not (1 <= k <= graded and 0 <= right <= graded):
        raise ValueError(f"pass@{k} of {right} right among {graded} is not defined")
    if graded - right < k:
        return 1.0
    return 1.0 - float(np.prod(1.0 - k / np.arange(graded - right + 1, graded + 1)))


def majority(samples: Sequence[Graded]) -> float | None:
    """The expected value of the answer with the most votes; None where that could not be graded.

    No answer is no vote. Where no sample has an answer, the value is the mean of what was graded all the same: 0.0
    where no answer is wrong, None where no answer cannot be graded. Equal answers of two values, of which a judge
    said this and that, are two.
    """
    votes: dict[str | None, list[float | None]] = defaultdict(list)
    for row in samples:
        votes[row.answer].append(row.value)
    silent = votes.pop(None, [])
    if not votes:
        return _mean(silent)
    groups = [group for values in votes.values() for group in _by_value(values)]
    most = max(map(len, groups))
    winners = [_mean(values) for values in groups if len(values) == most]
    return None if None in winners else _mean(winners)


def _by_value(values: list[float | None]) -> list[list[float | None]]:
    """The same in groups of one value each; what was not graded belongs to the one value that the others have."""
    known = {value for value in values if value is not None}
    return [values] if len(known) <= 1 else [[value] * values.count(value) for value in sorted(known)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _check(model: str, problem: str, samples: Sequence[Graded]) -> None:
    for first, second in itertools.pairwise(samples):
        if first.sample == second.sample:
            raise DataError(
                f"problem {problem}: sample {first.sample} of model {model} is there twice. Give each sample once."
            )
        if first.category != second.category:
            raise DataError(
                f"problem {problem}: its samples have two categories, '{first.category}' and '{second.category}'. "
                "Give a problem one category."
            )


def _summary(model: str, problems: Problems) -> Summary:
    categories: dict[str, list[list[Graded]]] = defaultdict(list)
    for samples in problems.values():
        categories[samples[0].category or UNCATEGORISED].append(samples)
    if not any(samples[0].category for samples in problems.values()):
        categories.clear()
    return Summary(
        model=model,
        overall=scores(list(problems.values())),
        by_category={category: scores(categories[category]) for category in sorted(categories)},
    )


def scores(problems: Sequence[Sequence[Graded]]) -> Scores:
    """The figures of one model on some problems, given as the samples of each."""
    values = [[row.value for row in samples if row.value is not None] for samples in problems]
    graded = [found for found in values if found]
    n_graded = sum(map(len, graded))
    binary = all(value in {0.0, 1.0} for found in graded for value in found)
    votes = [(majority(samples), len(samples)) for samples in problems]
    decided = [(vote, n) for vote, n in votes if vote is not None]
    return Scores(
        problems=len(problems),
        samples=sum(map(len, problems)),
        k=max(map(len, problems), default=0),
        accuracy=intervals.mean(np.array([sum(f) / len(f) for f in graded]), samples=n_graded, binary=binary),
        pass_at=_pass_at_all(graded),
        maj_at_k=intervals.mean(
            np.array([vote for vote, _ in decided]), samples=sum(n for _, n in decided), binary=False
        ),
        truncated=_share([[row.truncated for row in samples] for samples in problems]),
        unanswered=_share([[row.answer is None for row in samples] for samples in problems]),
        ungraded=_share([[row.value is None for row in samples] for samples in problems]),
    )


def _share(problems: Sequence[Sequence[bool | None]]) -> Estimate | None:
    """The share of samples that are marked; None where one is not known."""
    if any(None in marks for marks in problems):
        return None
    shares = np.array([sum(map(bool, marks)) / len(marks) for marks in problems])
    return intervals.mean(shares, samples=sum(map(len, problems)), binary=True)


def _pass_at_all(graded: Sequence[Sequence[float]]) -> dict[int, Estimate]:
    n_samples = np.array([len(values) for values in graded], dtype=np.int64)
    n_wrong = n_samples - np.array([sum(value == 1.0 for value in values) for values in graded], dtype=np.int64)
    found: dict[int, Estimate] = {}
    none_right = np.ones(len(graded))  # that none of k samples is right, built up one draw at a time
    for k in range(1, int(n_samples.max(initial=0)) + 1):
        left = np.maximum(n_samples - k + 1, 1)
        none_right *= np.maximum(n_wrong - k + 1, 0) / left
        enough = n_samples >= k
        estimate = intervals.mean(1.0 - none_right[enough], samples=int(n_samples[enough].sum()), binary=k == 1)
        if estimate is not None:
            found[k] = estimate
    return found
