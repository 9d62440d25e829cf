"""SIGKILL at random moments of a run, then resume: nothing lost or doubled, nothing received is asked again.

Runs of `promptmill lengths run` against the fake server are killed after a random time, and the same command is given
again, until they end by themselves; then the next folder begins, until there were enough kills. Moments are uniform
between 0.1 s (the interpreter starts) and `--longest` after the usual beginning of generation. The short stages would
be hit seldom, so half of the first runs of a folder are killed while they select, and a run that finds everything
answered is killed, up to four times, while it makes slices and exports. Right after each kill the journals are read and
the server is asked what it received so far:

- what stood in a journal after a kill must stand in the end, with the same text (else it is lost),
- and the server must not have been asked for it again (else it is asked twice though received),
- what the server was asked and no journal holds is at most what was in flight: never more than the concurrency.

At the end the outcomes must be complete, each there once (else doubled), nothing temporary may be left, and the exports
must be the same bytes as those of a run that nobody disturbed. There is no peer: what is measured is a promise.

Run: python benchmarks/kill_resume.py [--kills 200] [--lanes 2] [--seed N]
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import yaml

from promptmill import config
from promptmill.endpoints.fake.app import VOLATILE
from promptmill.endpoints.openai import openai
from promptmill.endpoints.transport import Reply
from promptmill.errors import EndpointError
from promptmill.generate.index import is_lasting, read_outcomes
from promptmill.generate.journal import Journal
from promptmill.io.jsonl import iter_jsonl
from promptmill.records import Completion, Prompt
from promptmill.run import read_status
from promptmill.testing import FakeOptions, fake_server, fake_stats
from promptmill.workflows import asking as asked
from promptmill.workflows.lengths import Lengths

CONCURRENCY = 16
EXPORTS = ("processed_dataset.json", "vllm_results.json", "vllm_results_training.jsonl", "vllm_results_lengths.jsonl")


class Recorder:
    """A `Transport` that sends nothing and keeps the hash by which the fake server counts a request."""

    def __init__(self):
        self.content = ""

    async def send(self, method, url, *, body, headers, timeout_s):  # noqa: ARG002 - the seam's signature
        """Remember what would be sent; answer like a vLLM that fails."""
        if method == "GET":
            return Reply(200, {}, b'{"data": [{"id": "fake", "owned_by": "vllm"}]}')
        named = {name: value for name, value in json.loads(body).items() if name not in VOLATILE}
        canonical = msgspec.json.Encoder(order="sorted").encode(named)
        path = "/v1/" + url.partition("/v1/")[2]
        self.content = hashlib.blake2b(path.encode() + canonical, digest_size=16).hexdigest()
        return Reply(500, {}, b"")

    async def close(self):
        """Nothing is open."""


class Course:
    """Run folders of one recipe on one server, killed one after the other.

    Attributes:
        kills: how many processes were killed before they ended.
        stages: how many kills fell into each stage.
        again: requests that the server got twice, all of them in flight at a kill.
    """

    def __init__(self, work, url, *, n_prompts, seed, longest_s):
        self.work, self.url, self.random = work, url, random.Random(seed)
        self.kills = self.folders = self.again = self.lost = self.doubled = self.received_again = self.late = 0
        self.stages = Counter()
        self.recipe = work / "recipe.yaml"
        (work / "prompts.json").write_text(json.dumps({"prompts": [f"Say {n} words." for n in range(n_prompts)]}))
        tree = {
            "workflow": "lengths",
            "source": {"path": str(work / "prompts.json")},
            "select": ["dedup", "outliers"],
            "generate": {
                "model": "fake",
                "endpoints": [{"kind": "openai", "base_url": url}],
                "sampling": {"max_tokens": 4000},
                "concurrency": CONCURRENCY,
            },
            "slices": {"step": 5, "tokenizer": "smollm2", "threads": 1},
            "rows_per_part": 40,
        }
        self.recipe.write_text(yaml.safe_dump(tree))
        self.whole = work / "undisturbed"
        began = time.monotonic()
        process = self.start(self.whole)
        while (read_status(self.whole) or {"stage": ""})["stage"] != "generate" and process.poll() is None:
            time.sleep(0.01)
        self.longest_s = longest_s + time.monotonic() - began
        assert process.wait(120) == 0, (work / "undisturbed.log").read_text()
        self.contents = self._contents()

    def start(self, out):
        """Start a run, its output into a log beside the folder."""
        with (self.work / f"{out.name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "promptmill", "lengths", "run", str(self.recipe), "--out", str(out)],
                stdout=log,
                stderr=log,
            )

    def run_folder(self, *, kills):
        """Kill a new run until it ends by itself or `kills` are done, then let it end; check everything."""
        self.folders += 1
        self.late = 0
        out = self.work / f"run-{self.folders:03d}"
        fake_stats(self.url, reset=True)
        seen = {}
        while self.kills < kills:
            process = self.start(out)
            self._wait_for_the_moment(process, out, first=not seen, complete=len(seen) == len(self.contents))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait(30)
            self.kills += 1
            status = read_status(out)
            self.stages["start-up" if status is None or status["pid"] != process.pid else status["stage"]] += 1
            self._after_kill(out, seen)
        code = self.start(out).wait(120)
        assert code == 0, (self.work / f"{out.name}.log").read_text()
        self._at_the_end(out, seen)

    def _wait_for_the_moment(self, process, out, *, first, complete):
        stage, longest_s = None, self.longest_s
        if complete and self.late < 4:
            self.late += 1
            stage, longest_s = "slices", 0.3
        elif first and self.random.random() < 0.5:
            stage, longest_s = "prompts", 0.1
        while stage is not None and process.poll() is None:
            status = read_status(out)
            if status is not None and status["pid"] == process.pid and status["stage"] == stage:
                break
            time.sleep(0.002)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0 if stage else 0.1, longest_s) if not complete or stage else 120)

    def _after_kill(self, out, seen):
        received = self._received()
        written = {
            outcome.key: outcome
            for part in sorted((out / "prompts").glob("part-*.jsonl"))
            for outcome in Journal(out / "generate" / part.name)
            if is_lasting(outcome)
        }
        for key, (outcome, before) in seen.items():
            self.lost += written.get(key) != outcome
            self.received_again += received[key] > before
        seen |= {key: (outcome, received[key]) for key, outcome in written.items() if key not in seen}
        in_flight = [key for key, count in received.items() if count and key not in written]
        assert len(in_flight) <= CONCURRENCY, f"{len(in_flight)} requests were asked and stand nowhere"

    def _at_the_end(self, out, seen):
        received = self._received()
        outcomes = [o for part in sorted((out / "generate").glob("part-*.jsonl")) for o in read_outcomes(part)]
        final = {outcome.key: outcome for outcome in outcomes if isinstance(outcome, Completion)}
        self.lost += len(self.contents.keys() - final.keys())
        self.doubled += len(outcomes) - len(final)
        self.lost += sum(final.get(key) != outcome for key, (outcome, _) in seen.items())
        self.received_again += sum(received[key] > before for key, (_, before) in seen.items())
        self.again += sum(received.values()) - len(received)
        left = [path.name for path in out.rglob(".*") if path.name != ".lock"] + list(out.rglob("*.journal"))
        assert left == [], f"left behind: {left}"
        for name in EXPORTS:
            same = (out / "exports" / name).read_bytes() == (self.whole / "exports" / name).read_bytes()
            assert same, f"{out}/exports/{name} is not what an undisturbed run makes"

    def _received(self):
        tallies = fake_stats(self.url)["contents"]
        counts = {key: tallies.get(content, {"received": 0})["received"] for key, content in self.contents.items()}
        assert sum(counts.values()) == sum(tally["received"] for tally in tallies.values()), "unknown requests"
        return counts

    def _contents(self):
        """Request key -> the hash by which the server counts it."""
        recipe = config.check(config.read_recipe(self.recipe), Lengths)
        asking = asked.asking(recipe.generate, recipe.serve)
        found = {}

        async def learn():
            recorder = Recorder()
            endpoint = openai(recorder, base_url=self.url)
            for part in sorted((self.whole / "prompts").glob("part-*.jsonl")):
                for prompt in iter_jsonl(part, Prompt):
                    for request in asking.requests(prompt):
                        with contextlib.suppress(EndpointError):
                            await endpoint.complete(request)
                        found[request.key] = recorder.content

        asyncio.run(learn())
        return found


def campaign(work, *, kills, n_prompts, seed, longest_s):
    """One course with a server of its own until there were enough kills; return it."""
    with fake_server(FakeOptions(words="20-120", latency_s="0.1-0.5")) as url:
        course = Course(work, url, n_prompts=n_prompts, seed=seed, longest_s=longest_s)
        while course.kills < kills:
            course.run_folder(kills=kills)
    return course


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--lanes", type=int, default=2, help="courses at a time")
    parser.add_argument(
        "--longest", type=float, default=1.4, help="seconds of generation after which a process is killed at last"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(f"seed {options.seed}, {options.prompts} prompts, {CONCURRENCY} in flight, {options.lanes} courses at a time")
    began = time.monotonic()
    courses = []

    def lane(number, folder):
        share = options.kills // options.lanes + (number < options.kills % options.lanes)
        courses.append(
            campaign(
                folder, kills=share, n_prompts=options.prompts, seed=options.seed + number, longest_s=options.longest
            )
        )

    with tempfile.TemporaryDirectory(prefix="promptmill-kill-") as work:
        threads = []
        for number in range(options.lanes):
            folder = Path(work) / f"lane-{number}"
            folder.mkdir()
            threads.append(threading.Thread(target=lane, args=(number, folder)))
            threads[-1].start()
        for thread in threads:
            thread.join()
    if len(courses) < options.lanes:
        sys.exit("a course failed, see above")
    total = sum((course.stages for course in courses), Counter())
    kills, folders = sum(course.kills for course in courses), sum(course.folders for course in courses)
    lost, doubled = sum(course.lost for course in courses), sum(course.doubled for course in courses)
    received_again = sum(course.received_again for course in courses)
    again = sum(course.again for course in courses)
    print(f"{kills} kills in {folders} folders, {time.monotonic() - began:.0f} s; by stage: {dict(total)}")
    print(f"lost {lost}, doubled {doubled}, asked again though received {received_again}")
    print(f"asked again because in flight at a kill: {again} (at most {kills * CONCURRENCY})")
    bad = lost + doubled + received_again
    result = {
        "name": "kill_resume",
        "unit": "outcomes lost, doubled or asked again though received",
        "ours": bad,
        "peers": {},
        "ratio": None,
        "goal": 0,
        "reached": bad == 0 and again <= kills * CONCURRENCY,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
