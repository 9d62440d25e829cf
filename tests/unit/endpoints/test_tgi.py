"""text-generation-inference's own protocol against the fake server, whole and streamed."""

import json

import pytest

from promptmill import errors
from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.tgi import tgi
from promptmill.records import Usage
from promptmill.registry import options
from promptmill.testing import fake_server

OPTIONS = FakeOptions(claims="tgi", words="5-20", context=2500)
STREAM = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture(scope="module")
def fake():
    with fake_server(OPTIONS) as url:
        yield url


@STREAM
def test_an_answer_has_its_ids_with_the_end_token_and_its_counts(fake, ask, raw, stream):
    got = ask(tgi(base_url=fake, stream=stream), raw(max_tokens=900))
    assert got.token_ids == (*got.text.encode(), 256)
    assert got.usage == Usage(prompt_tokens=9, completion_tokens=len(got.token_ids))
    assert (got.finish, got.max_tokens) == ("stop", 900)


def test_streamed_or_not_the_answer_is_the_same(fake, ask, raw):
    whole, streamed = (ask(tgi(base_url=fake, stream=stream), raw(stop=("e",))) for stream in (False, True))
    assert (whole.text, whole.token_ids, whole.finish) == (streamed.text, streamed.token_ids, streamed.finish)


@STREAM
def test_an_answer_that_is_cut_has_finish_length(fake, ask, raw, stream):
    got = ask(tgi(base_url=fake, stream=stream), raw(max_tokens=4))
    assert (got.finish, got.usage.completion_tokens, len(got.token_ids)) == ("length", 4, 4)


@STREAM
def test_the_word_that_stopped_it_is_in_the_ids_and_not_in_the_text(fake, ask, raw, stream):
    got = ask(tgi(base_url=fake, stream=stream), raw(stop=("e", " ")))
    assert got.finish == "stop"
    assert bytes(got.token_ids) in {got.text.encode() + b"e", got.text.encode() + b" "}


@pytest.mark.parametrize(
    ("sampling", "sent"),
    [
        ({}, {}),
        ({"temperature": 0, "top_p": 0.9}, {"do_sample": False}),
        ({"temperature": 0.5, "top_p": 1.0}, {"do_sample": True, "temperature": 0.5}),
        ({"top_p": 0.9}, {"top_p": 0.9}),
        ({"seed": 40, "stop": ("#",), "extra": {"top_k": 5}}, {"seed": 43, "stop": ["#"], "top_k": 5}),
    ],
)
def test_what_is_sent_is_what_the_server_takes(*, canned, ask, raw, sampling, sent):
    answer = {"generated_text": "x", "details": {"finish_reason": "eos_token", "generated_tokens": 1}}
    with canned(200, answer) as server:
        ask(tgi(base_url=server.url), raw(sample=3, max_tokens=7, **sampling))
    assert server.bodies == [
        ("/generate", {"inputs": "Once upon", "parameters": {"max_new_tokens": 7, "details": True, **sent}})
    ]


def test_a_server_that_does_not_count_the_prompt_gives_no_usage(canned, ask, raw):
    answer = {"generated_text": "x", "details": {"finish_reason": "eos_token", "generated_tokens": 1, "tokens": []}}
    with canned(200, answer) as server:
        assert ask(tgi(base_url=server.url), raw()).usage is None


@STREAM
def test_context_is_what_the_prompt_leaves_and_a_longer_prompt_is_refused(ask, raw, stream):
    with fake_server(FakeOptions(claims="tgi", words="500", context=100)) as url:
        got = ask(tgi(base_url=url, stream=stream), raw("x" * 70, max_tokens="context"))
        assert (got.usage.completion_tokens, got.max_tokens) == (30, 30)
        with pytest.raises(errors.TooLong, match="has 100 tokens and the model's context is 100"):
            ask(tgi(base_url=url, stream=stream), raw("x" * 100, max_tokens="context"))
        with pytest.raises(errors.Refused, match="422: `inputs` tokens"):
            ask(tgi(base_url=url, stream=stream), raw("x" * 90, max_tokens=20))


def test_context_of_a_server_that_does_not_tell_asks_for_a_number(ask, raw):
    with (
        fake_server(FakeOptions(claims="other")) as url,
        pytest.raises(errors.ConfigError, match=r"does not tell the context of 'fake'.*Give a number\."),
    ):
        ask(tgi(base_url=url), raw(max_tokens="context"))


