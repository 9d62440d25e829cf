"""Cut completions into token slices: what was written after every 50 tokens, and how many tokens were still to come.

Pure functions over a stored text. Where the server gave the ids it generated, each id's bytes say how far the text had
come; otherwise the text is encoded with the model's own tokenizer and its ids are used the same way. A cut inside a
multi-byte character moves to the character's start, so that a slice is a true prefix of the text.

A completion that the limit cut (`finish = length`) is censored: its end is unknown, so its rows say how many tokens
remain at least. `filter` (text withheld) and `tool` (text is not what was generated) say nothing about a length.

Not covered: files (see `slice_files`), targets per prompt (see `lengths`).
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from promptmill.errors import ConfigError
from promptmill.records import Completion

Counted = Literal["ids", "encoded"]


class SliceOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How completions are cut.

    Attributes:
        step: tokens between two slices.
        zero_row: also write the row at 0 tokens, which a scheduler asks for first.
        tokenizer: the model's own tokenizer, as a folder, file, Hub id or packaged name.
        shares: fractions of the prompts that go to train, validation and test.
        split_files: also write the rows of each split to a file of its own; without, an index says which is where.
        split_seed: seed of the split by prompt.
        formats: file formats, jsonl and parquet.
        threads: encoding threads; none leaves it to the tokenizer library.
    """

    step: int = 50
    zero_row: bool = False
    tokenizer: str | None = None
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split_seed: int = 42
    split_files: bool = False
    formats: tuple[Literal["jsonl", "parquet"], ...] = ("jsonl",)
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse values that no type can."""
        if self.step < 1:
            raise ConfigError(f"step: {self.step} is less than 1. Give the number of tokens between two slices.")
        if min(self.shares) < 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise ConfigError(
                f"shares: {list(self.shares)} are not fractions that sum to 1. For example [0.8, 0.1, 0.1]."
            )
        if not self.formats:
            raise ConfigError("formats: the list is empty. Name jsonl, parquet or both.")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads: {self.threads} is less than 1. Leave it out to use all cores.")


class Spans(Protocol):
    """An encoding that knows where its tokens stand in the text."""

    def __len__(self) -> int:
        """How many tokens."""
        ...

    def token_to_chars(self, token: int) -> tuple[int, int] | None:
        """First and last character of a token, end exclusive."""
        ...


class Tokenizer(Protocol):
    """What cutting needs of a tokenizer; `tokens.Tokenizer` has it."""

    name: str

    @property
    def pieces(self) -> Sequence[bytes] | None:
        """The bytes of each token id, or `None` where tokens do not spell the text."""
        ...

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text."""
        ...

    def encode_spans(self, texts: Sequence[str]) -> list[Any]:
        """Encodings (`Spans`) of each text."""
        ...


