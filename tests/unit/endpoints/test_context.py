"""What a prompt leaves of the context, asked from servers that tell it in different ways or not at all."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from promptmill.endpoints.llamacpp import llamacpp
from promptmill.endpoints.openai import openai
from promptmill.errors import ConfigError, Unavailable

LLAMA = {"id": "fake", "owned_by": "llamacpp"}
ANSWER = {"content": "x", "stop_type": "limit", "tokens": [1], "tokens_predicted": 1, "tokens_evaluated": 1}


@contextlib.contextmanager
def pages(answers):
    """A server with the given pages; it remembers the limits that completions were asked with."""
    limits = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            self.do_POST()

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            if self.path == "/completion":
                limits.append(body["n_predict"])
            found = answers.get(self.path)
            said = json.dumps(found if found is not None else {}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", limits
    finally:
        server.shutdown()
        server.server_close()
        thread.join(120)


def models(**fields):
    return {"data": [{**LLAMA, **fields}]}


@pytest.mark.parametrize(
    ("answers", "limit"),
    [
        # /props has the context of one slot; `meta` is believed where /props is hidden or has no number
        ({"/v1/models": models(meta={"n_ctx": 999}), "/props": {"default_generation_settings": {"n_ctx": 50}}}, 48),
        ({"/v1/models": models(meta={"n_ctx": 40})}, 38),
        ({"/v1/models": models(meta={"n_ctx": 40}), "/props": {}}, 38),
        ({"/v1/models": models(meta={"n_ctx": 40}), "/props": {"default_generation_settings": {"n_ctx": "many"}}}, 38),
    ],
)
def test_llama_cpp_tells_the_context_of_a_slot(ask, raw, answers, limit):
    with pages({**answers, "/tokenize": {"tokens": [5, 6]}, "/completion": ANSWER}) as (url, limits):
        ask(llamacpp(base_url=url), raw(max_tokens="context"))
    assert limits == [limit]


@pytest.mark.parametrize("entry", [{}, {"meta": None}, {"meta": {"n_ctx": None}}, {"id": "another"}])
def test_a_llama_cpp_that_does_not_tell_asks_for_a_number(ask, raw, entry):
    with pages({"/v1/models": models(**entry)}) as (url, _), pytest.raises(ConfigError, match="Give a number"):
        ask(llamacpp(base_url=url), raw(max_tokens="context"))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"/v1/models": models(meta={"n_ctx": 40}), "/tokenize": {}}, "/tokenize gives no tokens"),
        ({"/v1/models": models(max_model_len=40), "/tokenize": {}}, "/tokenize gives no count"),
        ({"/v1/models": models(max_model_len=40), "/tokenize": []}, "wrong answer"),
    ],
)
def test_a_tokenizer_page_that_gives_no_count_is_unavailable(ask, raw, answers, message):
    with pages(answers) as (url, _), pytest.raises(Unavailable, match=message):
        ask(openai(base_url=url), raw(max_tokens="context"))


def test_a_template_page_that_gives_no_prompt_is_unavailable(ask, chat):
    with pages({"/apply-template": {}}) as (url, _), pytest.raises(Unavailable, match="gives no prompt"):
        ask(llamacpp(base_url=url), chat())


@pytest.mark.parametrize("length", [-5, 0, 10**30, 4096.5, "4096", True, [4096], {"a": 1}])
def test_a_context_that_is_no_number_of_tokens_is_not_known(ask, chat, length):
    page = {"data": [{"id": "fake", "owned_by": "vllm", "max_model_len": length}]}
    with (
        pages({"/v1/models": page, "/tokenize": {"count": 5}}) as (url, _),
        pytest.raises(ConfigError, match="does not tell the context of 'fake', so 'context' cannot be used"),
    ):
        ask(openai(base_url=url), chat(max_tokens="context"))


@pytest.mark.parametrize("owner", [{"a": 1}, ["vllm"], 5, None])
def test_an_owner_that_is_no_name_is_nobody(ask, chat, owner):
    choice = {"finish_reason": "stop", "message": {"content": "hi"}}
    page = {"data": [{"id": "fake", "owned_by": owner}]}
    with pages({"/v1/models": page, "/v1/chat/completions": {"choices": [choice]}}) as (url, _):
        assert ask(openai(base_url=url), chat()).text == "hi"


def test_a_count_below_zero_is_no_count(ask, chat):
    page = {"data": [{"id": "fake", "owned_by": "vllm", "max_model_len": 4096}]}
    with (
        pages({"/v1/models": page, "/tokenize": {"count": -5}}) as (url, _),
        pytest.raises(Unavailable, match="/tokenize gives no count"),
    ):
        ask(openai(base_url=url), chat(max_tokens="context"))
