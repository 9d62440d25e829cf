"""What the fake server says: text made from the request's content, and the odds of what happens to it.

Everything is drawn by a stable hash of content, never by a generator with a state, so two runs get the same texts, the
same lengths and the same faults in any order of requests.

The tokenizer is the simplest true one: a token is a UTF-8 byte, its id the byte's value; `END_ID` (256) ends a text
that ended by itself and is counted like any token, as vLLM does. Texts hold words of several bytes a character, so a
limit can cut a character; its first bytes are then among the ids and not in the text, as with real servers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
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


def parse_faults(
    text: str, name: str = "faults", known: Mapping[str, str] | None = None
) -> tuple[tuple[str, float], ...]:
    """Read `429:0.05,drop:0.01` into `((fault, cumulative share), ...)`.

    Args:
        text: what was written.
        name: the option, for messages.
        known: the faults that there are, `FAULTS` unless given.

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
            raise ConfigError(f"{name}: '{item}' is not readable. Write 500:0.05,drop:0.01.") from None
        found.append((known_fault(fault, name, known), total))
    if not 0 <= total <= 1 + 1e-9:
        raise ConfigError(f"{name}: the shares add up to {total:g}. They may add up to 1 at most.")
    return tuple(found)


FAULTS = {
    "429": "too many requests, with Retry-After in seconds",
    "429-date": "the same with a date",
    "429-garbage": "the same with a Retry-After that is none",
    "429-ms": "the same with retry-after-ms",
    "429-none": "the same without a time to wait",
    "429-negative": "the same with a Retry-After below 0",
    "429-quota": "the key has no quota left (insufficient_quota)",
    "400": "a request that is refused",
    "400-too-long": "a prompt longer than the context (context_length_exceeded)",
    "400-filter": "a prompt that a content filter refuses (content_filter)",
    "401": "a key that is refused",
    "402": "a key without money",
    "403": "a key without leave",
    "404": "no such model",
    "408": "the server waited too long for the request",
    "409": "a conflict",
    "413": "a request that is too large",
    "422": "a request whose fields are wrong",
    "500": "a server error",
    "500-html": "a server error as a page of HTML",
    "502": "a gateway that gets no answer from its server",
    "503": "overloaded, with Retry-After in seconds",
    "504": "a gateway that waited too long for its server",
    "529": "overloaded, as Anthropic says it",
    "302": "the server is elsewhere",
    "204": "a status without a body",
    "error-200": "status 200 and an error 500 in the body",
    "error-200-429": "status 200 and an error 429 in the body",
    "timeout": "never answers",
    "slow-head": "the head of an answer, and its body never",
    "half": "half a body, then the connection closes",
    "wrong-length": "a whole body under a length that is longer, then the connection closes",
    "cut": "a body that ends early under a length that says it is whole",
    "drop": "the connection closes without an answer",
    "reset-before": "the connection is reset without an answer",
    "json": "status 200 and a body that is no JSON",
    "bad-utf8": "status 200 and a text that is no UTF-8",
    "null": "status 200 and null",
    "array": "status 200 and a list",
    "empty": "status 200 and no choices",
    "no-text": "status 200 and an answer without a text",
    "no-finish": "status 200 and an answer without finish and counts",
    "wrong-finish": "status 200 and a finish that nobody knows (abort)",
    "slow": "a right answer, sent slowly",
    "chunked": "a right answer, sent in chunks",
    "gzip": "a right answer, packed",
    "extra": "a right answer and bytes behind it, which belong to no answer",
    "twice": "a right answer whose headers stand there twice",
}
RIGHT = {"slow", "chunked", "gzip", "twice", "extra"}  # a client should make an answer of these


def known_fault(fault: str, name: str = "faults", known: Mapping[str, str] | None = None) -> str:
    """The fault itself.

    Raises:
        ConfigError: there is none of that name.
    """
    known = FAULTS if known is None else known
    if fault not in known:
        raise ConfigError(f"{name}: no '{fault}'. There are: {', '.join(known)}")
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

    def thought(self, content: str) -> str:
        """What goes before the answer to `content`."""
        first = stable_hash(3, content) % CORPUS_WORDS
        words = 5 + stable_hash(4, content) % 16
        return self._corpus[self._starts[first] : self._starts[first + words] - 1].decode()

    def write(
        self, content: str, *, max_tokens: int, stop: tuple[str, ...], before: str = "", unclosed: bool = False
    ) -> Text:
        """The answer to `content`, cut at `max_tokens` bytes or before the first stop string.

        Args:
            content: what the answer depends on.
            max_tokens: bytes it may have.
            stop: strings that end it.
            before: written first.
            unclosed: write nothing else.
        """
        n_words = 0 if unclosed else round(self._words.draw(fraction(1, content)))
        first = stable_hash(2, content) % CORPUS_WORDS
        whole = self._corpus[self._starts[first] : max(self._starts[first], self._starts[first + n_words] - 1)]
        whole = before.encode() + whole
        ends = [(whole.find(s.encode()), s) for s in stop if s and s.encode() in whole]
        if ends:
            at, word = min(ends)
            upto = at + len(word.encode())
            if upto <= max_tokens:
                return Text(whole[:at].decode("utf-8", "ignore"), tuple(whole[:upto]), "stop")
        if len(whole) + 1 <= max_tokens:
            return Text(whole.decode(), (*whole, END_ID), "stop")
        return Text(whole[:max_tokens].decode("utf-8", "ignore"), tuple(whole[:max_tokens]), "length")
