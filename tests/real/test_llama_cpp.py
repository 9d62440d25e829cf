"""A real model on a real server: SmolLM2 on llama.cpp, through both endpoints."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import msgspec
import pytest

from promptmill import errors
from promptmill.endpoints import processes
from promptmill.endpoints.llamacpp import llamacpp
from promptmill.endpoints.openai import openai
from promptmill.endpoints.serve import running, start, stop
from promptmill.records import Message, Request, Sampling

pytestmark = pytest.mark.real

SERVER = {"kind": "llama.cpp", "model": "smollm2", "threads": 1, "slots": 2, "context": 512}
END = 2  # <|im_end|>


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def url(state):
    with running(SERVER) as server:
        yield server.url


def chat(content, **sampling):
    sampling = Sampling(**{"max_tokens": 200, "temperature": 0.0, "seed": 1, **sampling})
    messages = (Message(role="user", content=content),)
    return Request(prompt_id="p", model="smollm2", protocol="chat", messages=messages, sampling=sampling)


def raw(text, **sampling):
    sampling = Sampling(**{"max_tokens": 200, "temperature": 0.0, "seed": 1, **sampling})
    return Request(prompt_id="p", model="smollm2", protocol="completion", text=text, sampling=sampling)


def ask(endpoint, *requests):
    async def go():
        try:
            return [await endpoint.complete(request) for request in requests]
        finally:
            await endpoint.close()

    return asyncio.run(go())


def test_several_choices_come_up_to_the_slots_of_the_server_and_its_count_is_not_believed(url):
    async def go(k):
        endpoint = openai(base_url=url)
        story = chat("Tell me a story.", max_tokens=24, temperature=1.5)
        requests = [msgspec.structs.replace(story, sample=j) for j in range(k)]
        try:
            return await endpoint.complete_many(requests)
        finally:
            await endpoint.close()

    two = asyncio.run(go(2))
    assert [(one.sample, one.choices, one.usage, one.billed) for one in two] == [(0, 2, None, None), (1, 2, None, None)]
    assert two[0].text != two[1].text
    with pytest.raises(errors.Refused):  # it has two slots
        asyncio.run(go(3))


def detokenize(url, ids):
    body = json.dumps({"tokens": list(ids)}).encode()
    request = urllib.request.Request(url + "/detokenize", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)["content"]


def test_check_knows_the_model_and_the_context_of_a_slot(url):
    async def go():
        for make in (openai, llamacpp):
            endpoint = make(base_url=url)
            await endpoint.check("smollm2")
            with pytest.raises(errors.ConfigError, match=r"Did you mean 'smollm2'\? It serves: smollm2\."):
                await endpoint.check("smollm")
            assert await endpoint.context_tokens("smollm2") == 512
            await endpoint.close()

    asyncio.run(go())


def test_an_answer_that_ends_by_itself_has_its_end_token_among_the_ids(url):
    (got,) = ask(llamacpp(base_url=url), chat("Say hi."))
    assert got.finish == "stop"
    assert got.token_ids[-1] == END
    assert len(got.token_ids) == got.usage.completion_tokens
    assert detokenize(url, got.token_ids[:-1]) == got.text


def test_an_answer_that_is_cut_is_spelt_by_its_ids(url):
    (got,) = ask(llamacpp(base_url=url), raw("One, two, three,", max_tokens=7))
    assert got.finish == "length"
    assert len(got.token_ids) == got.usage.completion_tokens == 7
    assert detokenize(url, got.token_ids) == got.text


def test_a_stop_word_is_among_the_ids_and_not_in_the_text(url):
    (got,) = ask(llamacpp(base_url=url), raw("One, two, three,", stop=(" six",)))
    assert got.finish == "stop"
    assert len(got.token_ids) == got.usage.completion_tokens
    assert detokenize(url, got.token_ids) == got.text + " six"


def test_both_protocols_read_a_chat_as_the_same_tokens_and_answer_alike(url):
    (native,) = ask(llamacpp(base_url=url), chat("Name a colour.", max_tokens=12))
    (common,) = ask(openai(base_url=url), chat("Name a colour.", max_tokens=12))
    # equal prompt counts: the template's special tokens were parsed, and no start token was added twice
    assert native.usage.prompt_tokens == common.usage.prompt_tokens
    assert (native.finish, native.usage.completion_tokens) == (common.finish, common.usage.completion_tokens)
    assert common.token_ids is None
    assert native.text[:10] == common.text[:10]


@pytest.mark.parametrize("make", [openai, llamacpp])
def test_context_lets_an_answer_fill_exactly_what_the_prompt_leaves(url, make):
    (got,) = ask(make(base_url=url), raw("word " * 490, max_tokens="context", extra={"ignore_eos": True}))
    assert got.finish == "length"
    assert got.usage.prompt_tokens + got.usage.completion_tokens == 512


@pytest.mark.parametrize("make", [openai, llamacpp])
@pytest.mark.parametrize("max_tokens", [5, "context"])
@pytest.mark.parametrize("request_of", [chat, raw])
def test_a_prompt_longer_than_the_context_is_refused_with_both_numbers(url, make, max_tokens, request_of):
    with pytest.raises(errors.Refused, match=r"\d+ tokens.*512"):
        ask(make(base_url=url), request_of("word " * 600, max_tokens=max_tokens))


@pytest.mark.parametrize("make", [openai, llamacpp])
def test_samples_differ_by_their_seed_and_repeat(url, make):
    def sampled(sample):
        sampling = Sampling(max_tokens=12, temperature=1.5, seed=5)
        return Request(
            prompt_id="p", model="smollm2", sample=sample, protocol="completion", text="My day:", sampling=sampling
        )

    texts = [got.text for got in ask(make(base_url=url), sampled(0), sampled(1), sampled(0))]
    assert texts[0] != texts[1]
    assert texts[0] == texts[2]


def test_a_server_ends_with_its_block_also_on_an_error():
    with pytest.raises(RuntimeError, match="mine"), running(SERVER) as server:
        raise RuntimeError("mine")
    assert processes.birth(server.pid) is None
    assert server.pid not in {other.pid for other in processes.started()}


def test_start_and_stop_by_port(url):
    server = start(SERVER)
    assert stop(str(server.port)) == [server]
    with urllib.request.urlopen(url + "/health", timeout=120) as reply:  # the other one was left alone
        assert reply.status == 200


def test_a_file_that_llama_cpp_cannot_load_is_one_line_with_the_log(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(errors.ConfigError, match=r"server llama\.cpp: it ended while starting: .*broken\.gguf"):
        start({"kind": "llama.cpp", "model": str(broken)})


def test_a_server_follows_a_program_that_is_killed():
    program = (
        "from promptmill.endpoints.serve import running\n"
        f"with running({SERVER!r}) as server:\n"
        "    print(server.pid, flush=True)\n"
        "    import time; time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 120
        while processes.birth(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes.birth(pid) is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
