"""What a run will cost before it is run: tokens, money and time, each with a range, learnt from answers that are there.

The answers come from a pilot (`choose_pilot`: a few prompts, one from each stratum of length) or from the run so far.
Prompt tokens are predicted from the bytes of the prompts, which are all known, by least squares; new tokens by the mean
per prompt. Ranges are 95 % percentile intervals of a bootstrap over prompts (Efron & Tibshirani, 1993): the prompt is
the unit, since its samples are alike. Everything is per prompt with all its samples, so several samples in one
request, which are charged for their prompt once, need no thought; where only some samples of a prompt are answered or
still open (more samples than before), their share counts.

Time is by what was in flight, and no less than the lanes' limits per minute allow (`least_s`).

Not covered: how a server scales; limits that a server has and the recipe does not name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from promptmill.records import stable_hash

RESAMPLES = 2000
MINUTE_S = 60.0
Floats = npt.NDArray[np.float64]


class Observed(NamedTuple):
    """One prompt that is answered; where only some of its samples are, what all would come to.

    Attributes:
        n_bytes: size of the prompt.
        prompt_tokens: charged, all samples together.
        new_tokens: charged, all samples together.
        busy_s: seconds that requests for it were under way.
    """

    n_bytes: int
    prompt_tokens: int
    new_tokens: int
    busy_s: float


class Left(NamedTuple):
    """One prompt that is not, or not wholly.

    Attributes:
        n_bytes: size of the prompt.
        prompt_share: share of its prompt tokens that is still to be charged.
        share: share of its samples that is still to come.
    """

    n_bytes: int
    prompt_share: float = 1.0
    share: float = 1.0


class Range(msgspec.Struct, frozen=True):
    """An estimate and the interval that holds it in 95 of 100 pilots."""

    low: float
    mid: float
    high: float

    def at_least(self, other: Range) -> Range:
        """The larger of both, each end for itself."""
        return Range(max(self.low, other.low), max(self.mid, other.mid), max(self.high, other.high))


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What is still to come.

    Attributes:
        prompt_tokens: of the requests that are still to be sent.
        new_tokens: of their answers.
        cost: money for both; None without prices.
        time_s: seconds.
        prompts: on how many prompts it rests.
    """

    prompt_tokens: Range
    new_tokens: Range
    cost: Range | None
    time_s: Range
    prompts: int


def estimate(
    seen: Sequence[Observed],
    left: Sequence[Left],
    *,
    prices: tuple[float, float] | None,
    in_flight: float,
    seed: int = 0,
) -> Estimate:
    """Estimate what the prompts that are left will use.

    Args:
        seen: prompts that are answered, one at least.
        left: prompts that are not.
        prices: money per prompt token and per new token.
        in_flight: requests that will be under way at a time.
        seed: of the bootstrap.
    """
    rows = np.array(seen, dtype=np.float64).reshape(-1, 4)
    todo = np.array(left, dtype=np.float64).reshape(-1, 3)
    draws = np.random.default_rng(seed).integers(0, len(rows), (RESAMPLES, len(rows)))
    totals = np.array([_totals(rows[draw], todo) for draw in draws])
    middle = _totals(rows, todo)
    money = None
    if prices is not None:
        money = _range(middle[:2] @ np.array(prices), totals[:, :2] @ np.array(prices))
    width = max(1.0, in_flight)
    return Estimate(
        prompt_tokens=_range(middle[0], totals[:, 0]),
        new_tokens=_range(middle[1], totals[:, 1]),
        cost=money,
        time_s=_range(middle[2] / width, totals[:, 2] / width),
        prompts=len(rows),
    )


class Limit(NamedTuple):
    """What one lane may be asked in a minute; None is no limit.

    Attributes:
        rpm: requests.
        tpm: tokens, prompt and answer together.
    """

    rpm: int | None
    tpm: int | None


def least_s(n_requests: int, n_tokens: float, limits: Sequence[Limit]) -> float:
    """Seconds that so many requests with so many tokens take at least; 0 where a lane has no limit.

    A lane may ask all of a minute at once, and the next when that minute is over (`limits.Rate`).
    """
    if not n_requests or not limits or any(limit == (None, None) for limit in limits):
        return 0.0
    each = max(1.0, n_tokens / n_requests)
    per_minute = 0
    for rpm, tpm in limits:
        by_tokens = None if tpm is None else max(1, int(tpm / each))  # one that is larger than a minute's goes alone
        per_minute += min(number for number in (rpm, by_tokens) if number is not None)
    return MINUTE_S * (math.ceil(n_requests / per_minute) - 1)


def _totals(rows: Floats, todo: Floats) -> Floats:
    """Prompt tokens, new tokens and busy seconds of all that is left, by these rows."""
    size, tokens = rows[:, 0], rows[:, 1]
    spread = size - size.mean()
    slope = float(spread @ (tokens - tokens.mean()) / (spread @ spread)) if spread.any() else 0.0
    slope = max(0.0, slope)
    prompt_tokens = np.maximum(0.0, tokens.mean() + slope * (todo[:, 0] - size.mean())) @ todo[:, 1]
    shares = todo[:, 2].sum()
    return np.array([prompt_tokens, rows[:, 2].mean() * shares, rows[:, 3].mean() * shares])


def _range(middle: float, resampled: Floats) -> Range:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Range(float(low), float(middle), float(high))


def choose_pilot(sizes: Sequence[int], count: int, *, seed: int) -> list[int]:
    """Positions of `count` prompts, one by a stable hash from each of `count` strata of equal number by size."""
    order = sorted(range(len(sizes)), key=lambda position: (sizes[position], stable_hash(seed, str(position))))
    bounds = np.linspace(0, len(order), min(count, len(order)) + 1).astype(int)
    return sorted(
        min(order[low:high], key=lambda position: stable_hash(seed, str(position))) for low, high in pairwise(bounds)
    )
