"""Throughput at a server of mixed latency: 90 % of answers after 100 ms, 9 % after 300 ms, 1 % after 2 s, 256 slots.

What the server can give is measured by a bare aiohttp generator that keeps 256 requests in flight, in the same run; a
list schedule of the same latencies on 256 slots says what a client without any cost could reach. Ours is the stage
`generate` with 256 in flight, and as it comes (adaptive). The peers are what most tools do: a batch of 256 by `gather`,
or by a pool of 256 threads, and the next batch when the last answer is there.

The best of the rounds counts, for each client: what disturbs can only slow down.

Goals: ours (as it comes, and fixed) at least 98 % of the generator's throughput, and 1.5 times the batch clients'. The
share of a core that a client used is told, so that one sees that the client was not the limit; and the share of the
slots that were full between the first request and the last, which says the same on a machine that is busy otherwise.

Run: python benchmarks/mixed_latency.py [--requests 40000] [--batch-requests 4096] [--rounds 2]
"""

import argparse
import asyncio
import heapq
import json
import shutil
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from load.measured import load_server, ours, recipe, run, select, stats
from load.peers import aiohttp_loop, body_of, prompts
from load.server import latencies

SLOTS = 256
SHARES = "0.9:0.1,0.09:0.3,0.01:2"


def bound_s(count):
    """Seconds that the latencies take on so many slots, when a slot is never empty."""
    seconds = latencies(SHARES)
    slots = [0.0] * SLOTS
    for number in range(count):
        heapq.heappush(slots, heapq.heappop(slots) + seconds[number % len(seconds)])
    return max(slots)


def generator(url, count):
    """The bare loop."""
    asyncio.run(aiohttp_loop(url, prompts(count), SLOTS))


def gather(url, count):
    """Batch after batch by `gather`."""
    import aiohttp

    async def ask(session, text):
        async with session.post(f"{url}/v1/chat/completions", json=body_of(text)) as response:
            assert (await response.json())["choices"]

    async def main():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            texts = prompts(count)
            for start in range(0, count, SLOTS):
                await asyncio.gather(*[ask(session, text) for text in texts[start : start + SLOTS]])

    asyncio.run(main())


def threads(url, count):
    """Batch after batch by a pool of threads."""

    def ask(text):
        body = json.dumps(body_of(text)).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/chat/completions", body, headers)) as reply:
            assert json.load(reply)["choices"]

    with ThreadPoolExecutor(SLOTS) as pool:
        texts = prompts(count)
        for start in range(0, count, SLOTS):
            list(pool.map(ask, texts[start : start + SLOTS]))


PEERS = {"generator": generator, "gather": gather, "threads": threads}


def measured(work, name, count):
    """Requests per second, first request to last answer, and the share of a core that the process used."""
    with load_server("--answer-bytes", 500, "--latency", SHARES, "--slots", SLOTS) as url:
        if name in PEERS:
            seconds = work / "seconds"
            used = run([sys.executable, __file__, "client", name, url, str(count), str(seconds)])
            wall_s = float(seconds.read_text())
        else:
            source, file, out = work / "prompts.json", work / "recipe.yaml", work / "run"
            shutil.rmtree(out, ignore_errors=True)
            source.write_text(json.dumps({"prompts": prompts(count)}))
            how = {"concurrency": SLOTS} if name == "fixed" else {}
            file.write_text(yaml.safe_dump(recipe(url, source, **how)))
            select(file, out)
            used = run(ours(file, out))
            wall_s = json.loads((out / "asked.json").read_bytes())["elapsed_s"]
        full = stats(url)["in_flight"] / SLOTS
    return count / wall_s, used.cpu_s / wall_s, full


def client(name, url, count, seconds):
    """One peer; the seconds that it took go to a file."""
    began = time.monotonic()
    PEERS[name](url, count)
    seconds.write_text(str(time.monotonic() - began))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=40000)
    parser.add_argument("--batch-requests", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    rates, cores, full = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for name in ("generator", "fixed", "adaptive", "gather", "threads"):
                count = given.batch_requests if name in ("gather", "threads") else given.requests
                began = time.monotonic()
                rate, core, kept = measured(Path(folder), name, count)
                rates[name], cores[name] = max(rate, rates.get(name, 0)), core
                full[name] = max(kept, full.get(name, 0))
                print(
                    f"{name}: {rate:.0f}/s, {core:.2f} core, slots {kept:.1%} full, {time.monotonic() - began:.0f} s",
                    flush=True,
                )
    most = given.requests / bound_s(given.requests)
    shares = {name: round(rates[name] / rates["generator"], 3) for name in ("fixed", "adaptive")}
    against = {name: round(rates["adaptive"] / rates[name], 2) for name in ("gather", "threads")}
    result = {"name": "mixed_latency", "unit": "requests per second", "ours": round(rates["adaptive"])}
    result |= {"fixed": round(rates["fixed"]), "peers": {name: round(rates[name]) for name in PEERS}}
    result |= {"bound": round(most), "ratio": shares["adaptive"], "goal": 0.98, "fixed_ratio": shares["fixed"]}
    result |= {"of_bound": {name: round(rates[name] / most, 3) for name in ("generator", "fixed", "adaptive")}}
    result |= {"against_batches": against, "cores": {name: round(core, 2) for name, core in cores.items()}}
    result |= {"slots_full": {name: round(share, 3) for name, share in full.items()}}
    result["reached"] = min(shares.values()) >= 0.98 and min(against.values()) >= 1.5
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        client(sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
    else:
        main()
