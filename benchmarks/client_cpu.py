"""CPU of one request in the client, everything in, beside the clients that others wrote.

Ours is the stage `generate`: read the prompts, render, hash, send, parse, append to the journal, commit the parts.
Answers of 2 KB, prompts of about 1 KB, 512 in flight, server and client on the same cores. Each client is run with two
numbers of requests; what the difference costs is the price of a request, so that imports and start-up count for
nobody. User and system time of the client's process and its children. Rounds are interleaved; medians.

- `plain` is asyncio's own loop, `fast` what the extra `fast` gives (uvloop).
- the peers come from another environment: PROMPTMILL_PEERS is its Python (load/peers.py). Those that are not there are
  listed as absent.

Goals: plain at most 1.25 times the bare aiohttp loop (which keeps nothing), fast below it; a fifth of openai, a tenth
of litellm, less than the others.

Run: PROMPTMILL_PEERS=/path/to/python python benchmarks/client_cpu.py [--rounds 3] [--requests 20000] [--only NAME ...]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from load.measured import load_server, ours, recipe, run, select
from load.peers import prompts

IN_FLIGHT = 512
GOALS = {"aiohttp": {"plain": 1.25, "fast": 1.0}, "openai": 0.2, "openai on aiohttp": 0.2, "litellm": 0.1}
GOALS |= {"datatrove": 1.0, "curator": 1.0}
PEERS = str(Path(__file__).parent / "load" / "peers.py")
OURS = ("plain", "fast")
DEAR = 5  # peers of several milliseconds a request get a fifth of the requests


class Bench:
    """Runs one client after another.

    Args:
        work: a folder for runs.
        url: the server.
        counts: the two numbers of requests.
    """

    def __init__(self, work, url, counts):
        self.work, self.url, self.counts = work, url, counts
        self.peers = os.environ.get("PROMPTMILL_PEERS", sys.executable)
        for count in counts:
            source = work / f"{count}.json"
            source.write_text(json.dumps({"prompts": prompts(count)}))
            (work / f"{count}.yaml").write_text(yaml.safe_dump(recipe(url, source, concurrency=IN_FLIGHT)))
            select(work / f"{count}.yaml", work / f"{count}")

    def price_us(self, name):
        """CPU microseconds of one request of a client."""
        counts = self.counts if name in OURS or name.startswith("aiohttp") else [n // DEAR for n in self.counts]
        first, second = (self._used(name, count) for count in counts)
        return (second.cpu_s - first.cpu_s) / (counts[1] - counts[0]) * 1e6

    def _used(self, name, count):
        if name not in OURS:
            # the bare loop runs with our own aiohttp
            python = sys.executable if name == "aiohttp" else self.peers
            return run([python, PEERS, name, self.url, str(count), str(IN_FLIGHT)])
        out = self.work / "run"
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(self.work / f"{count}", out)
        return run(ours(self.work / f"{count}.yaml", out, plain=name == "plain"))

    def installed(self):
        """The peers that are there."""
        said = subprocess.run([self.peers, PEERS, "installed"], stdout=subprocess.PIPE, check=True, timeout=60).stdout
        return json.loads(said)


def judged(prices):
    """Ratios to each peer, and whether every goal is reached."""
    ratios, reached = {}, {}
    for name, goal in GOALS.items():
        if name not in prices:
            continue
        for own in OURS:
            ratios[f"{own} / {name}"] = round(prices[own] / prices[name], 3)
            most = goal[own] if isinstance(goal, dict) else goal
            reached[f"{own} / {name}"] = ratios[f"{own} / {name}"] <= most
    return ratios, reached


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=20000)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    counts = [given.requests // 5, given.requests]
    with tempfile.TemporaryDirectory() as folder, load_server("--answer-bytes", 2000) as url:
        bench = Bench(Path(folder), url, counts)
        names = [*OURS, *bench.installed()]
        names = [name for name in names if given.only is None or name in given.only]
        found = {name: [] for name in names}
        for number in range(given.rounds):
            for name in names:
                found[name].append(bench.price_us(name))
                print(f"round {number}: {name}: {found[name][-1]:.0f} us", flush=True)
    prices = {name: round(statistics.median(each), 1) for name, each in found.items()}
    ratios, reached = judged(prices)
    absent = [name for name in GOALS if name not in prices]
    result = {"name": "client_cpu", "unit": "CPU microseconds of a request", "ours": prices.get("fast")}
    result |= {"plain": prices.get("plain"), "peers": {n: p for n, p in prices.items() if n not in OURS}}
    result |= {"absent": absent, "ratio": ratios.get("fast / aiohttp"), "goal": 1.0, "ratios": ratios}
    result |= {"spread": {name: [round(min(each)), round(max(each))] for name, each in found.items()}}
    result |= {"missed": [name for name, well in reached.items() if not well], "reached": all(reached.values())}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
