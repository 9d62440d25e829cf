"""A right answer in the words of each protocol: OpenAI's two pages, llama.cpp's `/completion`, TGI's two."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from promptmill.endpoints.fake.answers import END_ID, Text, Writer
from promptmill.endpoints.fake.faults import bend, error_body
from promptmill.endpoints.fake.http import reply
from promptmill.endpoints.fake.options import FakeOptions
from promptmill.io.jsonl import UNREADABLE

TGI_PAGES = {"/generate", "/generate_stream"}
_TAGS = ("<think>", "</think>")
_encode = msgspec.json.encode


class Problem(Exception):  # noqa: N818 - it never leaves this package
    """A request that gets an error status."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None, *, tgi: bool = False) -> None:
        super().__init__(message)
        self.payload = reply(status, error_body(status, message, tgi=tgi), headers)


class _Wanted(NamedTuple):
    """What every protocol asks for, under its own names."""

    prompt: str
    limit: int
    n: int
    stop: tuple[str, ...]
    seed: Any


def answer(
    path: str, body: dict[str, Any], options: FakeOptions, *, writer: Writer, fault: str | None = None
) -> tuple[bytes, int]:
    """A right answer as a whole reply and how many tokens it has; `fault` may bend what it says.

    Raises:
        Problem: the request is wrong.
    """
    asked = _tgi_wanted(body, options) if path in TGI_PAGES else _wanted(path, body, options)
    n_prompt = len(asked.prompt.encode())
    n = 1 if options.choices == "one" else asked.n
    if options.choices == "refused" and asked.n > 1:
        raise Problem(400, f"Field 'n': Value must be between 1 <= value <= 1, but got {asked.n}")
    limit = min(asked.limit, options.context - n_prompt)  # as vLLM and llama.cpp do
    texts = []
    for number in range(n):
        content = f"{asked.prompt} {asked.seed} {0 if options.equal_choices else number}"
        before = ""
        if options.reasoning != "none":
            closing = "" if options.reasoning == "unclosed" else f"{_TAGS[1]}\n\n"
            before = f"{_TAGS[0]}\n{writer.thought(content)}\n{closing}"
        texts.append(
            writer.write(
                content, max_tokens=limit, stop=asked.stop, before=before, unclosed=options.reasoning == "unclosed"
            )
        )
    headers = None
    if path in TGI_PAGES:
        said = _tgi(texts[0])
        headers = {"x-prompt-tokens": str(n_prompt)}
    elif path == "/completion":
        said = _native(texts[0], body, n_prompt)
    else:
        said = _openai(path, texts, body, options=options, n_prompt=n_prompt)
    if fault:
        bend(said, fault)
    n_tokens = sum(len(text.ids) for text in texts)
    if path == "/generate_stream":
        return _stream(said, texts[0], n_prompt, cut=fault == "cut"), n_tokens
    return reply(200, _encode(said), headers), n_tokens