def test_a_chat_is_sent_elsewhere_in_one_line(fake, ask, chat):
    with pytest.raises(errors.ConfigError, match=r"kind tgi sends raw texts\. For chats use kind: openai"):
        ask(tgi(base_url=fake), chat())


def test_a_field_of_ours_in_extra_is_an_error(fake, ask, raw):
    with pytest.raises(errors.ConfigError, match=r"sampling\.extra\.best_of: .*Take it out"):
        ask(tgi(base_url=fake), raw(extra={"best_of": 4}))


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded", errors.RateLimited),
        ("validation", errors.Refused),
        ("generation", errors.Unavailable),
        ("incomplete_generation", errors.Unavailable),
        ("new", errors.Unavailable),
    ],
)
def test_an_error_in_a_stream_means_what_its_status_would(canned, ask, raw, kind, error):
    body = b"data:" + json.dumps({"error": "what it says", "error_type": kind}).encode() + b"\n\n"
    with canned(200, body) as server, pytest.raises(error, match="what it says") as caught:
        ask(tgi(base_url=server.url, stream=True), raw())
    assert type(caught.value) is error


def test_a_failed_generation_is_asked_again(canned, ask, raw):
    with (
        canned(424, {"error": "CUDA", "error_type": "generation"}) as server,
        pytest.raises(errors.Unavailable, match="424: CUDA"),
    ):
        ask(tgi(base_url=server.url), raw())


def test_comments_and_other_fields_of_a_stream_are_passed_over(canned, ask, raw):
    events = [
        {"token": {"id": 5, "text": "h", "special": False}, "generated_text": None, "details": None},
        {
            "token": {"id": 2, "text": "</s>", "special": True},
            "generated_text": "h",
            "details": {"finish_reason": "eos_token", "generated_tokens": 2, "seed": None},
        },
    ]
    lines = [b":keep-alive", b"", b"event: message", *[b"data: " + json.dumps(e).encode() + b"\r\n" for e in events]]
    with canned(200, b"\n".join(lines)) as server:
        got = ask(tgi(base_url=server.url, stream=True), raw())
    assert (got.text, got.token_ids, got.finish) == ("h", (5, 2), "stop")


def test_a_thought_is_split_off(ask, raw):
    with fake_server(FakeOptions(claims="tgi", words="5-20", reasoning="think")) as url:
        got = ask(tgi(base_url=url), raw())
        left = ask(tgi(base_url=url, think_tags=[]), raw())
    assert got.reasoning
    assert left.text == f"<think>\n{got.reasoning}\n</think>\n\n{got.text}"
    assert left.reasoning is None


def test_check_accepts_the_served_model_and_names_it_otherwise(fake, check):
    check(tgi(base_url=fake), "fake")
    with pytest.raises(errors.ConfigError, match=r"no model 'other'\. It serves: fake\."):
        check(tgi(base_url=fake), "other")


def test_check_tells_another_server_and_none(check, nobody):
    with (
        fake_server() as url,
        pytest.raises(errors.ConfigError, match=r"no text-generation-inference server.*kind: openai"),
    ):
        check(tgi(base_url=url), "fake")
    with pytest.raises(errors.Unreachable, match=r"nothing answers.*Start the server"):
        check(tgi(base_url=f"http://{nobody}"), "fake")


def test_every_option_has_a_line_of_help():
    names = ("base_url", "api_key_env", "timeout_s", "keep_response", "stream", "think_tags")
    assert {option.name: bool(option.help) for option in options(tgi)} == dict.fromkeys(names, True)


@pytest.mark.parametrize(("said", "n_prompt"), [("7", 7), ("9" * 5000, 3), ("-1", 3), ("", 3)])
def test_a_count_in_a_header_is_taken_if_it_is_one(canned, ask, raw, said, n_prompt):
    details = {"finish_reason": "eos_token", "generated_tokens": 1, "input_length": 3, "tokens": [{"id": 1}]}
    with canned(200, {"generated_text": "hi", "details": details}, {"x-prompt-tokens": said}) as server:
        assert ask(tgi(base_url=server.url), raw()).usage == Usage(prompt_tokens=n_prompt, completion_tokens=1)
