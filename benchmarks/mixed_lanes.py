"""Four keys that are not alike: the time of a run beside the best possible for what they can give together.

One key is refused, one is six times slower than the fastest, one may make 10 requests in 10 seconds, one is good; each
may have 8 requests in flight. The best possible time is reckoned from those numbers alone: each lane starts its next
request the moment one ends, the limited one makes its 10 requests at the beginning of each window, nothing else takes
time, and the last request goes where it ends first. There is no peer: what is measured is how much is wasted.

Run: python benchmarks/mixed_lanes.py [--prompts 2000]
"""

import argparse
import heapq
import json
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from promptmill import config
from promptmill.generate.index import read_outcomes
from promptmill.records import Completion
from promptmill.run import open_run
from promptmill.testing import FakeOptions, fake_server, fake_stats
from promptmill.workflows import asking as asked
from promptmill.workflows import stages
from promptmill.workflows.lengths import Lengths

WIDTH = 8
QUOTA, WINDOW_S = 10, 10.0
GOOD_S, SLOW_S, LIMITED_S = 0.1, 0.6, 0.1
LANES = {
    "dead": FakeOptions(keys=("another",)),
    "slow": FakeOptions(words="20-40", latency_s=str(SLOW_S)),
    "limited": FakeOptions(words="20-40", latency_s=str(LIMITED_S), key_quota=QUOTA, quota_window_s=WINDOW_S),
    "good": FakeOptions(words="20-40", latency_s=str(GOOD_S)),
}


def best_s(n_requests):
    """Seconds that nobody can beat."""
    free = [(latency_s, latency_s) for latency_s in (GOOD_S, SLOW_S) for _ in range(WIDTH)]  # (ends at, takes)
    free += [(i // WIDTH * LIMITED_S + LIMITED_S + n * WINDOW_S, 0.0) for n in range(1000) for i in range(QUOTA)]
    heapq.heapify(free)
    ends = 0.0
    for _ in range(n_requests):
        ends, takes = heapq.heappop(free)
        if takes:
            heapq.heappush(free, (ends + takes, takes))
    return ends


def ask(work, urls, n_prompts):
    """Ask through the engine; return the seconds it took and the rows."""
    (work / "prompts.json").write_text(json.dumps({"prompts": [f"Say {n} words." for n in range(n_prompts)]}))
    uses = [{"base_url": url, "api_key_env": f"KEY_{n}", "max_in_flight": WIDTH} for n, url in enumerate(urls)]
    tree = {
        "workflow": "lengths",
        "source": {"path": str(work / "prompts.json")},
        "generate": {
            "model": "fake",
            "endpoints": [{"kind": "openai", **use} for use in uses],
            "sampling": {"max_tokens": 4000},
            "concurrency": WIDTH * len(urls),
        },
    }
    recipe = config.check(config.Document(tree, {}, "mixed_lanes"), Lengths)
    asking = asked.asking(recipe.generate, None)
    with open_run(work / "run", workflow="lengths", seeds={}) as run:
        run.identify("prompts", stages.source_identity(recipe.source, [], rows_per_part=n_prompts))
        run.identify("generate", asking.identity())
        stages.make_prompts(run, recipe.source, [], rows_per_part=n_prompts, reporter=stages.Silent())
        began = time.monotonic()
        asked.ask(run, asking, reporter=stages.Silent())
        seconds = time.monotonic() - began
        return seconds, list(read_outcomes(run.path / "generate" / "part-00000.jsonl"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=2000)
    options = parser.parse_args()
    os.environ |= {f"KEY_{n}": f"key-number-{n}-of-mixed-lanes" for n in range(len(LANES))}
    with tempfile.TemporaryDirectory(prefix="promptmill-mixed-") as work, ExitStack() as stack:
        urls = [stack.enter_context(fake_server(each)) for each in LANES.values()]
        seconds, rows = ask(Path(work), urls, options.prompts)
        stats = [fake_stats(url) for url in urls]
    assert [type(row) for row in rows] == [Completion] * options.prompts
    for name, each in zip(LANES, stats, strict=True):
        print(f"{name}: {each['received']} received, {each['answered']} answered, {each['faults'] or 'no fault'}")
    best = best_s(options.prompts)
    print(f"{options.prompts} prompts in {seconds:.2f} s; {best:.2f} s cannot be beaten")
    result = {
        "name": "mixed_lanes",
        "unit": "seconds",
        "ours": round(seconds, 2),
        "peers": {"best possible": round(best, 2)},
        "ratio": round(seconds / best, 3),
        "goal": 1.05,
        "reached": seconds <= 1.05 * best,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
