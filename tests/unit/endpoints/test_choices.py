"""Several choices in one request: as many as come, each with what is known of it."""

import asyncio
import json

import pytest

from promptmill import errors
from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.openai import openai
from promptmill.records import Usage
from promptmill.registry import HasChoices
from promptmill.testing import fake_server, fake_stats


def ask_many(endpoint, requests):
    async def go():
        try:
            async with asyncio.timeout(120):
                return await endpoint.complete_many(requests)
        finally:
            await endpoint.close()

    return asyncio.run(go())


def choice(index, text="hi", reason="stop"):
    return {"index": index, "finish_reason": reason, "message": {"content": text}}


def owned_by(name):
    return 200, json.dumps({"data": [{"id": "fake", "owned_by": name}]}).encode()


def test_the_endpoint_says_that_it_can():
    assert isinstance(openai(base_url="http://127.0.0.1:1"), HasChoices)


def test_with_vllm_each_choice_counts_its_ids_and_the_first_carries_the_bill(chat):
    requests = [chat(sample=j, seed=5, max_tokens=900) for j in range(3)]
    with fake_server(FakeOptions(words="5-20")) as url:
        got = ask_many(openai(base_url=url), requests)
        assert fake_stats(url)["received"] == 1
    sizes = [len(one.text.encode()) + 1 for one in got]
    assert [one.usage for one in got] == [Usage(prompt_tokens=31, completion_tokens=n) for n in sizes]
    assert [one.billed for one in got] == [
        Usage(prompt_tokens=31, completion_tokens=sum(sizes)),
        Usage(prompt_tokens=0, completion_tokens=0),
        Usage(prompt_tokens=0, completion_tokens=0),
    ]
    assert [(one.sample, one.key, one.choices, one.max_tokens) for one in got] == [
        (j, requests[j].key, 3, 900) for j in range(3)
    ]
    assert len({one.text for one in got}) == 3


def test_the_seed_of_the_first_sample_is_sent_with_n(canned, chat):
    with canned(200, {"choices": [choice(0), choice(1)]}) as server:
        ask_many(openai(base_url=server.url), [chat(sample=2, seed=40), chat(sample=3, seed=40)])
    assert (server.bodies[0][1]["n"], server.bodies[0][1]["seed"]) == (2, 42)


def test_a_server_that_knows_no_n_gives_one_with_its_usage(chat):
    with fake_server(FakeOptions(words="5-20", choices="one", claims="other")) as url:
        (got,) = ask_many(openai(base_url=url), [chat(sample=j) for j in range(4)])
    assert (got.sample, got.choices, got.billed) == (0, 1, None)
    assert got.usage == Usage(prompt_tokens=31, completion_tokens=len(got.text.encode()) + 1)


def test_a_server_that_refuses_n_is_asked_no_second_time(chat):
    with fake_server(FakeOptions(words="5-20", choices="refused")) as url:
        with pytest.raises(errors.Refused, match="400"):
            ask_many(openai(base_url=url), [chat(sample=j) for j in range(4)])
        assert fake_stats(url)["received"] == 1


def test_a_prompt_that_is_refused_is_refused_with_n_too(chat):
    with fake_server(FakeOptions(context=20)) as url, pytest.raises(errors.Refused, match="20 tokens"):
        ask_many(openai(base_url=url), [chat(sample=j) for j in range(2)])


def test_without_ids_a_choice_has_no_usage_of_its_own(chat):
    with fake_server(FakeOptions(words="5-20", claims="other")) as url:
        got = ask_many(openai(base_url=url), [chat(sample=j) for j in range(2)])
    total = sum(len(one.text.encode()) + 1 for one in got)
    assert [one.usage for one in got] == [None, None]
    assert got[0].billed == Usage(prompt_tokens=31, completion_tokens=total)


def test_of_llama_cpp_which_counts_one_choice_not_even_the_bill_is_known(chat):
    with fake_server(FakeOptions(words="5-20", claims="llama.cpp")) as url:
        got = ask_many(openai(base_url=url), [chat(sample=j) for j in range(2)])
    assert [(one.usage, one.billed, one.choices) for one in got] == [(None, None, 2)] * 2


def test_equal_choices_come_as_they_are(chat):
    with fake_server(FakeOptions(words="5-20", equal_choices=True)) as url:
        got = ask_many(openai(base_url=url), [chat(sample=j) for j in range(3)])
    assert len({one.text for one in got}) == 1


def test_choices_are_taken_by_their_index_and_never_more_than_asked(canned, chat):
    with canned(200, {"choices": [choice(2, "c"), choice(0, "a"), choice(1, "b")]}) as server:
        got = ask_many(openai(base_url=server.url), [chat(sample=j) for j in range(2)])
    assert [(one.sample, one.text, one.choices) for one in got] == [(0, "a", 2), (1, "b", 2)]


@pytest.mark.parametrize("broken", [choice(1, None), choice(1, "x", "abort"), choice(1, "x", None)])
def test_a_broken_choice_ends_the_list_and_spares_those_before_it(canned, chat, broken):
    body = {
        "choices": [choice(0, "a"), broken, choice(2, "c")],
        "usage": {"prompt_tokens": 3, "completion_tokens": 30},
    }
    with canned(200, body) as server:
        got = ask_many(openai(base_url=server.url), [chat(sample=j) for j in range(3)])
    assert [(one.text, one.usage, one.choices) for one in got] == [("a", None, 1)]
    assert got[0].billed == Usage(prompt_tokens=3, completion_tokens=30)


def test_a_broken_first_choice_is_no_answer(canned, chat):
    with (
        canned(200, {"choices": [choice(0, None), choice(1)]}) as server,
        pytest.raises(errors.Unavailable, match="no text"),
    ):
        ask_many(openai(base_url=server.url), [chat(sample=j) for j in range(2)])


def test_the_response_is_kept_once(canned, chat):
    with canned(200, {"choices": [choice(0), choice(1)]}, models=owned_by("other")) as server:
        got = ask_many(openai(base_url=server.url, keep_response=True), [chat(sample=j) for j in range(2)])
    assert [one.response is not None for one in got] == [True, False]


def test_who_the_server_is_is_asked_before_answers_are_paid_for_and_not_after(canned, chat):
    busy = 503, b'{"error": "come back"}'
    with canned(200, {"choices": [choice(0), choice(1)]}, models=busy) as server:
        with pytest.raises(errors.Overloaded):
            ask_many(openai(base_url=server.url, token_ids="never"), [chat(sample=j) for j in range(2)])
        assert [path for path, _ in server.bodies] == []
