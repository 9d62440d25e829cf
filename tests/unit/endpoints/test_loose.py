"""Answers in odd forms: what was paid for is read, what nobody can read is asked for again."""

import asyncio
import json

import pytest

from promptmill.endpoints.openai import openai
from promptmill.errors import Unavailable
from promptmill.records import Usage

TEXT = b'"content": "hello"'
COUNTS = b'{"prompt_tokens": 3, "completion_tokens": 2}'


def said(before=b"", after=b""):
    """A right answer with one place of it changed."""
    message = {"role": "assistant", "content": "hello"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "x", "choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    whole = json.dumps(body).encode()
    assert before in whole
    return whole.replace(before, after)


def parts(*content):
    return b'"content": ' + json.dumps(content).encode()


@pytest.fixture
def answer(canned, chat):
    def of(body, **options):
        async def go(url):
            endpoint = openai(base_url=url, token_ids="never", **options)
            try:
                return await endpoint.complete(chat())
            finally:
                await endpoint.close()

        with canned(200, body) as server:
            return asyncio.run(go(server.url))

    return of


@pytest.mark.parametrize(
    ("usage", "known"),
    [
        (b'{"prompt_tokens": 3.0, "completion_tokens": 2.0}', Usage(prompt_tokens=3, completion_tokens=2)),
        (b'{"prompt_tokens": -3, "completion_tokens": 2}', None),
        (b'{"prompt_tokens": 3.5, "completion_tokens": 2}', None),
        (b'{"prompt_tokens": "3", "completion_tokens": "2"}', None),
        (b'{"prompt_tokens": NaN, "completion_tokens": 2}', None),
        (b'{"prompt_tokens": 1e999, "completion_tokens": 2}', None),
        (b'{"prompt_tokens": 99999999999999999999999999, "completion_tokens": 2}', None),
        (b'{"prompt_tokens": true, "completion_tokens": 2}', None),
        (b'{"prompt_tokens": 3}', None),
        (b'"none"', None),
        (b"[3, 2]", None),
        (b"null", None),
    ],
)
def test_an_answer_whose_counts_are_odd_is_an_answer(answer, usage, known):
    got = answer(said(COUNTS, usage))
    assert (got.text, got.finish, got.usage) == ("hello", "stop", known)


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (TEXT, parts({"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}), "hello"),
        (TEXT, parts("hello"), "hello"),
        (TEXT, parts({"type": "text", "text": "hello"}, {"type": "image_url", "image_url": {}}), "hello"),
        (TEXT, b'"content": "half \\ud83d pair"', "half \ufffd pair"),
        (TEXT, b'"content": "half \\ude00"', "half \ufffd"),
        (TEXT, b'"content": "\\ud83d\\ude00"', "\U0001f600"),
        (TEXT, b'"content": "a\nb"', "a\nb"),
        (TEXT, b'"content": "a\\u0000b"', "a\0b"),
        (TEXT, b'"content": null, "refusal": "I cannot."', "I cannot."),
        (TEXT, b'"content": "first", "content": "second"', "second"),
        (TEXT, b'"content": "hello", "reasoning": {"a": 1}', "hello"),
        (b'"index": 0', b'"index": "0"', "hello"),
        (b'"index": 0', b'"index": null', "hello"),
        (b'"index": 0', b'"index": -7', "hello"),
        (b'"index": 0', b'"token_ids": [1, -2]', "hello"),
        (b'"index": 0', b'"token_ids": ["a"]', "hello"),
        (b'"id": "x"', b'"id": NaN', "hello"),
        (b'{"id"', b'\xef\xbb\xbf{"id"', "hello"),
        (b'"stop"', b'"STOP"', "hello"),
        (b'"stop"', b'""', "hello"),
    ],
)
def test_an_odd_answer_that_can_mean_one_thing_alone_is_an_answer(answer, before, after, text):
    got = answer(said(before, after))
    assert (got.text, got.finish, got.token_ids) == (text, "stop", None)


def test_thoughts_in_parts_are_reasoning(answer):
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    got = answer(said(TEXT, parts(thought, {"type": "text", "text": "hello"})))
    assert (got.text, got.reasoning) == ("hello", "hm")


def test_a_tool_call_in_an_odd_form_is_one(answer):
    body = said(TEXT, b'"content": null, "tool_calls": {"a": 1}').replace(b'"stop"', b'"tool_calls"')
    got = answer(body)
    assert (got.text, got.finish) == ("", "tool")


def test_what_was_kept_of_an_odd_answer_is_what_was_read(answer):
    got = answer(said(b'"id": "x"', b'"id": NaN'), keep_response=True)
    assert json.loads(bytes(got.response))["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize(
    "body",
    [
        said(TEXT, b'"content": 5'),
        said(TEXT, b'"content": []'),
        said(TEXT, b'"content": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        said(b'"stop"', b"1"),
        said(b'"stop"', b'"because"'),
        said() + b" garbage",
        said().decode().encode("utf-16"),
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": {"0": 1}}',
        b'{"choices": []}',
        b"[" * 100_000,
        b'{"error": [1]}',
        b"NaN",
        b"",
    ],
)
def test_what_holds_no_text_or_no_end_that_is_known_is_no_answer(answer, body):
    with pytest.raises(Unavailable) as caught:
        answer(body)
    assert caught.value.sent
    assert "\n" not in str(caught.value)
