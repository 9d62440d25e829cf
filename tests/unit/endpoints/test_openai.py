"""The OpenAI-compatible endpoint against real HTTP: right answers, every kind of wrong one, and the key."""

import json
import subprocess
import sys
import traceback
from functools import partial

import pytest

from promptmill import errors
from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.openai import openai
from promptmill.errors import ConfigError
from promptmill.records import Request, Sampling, Usage
from promptmill.registry import options
from promptmill.testing import fake_server, fake_stats

CANARY = "sk-canary-0123456789abcdef-canary"


def answer(**choice):
    return {"choices": [{"index": 0, "finish_reason": "stop", **choice}]}


@pytest.fixture(scope="module")
def fake():
    with fake_server(FakeOptions(words="5-20")) as url:
        yield url


def test_a_chat_that_ends_by_itself_has_its_ids_with_the_end_token_and_counts_them(fake, ask, chat):
    got = ask(openai(base_url=fake), chat())
    assert got.finish == "stop"
    assert got.token_ids == (*got.text.encode(), 256)
    # "<|user|>\nSay hi.\n<|assistant|>\n" has 31 bytes, and a token of the fake server is a byte
    assert got.usage == Usage(prompt_tokens=31, completion_tokens=len(got.text.encode()) + 1)
    assert (got.key, got.prompt_id, got.attempts, got.served_by) == (chat().key, "p1", 1, fake)
    assert got.response is None


def test_an_answer_that_is_cut_has_finish_length(fake, ask, raw):
    got = ask(openai(base_url=fake), raw(max_tokens=4))
    assert (got.finish, got.usage.completion_tokens, len(got.token_ids)) == ("length", 4, 4)


def test_a_base_url_may_end_in_v1_or_a_slash(fake, ask, raw):
    texts = {ask(openai(base_url=fake + end), raw()).text for end in ("", "/", "/v1", "/v1/")}
    assert len(texts) == 1


def test_context_asks_for_what_the_prompt_leaves(ask, raw, chat):
    with fake_server(FakeOptions(words="500", context=100)) as url:
        got = ask(openai(base_url=url), raw("x" * 70, max_tokens="context"))
        assert got.usage == Usage(prompt_tokens=70, completion_tokens=30)
        got = ask(openai(base_url=url), chat("x" * 50, max_tokens="context"))
        assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (74, 26)


def test_context_is_counted_the_way_of_llama_cpp_where_the_server_is_llama_cpp(ask, chat):
    with fake_server(FakeOptions(words="500", context=100, claims="llama.cpp")) as url:
        got = ask(openai(base_url=url), chat("x" * 50, max_tokens="context"))
        assert (got.usage.prompt_tokens, got.usage.completion_tokens, got.token_ids) == (74, 26, None)


def test_context_of_a_server_that_does_not_tell_asks_for_a_number(ask, raw):
    with (
        fake_server(FakeOptions(claims="other")) as url,
        pytest.raises(errors.ConfigError, match=r"does not tell the context of 'fake'.*Give a number\."),
    ):
        ask(openai(base_url=url), raw(max_tokens="context"))


@pytest.mark.parametrize("max_tokens", ["context", 10])
def test_a_prompt_longer_than_the_context_is_refused(ask, raw, max_tokens):
    with (
        fake_server(FakeOptions(context=100)) as url,
        pytest.raises(errors.Refused, match=r"100 tokens|context is 100") as caught,
    ):
        ask(openai(base_url=url), raw("x" * 101, max_tokens=max_tokens))
    assert caught.value.kind == "too_long"


def test_what_is_sent_holds_the_limit_the_seed_of_the_sample_and_the_extra_fields(canned, ask, chat):
    with canned(200, answer(message={"content": "hi"})) as server:
        ask(
            openai(base_url=server.url, keep_response=True),
            chat(sample=3, max_tokens=7, seed=40, top_p=0.9, stop=("\n",), extra={"min_p": 0.1}),
        )
    assert server.bodies == [
        (
            "/v1/chat/completions",
            {
                "model": "fake",
                "messages": [{"role": "user", "content": "Say hi."}],
                "max_tokens": 7,
                "seed": 43,
                "top_p": 0.9,
                "stop": ["\n"],
                "min_p": 0.1,
            },
        )
    ]


