"""What the length predictor sees: vectors of the texts, and numbers beside them.

Layout `joined` gives the encoder one text, prompt then prefix; an encoder that keeps both ends of a long text keeps
the question and the newest words. Layout `apart` gives it the prompt and the end of the prefix each by itself: a
prompt is encoded once for all of its rows, and a row costs the same however long the answer is.

The numbers are optional: the tokens so far, and `marks`, facts of layout that hold in any language.

Not covered: the encoder itself (`encode`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from promptmill.errors import DataError
from promptmill.registry import Encoder

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

Layout = Literal["joined", "apart"]

_ITEM = re.compile(r"^[ \t]*(?:(\d{1,3})[.)]|[-*•])[ \t]", re.MULTILINE)
_SENTENCE_ENDS = tuple(".!?…。！？")  # noqa: RUF001 - the full-width marks are meant
N_MARKS = 11
N_POSITION = 2


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """How a row becomes the network's input; stored in `config.json`.

    Attributes:
        layout: `joined` or `apart`.
        tail_chars: characters of the end of the prefix, for `apart`.
        position: whether the tokens so far are given.
        marks: whether marks of the text are given.
    """

    layout: Layout
    tail_chars: int
    position: bool
    marks: bool

    @property
    def n_numbers(self) -> int:
        """How many numbers stand behind the vectors."""
        return N_POSITION * self.position + N_MARKS * self.marks

    def texts(self, prompts: Sequence[str], prefixes: Sequence[str]) -> list[list[str]]:
        """Return the texts to encode, one list for each vector of a row."""
        if self.layout == "joined":
            return [[f"{prompt}\n\n{prefix}" for prompt, prefix in zip(prompts, prefixes, strict=True)]]
        return [list(prompts), [prefix[-self.tail_chars :] for prefix in prefixes]]

    def numbers(self, prompts: Sequence[str], prefixes: Sequence[str], n_tokens: Sequence[int]) -> Floats:
        """Return the numbers beside the vectors, shape (rows, n_numbers)."""
        position = np.array([(n, np.log1p(n)) for n in n_tokens], dtype=np.float32).reshape(-1, N_POSITION)
        parts = [position] if self.position else []
        if self.marks:
            found = [marks(*row) for row in zip(prompts, prefixes, n_tokens, strict=True)]
            parts.append(np.array(found, dtype=np.float32).reshape(-1, N_MARKS))
        return np.concatenate([np.zeros((len(prompts), 0), np.float32), *parts], axis=1)

    def raw(self, encoder: Encoder, prompts: Sequence[str], prefixes: Sequence[str], n_tokens: Sequence[int]) -> Floats:
        """Vectors and numbers of each row, as they are; shape (rows, inputs).

        Raises:
            DataError: the encoder gave something that is not a finite number.
        """
        vectors = [encode_once(encoder, texts) for texts in self.texts(prompts, prefixes)]
        out = np.concatenate([*vectors, self.numbers(prompts, prefixes, n_tokens)], axis=1, dtype=np.float32)
        if not np.isfinite(out).all():
            row = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
            raise DataError(f"train: row {row}: the encoder gave a value that is not a number. Check the encoder.")
        return out


class Scales(msgspec.Struct, frozen=True, kw_only=True):
    """How inputs and targets are scaled, learned from training rows. The arrays are float32, one entry an input.

    Attributes:
        shift: taken off an input.
        factor: multiplied with an input.
        target_shift: taken off a target.
        target_spread: divides a target.
        log: whether a target is log(1 + tokens).
    """

    shift: Floats
    factor: Floats
    target_shift: float
    target_spread: float
    log: bool

    @classmethod
    def fitted(cls, raw: Floats, targets: npt.NDArray[np.float64], *, n_numbers: int, log: bool, on: bool) -> Scales:
        """Learn from training rows; `on=False` leaves everything as it is (but for `log`).

        The vectors together weigh as much as one number: hundreds of noisy coordinates would drown the few numbers.
        """
        wanted = np.log1p(targets) if log else targets
        if not on:
            ones = np.ones(raw.shape[1], np.float32)
            return cls(shift=0 * ones, factor=ones, target_shift=0.0, target_spread=1.0, log=log)
        spread = raw.std(axis=0)
        factor = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 1e-6)
        n_vector = raw.shape[1] - n_numbers
        factor[:n_vector] /= np.sqrt(n_vector)
        return cls(
            shift=raw.mean(axis=0),
            factor=factor,
            target_shift=float(wanted.mean()),
            target_spread=float(wanted.std()) or 1.0,
            log=log,
        )

    def scaled(self, raw: Floats) -> Floats:
        """Inputs as the network wants them."""
        return (raw - self.shift) * self.factor

    def to_target(self, remaining: npt.NDArray[np.float64]) -> Floats:
        """Tokens to what the network learns."""
        wanted = np.log1p(remaining) if self.log else remaining
        return ((wanted - self.target_shift) / self.target_spread).astype(np.float32)

    def to_tokens(self, outputs: Floats) -> npt.NDArray[np.float64]:
        """What the network gives to tokens, never below 0."""
        wanted = outputs.astype(np.float64) * self.target_spread + self.target_shift
        return np.maximum(np.expm1(np.minimum(wanted, 20.0)) if self.log else wanted, 0.0)


def marks(prompt: str, prefix: str, n_tokens: int) -> tuple[float, ...]:
    """Facts of the layout of a text that tell how far an answer has come."""
    fences = prefix.count("```")
    items = list(_ITEM.finditer(prefix))
    number = next((int(item[1]) for item in reversed(items) if item[1]), 0)
    end = prefix[-80:].rstrip()
    return (
        float(np.log1p(len(prompt))),
        len(prefix) / max(n_tokens, 1),
        float(fences % 2),
        float(np.log1p(fences)),
        float(np.log1p(prefix.count("\n"))),
        float(np.log1p(prefix.count("\n\n"))),
        float(np.log1p(len(items))),
        float(np.log1p(number)),
        float(end.endswith(_SENTENCE_ENDS)),
        float(end.endswith(":")),
        float(end.endswith("```")),
    )


def encode_once(encoder: Encoder, texts: Sequence[str]) -> Floats:
    """Encode each different text once, whatever the encoder."""
    place: dict[str, int] = {}
    for text in texts:
        place.setdefault(text, len(place))
    vectors = np.asarray(encoder.encode(list(place)), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(place):
        raise DataError(f"encoder: gave shape {vectors.shape} for {len(place)} texts. It must give one row a text.")
    return vectors[[place[text] for text in texts]]