class Cuts(NamedTuple):
    """Where a text is cut.

    Attributes:
        text: what was generated; the completion's text, with its reasoning before it where there was one.
        total: tokens of the whole text.
        offsets: characters written after each `step`-th token, and last the whole text's; none for no token.
        counted: `ids` the server gave, or `encoded` again.
        missing: characters that the ids spell at the end and the text lacks (a stop string, half a character).
    """

    text: str
    total: int
    offsets: list[int]
    counted: Counted
    missing: int = 0


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the training file.

    Attributes:
        input_prompt: the prompt.
        output_prompt: what was written so far, a prefix of the answer.
        number_of_output_tokens: its tokens.
        remaining_tokens: tokens still to come.
    """

    input_prompt: str
    output_prompt: str
    number_of_output_tokens: int
    remaining_tokens: int


def points(total: int, *, step: int, zero_row: bool = False) -> list[int]:
    """Return the token counts that get a row: every `step`, and the end once. No token, no row, but the zero row."""
    inner = list(range(0 if zero_row else step, total, step))
    return [*inner, total] if total or zero_row else []


def slice_rows(input_prompt: str, cuts: Cuts, *, step: int, zero_row: bool = False) -> list[Slice]:
    """Return the rows of one completion that ended by itself."""
    ends = [0, *cuts.offsets] if zero_row else cuts.offsets
    return [
        Slice(
            input_prompt=input_prompt,
            output_prompt=cuts.text[:end],
            number_of_output_tokens=count,
            remaining_tokens=cuts.total - count,
        )
        for count, end in zip(points(cuts.total, step=step, zero_row=zero_row), ends, strict=True)
    ]


def cut_texts(texts: Sequence[str], tokenizer: Tokenizer, *, step: int) -> list[Cuts]:
    """Encode texts in one batch and cut them.

    Where the ids do not spell the text (the tokenizer normalises it), the library's spans give the characters.
    """
    pieces = tokenizer.pieces
    found: list[Cuts | None] = [None] * len(texts)
    if pieces is not None:
        for number, (text, ids) in enumerate(zip(texts, tokenizer.encode(texts), strict=True)):
            found[number] = cut_ids(text, ids, pieces, step=step, counted="encoded")
    left = [number for number, cuts in enumerate(found) if cuts is None or cuts.missing]
    if left:
        for number, spans in zip(left, tokenizer.encode_spans([texts[number] for number in left]), strict=True):
            found[number] = cut_spans(texts[number], spans, step=step)
    return [cuts for cuts in found if cuts is not None]


def cut_ids(
    text: str, ids: Sequence[int], pieces: Sequence[bytes], *, step: int, counted: Counted = "ids"
) -> Cuts | None:
    """Cut a text by the ids that made it, or return `None` if they do not spell it.

    The text may lack what a stop string ended, an unfinished last character, and leading white space that the server
    took off; cuts in such places move to the nearest character that is there.
    """
    try:
        chunks = [b"".join([pieces[token] for token in ids[at : at + step]]) for at in range(0, len(ids), step)]
    except IndexError:  # an id beyond the vocabulary: another model's ids
        return None
    ends, whole = _decode(chunks)
    start = _start(whole, text)
    if start is None:
        return None
    if start or len(whole) != len(text):
        ends = [min(max(end - start, 0), len(text)) for end in ends]
    offsets = [*ends[:-1], len(text)] if ids else []
    return Cuts(text, len(ids), offsets, counted, len(whole) - len(text) - start)


def cut_generated(ids: Sequence[int], pieces: Sequence[bytes], *, step: int) -> Cuts | None:
    """Cut what the ids spell: for answers whose reasoning the server took out of the text."""
    try:
        whole = b"".join([pieces[token] for token in ids]).decode(errors="replace")
    except IndexError:
        return None
    return cut_ids(whole, ids, pieces, step=step)


def cut_spans(text: str, spans: Spans, *, step: int) -> Cuts:
    """Cut a text by an encoding's spans, asked at the cuts only.

    A cut stands where the next token begins: at the start of a character that two tokens share, and behind characters
    that the tokenizer normalised away.
    """
    total = len(spans)
    nexts = (spans.token_to_chars(token) for token in range(step, total, step))
    ends = list(accumulate((span[0] if span else 0 for span in nexts), max))
    return Cuts(text, total, [*ends, len(text)] if total else [], "encoded")


def ends_by_itself(completion: Completion) -> bool | None:
    """True: whole. False: cut by the limit (censored). `None`: says nothing about a length (`filter`, `tool`)."""
    return {"stop": True, "length": False}.get(completion.finish)


def usage_differs(completion: Completion, cuts: Cuts) -> bool:
    """Whether the server's own count is another one; an encoded text may lack the end-of-text token."""
    if completion.usage is None:
        return False
    reported = completion.usage.completion_tokens
    return reported not in ((cuts.total,) if cuts.counted == "ids" else (cuts.total, cuts.total + 1))


def _decode(chunks: list[bytes]) -> tuple[list[int], str]:
    """Decode as servers do (bad bytes become U+FFFD); the characters finished after each chunk, and the whole."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    texts = [decode(chunk) for chunk in chunks]
    ends = list(accumulate(map(len, texts)))
    return ends, "".join([*texts, decode(b"", final=True)])


def _start(whole: str, text: str) -> int | None:
    """Where in the generated text the answer begins, white space before it skipped; `None` if it is not there."""
    if whole.startswith(text):
        return 0
    blank = len(whole) - len(whole.lstrip())
    return next((skip for skip in range(1, blank + 1) if whole.startswith(text, skip)), None)