def test_the_limit_can_be_sent_under_the_name_that_a_server_wants(canned, ask, chat):
    with canned(200, answer(message={"content": "hi"})) as server:
        ask(openai(base_url=server.url, max_tokens_field="max_completion_tokens"), chat(max_tokens=7))
    assert server.bodies[0][1]["max_completion_tokens"] == 7
    assert "max_tokens" not in server.bodies[0][1]


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_a_limit_below_one_is_an_error(ask, chat, max_tokens):
    with pytest.raises(errors.ConfigError, match=r"sampling\.max_tokens: .* Give 1 or more, or 'context'"):
        ask(openai(base_url="http://127.0.0.1:1"), chat(max_tokens=max_tokens))


@pytest.mark.parametrize("protocol", ["chat", "completion"])
def test_a_request_without_what_its_protocol_sends_is_refused(ask, protocol):
    request = Request(prompt_id="p7", model="m", protocol=protocol, sampling=Sampling(max_tokens=5))
    with pytest.raises(errors.Refused, match=f"prompt p7: protocol {protocol} needs"):
        ask(openai(base_url="http://127.0.0.1:1"), request)


def test_importing_endpoints_loads_no_http_library():
    program = (
        "import sys, promptmill.endpoints.openai, promptmill.endpoints.llamacpp, promptmill.endpoints.serve; "
        "print('aiohttp' in sys.modules, 'xllamacpp' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.split() == ["False", "False"]


def test_the_names_of_a_service_with_many_models_are_cut_and_cleaned(canned, check):
    models = (200, json.dumps({"data": [{"id": f"model-{i:03}\x1b[31m"} for i in range(300)]}).encode())
    with canned(200, {}, models=models) as server, pytest.raises(errors.ConfigError, match="and 280 more") as caught:
        check(openai(base_url=server.url), "mine")
    assert str(caught.value).isprintable()


def test_a_field_of_ours_in_extra_is_an_error(ask, chat):
    with pytest.raises(errors.ConfigError, match=r"sampling\.extra\.n: .*Take it out"):
        ask(openai(base_url="http://127.0.0.1:1"), chat(extra={"n": 4}))


@pytest.mark.parametrize(
    ("owned_by", "mode", "sent"),
    [("vllm", "auto", True), ("llamacpp", "auto", False), ("llamacpp", "always", True), ("vllm", "never", False)],
)
def test_token_ids_are_asked_of_vllm_only_unless_told(*, canned, ask, chat, owned_by, mode, sent):
    models = (200, json.dumps({"data": [{"id": "fake", "owned_by": owned_by}]}).encode())
    with canned(200, answer(message={"content": "hi"}), models=models) as server:
        ask(openai(base_url=server.url, token_ids=mode), chat())
    assert ("return_token_ids" in server.bodies[0][1]) is sent


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_the_text(canned, ask, chat, field):
    with canned(200, answer(message={"content": "4", field: "2 and 2"})) as server:
        got = ask(openai(base_url=server.url), chat())
    assert (got.text, got.reasoning) == ("4", "2 and 2")


def test_an_answer_cut_while_it_reasons_has_an_empty_text(canned, ask, chat):
    cut = answer(message={"content": None, "reasoning_content": "2 and"}, finish_reason="length")
    with canned(200, cut) as server:
        got = ask(openai(base_url=server.url), chat())
    assert (got.text, got.reasoning, got.finish) == ("", "2 and", "length")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("eos", "stop"), ("length", "length"), ("content_filter", "filter"), ("tool_calls", "tool")],
)
def test_finish_reasons_are_mapped(*, canned, ask, chat, reason, finish):
    with canned(200, answer(message={"content": "x"}, finish_reason=reason)) as server:
        assert ask(openai(base_url=server.url), chat()).finish == finish


