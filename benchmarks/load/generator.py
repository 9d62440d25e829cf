"""A load generator in a process of its own: a bare aiohttp loop that keeps so many requests in flight.

    python generator.py URL PROMPTS.json BODY SLOTS

BODY is the JSON that every request has besides its prompt. Prints tokens, seconds from the first request to the last
answer, and the seconds of all requests, as a JSON list.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp
from peers import in_flight


async def main(url, texts, body, slots):
    found, latencies = [], []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as session:

        async def one(text):
            asked = {"messages": [{"role": "user", "content": text}], **body}
            sent = time.monotonic()
            async with session.post(f"{url}/v1/chat/completions", json=asked) as response:
                found.append((await response.json())["usage"]["completion_tokens"])
            latencies.append(time.monotonic() - sent)

        began = time.monotonic()
        await in_flight(texts, one, slots)
        seconds = time.monotonic() - began
    print(json.dumps([sum(found), seconds, sum(latencies)]))


if __name__ == "__main__":
    server, source, rest, most = sys.argv[1:]
    asyncio.run(main(server, json.loads(Path(source).read_bytes())["prompts"], json.loads(rest), int(most)))
