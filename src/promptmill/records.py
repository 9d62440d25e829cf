"""The rows that travel between stages: frozen, keyword-only msgspec structs.

Each stored outcome tells its kind: `Completion` and `Failure` are a tagged union (`type`), so one JSONL file holds
both. Identity is content: `Request.key` hashes what is asked, never where it stands in a file.

Not covered: options (see `config`), files (see `io`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

Finish = Literal["stop", "length", "filter", "tool"]
Protocol = Literal["chat", "completion"]


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all rows: fields at their default are not written."""


class Message(Record, frozen=True, kw_only=True):
    """One turn of a chat.

    Attributes:
        role: `system`, `user` or `assistant`.
        content: the text.
        name: optional speaker name.
    """

    role: str
    content: str
    name: str | None = None


class Reference(Record, frozen=True, kw_only=True):
    """What a right answer is.

    Attributes:
        answer: the expected answer.
        aliases: other spellings that count as right.
        choices: the options of a multiple-choice question, in order.
        tests: code that must run without an error.
        entry_point: name of the function that the tests call.
        setup: code that stands before a bare function body.
    """

    answer: str | None = None
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    entry_point: str | None = None
    setup: str | None = None


class Prompt(Record, frozen=True, kw_only=True):
    """What may be asked.

    Attributes:
        id: the data's own id, or `content_id` of the content.
        source: where it came from, `file name:line` or `dataset:row`.
        messages: a chat; exactly one of `messages` and `text` is set.
        text: raw text.
        reference: what a right answer is, where known.
        meta: everything else the source knows (`language`, `category`, ...).
    """

    id: str
    source: str
    messages: tuple[Message, ...] | None = None
    text: str | None = None
    reference: Reference | None = None
    meta: dict[str, Any] = {}

    @property
    def plain(self) -> str:
        """The prompt as one text: raw text, the single message, or the turns with their roles."""
        if self.text is not None:
            return self.text
        messages = self.messages or ()
        if len(messages) == 1:
            return messages[0].content
        return "\n\n".join(f"{m.role}: {m.content}" for m in messages)


