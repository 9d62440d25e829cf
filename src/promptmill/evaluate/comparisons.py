"""Two or more models on the same problems, and a judge beside the rules.

Models are compared in pairs over the problems that both were graded on: what is hard for one is hard for the other, so
the difference of a problem varies less than each model does (Miller 2024, "Adding Error Bars to Evals", section 4.2).
The p-value is that of a permutation test: if the two were alike, each problem's difference could as well have the other
sign (Fisher 1935; Dror et al. 2018, "The Hitchhiker's Guide to Testing Statistical Significance in NLP"). With several
pairs, Holm's (1979) correction keeps the chance of any false claim at 5 %.

Not covered: models on different problems; ranking by paired preferences.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from promptmill.evaluate import intervals
from promptmill.evaluate.estimates import Graded, Problems, by_model
from promptmill.evaluate.intervals import Estimate

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 15  # problems that differ: 32,768 patterns of signs
DRAWS = 20_000
_ROUNDING = 1e-9


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two models on the problems that both were graded on.

    Attributes:
        first: one model.
        second: the other.
        difference: accuracy of `first` minus that of `second`, with its paired interval.
        wins: problems on which `first` is better.
        ties: problems on which both are as good.
        losses: problems on which `second` is better.
        p_value: chance of a difference at least as large if the models were alike.
        p_holm: the same, corrected for the number of pairs.
        left_out: problems that only one of them was graded on.
    """

    first: str
    second: str
    difference: Estimate
    wins: int
    ties: int
    losses: int
    p_value: float
    p_holm: float
    left_out: int


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Two graders on the same answers.

    Attributes:
        agreement: share of answers on which both say the same, with its interval.
        kappa: Cohen's kappa: 0 as much as chance would, 1 always; None where chance alone would agree always.
        both_right: both say right.
        only_first: only the first says right.
        only_second: only the second says right.
        both_wrong: both say wrong.
        unsettled: answers that one of them could not settle; they count in nothing else.
    """

    agreement: Estimate | None
    kappa: float | None
    both_right: int
    only_first: int
    only_second: int
    both_wrong: int
    unsettled: int


def compare(rows: Iterable[Graded], *, seed: int = 0) -> list[Comparison]:
    """Compare every pair of models; neither the order of the rows nor that of the models matters.

    Args:
        rows: graded samples of all models.
        seed: of the permutation test, where it has to draw.

    Raises:
        DataError: as `estimates.summarise`.
    """
    models = by_model(rows)
    found = [_pair(a, b, models[a], models[b], seed=seed) for a, b in itertools.combinations(models, 2)]
    pairs = [one for one in found if one is not None]
    corrected = holm([one.p_value for one in pairs])
    return [msgspec.structs.replace(one, p_holm=p) for one, p in zip(pairs, corrected, strict=True)]


def sign_flip(differences: Sequence[float] | Floats, *, seed: int = 0) -> float:
    """Two-sided p-value of the sum of differences when each could have the other sign.

    Exact up to 15 differences that are not 0, and where all have one size, as with k = 1 (McNemar's exact test). Else
    20,000 draws, with the observed one among them, so that it is never 0.
    """
    sizes = np.abs(np.asarray(differences, dtype=np.float64))
    observed = abs(float(np.sum(differences)))
    sizes = sizes[sizes > _ROUNDING]
    if len(sizes) == 0:
        return 1.0
    if len(sizes) <= EXACT_UP_TO:
        patterns = (np.arange(2 ** len(sizes))[:, None] >> np.arange(len(sizes))) & 1
        return float(np.mean(np.abs((2 * patterns - 1) @ sizes) >= observed - _ROUNDING))
    # of equal sizes only the number of flipped ones matters: one binomial draw for all of them
    size, often = np.unique(np.round(sizes, 9), return_counts=True)
    if len(size) == 1:
        return _binomial(len(sizes), round((len(sizes) - observed / float(size[0])) / 2))
    rng = np.random.default_rng(seed)
    drawn = np.zeros(DRAWS)
    for each, n in zip(size, often, strict=True):
        drawn += each * (2 * rng.binomial(n, 0.5, size=DRAWS) - n)
    return float((1 + np.sum(np.abs(drawn) >= observed - len(sizes) * _ROUNDING)) / (1 + DRAWS))


def _binomial(n: int, losses: int) -> float:
    """Chance that of `n` fair coins at most `losses` or at least `n - losses` show one side."""
    drawn = np.arange(1, losses + 1)
    # binomial coefficients as running products, in logarithms: they do not fit a float from n = 1,030 on
    logs = np.concatenate([[0.0], np.cumsum(np.log((n - drawn + 1) / drawn))])
    return min(1.0, 2 * float(np.exp(logs - n * np.log(2)).sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def agree(pairs: Iterable[tuple[str, float | None, float | None]]) -> Agreement:
    """How far two graders agree, such as rules and a judge.

    Args:
        pairs: problem, the first's value, the second's value; right is 1.0, wrong is less, None could not settle it.
    """
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    same: dict[str, list[bool]] = {}
    unsettled = 0
    for problem, one, other in pairs:
        if one is None or other is None:
            unsettled += 1
            continue
        said = (one == 1.0, other == 1.0)
        counts[said] += 1
        same.setdefault(problem, []).append(said[0] == said[1])
    shares = np.array([sum(marks) / len(marks) for _, marks in sorted(same.items())])
    n = sum(counts.values())
    return Agreement(
        agreement=intervals.mean(shares, samples=n, binary=True),
        kappa=_kappa(*counts.values()),
        both_right=counts[True, True],
        only_first=counts[True, False],
        only_second=counts[False, True],
        both_wrong=counts[False, False],
        unsettled=unsettled,
    )


def _kappa(both: int, first: int, second: int, neither: int) -> float | None:
    """Cohen (1960), "A Coefficient of Agreement for Nominal Scales", over answers."""
    n = both + first + second + neither
    by_chance = (both + first) * (both + second) + (neither + first) * (neither + second)  # times n squared
    return None if by_chance == n * n else ((both + neither) * n - by_chance) / (n * n - by_chance)


def _pair(first: str, second: str, ones: Problems, others: Problems, *, seed: int) -> Comparison | None:
    differences, samples = [], 0
    for problem in ones.keys() & others.keys():
        one, other = ([row.value for row in rows[problem] if row.value is not None] for rows in (ones, others))
        if one and other:
            differences.append(sum(one) / len(one) - sum(other) / len(other))
            samples += len(one) + len(other)
    by_size = np.array(sorted(differences))
    estimate = intervals.mean_difference(by_size, samples=samples)
    if estimate is None:
        return None
    wins, losses = int(np.sum(by_size > _ROUNDING)), int(np.sum(by_size < -_ROUNDING))
    p_value = sign_flip(by_size, seed=seed)
    return Comparison(
        first=first,
        second=second,
        difference=estimate,
        wins=wins,
        ties=len(by_size) - wins - losses,
        losses=losses,
        p_value=p_value,
        p_holm=p_value,
        left_out=len(ones.keys() | others.keys()) - len(by_size),
    )
