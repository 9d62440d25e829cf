"""The fake server's routes, counts and faults: a request in, a `Plan` out."""

from __future__ import annotations

import email.utils
import hashlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import msgspec

from promptmill.endpoints.fake.answers import END_ID, Text, Writer, fraction, known_fault, parse_faults, parse_mixture
from promptmill.endpoints.fake.batches import FakeBatches
from promptmill.endpoints.fake.http import Asked, How, Plan, reply
from promptmill.endpoints.fake.options import FakeOptions
from promptmill.io.jsonl import UNREADABLE

VOLATILE = {"user", "metadata", "request_id"}
COMPLETIONS = {"/v1/chat/completions", "/v1/completions", "/completion"}
_canonical = msgspec.json.Encoder(order="sorted")
_encode = msgspec.json.encode


class Tally(msgspec.Struct):
    """Counts of one content or key."""

    received: int = 0
    answered: int = 0


class Counts(msgspec.Struct):
    """What `/stats` shows."""

    received: int = 0
    answered: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    distinct: int = 0
    faults: dict[str, int] = {}
    keys: dict[str, Tally] = {}
    contents: dict[str, Tally] = {}


class Problem(Exception):  # noqa: N818 - it never leaves this module
    """A request that gets an error status."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.payload = reply(status, _encode({"error": {"message": message, "code": status}}), headers)


class App:
    """Answers requests by the options; keeps counts."""

    def __init__(self, options: FakeOptions) -> None:
        self._options = options
        self._writer = Writer(parse_mixture(options.words, name="words"))
        self._latency = parse_mixture(options.latency_s, name="latency_s")
        self._faults = parse_faults(options.faults)
        steps = [step.strip() for step in options.script.split(",")] if options.script else []
        self._script = [None if step == "ok" else known_fault(step) for step in steps]
        self._counts = Counts()
        self._windows: dict[str, tuple[float, int]] = {}
        self._batches = FakeBatches(options, self._answer_line)

    def respond(self, asked: Asked) -> Plan:
        """Decide what happens to a request."""
        try:
            if asked.path in COMPLETIONS and asked.method == "POST":
                return self._complete(asked)
            if asked.path.startswith(("/v1/files", "/v1/batches")):
                return self._batches.respond(asked)
            return Plan(reply(200, _encode(self._tell(asked))))
        except Problem as problem:
            return Plan(problem.payload)

    def _complete(self, asked: Asked) -> Plan:
        body = _object(asked.body)
        named = {name: value for name, value in body.items() if name not in VOLATILE}
        content = hashlib.blake2b(asked.path.encode() + _canonical.encode(named), digest_size=16).hexdigest()
        key = asked.headers.get("authorization", "").removeprefix("Bearer ")
        counts = self._counts
        tally = counts.contents.setdefault(content, Tally())
        of_key = counts.keys.setdefault(hashlib.blake2b(key.encode(), digest_size=8).hexdigest(), Tally())
        attempt = tally.received
        for each in (counts, tally, of_key):
            each.received += 1
        counts.distinct = len(counts.contents)
        counts.in_flight += 1
        counts.peak_in_flight = max(counts.peak_in_flight, counts.in_flight)
        latency_s = self._latency.draw(fraction(self._options.seed, f"latency {content} {attempt}"))
        try:
            self._admit(key, of_key)
            fault = self._fault(content, attempt)
            if fault not in {None, "slow"}:
                counts.faults[fault] = counts.faults.get(fault, 0) + 1
                return self._struck(fault, asked.path, body)._replace(
                    delay_s=latency_s, done=partial(_done, counts, ())
                )
            payload, n_tokens = self._answer(asked.path, body)
        except Problem as problem:
            return Plan(problem.payload, done=partial(_done, counts, ()))
        if fault:
            counts.faults[fault] = counts.faults.get(fault, 0) + 1
        return Plan(
            payload,
            delay_s=latency_s + n_tokens * self._options.token_latency_s,
            how="slow" if fault else "whole",
            slow_s=self._options.slow_s,
            done=partial(_done, counts, (counts, tally, of_key)),
        )

    def _admit(self, key: str, of_key: Tally) -> None:
        """Refuse a key that is unknown, dead or over its quota, and whoever comes when the house is full."""
        options = self._options
        if options.keys and key not in options.keys:
            self._struck_by("unknown-key")
            raise Problem(401, "Incorrect API key provided.")
        if options.key_lifetime and of_key.answered >= options.key_lifetime:
            self._struck_by("dead-key")
            raise Problem(401, "This API key has been revoked.")
        if options.max_in_flight and self._counts.in_flight > options.max_in_flight:
            self._struck_by("full")
            raise Problem(429, "Too many requests at a time.", self._retry_after())
        if options.key_quota:
            now = time.monotonic()
            began, used = self._windows.get(key, (now, 0))
            if now - began >= options.quota_window_s:
                began, used = now, 0
            if used >= options.key_quota:
                self._struck_by("quota")
                wait_s = math.ceil(began + options.quota_window_s - now)
                raise Problem(429, "Rate limit reached for this key.", {"Retry-After": str(wait_s)})
            self._windows[key] = (began, used + 1)

    def _struck_by(self, fault: str) -> None:
        self._counts.faults[fault] = self._counts.faults.get(fault, 0) + 1

    def _fault(self, content: str, attempt: int) -> str | None:
        """The fault that strikes this attempt at this content, by script first, then by share."""
        if attempt < len(self._script):
            return self._script[attempt]
        if self._options.fault_attempts and attempt >= self._options.fault_attempts:
            return None
        drawn = fraction(self._options.seed, f"fault {content} {attempt}")
        return next((fault for fault, upto in self._faults if drawn < upto), None)

    def _struck(self, fault: str, path: str, body: dict[str, Any]) -> Plan:
        """What a fault looks like on the wire."""
        if fault in {"half", "drop", "timeout"}:
            how: How = "never" if fault == "timeout" else "half" if fault == "half" else "drop"
            return Plan(self._answer(path, body)[0], how=how)
        if fault == "json":
            return Plan(reply(200, b'{"id": "fake", "choices": [{"index": 0, "mess'))
        if fault == "empty":
            return Plan(reply(200, _encode({"id": "fake", "choices": []})))
        status, _, form = fault.partition("-")
        headers = self._retry_after(form) if status in {"429", "503"} else {}
        message = f"scripted fault {fault}"
        return Plan(reply(int(status), _encode({"error": {"message": message, "code": int(status)}}), headers))

    def _retry_after(self, form: str = "") -> dict[str, str]:
        if form == "garbage":
            return {"Retry-After": "soon; as soon as possible"}
        if form == "date":
            # dates have whole seconds: round up, so that waiting until then is never too short
            return {
                "Retry-After": email.utils.formatdate(math.ceil(time.time() + self._options.retry_after_s), usegmt=True)
            }
        return {"Retry-After": f"{self._options.retry_after_s:g}"}

    def _answer(self, path: str, body: dict[str, Any]) -> tuple[bytes, int]:
        """A right answer and how many tokens it has.

        Raises:
            Problem: the request is wrong.
        """
        native = path == "/completion"
        model = body.get("model", self._options.model)
        if model != self._options.model and not native:
            raise Problem(404, f"The model '{model}' does not exist.")
        if body.get("stream"):
            raise Problem(400, "The fake server does not stream.")
        prompt = _prompt(body)
        n_prompt = len(prompt.encode())
        limit = body.get("n_predict" if native else "max_tokens", body.get("max_completion_tokens"))
        if limit is None:  # 16 is what OpenAI's completions and vLLM do without a limit
            limit = 16 if path == "/v1/completions" else max(1, self._options.context - n_prompt)
        n = body.get("n", 1)
        stop = body.get("stop") or []
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        if not (isinstance(limit, int) and limit > 0 and isinstance(n, int) and 0 < n <= 128):
            raise Problem(400, "max_tokens and n must be numbers above 0.")
        if n_prompt >= self._options.context:
            raise Problem(
                400,
                f"This model's maximum context length is {self._options.context} tokens. "
                f"However, your prompt has {n_prompt} tokens.",
            )
        limit = min(limit, self._options.context - n_prompt)  # as vLLM and llama.cpp do
        texts = [self._writer.write(f"{prompt} {body.get('seed')} {i}", max_tokens=limit, stop=stop) for i in range(n)]
        n_tokens = sum(len(text.ids) for text in texts)
        said = (
            _native(texts[0], body, n_prompt) if native else _openai(path, texts, body, model=model, n_prompt=n_prompt)
        )
        return reply(200, _encode(said)), n_tokens

    def _answer_line(self, path: str, body: dict[str, Any]) -> bytes:
        """The whole reply to one line of a batch file, an error status included."""
        try:
            return self._answer(path, body)[0]
        except Problem as problem:
            return problem.payload

    def _tell(self, asked: Asked) -> Any:
        """Answer a question about the server itself.

        Raises:
            Problem: no such page.
        """
        pages: dict[str, Callable[[Asked], Any]] = {
            "/stats": self._stats,
            "/health": lambda _: {"status": "ok"},
            "/v1/models": self._models,
        }
        context = self._options.context
        if self._options.claims == "vllm":
            pages["/version"] = lambda _: {"version": "0.0.0+fake"}
            pages["/tokenize"] = self._tokenize
        if self._options.claims == "llama.cpp":
            pages["/props"] = lambda _: {"default_generation_settings": {"n_ctx": context}, "total_slots": 1}
            pages["/apply-template"] = lambda asked: {"prompt": _prompt(_object(asked.body))}
            # anything but `content` gets an empty list, as from llama.cpp
            pages["/tokenize"] = lambda asked: {"tokens": list(str(_object(asked.body).get("content", "")).encode())}
        if asked.path not in pages:
            raise Problem(404, f"no page {asked.method} {asked.path}")
        return pages[asked.path](asked)

    def _tokenize(self, asked: Asked) -> dict[str, Any]:
        ids = list(_prompt(_object(asked.body)).encode())
        return {"count": len(ids), "max_model_len": self._options.context, "tokens": ids}

    def _models(self, asked: Asked) -> dict[str, Any]:
        options = self._options
        if options.keys and asked.headers.get("authorization", "").removeprefix("Bearer ") not in options.keys:
            raise Problem(401, "Incorrect API key provided.")
        entry: dict[str, Any] = {"id": options.model, "object": "model", "owned_by": options.claims.replace(".", "")}
        if options.claims == "vllm":
            entry["max_model_len"] = options.context
        elif options.claims == "llama.cpp":
            entry["meta"] = {"n_ctx": options.context}
        return {"object": "list", "data": [entry]}

    def _stats(self, asked: Asked) -> Counts:
        query = parse_qs(asked.query)
        counts = self._counts
        if query.get("contents") == ["0"]:
            counts = msgspec.structs.replace(counts, contents={})
        if asked.method == "POST" or query.get("reset") == ["1"]:
            self._counts = Counts()
        return counts


def _done(counts: Counts, tallies: tuple[Counts | Tally, ...], handed: bool) -> None:  # noqa: FBT001 - a callback
    counts.in_flight -= 1
    if handed:
        for each in tallies:
            each.answered += 1


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE as error:
        raise Problem(400, f"The body is no JSON object: {error}") from None


def _prompt(body: dict[str, Any]) -> str:
    """The prompt as the fake model reads it: raw, or the chat with its roles."""
    messages = body.get("messages")
    if messages is None:
        prompt = body.get("prompt")
        if not isinstance(prompt, str):
            raise Problem(400, "prompt must be a text.")
        return prompt
    try:
        turns = [f"<|{message['role']}|>\n{message['content']}\n" for message in messages]
    except (TypeError, KeyError):
        raise Problem(400, "messages must be a list of objects with role and content.") from None
    return "".join(turns) + "<|assistant|>\n"


def _openai(path: str, texts: list[Text], body: dict[str, Any], *, model: str, n_prompt: int) -> dict[str, Any]:
    chat = path == "/v1/chat/completions"
    choices = []
    for index, text in enumerate(texts):
        choice: dict[str, Any] = {"index": index, "finish_reason": text.finish, "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text.text}} if chat else {"text": text.text}
        if body.get("return_token_ids"):
            choice["token_ids"] = text.ids
        choices.append(choice)
    n_new = sum(len(text.ids) for text in texts)
    return {
        "id": "fake",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": model,
        "choices": choices,
        "usage": {"prompt_tokens": n_prompt, "completion_tokens": n_new, "total_tokens": n_prompt + n_new},
    }


def _native(text: Text, body: dict[str, Any], n_prompt: int) -> dict[str, Any]:
    stop_type = "limit" if text.finish == "length" else "eos" if text.ids[-1:] == (END_ID,) else "word"
    return {
        "content": text.text,
        "tokens": text.ids if body.get("return_tokens") else [],
        "stop": True,
        "stop_type": stop_type,
        "tokens_predicted": len(text.ids),
        "tokens_evaluated": n_prompt,
        "truncated": False,
    }
