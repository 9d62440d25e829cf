"""llama.cpp's own protocol against the fake server; the real one is asked in tests/real."""

import pytest

from promptmill import errors
from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.llamacpp import llamacpp
from promptmill.records import Usage
from promptmill.registry import options
from promptmill.testing import fake_server

OPTIONS = FakeOptions(claims="llama.cpp", words="5-20", context=1000)


@pytest.fixture(scope="module")
def fake():
    with fake_server(OPTIONS) as url:
        yield url


def test_a_chat_is_rendered_by_the_server_and_has_true_ids(fake, ask, chat):
    got = ask(llamacpp(base_url=fake), chat(max_tokens=500))
    assert got.token_ids == (*got.text.encode(), 256)
    assert got.usage == Usage(prompt_tokens=31, completion_tokens=len(got.token_ids))
    assert got.finish == "stop"


def test_a_cut_answer_has_finish_length(fake, ask, raw):
    got = ask(llamacpp(base_url=fake + "/v1"), raw(max_tokens=4))
    assert (got.finish, len(got.token_ids)) == ("length", 4)


def test_context_is_what_the_prompt_leaves_and_a_longer_prompt_is_refused(ask, raw):
    with fake_server(FakeOptions(claims="llama.cpp", words="500", context=100)) as url:
        assert ask(llamacpp(base_url=url), raw("x" * 70, max_tokens="context")).usage.completion_tokens == 30
        for limit in ("context", 5):
            with pytest.raises(errors.Refused, match="100"):
                ask(llamacpp(base_url=url), raw("x" * 100, max_tokens=limit))


def test_the_body_asks_for_ids_and_the_template_gets_its_own_fields(canned, ask, raw):
    answer = {"content": "x", "stop_type": "eos", "tokens": [5, 2], "tokens_predicted": 2, "tokens_evaluated": 1}
    request = raw(max_tokens=9, seed=1, sample=1, stop=("#",), extra={"min_p": 0.1, "chat_template_kwargs": {"a": 1}})
    with canned(200, answer) as server:
        ask(llamacpp(base_url=server.url), request)
    assert server.bodies == [
        (
            "/completion",
            {
                "prompt": "Once upon",
                "n_predict": 9,
                "return_tokens": True,
                "cache_prompt": True,
                "seed": 2,
                "stop": ["#"],
                "min_p": 0.1,
            },
        )
    ]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"content": "x"},
        {"content": "x", "stop_type": "?", "tokens": [], "tokens_predicted": 1, "tokens_evaluated": 1},
    ],
)
def test_an_answer_without_its_fields_is_unavailable(canned, ask, raw, answer):
    with canned(200, answer) as server, pytest.raises(errors.Unavailable):
        ask(llamacpp(base_url=server.url), raw())


def test_check_tells_a_server_that_is_no_llama_cpp(check):
    with fake_server() as url, pytest.raises(errors.ConfigError, match=r"no llama\.cpp server.*Use kind: openai"):
        check(llamacpp(base_url=url), "fake")


def test_check_accepts_the_served_model(fake, check):
    check(llamacpp(base_url=fake), "fake")
    with pytest.raises(errors.ConfigError, match="It serves: fake"):
        check(llamacpp(base_url=fake), "other")


def test_every_option_has_a_line_of_help():
    assert {option.name: bool(option.help) for option in options(llamacpp)} == dict.fromkeys(
        ("base_url", "api_key_env", "timeout_s", "keep_response", "think_tags"), True
    )