class Sampling(Record, frozen=True, kw_only=True):
    """What changes the text that comes back. `None` leaves a value to the server.

    Attributes:
        temperature: softmax temperature.
        top_p: nucleus mass.
        max_tokens: limit on new tokens, or `context`: what the prompt leaves of the model's context.
        stop: strings that end the text.
        seed: seed of sample 0; sample j uses `seed + j`.
        extra: further body fields, sent as they are.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | Literal["context"]
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra: dict[str, Any] = {}


class Request(Record, frozen=True, kw_only=True, dict=True):
    """One prompt x one model x one sample number x sampling.

    Attributes:
        prompt_id: `Prompt.id`; not part of the key.
        model: the name the server knows.
        sample: 0-based sample number.
        protocol: `chat` sends messages, `completion` sends raw text.
        messages: the chat, for protocol `chat`.
        text: the raw prompt, for protocol `completion`.
        sampling: what changes the text.
    """

    prompt_id: str
    model: str
    sample: int = 0
    protocol: Protocol
    messages: tuple[Message, ...] | None = None
    text: str | None = None
    sampling: Sampling

    @cached_property
    def key(self) -> str:
        """128-bit BLAKE2b of the canonical content as 32 hex digits; equal requests have equal keys everywhere."""
        content = (self.model, self.protocol, self.messages, self.text, self.sampling, self.sample)
        return hashlib.blake2b(_canonical.encode(content), digest_size=16).hexdigest()


class Usage(Record, frozen=True, kw_only=True, omit_defaults=False):
    """Token counts as the server gave them.

    Attributes:
        prompt_tokens: tokens of the prompt.
        completion_tokens: new tokens of this sample, end-of-text token included where the server counts it.
    """

    prompt_tokens: int
    completion_tokens: int


class Completion(Record, frozen=True, kw_only=True, tag="completion"):
    """A model's answer, complete or cut (`finish`).

    Attributes:
        key: `Request.key`.
        prompt_id: `Prompt.id`.
        model: the model asked.
        sample: sample number.
        text: the answer without reasoning.
        reasoning: reasoning text that the server gave apart.
        finish: `stop`, `length` (truncated), `filter` or `tool`.
        usage: token counts, where the server gives them.
        token_ids: ids of the new tokens, where the server gives them.
        latency_s: seconds from send to whole answer, of the last attempt.
        attempts: how many times it was sent.
        served_by: the lane that answered: address and, where there are several, the label of its key (never the key).
        max_tokens: the limit on new tokens that was sent.
        choices: how many answers came with the same request; the bill of all stands with the first (`billed`).
        billed: what the request was charged for, where that is not `usage`: of several choices the first carries the
            whole, the others none.
        cost: money charged, in the currency of the lane's prices; None without prices.
        reused_from: key of the answer that this one was taken over from, by the recipe's `reuse` policy.
        response: the body as it came, when the recipe asks to keep it.
    """

    key: str
    prompt_id: str
    model: str
    sample: int = 0
    text: str
    reasoning: str | None = None
    finish: Finish
    usage: Usage | None = None
    token_ids: tuple[int, ...] | None = None
    latency_s: float = 0.0
    attempts: int = 1
    served_by: str = ""
    max_tokens: int | None = None
    choices: int = 1
    billed: Usage | None = None
    cost: float | None = None
    reused_from: str | None = None
    response: Any = None  # endpoints give it raw; msgspec cannot read `Raw | None` back


class Failure(Record, frozen=True, kw_only=True, tag="failure"):
    """A request that got no answer. It is never graded and never exported as a response.

    Attributes:
        key: `Request.key`.
        prompt_id: `Prompt.id`.
        model: the model asked.
        sample: sample number.
        kind: `EndpointError.kind` of the last attempt: rate, overload, unavailable, network, timeout, refused,
            too_long, filter.
        detail: one line for people, without secrets.
        attempts: how many times it was sent.
    """

    key: str
    prompt_id: str
    model: str
    sample: int = 0
    kind: str
    detail: str
    attempts: int = 1


Outcome = Completion | Failure


class Answer(Record, frozen=True, kw_only=True):
    """Text taken out of a completion.

    Attributes:
        text: the answer, as it stands there without the marks around it; for a choice, the letter.
        method: the rule that found it.
        span: where in the completion's text it stands, start and end in characters.
    """

    text: str
    method: str
    span: tuple[int, int]


class Verdict(Record, frozen=True, kw_only=True, omit_defaults=False):
    """What a metric says of one answer.

    Attributes:
        value: 1.0 right, 0.0 wrong, or what the metric measures between them; None where it cannot be graded.
        method: the rule that decided, such as `number` or `math_verify`; for code, the isolation it ran under.
        detail: one line for people: why it is wrong, or cannot be graded.
        settled: whether a judge could add nothing; a text that differs from the reference may still mean the same.
    """

    value: float | None
    method: str
    detail: str | None = None
    settled: bool = True


class Score(Record, frozen=True, kw_only=True):
    """One completion, judged.

    Attributes:
        key: `Completion.key`.
        prompt_id: `Prompt.id`.
        model: the model asked.
        sample: sample number.
        metric: name of the metric.
        answer: what was taken out of the completion; None where there was no answer.
        verdict: what the metric says of it; an answer that is not there is wrong.
        judged: what the judge says, where the metric could not settle it.
        vote: the answer that this one counts as in a majority vote, where that is spelled otherwise.
    """

    key: str
    prompt_id: str
    model: str
    sample: int = 0
    metric: str
    answer: Answer | None
    verdict: Verdict
    judged: Verdict | None = None
    vote: str | None = None

    @property
    def value(self) -> float | None:
        """The metric's value, or the judge's where he was asked."""
        return self.verdict.value if self.judged is None else self.judged.value


_canonical = msgspec.json.Encoder(order="sorted")


def content_id(content: Any) -> str:
    """Stable id of any JSON-like content: 64-bit BLAKE2b of its canonical JSON as 16 hex digits."""
    return hashlib.blake2b(_canonical.encode(content), digest_size=8).hexdigest()


def stable_hash(seed: int, text: str) -> int:
    """Return 64 bits that depend on `(seed, text)` alone: for samples and splits, equal on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=str(seed).encode()).digest(), "big")


def split_of(prompt: str, *, shares: Sequence[float], seed: int) -> Literal["train", "validation", "test"]:
    """Return the split of a prompt: depends on `(seed, text)` alone. `shares` are three fractions of 1.

    By text and not by id: data sets hold the same prompt under several ids, and one that is learned from must not be
    judged on.
    """
    # a salt, or the prompts that `sample` took by the same seed (the smallest hashes) would all fall into one split
    point = stable_hash(seed, f"split of {prompt}") / 2**64
    if point < shares[0]:
        return "train"
    return "validation" if point < shares[0] + shares[1] else "test"
