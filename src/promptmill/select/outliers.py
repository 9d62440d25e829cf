"""Too short and too long prompts, by the interquartile range of log1p(length) (Tukey's fences).

Kept is q1 - k x iqr <= log1p(length) <= q3 + k x iqr, bounds included, with linear percentiles as in
`numpy.percentile`. The quartiles come from an exact count of lengths, so what is held grows with the number of
different lengths only; each prompt's own length waits in a temporary file, so that nothing is tokenized twice.

Not covered: other fences than the interquartile range.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from promptmill.errors import ConfigError
from promptmill.records import Prompt
from promptmill.registry import Filter
from promptmill.tokens import load_tokenizer

SHORT, LONG = "too short", "too long"


def outliers(
    *,
    method: Literal["iqr"] = "iqr",
    k: float = 1.5,
    unit: Literal["characters", "tokens"] = "characters",
    tokenizer: str | None = None,
) -> Outliers:
    """Drop prompts much shorter or longer than the others, by interquartile range of log1p(length).

    Args:
        method: iqr, the only one so far.
        k: how many interquartile ranges beyond the quartiles are still kept, bounds included.
        unit: what length counts: characters or tokens.
        tokenizer: for tokens: the name of one, as in slices.tokenizer (extra 'tokens').
    """
    if method != "iqr":
        raise ConfigError(f"outliers: no method '{method}'. There is: iqr")
    if not k >= 0:
        raise ConfigError(f"outliers: k is {k}. Set 0 or more.")
    if unit == "characters" and tokenizer is None:
        return Outliers(len, k)
    if unit == "tokens" and tokenizer is not None:
        return Outliers(_token_counter(tokenizer), k)
    if unit == "tokens":
        raise ConfigError("outliers: unit is tokens, but there is no tokenizer. Set tokenizer to a folder or file.")
    raise ConfigError(f"outliers: tokenizer is set, but unit is '{unit}'. Set unit: tokens, or leave tokenizer out.")


class Outliers:
    """The Look behind `outliers`.

    Attributes:
        bounds: smallest and largest kept log1p(length), once `filter` was called.
    """

    def __init__(self, length: Callable[[str], int], k: float) -> None:
        self._length = length
        self._k = k
        self._counts: Counter[int] = Counter()
        self._lengths: IO[bytes] | None = None
        self.bounds = (float("nan"), float("nan"))

    def begin(self, work: Path) -> None:
        """Forget what was seen before."""
        self._counts = Counter()
        self._lengths = tempfile.TemporaryFile(dir=work, buffering=1 << 18)  # noqa: SIM115 - closed by the filter

    def observe(self, prompt: Prompt) -> str | None:
        """Count one prompt's length."""
        assert self._lengths is not None, "begin comes first"
        length = self._length(prompt.plain)
        self._counts[length] += 1
        self._lengths.write(length.to_bytes(5, "little"))
        return None

    def filter(self) -> Filter:
        """Keep what lies within the bounds."""
        assert self._lengths is not None, "begin comes first"
        if not self._counts:
            self._lengths.close()
            return lambda _: None
        low, high = self.bounds = fences(self._counts, self._k)
        lengths = np.array(sorted(self._counts))
        logs = np.log1p(lengths)
        reasons = {
            int(length): SHORT if log < low else LONG if log > high else None
            for length, log in zip(lengths, logs, strict=True)
        }
        file, self._lengths = self._lengths, None
        file.seek(0)
        return lambda _: reasons[int.from_bytes(file.read(5), "little")]


def fences(counts: Mapping[int, int], k: float) -> tuple[float, float]:
    """Bounds of log1p(length): the quartiles, k interquartile ranges further out.

    Args:
        counts: how often each length occurs; not empty.
        k: the number of interquartile ranges.
    """
    lengths = np.array(sorted(counts))
    logs = np.log1p(lengths)
    ends = np.cumsum([counts[int(length)] for length in lengths])
    q1, q3 = (_quantile(logs, ends, q) for q in (0.25, 0.75))
    return q1 - k * (q3 - q1), q3 + k * (q3 - q1)


def _quantile(values: Any, ends: Any, q: float) -> float:
    """`numpy.percentile(..., method="linear")`, where the i-th value fills the sorted positions below `ends[i]`."""
    position = q * (int(ends[-1]) - 1)
    below = int(position)
    t = position - below
    a = float(values[np.searchsorted(ends, below, side="right")])
    b = float(values[min(np.searchsorted(ends, below + 1, side="right"), len(values) - 1)])
    # From the nearer end, as numpy does it, so that the last bit is equal too.
    return b - (b - a) * (1 - t) if t >= 0.5 else a + (b - a) * t


def _token_counter(name: str) -> Callable[[str], int]:
    tokenizer = load_tokenizer(name)
    return lambda text: len(tokenizer.encode([text])[0])