@pytest.mark.parametrize(("n_new", "finish"), [(7, "length"), (6, "stop")])
def test_without_a_reason_the_count_says_whether_the_answer_was_cut(*, canned, ask, chat, n_new, finish):
    body = answer(message={"content": "x"}, finish_reason=None)
    body["usage"] = {"prompt_tokens": 3, "completion_tokens": n_new}
    with canned(200, body) as server:
        assert ask(openai(base_url=server.url), chat(max_tokens=7)).finish == finish


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>\x1b[31mBad gateway</html>",
        b'{"choices": [{"mess',
        b"[" * 5000,
        b'{"choices": [{"text": "\xff"}]}',
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"index": 0, "finish_reason": "stop"}]}',
        b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": null}}]}',
        b'{"choices": [{"index": 0, "finish_reason": "stop", "message": {"content": 5}}]}',
        b'{"choices": [{"index": 0, "finish_reason": "abort", "message": {"content": "half"}}]}',
        b'{"choices": [{"index": 0, "finish_reason": null, "message": {"content": "half"}}]}',
        b'{"error": {"message": "upstream failed", "code": 502}}',
    ],
)
def test_a_body_that_is_no_answer_is_unavailable_and_quoted_safely(canned, ask, chat, body):
    with canned(200, body) as server, pytest.raises(errors.Unavailable) as caught:
        ask(openai(base_url=server.url), chat())
    text = str(caught.value)
    assert text.startswith(server.url)
    assert text.isprintable()
    assert len(text) < 500


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (301, errors.Refused),
        (400, errors.Refused),
        (404, errors.Refused),
        (413, errors.Refused),
        (422, errors.Refused),
        (401, errors.AuthFailed),
        (403, errors.Forbidden),
        (429, errors.RateLimited),
        (408, errors.Timeout),
        (504, errors.Timeout),
        (409, errors.Unavailable),
        (425, errors.Unavailable),
        (500, errors.Unavailable),
        (503, errors.Overloaded),
    ],
)
def test_every_status_has_its_error_and_the_servers_own_words(*, canned, ask, chat, status, error):
    with canned(status, {"error": {"message": "what the server says"}}) as server, pytest.raises(error) as caught:
        ask(openai(base_url=server.url), chat())
    assert type(caught.value) is error
    assert status == 301 or f"{status}: what the server says" in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("half", errors.Unavailable),
        ("drop", errors.Unavailable),
        ("json", errors.Unavailable),
        ("empty", errors.Unavailable),
        ("500", errors.Unavailable),
        ("429", errors.RateLimited),
        ("timeout", errors.Timeout),
        ("401", errors.AuthFailed),
        ("400", errors.Refused),
    ],
)
def test_faults_on_the_wire_become_errors_and_the_next_attempt_succeeds(ask, give_up, chat, fault, error):
    with fake_server(FakeOptions(script=f"{fault},ok")) as url:
        end = partial(give_up, is_so=lambda: fake_stats(url)["received"]) if fault == "timeout" else ask
        with pytest.raises(error):
            end(openai(base_url=url, timeout_s=3600), chat())
        assert ask(openai(base_url=url), chat()).text
        stats = fake_stats(url)
    assert (stats["received"], stats["answered"], stats["faults"]) == (2, 1, {fault: 1})


def test_a_slow_answer_arrives_whole_or_ends_at_the_deadline(ask, chat):
    with fake_server(FakeOptions(script="slow", slow_s=0.2)) as url:
        assert ask(openai(base_url=url), chat()).text
    with (
        fake_server(FakeOptions(script="slow", slow_s=3600)) as url,
        pytest.raises(errors.Timeout, match=r"no answer within 0\.2 s"),
    ):
        ask(openai(base_url=url, timeout_s=0.2, token_ids="never"), chat())


def test_retry_after_is_read_as_seconds_and_as_date_and_garbage_is_ignored(ask, chat):
    with fake_server(FakeOptions(script="429,429-date,429-garbage,503", retry_after_s=3600)) as url:
        waits = []
        for error in (errors.RateLimited, errors.RateLimited, errors.RateLimited, errors.Unavailable):
            with pytest.raises(error) as caught:
                ask(openai(base_url=url), chat())
            waits.append(caught.value.retry_after_s)
    assert waits[0] == 3600
    assert 3000 < waits[1] <= 3601
    assert waits[2] is None
    assert waits[3] == 3600


def test_check_accepts_a_served_model_and_names_the_others_otherwise(fake, check):
    check(openai(base_url=fake), "fake")
    with pytest.raises(errors.ConfigError, match=r"no model 'fak'\. Did you mean 'fake'\? It serves: fake\."):
        check(openai(base_url=fake), "fak")


