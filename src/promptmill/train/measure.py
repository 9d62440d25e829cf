"""How good a length predictor is: errors with intervals, beside three baselines that know no text.

Rows of one prompt are not independent, so every interval comes from a bootstrap that draws *prompts*, not rows. The
three baselines are fitted on the training split alone: the mean of the remaining tokens, a line in the length of the
prompt, and the mean by tokens so far.

Not covered: plots (`report`) and what a scheduler gains (`simulate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its bootstrap 95 % interval, prompts drawn.

    Attributes:
        value: on the rows as they are.
        low: 2.5 % quantile.
        high: 97.5 % quantile.
    """

    value: float
    low: float
    high: float


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of one predictor on one set of rows, in tokens.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error.
        r2: 1 - squared error / squared deviation from the mean of these rows; none where they are all equal.
    """

    mae: Value
    rmse: Value
    r2: Value | None


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Errors on the rows with so many tokens so far.

    Attributes:
        from_tokens: smallest number of tokens so far, included.
        to_tokens: largest, excluded.
        rows: number of rows.
        prompts: number of prompts.
        mae: mean absolute error of the predictor.
        baselines: mean absolute error of each baseline.
    """

    from_tokens: int
    to_tokens: int
    rows: int
    prompts: int
    mae: Value
    baselines: dict[str, float]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one split.

    Attributes:
        rows: rows with a known end.
        prompts: prompts they come from.
        predictor: errors of the trained predictor.
        baselines: errors of `mean`, `prompt_length` and `tokens_so_far`.
        mae_gains: baseline MAE minus predictor MAE, paired; above 0 means that the predictor is better.
        by_prefix: errors by tokens so far.
    """

    rows: int
    prompts: int
    predictor: Errors
    baselines: dict[str, Errors]
    mae_gains: dict[str, Value]
    by_prefix: list[Bucket]


class Baselines:
    """Three predictors that know no text, fitted on training rows.

    Args:
        n_tokens: tokens so far, one a row.
        prompt_chars: length of the prompt in characters, one a row.
        remaining: remaining tokens, one a row.
        bucket_tokens: width of the buckets of `tokens_so_far`.
    """

    def __init__(self, n_tokens: Floats, prompt_chars: Floats, remaining: Floats, *, bucket_tokens: int) -> None:
        self._bucket = bucket_tokens
        self._mean = float(remaining.mean())
        spread = float(((prompt_chars - prompt_chars.mean()) ** 2).sum())
        covered = float(((prompt_chars - prompt_chars.mean()) * (remaining - self._mean)).sum())
        self._slope = covered / spread if spread else 0.0
        self._chars = float(prompt_chars.mean())
        bucket = n_tokens.astype(np.int64) // bucket_tokens
        self._by_bucket = {int(b): float(remaining[bucket == b].mean()) for b in np.unique(bucket)}

    def predict(self, n_tokens: Floats, prompt_chars: Floats) -> dict[str, Floats]:
        """Return the predictions of each baseline. Beyond the longest bucket seen, the last one counts."""
        known = np.array(sorted(self._by_bucket))
        means = np.array([self._by_bucket[int(b)] for b in known])
        bucket = n_tokens.astype(np.int64) // self._bucket
        nearest = np.clip(np.searchsorted(known, bucket, side="right") - 1, 0, len(known) - 1)
        return {
            "mean": np.full(len(n_tokens), self._mean),
            "prompt_length": self._mean + self._slope * (prompt_chars - self._chars),
            "tokens_so_far": means[nearest],
        }


class Draws:
    """Bootstrap draws of prompts: how often each prompt is in each draw.

    Args:
        prompts: the prompt of each row.
        draws: how many.
        seed: seed of the draws.
    """

    def __init__(self, prompts: Sequence[str], *, draws: int = 2000, seed: int) -> None:
        names, self.of_row = np.unique(np.asarray(prompts, dtype=object).astype(str), return_inverse=True)
        self.n_prompts = len(names)
        rng = np.random.default_rng(seed)
        self._counts = rng.multinomial(self.n_prompts, np.full(self.n_prompts, 1 / self.n_prompts), size=draws)

    def sums(self, values: Floats) -> Floats:
        """Sum of `values` over the rows in each draw; the first entry is the sum over all rows as they are."""
        per_prompt = np.bincount(self.of_row, weights=values, minlength=self.n_prompts)
        return np.concatenate([[per_prompt.sum()], self._counts @ per_prompt])

    def mean(self, values: Floats, where: npt.NDArray[np.bool_] | None = None) -> Value:
        """Mean of `values`, of the rows in `where` if given."""
        chosen = np.ones(len(values)) if where is None else where.astype(np.float64)
        return interval(_ratio(self.sums(values * chosen), self.sums(chosen)))


def interval(values: Floats) -> Value:
    """First entry as the value, the others as its bootstrap draws."""
    drawn = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (values[0], values[0])
    return Value(value=float(values[0]), low=float(low), high=float(high))


def errors(predicted: Floats, actual: Floats, draws: Draws) -> Errors:
    """MAE, RMSE and R2 with intervals."""
    gap = predicted - actual
    rows, squared = draws.sums(np.ones(len(gap))), draws.sums(gap**2)
    deviation = draws.sums(actual**2) - draws.sums(actual) ** 2 / rows
    return Errors(
        mae=draws.mean(np.abs(gap)),
        rmse=interval(np.sqrt(squared / rows)),
        r2=interval(1 - _ratio(squared, deviation)) if deviation[0] > 0 else None,
    )


def measure(
    predicted: Floats, actual: Floats, baselines: dict[str, Floats], *,
    prompts: Sequence[str], n_tokens: Floats, bucket_tokens: int, seed: int,
) -> Measured:  # fmt: skip
    """Measure a predictor on rows whose end is known."""
    draws = Draws(prompts, seed=seed)
    missed = np.abs(predicted - actual)
    missed_by = {name: np.abs(values - actual) for name, values in baselines.items()}
    bucket = n_tokens.astype(np.int64) // bucket_tokens
    buckets = []
    for number in np.unique(bucket):
        here = bucket == number
        buckets.append(
            Bucket(
                from_tokens=int(number) * bucket_tokens,
                to_tokens=(int(number) + 1) * bucket_tokens,
                rows=int(here.sum()),
                prompts=len(np.unique(draws.of_row[here])),
                mae=draws.mean(missed, here),
                baselines={name: float(values[here].mean()) for name, values in missed_by.items()},
            )
        )
    return Measured(
        rows=len(actual),
        prompts=draws.n_prompts,
        predictor=errors(predicted, actual, draws),
        baselines={name: errors(values, actual, draws) for name, values in baselines.items()},
        mae_gains={name: draws.mean(values - missed) for name, values in missed_by.items()},
        by_prefix=buckets,
    )


def _ratio(over: Floats, under: Floats) -> Floats:
    out: Floats = np.full(len(over), np.nan)
    return np.divide(over, under, out=out, where=under > 0, dtype=np.float64)
