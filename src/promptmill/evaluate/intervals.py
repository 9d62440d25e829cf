"""95 % intervals of means over problems, for the few problems and the extreme shares that evaluations have.

The k samples of a problem are not independent, so a problem is one cluster and gives one number in [0, 1]: its share
of right samples, its pass@k, its vote. What is estimated is the mean of that number over all problems that the data
set could have held, each problem weighing the same. Its standard error is the cluster-robust one of Miller (2024),
"Adding Error Bars to Evals", section 2.2: with one number a cluster it is the standard error of a mean.

A normal interval around it fails where evaluations live: it has no width when all are right, and covers far less than
95 % with tens of problems (Bowyer et al. 2025, "Position: Don't Use the CLT in LLM Evals With Fewer Than a Few Hundred
Datapoints"). So the interval is Wilson's score interval on the effective number of samples, as surveys with clusters
have it (Korn and Graubard 1998; Dean and Pagano 2015). With k = 1 it is exactly Wilson's. At all right and all wrong
nothing is known of how alike the samples of a problem are; then each problem counts once.

A paired difference lies in [-1, 1]: Student's interval of the mean of the problems' differences, with the two
pseudo-problems of Agresti and Min (2005), so that "no difference seen" does not become "no difference possible".

Not covered: levels other than 95 %, problems that are themselves in clusters (several questions on one passage).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
_EVEN = 1e-12  # a spread below this is rounding


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over problems with its 95 % interval.

    Attributes:
        value: mean over problems, each weighing the same.
        low: lower end of the interval.
        high: upper end.
        standard_error: cluster-robust standard error; None with one problem.
        problems: problems that count.
        samples: their samples that count.
    """

    value: float
    low: float
    high: float
    standard_error: float | None
    problems: int
    samples: int


def student(df: int) -> float:
    """97.5 % quantile of Student's distribution: exact for 1 and 2 degrees of freedom, else within 0.2 %.

    Expansion around the normal quantile: Abramowitz and Stegun, 26.7.5.
    """
    if df == 1:
        return math.tan(math.pi * 0.475)
    if df == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z2 = Z * Z
    terms = (
        (z2 + 1) / 4,
        ((5 * z2 + 16) * z2 + 3) / 96,
        (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384,
        ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160,
    )
    return Z * (1 + sum(term / float(df) ** power for power, term in enumerate(terms, start=1)))


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` independent samples (Wilson 1927); `n` need not be whole."""
    spread = Z * Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    # at the ends the formula gives 1 - 1e-17 or so, and the value would lie outside
    return (0.0 if share == 0 else min(share, centre - half)), (1.0 if share == 1 else max(share, centre + half))


def mean(of_problems: Floats, *, samples: int, binary: bool) -> Estimate | None:
    """The mean of a number in [0, 1] over problems.

    Args:
        of_problems: one number a problem.
        samples: how many samples they come from.
        binary: each sample is 0 or 1 and a problem's number is their mean: then no interval is narrower than that of
            as many independent samples.

    Returns:
        None without a problem.
    """
    n = len(of_problems)
    if n == 0:
        return None
    share = min(max(math.fsum(of_problems) / n, 0.0), 1.0)
    error = _standard_error(of_problems)
    low, high = wilson(share, _effective(share, error, n, samples if binary else None))
    return Estimate(value=share, low=low, high=high, standard_error=error, problems=n, samples=samples)


def mean_difference(of_problems: Floats, *, samples: int) -> Estimate | None:
    """The mean of a difference in [-1, 1] over problems; None without a problem.

    Args:
        of_problems: one difference a problem.
        samples: how many samples they come from.
    """
    n = len(of_problems)
    if n == 0:
        return None
    value = math.fsum(of_problems) / n
    # half a problem that differs in each direction, by the most that was seen, and one that does not differ
    extreme = float(np.abs(of_problems).max()) or 1.0
    centre = value * n / (n + 2)
    variance = (math.fsum(of_problems**2) + extreme**2) / (n + 2) - centre**2
    half = student(n + 1) * math.sqrt(max(variance, 0.0) / (n + 2))
    low, high = max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half))
    return Estimate(
        value=value, low=low, high=high, standard_error=_standard_error(of_problems), problems=n, samples=samples
    )


def _standard_error(of_problems: Floats) -> float | None:
    n = len(of_problems)
    if n < 2:
        return None
    spread = float(of_problems.std(ddof=1))
    return 0.0 if spread < _EVEN else spread / math.sqrt(n)


def _effective(share: float, error: float | None, n: int, samples: int | None) -> float:
    """How many independent samples would give a standard error like this one.

    At least the number of problems: a mean of numbers in [0, 1] never spreads more than one number that is 0 or 1.
    """
    if error is None or share * (1 - share) < _EVEN:
        return n
    if error == 0:
        return samples or n
    found = share * (1 - share) / error**2 * (Z / student(n - 1)) ** 2
    return max(n, found if samples is None else min(found, samples))