def test_check_says_in_one_line_that_nothing_answers(check, nobody):
    with pytest.raises(errors.Unreachable) as caught:
        check(openai(base_url=f"http://{nobody}"), "m")
    assert str(caught.value) == (
        f"http://{nobody}: nothing answers (connection refused). Start the server, or check base_url."
    )


def test_check_believes_a_server_without_a_list_of_models(canned, check):
    with canned(200, {}, models=(404, b"")) as server:
        check(openai(base_url=server.url), "anything")


def test_a_wrong_key_is_told_with_the_name_of_its_variable(monkeypatch, check):
    monkeypatch.setenv("MY_KEY", CANARY)
    with (
        fake_server(FakeOptions(keys=("another",))) as url,
        pytest.raises(errors.AuthFailed, match=r"401: Incorrect API key.*Check the key in MY_KEY\."),
    ):
        check(openai(base_url=url, api_key_env="MY_KEY"), "fake")


def test_a_right_key_is_sent_as_a_bearer(monkeypatch, ask, chat):
    monkeypatch.setenv("MY_KEY", f" {CANARY}\n")
    with fake_server(FakeOptions(keys=(CANARY,))) as url:
        assert ask(openai(base_url=url, api_key_env="MY_KEY"), chat()).text


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_or_empty_key_variable_is_named(monkeypatch, value):
    monkeypatch.delenv("MY_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(errors.ConfigError, match="the environment variable MY_KEY is not set or empty"):
        openai(base_url="http://127.0.0.1:1", api_key_env="MY_KEY")


@pytest.mark.usefixtures("nameless")
def test_the_key_is_in_no_message_no_repr_and_no_kept_response(*, monkeypatch, canned, ask, check, chat, nobody):
    monkeypatch.setenv("MY_KEY", CANARY)
    seen = []
    echo = {"error": {"message": f"wrong key {CANARY}"}}
    replies = [(401, echo), (400, echo), (500, f"{CANARY}".encode()), (200, CANARY.encode()), (429, echo)]
    for status, body in replies:
        with canned(status, body, models=(status, json.dumps(body, default=str).encode())) as server:
            endpoint = openai(base_url=server.url, api_key_env="MY_KEY")
            seen += [repr(endpoint), str(endpoint), repr(endpoint._link), str(vars(endpoint))]
            for act in (lambda e=endpoint: ask(e, chat()), lambda e=endpoint: check(e, "m")):
                try:
                    act()
                except errors.PromptmillError as error:
                    seen += [repr(error), "".join(traceback.format_exception(error))]
    for address in (f"http://{nobody}", "http://no-such-host.invalid", f"https://{nobody}"):
        with pytest.raises(errors.Unavailable) as caught:
            ask(openai(base_url=address, api_key_env="MY_KEY", token_ids="never"), chat())
        seen.append("".join(traceback.format_exception(caught.value)))
    with canned(200, answer(message={"content": "ok"}) | {"echo": CANARY}) as server:
        got = ask(openai(base_url=server.url, api_key_env="MY_KEY", keep_response=True), chat())
        assert server.headers[-1]["authorization"] == f"Bearer {CANARY}"
    seen += [repr(got), bytes(got.response).decode()]
    assert len(seen) > 30
    assert [text for text in seen if CANARY in text] == []


def test_a_kept_response_is_one_line_of_json(canned, ask, chat):
    pretty = json.dumps(answer(message={"content": "hi"}), indent=2).encode()
    with canned(200, pretty) as server:
        got = ask(openai(base_url=server.url, keep_response=True), chat())
    assert b"\n" not in bytes(got.response)
    assert json.loads(bytes(got.response)) == json.loads(pretty)


def test_the_options_of_a_recipe_are_the_keyword_only_parameters_with_a_line_of_help_each():
    found = options(openai)
    assert [option.name for option in found] == [
        "base_url",
        "api_key_env",
        "timeout_s",
        "keep_response",
        "token_ids",
        "max_tokens_field",
        "think_tags",
    ]
    assert all(option.help for option in found)


def test_remote_is_openai_with_its_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        openai(base_url="remote")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    assert "https://api.openai.com" in repr(openai(base_url="remote"))
    assert "http://localhost:8000" in repr(openai(base_url="local"))
