"""What a prompt leaves of a model's context, asked from the server: the meaning of `max_tokens: context`.

vLLM (and servers like it) name `max_model_len` in `/v1/models` and count a prompt, chat template included, at
`/tokenize`. llama.cpp names the context of one slot in `/v1/models` (`meta.n_ctx`) or `/props`, renders a chat at
`/apply-template` and tokenizes `content` at `/tokenize`. llama.cpp answers `tokens: []` to a body in vLLM's form, so
which of the two a server is must be known before it is asked.

Not covered: servers that offer neither; for them `max_tokens` must be a number.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from promptmill.endpoints.link import Link, Once, names_of
from promptmill.endpoints.loose import is_count
from promptmill.errors import ConfigError, TooLong, Unavailable
from promptmill.io.jsonl import UNREADABLE
from promptmill.records import Message, Request

Dialect = Literal["vllm", "llama.cpp"]
TEMPLATE_FIELDS = ("chat_template_kwargs", "add_generation_prompt")


class Context:
    """Sizes of contexts and lengths of prompts of one server."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._sizes = Once(self._ask_sizes)

    async def size(self, model: str) -> int | None:
        """Tokens that prompt and answer share; None where the server does not tell."""
        found = (await self._sizes.get()).get(model)
        return found[1] if found else None

    async def limit(self, request: Request) -> int:
        """The limit on new tokens to send: the number in the request, or what is left of the context.

        Raises:
            ConfigError: the number is below 1 (llama.cpp takes -1 for no limit), or the server does not tell.
            TooLong: the prompt fills the context.
        """
        limit = request.sampling.max_tokens
        if limit == "context":
            return await self.left(request)
        if limit < 1:
            raise ConfigError(f"sampling.max_tokens: {limit} is too small. Give 1 or more, or 'context'.")
        return limit

    async def left(self, request: Request) -> int:
        """Tokens that the prompt of `request` leaves for the answer, at least 1.

        Raises:
            ConfigError: the server does not tell.
            TooLong: the prompt fills the context.
        """
        found = (await self._sizes.get()).get(request.model)
        if found is None:
            raise ConfigError(
                f"sampling.max_tokens: {self._link.shown} does not tell the context of '{request.model}', "
                "so 'context' cannot be used. Give a number."
            )
        dialect, size = found
        count = await (self._vllm_count(request) if dialect == "vllm" else self._llamacpp_count(request))
        if count >= size:
            raise TooLong(
                f"{self._link.shown}: prompt {request.prompt_id}: the prompt has {count} tokens and the model's "
                f"context is {size}. Shorten the prompt, or serve the model with a longer context."
            )
        return size - count

    async def _ask_sizes(self) -> dict[str, tuple[Dialect, int]]:
        sizes: dict[str, tuple[Dialect, int]] = {}
        entries = await self._link.models() or []
        slot = None
        if any(entry.get("owned_by") == "llamacpp" for entry in entries):
            slot = await self._slot_size()
        for entry in entries:
            length = entry.get("max_model_len")
            found: tuple[Dialect, int] | None = None
            if length and is_count(length):
                found = ("vllm", length)
            elif entry.get("owned_by") == "llamacpp":
                meta = entry.get("meta")
                length = slot or (meta.get("n_ctx") if isinstance(meta, dict) else None)
                found = ("llama.cpp", length) if length and is_count(length) else None
            if found:
                sizes |= dict.fromkeys(names_of(entry), found)
        return sizes

    async def _slot_size(self) -> int | None:
        reply = await self._link.get("/props")
        if reply.status != 200:  # the server may hide it
            return None
        try:
            size = msgspec.json.decode(reply.body)["default_generation_settings"]["n_ctx"]
        except (*UNREADABLE, KeyError, TypeError):
            return None
        return size if is_count(size) else None

    async def _vllm_count(self, request: Request) -> int:
        body: dict[str, Any] = {"model": request.model}
        if request.protocol == "chat":
            body |= {"messages": request.messages, **template_fields(request)}
        else:
            body["prompt"] = request.text
        said = await self._link.post("/tokenize", body)
        count = said.get("count")
        if not is_count(count):
            raise Unavailable(f"{self._link.shown}: /tokenize gives no count.")
        return count

    async def _llamacpp_count(self, request: Request) -> int:
        text = request.text or ""
        if request.protocol == "chat":
            text = await apply_template(self._link, request.messages or (), template_fields(request))
        said = await self._link.post("/tokenize", {"content": text, "add_special": True, "parse_special": True})
        tokens = said.get("tokens")
        if not isinstance(tokens, list):
            raise Unavailable(f"{self._link.shown}: /tokenize gives no tokens.")
        return len(tokens)


async def apply_template(link: Link, messages: tuple[Message, ...], fields: dict[str, Any]) -> str:
    """A chat as the model reads it, rendered by llama.cpp with the model's own template.

    Raises:
        EndpointError: no answer, or no prompt in it.
    """
    said = await link.post("/apply-template", {"messages": messages, **fields})
    prompt = said.get("prompt")
    if not isinstance(prompt, str):
        raise Unavailable(f"{link.shown}: /apply-template gives no prompt.")
    return prompt


def template_fields(request: Request) -> dict[str, Any]:
    """The fields of `sampling.extra` that change how a chat is rendered."""
    return {name: request.sampling.extra[name] for name in TEMPLATE_FIELDS if name in request.sampling.extra}