def object_of(body: bytes) -> dict[str, Any]:
    """The body as JSON.

    Raises:
        Problem: it is no object.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE as error:
        raise Problem(400, f"The body is no JSON object: {error}") from None


def prompt_of(body: dict[str, Any]) -> str:
    """The prompt as the fake model reads it: raw, or the chat with its roles.

    Raises:
        Problem: there is none.
    """
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


def _wanted(path: str, body: dict[str, Any], options: FakeOptions) -> _Wanted:
    native = path == "/completion"
    model = body.get("model", options.model)
    if model != options.model and not native:
        raise Problem(404, f"The model '{model}' does not exist.")
    if body.get("stream"):
        raise Problem(400, "The fake server does not stream.")
    prompt = prompt_of(body)
    n_prompt = len(prompt.encode())
    limit = body.get("n_predict" if native else "max_tokens", body.get("max_completion_tokens"))
    if limit is None:  # 16 is what OpenAI's completions and vLLM do without a limit
        limit = 16 if path == "/v1/completions" else max(1, options.context - n_prompt)
    n = body.get("n", 1)
    stop = body.get("stop") or []
    if not (isinstance(limit, int) and limit > 0 and isinstance(n, int) and 0 < n <= 128):
        raise Problem(400, "max_tokens and n must be numbers above 0.")
    if n_prompt >= options.context:
        raise Problem(
            400,
            f"This model's maximum context length is {options.context} tokens. "
            f"However, your prompt has {n_prompt} tokens.",
        )
    return _Wanted(prompt, limit, n, (stop,) if isinstance(stop, str) else tuple(stop), body.get("seed"))


def _tgi_wanted(body: dict[str, Any], options: FakeOptions) -> _Wanted:
    """As text-generation-inference checks a request; it refuses what does not fit and cuts nothing."""
    prompt, given = body.get("inputs"), body.get("parameters") or {}
    if not isinstance(prompt, str) or not prompt:
        raise Problem(422, "`inputs` cannot be empty", tgi=True)
    limit = given.get("max_new_tokens", 100)
    n_prompt = len(prompt.encode())
    if not (isinstance(limit, int) and limit > 0):
        raise Problem(422, "`max_new_tokens` must be strictly positive", tgi=True)
    if given.get("temperature") is not None and not given["temperature"] > 0:
        raise Problem(422, "`temperature` must be strictly positive", tgi=True)
    if given.get("top_p") is not None and not 0 < given["top_p"] < 1:
        raise Problem(422, "`top_p` must be > 0.0 and < 1.0", tgi=True)
    if n_prompt + limit > options.context:
        raise Problem(
            422,
            f"`inputs` tokens + `max_new_tokens` must be <= {options.context}. "
            f"Given: {n_prompt} `inputs` tokens and {limit} `max_new_tokens`",
            tgi=True,
        )
    return _Wanted(prompt, limit, 1, tuple(given.get("stop") or ()), given.get("seed"))


def _openai(
    path: str, texts: list[Text], body: dict[str, Any], *, options: FakeOptions, n_prompt: int
) -> dict[str, Any]:
    chat = path == "/v1/chat/completions"
    choices = []
    for index, text in enumerate(texts):
        choice: dict[str, Any] = {"index": index, "finish_reason": text.finish, "logprobs": None}
        choice |= {"message": _message(text.text, options)} if chat else {"text": text.text}
        if body.get("return_token_ids"):
            choice["token_ids"] = text.ids
        choices.append(choice)
    n_new = sum(len(text.ids) for text in texts)
    if options.claims == "llama.cpp":  # it counts the first choice only
        n_new = len(texts[0].ids)
    return {
        "id": "fake",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": options.model,
        "choices": choices,
        "usage": {"prompt_tokens": n_prompt, "completion_tokens": n_new, "total_tokens": n_prompt + n_new},
    }


def _message(text: str, options: FakeOptions) -> dict[str, Any]:
    """A chat's message, its thought in a field of its own where the options say so."""
    if options.reasoning not in {"reasoning_content", "reasoning"}:
        return {"role": "assistant", "content": text}
    thought, _, rest = text.removeprefix(_TAGS[0]).partition(_TAGS[1])
    return {"role": "assistant", "content": rest.lstrip() or None, options.reasoning: thought.strip()}


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


def _tgi(text: Text) -> dict[str, Any]:
    ended = text.ids[-1:] == (END_ID,)
    said = bytes(text.ids[:-1] if ended else text.ids).decode("utf-8", "ignore")  # with the word that stopped it
    return {
        "generated_text": said,
        "details": {
            "finish_reason": "length" if text.finish == "length" else "eos_token" if ended else "stop_sequence",
            "generated_tokens": len(text.ids),
            "seed": None,
            "prefill": [],
            "tokens": [_token(number) for number in text.ids],
        },
    }


def _token(number: int) -> dict[str, Any]:
    special = number == END_ID
    return {
        "id": number,
        "text": "</s>" if special else bytes([number]).decode("utf-8", "replace"),
        "logprob": -1.0,
        "special": special,
    }


def _stream(said: dict[str, Any], text: Text, n_prompt: int, *, cut: bool) -> bytes:
    """The answer as events; `cut` leaves the last event out and says that all is there."""
    events = [
        {"index": index, "token": _token(number), "generated_text": None, "details": None}
        for index, number in enumerate(text.ids, 1)
    ]
    details = said.get("details")
    if details:
        details = {name: value for name, value in details.items() if name not in {"prefill", "tokens"}}
        details["input_length"] = n_prompt
    events[-1] |= {"generated_text": said.get("generated_text"), "details": details}
    lines = [b"data:" + _encode(event) + b"\n\n" for event in (events[:-1] if cut else events)]
    return reply(200, b"".join(lines), kind="text/event-stream")
