"""text-generation-inference's own pages: `/generate`, and `/generate_stream` where `stream` says so.

What the server does differently, and what is made of it:

- a temperature must be above 0 and a `top_p` below 1; either of them, or `top_k`, makes it sample. So temperature 0 is
  sent as no temperature, no `top_p` and `do_sample: false`, and a `top_p` of 1 is not sent.
- a text that a stop word ended still holds the word: it is taken off, as other servers do. The ids keep it.
- prompt and limit together may not exceed `max_total_tokens`; the server refuses and does not cut.
- the prompt's length stands in the header `x-prompt-tokens`, in a stream in the last event (`input_length`) of newer
  servers; without it there is no `usage`. `decoder_input_details` would tell too, and switches prefix caching off.
- a stream has status 200 whatever becomes of it: an error is an event, and a stream without its last event (the one
  that holds `generated_text`) is no answer.

Not covered: chats (the server answers them at its OpenAI-compatible pages: kind openai), `best_of`, grammars' own
checks, and answers as they are written: a stream is read to its end.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from promptmill.endpoints.link import Link, Once, no_server
from promptmill.endpoints.loose import Count
from promptmill.endpoints.openai import kept, refuse_own
from promptmill.endpoints.reasoning import THINK_TAGS, finish_after, pairs_of, split
from promptmill.endpoints.transport import Reply, Transport
from promptmill.errors import ConfigError, Refused, Timeout, TooLong, Unavailable
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Completion, Finish, Request, Usage

FINISH: dict[str, Finish] = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}
OWN_FIELDS = {
    *("inputs", "stream", "n", "best_of", "details", "decoder_input_details", "return_full_text", "max_new_tokens"),
    *("max_tokens", "do_sample", "temperature", "top_p", "stop", "seed"),
}
# what an error in a stream would have had as a status
STATUS = {"overloaded": 429, "validation": 422, "generation": 424, "incomplete_generation": 500}


class _Token(msgspec.Struct):
    id: int


class _Details(msgspec.Struct):
    finish_reason: str
    generated_tokens: Count
    input_length: int | None = None
    tokens: list[_Token] | None = None


class Answer(msgspec.Struct):
    """The part of an answer, or of an event of a stream, that is read."""

    generated_text: str | None = None
    details: _Details | None = None
    token: _Token | None = None
    error: str | None = None
    error_type: str | None = None


class _Info(msgspec.Struct):
    model_id: str
    max_total_tokens: int | None = None


class Tgi:
    """An `Endpoint` for one text-generation-inference server; made by `tgi`."""

    def __init__(self, link: Link, *, stream: bool, keep_response: bool, tags: tuple[tuple[str, str], ...]) -> None:
        self._link = link
        self._stream = stream
        self._keep_response = keep_response
        self._tags = tags
        self._info = Once(self._ask_info)

    def __repr__(self) -> str:
        return f"Tgi({self._link.shown})"

    async def complete(self, request: Request) -> Completion:
        """Ask once.

        Raises:
            EndpointError: the server did not give a completion.
            ConfigError: a chat, `max_tokens: context` of a server that does not tell, or a wrong field in
                `sampling.extra`.
        """
        text = _text_of(request)
        limit = await self._limit(request, text)
        body = {"inputs": text, "parameters": _parameters(request, limit)}
        sent = time.perf_counter()
        page = "/generate_stream" if self._stream else "/generate"
        reply = await self._link.ask(self._link.address.root + page, body)
        latency_s = time.perf_counter() - sent
        answer, ids = self._events(reply) if self._stream else self._whole(reply)
        details = answer.details
        finish = FINISH.get(details.finish_reason) if details else None
        if answer.generated_text is None or details is None or finish is None:
            raise Unavailable(
                f"{self._link.shown}: answer without text or finish: {self._link.excerpt(reply.body)}", sent=True
            )
        said = answer.generated_text
        if details.finish_reason == "stop_sequence":
            said = said.removesuffix(max((s for s in request.sampling.stop if said.endswith(s)), key=len, default=""))
        parts = split(said, given=None, tags=self._tags)
        n_prompt = _prompt_tokens(reply, details)
        return Completion(
            key=request.key,
            prompt_id=request.prompt_id,
            model=request.model,
            sample=request.sample,
            text=parts.text,
            reasoning=parts.reasoning,
            finish=finish_after(finish, closed=parts.closed),
            usage=None
            if n_prompt is None
            else Usage(prompt_tokens=n_prompt, completion_tokens=details.generated_tokens),
            token_ids=ids,
            latency_s=latency_s,
            served_by=self._link.served_by,
            max_tokens=limit,
            response=kept(reply.body) if self._keep_response and not self._stream else None,
        )

    async def context_tokens(self, model: str) -> int | None:  # noqa: ARG002 - the server has one model
        """How many tokens prompt and answer may have together; None where the server does not tell."""
        info = await self._info.get()
        return info.max_total_tokens if info else None

    async def check(self, model: str) -> None:
        """Raise one clear error if the server does not answer, does not serve `model` or is no such server.

        Raises:
            EndpointError: nothing answers.
            ConfigError: the rest of it.
        """
        try:
            info = await self._info.get()
            health = await self._link.get("/health")
        except (Unavailable, Timeout) as error:
            raise type(error)(no_server(error)) from None
        if info is None:
            raise ConfigError(
                f"{self._link.shown}: this is no text-generation-inference server (no /info). Use kind: openai."
            )
        if info.model_id != model:
            served = self._link.excerpt(info.model_id.encode())
            raise ConfigError(f"{self._link.shown}: no model '{model}'. It serves: {served}.")
        if health.status != 200:
            raise ConfigError(f"{self._link.shown}: /health says {health.status}. Wait until the server is ready.")

    async def close(self) -> None:
        """Give back connections."""
        await self._link.close()

    async def _ask_info(self) -> _Info | None:
        reply = await self._link.get("/info")
        if reply.status in {401, 403, 429, 502, 503, 504}:
            self._link.fail(reply)
        try:
            return msgspec.json.decode(reply.body, type=_Info) if reply.status == 200 else None
        except UNREADABLE:
            return None

    async def _limit(self, request: Request, text: str) -> int:
        limit = request.sampling.max_tokens
        if limit != "context":
            if limit < 1:
                raise ConfigError(f"sampling.max_tokens: {limit} is too small. Give 1 or more, or 'context'.")
            return limit
        size = await self.context_tokens(request.model)
        reply = await self._link.ask(self._link.address.root + "/tokenize", {"inputs": text}) if size else None
        if size is None or reply is None or reply.status == 404:
            raise ConfigError(
                f"sampling.max_tokens: {self._link.shown} does not tell the context of '{request.model}', "
                "so 'context' cannot be used. Give a number."
            )
        count = len(self._link.read(reply, list[Any]))
        if count >= size:
            raise TooLong(
                f"{self._link.shown}: prompt {request.prompt_id}: the prompt has {count} tokens and the model's "
                f"context is {size}. Shorten the prompt, or serve the model with a longer context."
            )
        return size - count

    def _whole(self, reply: Reply) -> tuple[Answer, tuple[int, ...] | None]:
        answer = self._link.read(reply, Answer)
        tokens = answer.details.tokens if answer.details else None
        return answer, tuple(token.id for token in tokens) if tokens is not None else None

    def _events(self, reply: Reply) -> tuple[Answer, tuple[int, ...]]:
        """The last event and the ids of all."""
        if reply.status != 200:
            self._link.fail(reply)
        ids: list[int] = []
        for line in reply.body.splitlines():
            if not line.startswith(b"data:"):
                continue
            try:
                event = msgspec.json.decode(line[5:], type=Answer)
            except UNREADABLE as error:
                said = f"{self._link.shown}: wrong event ({error}): {self._link.excerpt(line)}"
                raise Unavailable(said, sent=True) from None
            if event.error is not None:
                self._fail(event, line[5:], reply)
            if event.token:
                ids.append(event.token.id)
            if event.generated_text is not None:
                return event, tuple(ids)
        if not ids:  # no event at all: the body may be an error in plain JSON
            self._link.read(reply, Answer)
        raise Unavailable(
            f"{self._link.shown}: the stream ended after {len(ids)} tokens, before its last event.", sent=True
        )

    def _fail(self, event: Answer, said: bytes, reply: Reply) -> NoReturn:
        status = STATUS.get(event.error_type or "", 500)
        self._link.fail(reply._replace(status=status, body=said))


def tgi(
    transport: Transport | None = None,
    *,
    base_url: str,
    api_key_env: str | None = None,
    timeout_s: float = 300.0,
    keep_response: bool = False,
    stream: bool = False,
    think_tags: Sequence[str] = THINK_TAGS,
) -> Tgi:
    """A text-generation-inference server through its own protocol; prompts are raw texts (`protocol: completion`).

    Args:
        transport: how bytes travel; HTTP/1.1 unless given.
        base_url: address of the server.
        api_key_env: name of the environment variable that holds the key.
        timeout_s: seconds from sending a request to the last byte of its answer.
        keep_response: keep the server's whole answer in each row; not of streams.
        stream: ask at /generate_stream, for gateways that end long silent connections.
        think_tags: tags around reasoning in the text, opening and closing in turn; an empty list leaves the text alone.

    Raises:
        ConfigError: the address is wrong, the variable holds no key, or the tags are no pairs.
    """
    tags = pairs_of(think_tags)
    link = Link(base_url, api_key_env=api_key_env, timeout_s=timeout_s, transport=transport)
    return Tgi(link, stream=stream, keep_response=keep_response, tags=tags)


def _text_of(request: Request) -> str:
    if request.protocol == "chat":
        raise ConfigError("generate.protocol: kind tgi sends raw texts. For chats use kind: openai with this server.")
    if request.text is None:
        raise Refused(f"prompt {request.prompt_id}: protocol completion needs text, and the request has none.")
    return request.text


def _parameters(request: Request, limit: int) -> dict[str, Any]:
    sampling = request.sampling
    refuse_own(sampling, OWN_FIELDS)
    fields: dict[str, Any] = {"max_new_tokens": limit, "details": True}
    if sampling.temperature is not None:
        fields["do_sample"] = sampling.temperature > 0
        if sampling.temperature > 0:
            fields["temperature"] = sampling.temperature
    if sampling.top_p is not None and sampling.top_p < 1 and sampling.temperature != 0:
        fields["top_p"] = sampling.top_p
    if sampling.stop:
        fields["stop"] = sampling.stop
    if sampling.seed is not None:
        fields["seed"] = sampling.seed + request.sample
    return fields | sampling.extra


def _prompt_tokens(reply: Reply, details: _Details) -> int | None:
    said = reply.headers.get("x-prompt-tokens", "")
    return int(said) if re.fullmatch(r"\d{1,9}", said, re.ASCII) else details.input_length
