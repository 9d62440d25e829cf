"""What the fake server tells about itself: its models, its context, its tokenizer, as the server it claims to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptmill.endpoints.fake.http import Asked
from promptmill.endpoints.fake.options import FakeOptions
from promptmill.endpoints.fake.said import Problem, object_of, prompt_of

Page = Callable[[Asked], Any]


def pages(options: FakeOptions) -> dict[str, Page]:
    """Paths and what answers them with something that becomes JSON."""
    context = options.context
    found: dict[str, Page] = {
        "/health": lambda _: {"status": "ok"},
        "/v1/models": lambda asked: _models(asked, options),
    }
    if options.claims == "vllm":
        found["/version"] = lambda _: {"version": "0.0.0+fake"}
        found["/tokenize"] = lambda asked: _tokenize(asked, context)
    if options.claims == "llama.cpp":
        found["/props"] = lambda _: {"default_generation_settings": {"n_ctx": context}, "total_slots": 1}
        found["/apply-template"] = lambda asked: {"prompt": prompt_of(object_of(asked.body))}
        # anything but `content` gets an empty list, as from llama.cpp
        found["/tokenize"] = lambda asked: {"tokens": list(str(object_of(asked.body).get("content", "")).encode())}
    if options.claims == "tgi":
        found["/info"] = lambda _: {"model_id": options.model, "max_total_tokens": context, "version": "0.0.0+fake"}
        found["/tokenize"] = _tgi_tokenize
    return found


def key_of(asked: Asked) -> str:
    """The key that came with a request, "" for none."""
    return asked.headers.get("authorization", "").removeprefix("Bearer ")


def _models(asked: Asked, options: FakeOptions) -> dict[str, Any]:
    if options.keys and key_of(asked) not in options.keys:
        raise Problem(401, "Incorrect API key provided.")
    entry: dict[str, Any] = {"id": options.model, "object": "model", "owned_by": options.claims.replace(".", "")}
    if options.claims == "vllm":
        entry["max_model_len"] = options.context
    elif options.claims == "llama.cpp":
        entry["meta"] = {"n_ctx": options.context}
    return {"object": "list", "data": [entry]}


def _tokenize(asked: Asked, context: int) -> dict[str, Any]:
    ids = list(prompt_of(object_of(asked.body)).encode())
    return {"count": len(ids), "max_model_len": context, "tokens": ids}


def _tgi_tokenize(asked: Asked) -> list[dict[str, Any]]:
    ids = str(object_of(asked.body).get("inputs", "")).encode()
    return [{"id": number, "text": "", "start": at, "stop": at + 1} for at, number in enumerate(ids)]
