"""Clients that others wrote, each asking N prompts of about 1 KB with so many in flight. Runs in the peers' Python.

It imports nothing of promptmill: PROMPTMILL_PEERS names an interpreter of an environment that holds the peers, so that
they do not have to agree with ours on versions. Each client is at its best settings: no limit on connections, no retry
of its own accord, no log. Who calls measures the CPU of the process.

    python benchmarks/load/peers.py NAME URL N IN_FLIGHT
"""

import asyncio
import json
import os
import sys

WORDS = "the quick brown fox jumps over the lazy dog while seven wizards calmly debate about old maps "


def prompts(count):
    """Different prompts of about 1 KB."""
    return [f"Number {number}: " + WORDS * 11 for number in range(count)]


async def in_flight(texts, ask, most):
    """Ask all, `most` at a time: whoever is free takes the next."""
    left = iter(texts)

    async def work():
        for text in left:
            await ask(text)

    await asyncio.gather(*[work() for _ in range(most)])


def body_of(text):
    """What all of them send."""
    fields = {"model": "fake", "messages": [{"role": "user", "content": text}], "max_tokens": 600}
    return fields | {"temperature": 0.7, "top_p": 0.9, "seed": 42}


async def aiohttp_loop(url, texts, most):
    """The bare loop: post, read, decode."""
    import aiohttp

    address = f"{url}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=300)) as session:

        async def ask(text):
            async with session.post(address, json=body_of(text)) as response:
                assert (await response.json())["choices"]

        await in_flight(texts, ask, most)


async def _openai(url, texts, most, http_client):
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, http_client=http_client) as client:

        async def ask(text):
            assert (await client.chat.completions.create(**body_of(text))).choices

        await in_flight(texts, ask, most)


async def openai_default(url, texts, most):
    """AsyncOpenAI as it comes (httpx, 1000 connections)."""
    await _openai(url, texts, most, None)


async def openai_aiohttp(url, texts, most):
    """AsyncOpenAI over aiohttp: its fastest setting."""
    from openai import DefaultAioHttpClient

    await _openai(url, texts, most, DefaultAioHttpClient())


async def litellm(url, texts, most):
    """litellm.acompletion."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as client

    client.telemetry = False
    client.suppress_debug_info = True

    async def ask(text):
        fields = body_of(text) | {"model": "openai/fake"}
        answer = await client.acompletion(**fields, api_base=f"{url}/v1", api_key="none", num_retries=0)
        assert answer.choices

    await in_flight(texts, ask, most)


async def datatrove(url, texts, most):
    """What datatrove's inference servers send with (`_raw_post`), without the pipeline around it."""
    from datatrove.pipeline.inference.servers.base import _raw_post

    async def ask(text):
        status, body = await _raw_post(f"{url}/v1/chat/completions", body_of(text))
        assert status == 200
        assert json.loads(body)["choices"]

    await in_flight(texts, ask, most)


def curator(url, texts, most):
    """bespokelabs-curator with its own OpenAI backend, its limits out of the way."""
    import importlib.util
    import tempfile
    from pathlib import Path

    # it counts tokens with an encoding that tiktoken would download; litellm, which curator needs, brings the file
    folder = Path(importlib.util.find_spec("litellm").origin).parent / "litellm_core_utils" / "tokenizers"
    os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    os.environ |= {"TELEMETRY_ENABLED": "0", "CURATOR_DISABLE_RICH_DISPLAY": "1", "OPENAI_API_KEY": "none"}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CURATOR_CACHE_DIR"] = os.environ["HF_DATASETS_CACHE"] = cache
        from bespokelabs import curator as client

        no_limit = {"max_requests_per_minute": 10**9, "max_tokens_per_minute": 10**12}
        params = {"base_url": f"{url}/v1", "max_concurrent_requests": most, "max_retries": 0, **no_limit}
        generation = {"max_tokens": 600, "temperature": 0.7, "top_p": 0.9, "seed": 42}
        llm = client.LLM(model_name="fake", backend="openai", backend_params=params, generation_params=generation)
        answers = llm(texts)
        assert len(getattr(answers, "dataset", answers)) == len(texts)


CLIENTS = {
    "aiohttp": aiohttp_loop,
    "openai": openai_default,
    "openai on aiohttp": openai_aiohttp,
    "litellm": litellm,
    "datatrove": datatrove,
    "curator": curator,
}
NEEDS = {"openai on aiohttp": "httpx_aiohttp", "curator": "bespokelabs"}


def main():
    if sys.argv[1] == "installed":
        import importlib.util

        print(json.dumps([name for name in CLIENTS if importlib.util.find_spec(NEEDS.get(name, name))]))
        return
    name, url, count, most = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    work = CLIENTS[name](url, prompts(count), most)
    if asyncio.iscoroutine(work):
        asyncio.run(work)


if __name__ == "__main__":
    main()
