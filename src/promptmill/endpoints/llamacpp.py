"""llama.cpp's own `/completion`: the way to the ids of the tokens that the model really generated.

A chat is rendered by `/apply-template` first (the model's own template, asked of the server for each request); the
text then goes to `/completion`, where special tokens in it are parsed and the start token is added once.

Measured on real requests (xllamacpp 2026.10, SmolLM2):

- `len(tokens) == tokens_predicted` for every stop type, and both are stored as they come.
- ended by itself (`stop_type: eos`): the last id is the end-of-text token; its text is not in `content`.
- a stop word (`word`): the tokens that spell the stop word are among the ids; `content` ends before the word, and
  a token that reaches over its start is whole in the ids and cut in `content`.
- the limit (`limit`): ids and `content` are the same text, but for the bytes of a cut character.
- the end of the context also gives `limit`. `n_predict: 0` generates one token.

A model's thought stands in `content`, as this page parses no chat; it is taken out here (`reasoning`).

Not covered: several choices in one request, token ids of a streamed answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from promptmill.endpoints.context import TEMPLATE_FIELDS, Context, apply_template, template_fields
from promptmill.endpoints.link import Link
from promptmill.endpoints.loose import Count
from promptmill.endpoints.openai import kept, prompt_fields, refuse_own, sampling_fields
from promptmill.endpoints.reasoning import THINK_TAGS, finish_after, pairs_of, split
from promptmill.endpoints.transport import Transport
from promptmill.errors import ConfigError, Unavailable
from promptmill.records import Completion, Finish, Request, Usage

FINISH: dict[str, Finish] = {"eos": "stop", "word": "stop", "limit": "length"}
OWN_FIELDS = {
    *("model", "messages", "prompt", "n", "stream", "n_predict", "return_tokens"),
    *("max_tokens", "temperature", "top_p", "stop", "seed"),
}


class Answer(msgspec.Struct):
    """The part of a server's answer that is read."""

    content: str
    stop_type: str
    tokens: list[int]
    tokens_predicted: Count
    tokens_evaluated: Count


class LlamaCpp:
    """An `Endpoint` for one llama.cpp server; made by `llamacpp`."""

    def __init__(self, link: Link, *, keep_response: bool, tags: tuple[tuple[str, str], ...]) -> None:
        self._link = link
        self._keep_response = keep_response
        self._tags = tags
        self._context = Context(link)

    def __repr__(self) -> str:
        return f"LlamaCpp({self._link.shown})"

    async def complete(self, request: Request) -> Completion:
        """Ask once.

        Raises:
            EndpointError: the server did not give a completion.
            ConfigError: a wrong field in `sampling.extra`.
        """
        body = await self._body(request)
        sent = time.perf_counter()
        reply = await self._link.ask(self._link.address.root + "/completion", body)
        latency_s = time.perf_counter() - sent
        answer = self._link.read(reply, Answer)
        finish = FINISH.get(answer.stop_type)
        if finish is None:
            raise Unavailable(f"{self._link.shown}: answer with stop_type '{answer.stop_type}'.", sent=True)
        parts = split(answer.content, given=None, tags=self._tags)
        return Completion(
            key=request.key,
            prompt_id=request.prompt_id,
            model=request.model,
            sample=request.sample,
            text=parts.text,
            reasoning=parts.reasoning,
            finish=finish_after(finish, closed=parts.closed),
            usage=Usage(prompt_tokens=answer.tokens_evaluated, completion_tokens=answer.tokens_predicted),
            token_ids=tuple(answer.tokens),
            latency_s=latency_s,
            served_by=self._link.served_by,
            max_tokens=body["n_predict"],
            response=kept(reply.body) if self._keep_response else None,
        )

    async def context_tokens(self, model: str) -> int | None:
        """How many tokens prompt and answer may have together; None where the server does not tell."""
        return await self._context.size(model)

    async def check(self, model: str) -> None:
        """Raise one clear error if the server does not answer, does not serve `model` or is not llama.cpp.

        Raises:
            ConfigError: see above.
        """
        await self._link.check(model)
        reply = await self._link.get("/props")
        if reply.status == 404:
            raise ConfigError(f"{self._link.shown}: this is no llama.cpp server (no /props). Use kind: openai.")

    async def close(self) -> None:
        """Give back connections."""
        await self._link.close()

    async def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        refuse_own(sampling, OWN_FIELDS)
        body = prompt_fields(request)
        if "messages" in body:
            body = {"prompt": await apply_template(self._link, body["messages"], template_fields(request))}
        body |= {
            "n_predict": await self._context.limit(request),
            "return_tokens": True,
            "cache_prompt": True,
        } | sampling_fields(request)
        return body | {name: value for name, value in sampling.extra.items() if name not in TEMPLATE_FIELDS}


def llamacpp(
    transport: Transport | None = None,
    *,
    base_url: str,
    api_key_env: str | None = None,
    timeout_s: float = 300.0,
    keep_response: bool = False,
    think_tags: Sequence[str] = THINK_TAGS,
) -> LlamaCpp:
    """A llama.cpp server through its own protocol, which gives the ids of the generated tokens.

    Args:
        transport: how bytes travel; HTTP/1.1 unless given.
        base_url: address of the server.
        api_key_env: name of the environment variable that holds the key.
        timeout_s: seconds from sending a request to the last byte of its answer.
        keep_response: keep the server's whole answer in each row.
        think_tags: tags around reasoning in the text, opening and closing in turn; an empty list leaves the text alone.

    Raises:
        ConfigError: the address is wrong, the variable holds no key, or the tags are no pairs.
    """
    tags = pairs_of(think_tags)
    link = Link(base_url, api_key_env=api_key_env, timeout_s=timeout_s, transport=transport)
    return LlamaCpp(link, keep_response=keep_response, tags=tags)
