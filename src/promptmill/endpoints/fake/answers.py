"""What the fake server says: text made from the request's content, and the odds of what happens to it.

Everything is drawn by a stable hash of content, never by a generator with a state, so two runs get the same texts, the
same lengths and the same faults in any order of requests.

The tokenizer is the simplest true one: a token is a UTF-8 byte, its id the byte's value; `END_ID` (256) ends a text
that ended by itself and is counted like any token, as vLLM does. Texts hold words of several bytes a character, so a
limit can cut a character; its first bytes are then among the ids and not in the text, as with real servers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from promptmill.errors import ConfigError
from promptmill.records import Finish, stable_hash

END_ID = 256
CORPUS_WORDS = 1 << 14
_TEXT = """
the of and to in a is that for it as was with be by on not he this are or his from at which but have an they you
one all we can more when there so out about time people water light model answer because between number question
another example country important different understand information however sentence paragraph naïve façade über
日本語 数学 été señor Ωmega Привет मन 42 3.14 2026 first, second, third, finally. Yes. No. Why? done.
"""
_WORDS = _TEXT.split()


class Mixture(NamedTuple):
    """A distribution as a user writes it: `0.1`, `20-200`, or shares of such: `0.9:0.1,0.09:0.3,0.01:1-2`.

    Attributes:
        parts: `(cumulative share, low, high)`.
    """

    parts: tuple[tuple[float, float, float], ...]

    def draw(self, fraction: float) -> float:
        """The value at `fraction` in [0, 1) of the distribution."""
        before = 0.0
        for upto, low, high in self.parts:
            if fraction < upto:
                return low + (high - low) * (fraction - before) / (upto - before)
            before = upto
        return self.parts[-1][2]


def parse_mixture(text: str, *, name: str) -> Mixture:
    """Read a `Mixture`.

    Raises:
        ConfigError: not in the form, or the shares do not add up to 1.
    """
    parts = []
    total = 0.0
    try:
        for item in text.split(","):
            share, colon, values = item.strip().rpartition(":")
            low, _, high = values.partition("-")
            weight = float(share) if colon else 1.0
            total += weight
            bounds = float(low), float(high or low)
            if not (0 < weight <= 1 and 0 <= bounds[0] <= bounds[1] < math.inf):
                raise ValueError  # noqa: TRY301 - one text for everything that is not in the form
            parts.append((total, *bounds))
    except ValueError:
        raise ConfigError(f"{name}: '{text}' is not readable. Write 0.1, 20-200, or 0.9:0.1,0.1:1-2.") from None
    if abs(total - 1) > 1e-6:
        raise ConfigError(f"{name}: the shares of '{text}' add up to {total:g}. They must add up to 1.")
    return Mixture(tuple(parts))


def parse_faults(text: str) -> tuple[tuple[str, float], ...]:
    """Read `429:0.05,drop:0.01` into `((fault, cumulative share), ...)`.

    Raises:
        ConfigError: not in the form, an unknown fault, or shares above 1.
    """
    found = []
    total = 0.0
    for item in filter(None, (part.strip() for part in text.split(","))):
        fault, _, share = item.partition(":")
        try:
            total += float(share)
        except ValueError:
            raise ConfigError(f"faults: '{item}' is not readable. Write 429:0.05,drop:0.01.") from None
        found.append((known_fault(fault), total))
    if not 0 <= total <= 1 + 1e-9:
        raise ConfigError(f"faults: the shares add up to {total:g}. They may add up to 1 at most.")
    return tuple(found)


FAULTS = {
    "429": "too many requests, with Retry-After in seconds",
    "429-date": "the same with a date",
    "429-garbage": "the same with a Retry-After that is none",
    "400": "a request that is refused",
    "401": "a key that is refused",
    "500": "a server error",
    "503": "overloaded, with Retry-After in seconds",
    "timeout": "never answers",
    "half": "half a body, then the connection closes",
    "drop": "the connection closes without an answer",
    "json": "status 200 and a body that is no JSON",
    "empty": "status 200 and no choices",
    "slow": "a right answer, sent slowly",
}


def known_fault(fault: str) -> str:
    """The fault itself.

    Raises:
        ConfigError: there is none of that name.
    """
    if fault not in FAULTS:
        raise ConfigError(f"faults: no '{fault}'. There are: {', '.join(FAULTS)}")
    return fault


def fraction(seed: int, text: str) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    return (stable_hash(seed, text) >> 11) / (1 << 53)


class Text(NamedTuple):
    """An answer.

    Attributes:
        text: what is shown.
        ids: tokens generated, the end token included.
        finish: `stop` or `length`.
    """

    text: str
    ids: tuple[int, ...]
    finish: Finish


class Writer:
    """Makes answers.

    Args:
        words: distribution of the number of words of an answer.

    Raises:
        ConfigError: an answer could be longer than the corpus.
    """

    def __init__(self, words: Mixture) -> None:
        if words.parts[-1][2] > CORPUS_WORDS or max(high for _, _, high in words.parts) > CORPUS_WORDS:
            raise ConfigError(f"words: an answer has {CORPUS_WORDS} words at most.")
        self._words = words
        chosen = [_WORDS[stable_hash(7, str(i)) % len(_WORDS)].encode() for i in range(CORPUS_WORDS)]
        self._corpus = b" ".join(chosen * 2)
        self._starts = [0]
        for word in chosen * 2:
            self._starts.append(self._starts[-1] + len(word) + 1)

    def write(self, content: str, *, max_tokens: int, stop: tuple[str, ...]) -> Text:
        """The answer to `content`, cut at `max_tokens` bytes or before the first stop string."""
        n_words = round(self._words.draw(fraction(1, content)))
        first = stable_hash(2, content) % CORPUS_WORDS
        whole = self._corpus[self._starts[first] : max(self._starts[first], self._starts[first + n_words] - 1)]
        ends = [(whole.find(s.encode()), s) for s in stop if s and s.encode() in whole]
        if ends:
            at, word = min(ends)
            upto = at + len(word.encode())
            if upto <= max_tokens:
                return Text(whole[:at].decode("utf-8", "ignore"), tuple(whole[:upto]), "stop")
        if len(whole) + 1 <= max_tokens:
            return Text(whole.decode(), (*whole, END_ID), "stop")
        return Text(whole[:max_tokens].decode("utf-8", "ignore"), tuple(whole[:max_tokens]), "length")
