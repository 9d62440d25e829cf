"""SIGKILL, SIGINT and SIGTERM at random moments of a run, then resume: nothing lost, doubled or received asked again.

Runs of `promptmill lengths run` (three samples of each prompt in one request, four keys, and a fake server that strikes
every twelfth request with one of nine faults) get a signal after a random time, and the same command is given again,
until they end by themselves; then the next folder begins, until there were enough signals. Two of three moments are
uniform within the first `--longest` seconds of asking, the others between 0.1 s (the interpreter starts) and there. The
short stages would be hit seldom, so half of the first runs of a folder are hit while they select, and a run that finds
everything answered is hit, up to four times, while it makes slices and exports. Right after each signal the journals
are read and the server is asked what it received so far:

- what stood in a journal after a signal must stand in the end, with the same text (else it is lost),
- and the server must not have been asked for it again (else it is asked twice though received): not for any number of
  samples that holds it, since three samples travel in one request, and what is missing is asked for by one or two,
- what the server was asked and no journal holds is at most what was in flight: never more than the concurrency.

A process that got SIGINT or SIGTERM has two seconds to end, with exit code 130; each is measured. At the end the
outcomes must be complete, each there once (else doubled), nothing temporary may be left, and the exports must be the
same bytes as those of a run that nobody disturbed. There is no peer: what is measured is a promise.

Run: python benchmarks/kill_resume.py [--kills 1000] [--interrupts 120] [--lanes 2] [--seed N]
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
from itertools import combinations
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
K = 3
KEYS = [f"key-number-{n}-of-kill-resume" for n in range(4)]
FAULTS = "429:0.02,500:0.01,503:0.01,drop:0.01,half:0.01,timeout:0.003,json:0.01,reset-before:0.005,empty:0.005"
ENDS_WITHIN_S = 2.0
PATIENCE_S = 600  # only guards against hanging
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
        ends_s: how long each process lived after a SIGINT or SIGTERM, and in which stage it came.
        stages: how many kills fell into each stage.
        partly: folders in which the samples of a prompt came by different requests.
    """

    def __init__(self, work, url, *, n_prompts, seed, longest_s, timeout_s):
        self.work, self.url, self.random = work, url, random.Random(seed)
        self.kills = self.folders = self.lost = self.doubled = self.received_again = self.late = 0
        self.stages = Counter()
        self.ends_s, self.wrong_codes, self.partly = [], [], 0
        self.recipe = work / "recipe.yaml"
        (work / "prompts.json").write_text(json.dumps({"prompts": [f"Say {n} words." for n in range(n_prompts)]}))
        tree = {
            "workflow": "lengths",
            "source": {"path": str(work / "prompts.json")},
            "select": ["dedup", "outliers"],
            "generate": {
                "model": "fake",
                "k": K,
                "endpoints": [{"kind": "openai", "base_url": url, "api_keys_env": "KILL_KEYS", "timeout_s": timeout_s}],
                "attempts": 8,
                "sampling": {"max_tokens": 4000},
                "concurrency": CONCURRENCY,
            },
            "slices": {"step": 40, "tokenizer": "bytes", "threads": 1},
            "rows_per_part": 40,
        }
        self.recipe.write_text(yaml.safe_dump(tree))
        self.whole = work / "undisturbed"
        began = time.monotonic()
        process = self.start(self.whole)
        while (read_status(self.whole) or {"stage": ""})["stage"] != "generate" and process.poll() is None:
            time.sleep(0.01)
        self.asking_s = longest_s
        self.longest_s = longest_s + time.monotonic() - began
        assert process.wait(PATIENCE_S) == 0, (work / "undisturbed.log").read_text()
        self.prompts = {}  # request key -> prompt
        self.struck = Counter()
        self.contents = self._contents()

    def start(self, out):
        """Start a run, its output into a log beside the folder."""
        with (self.work / f"{out.name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "promptmill", "lengths", "run", str(self.recipe), "--out", str(out)],
                stdout=log,
                stderr=log,
                env={**os.environ, "KILL_KEYS": json.dumps(KEYS)},
            )

    def run_folder(self, *, numbers):
        """Send a new run the next of the signals until it ends by itself, then let it end; check everything."""
        self.folders += 1
        self.late = 0
        out = self.work / f"run-{self.folders:03d}"
        fake_stats(self.url, reset=True)
        seen = {}
        while numbers:
            process = self.start(out)
            self._wait_for_the_moment(process, out, first=not seen, complete=len(seen) == len(self.contents))
            if process.poll() is not None:
                break
            status = read_status(out)
            stage = "start-up" if status is None or status["pid"] != process.pid else status["stage"]
            self._send(process, numbers.pop(), stage)
            self._after_kill(out, seen)
        code = self.start(out).wait(PATIENCE_S)
        assert code == 0, (self.work / f"{out.name}.log").read_text()
        self._at_the_end(out, seen)

    def _send(self, process, number, stage):
        """Send a signal and wait for the end."""
        began = time.monotonic()
        process.send_signal(number)
        code = process.wait(PATIENCE_S)
        self.stages[stage] += 1
        if number == signal.SIGKILL:
            self.kills += 1
            return
        self.ends_s.append((time.monotonic() - began, stage))
        # before the command line listens, and when it has ended, the interpreter's own ends are right too; and it ends
        # as if killed by SIGINT (130 for a shell) where that came while a library that it imports calls `exec`
        if code not in {130, -signal.SIGINT, 0} and stage not in {"start-up", "done"}:
            self.wrong_codes.append((stage, code))

    def _wait_for_the_moment(self, process, out, *, first, complete):
        stage, longest_s = None, self.longest_s
        if complete and self.late < 4:
            self.late += 1
            stage, longest_s = "slices", 0.3
        elif first and self.random.random() < 0.5:
            stage, longest_s = "prompts", 0.1
        elif not complete and self.random.random() < 2 / 3:
            stage, longest_s = "generate", self.asking_s
        while stage is not None and process.poll() is None:
            status = read_status(out)
            if status is not None and status["pid"] == process.pid and status["stage"] == stage:
                break
            time.sleep(0.002)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.random.uniform(0 if stage else 0.1, longest_s) if not complete or stage else 120)

    def _after_kill(self, out, seen):
        received = self._received()
        outcomes = [
            outcome
            for part in sorted((out / "prompts").glob("part-*.jsonl"))
            for outcome in Journal(out / "generate" / part.name)
        ]
        known = {outcome.key for outcome in outcomes}
        written = {outcome.key: outcome for outcome in outcomes if is_lasting(outcome)}
        for key, (outcome, before) in seen.items():
            self.lost += written.get(key) != outcome
            self.received_again += received[key] > before
        seen |= {key: (outcome, received[key]) for key, outcome in written.items() if key not in seen}
        nowhere = {self.prompts[key] for key, count in received.items() if count and key not in known}
        assert len(nowhere) <= CONCURRENCY, f"{len(nowhere)} prompts were asked and stand nowhere"

    def _at_the_end(self, out, seen):
        received = self._received()
        outcomes = [o for part in sorted((out / "generate").glob("part-*.jsonl")) for o in read_outcomes(part)]
        final = {outcome.key: outcome for outcome in outcomes if isinstance(outcome, Completion)}
        self.lost += len(self.contents.keys() - final.keys())
        self.doubled += len(outcomes) - len(final)
        self.lost += sum(final.get(key) != outcome for key, (outcome, _) in seen.items())
        self.received_again += sum(received[key] > before for key, (_, before) in seen.items())
        self.struck += Counter(fake_stats(self.url)["faults"])
        left = [path.name for path in out.rglob(".*") if path.name != ".lock"] + list(out.rglob("*.journal"))
        assert left == [], f"left behind: {left}"
        if any(outcome.choices < K for outcome in outcomes):  # some were asked by one or two, with other seeds
            self.partly += 1
            return
        for name in EXPORTS:
            same = (out / "exports" / name).read_bytes() == (self.whole / "exports" / name).read_bytes()
            assert same, f"{out}/exports/{name} is not what an undisturbed run makes"

    def _received(self):
        """How many requests that hold a sample the server got, by the sample's key."""
        for _ in range(3):  # what a killed client sent last is read by then
            tallies = fake_stats(self.url)["contents"]
        counted = {content: tally["received"] for content, tally in tallies.items()}
        known = {content for contents in self.contents.values() for content in contents}
        assert counted.keys() <= known, "unknown requests"
        return {key: sum(counted.get(content, 0) for content in contents) for key, contents in self.contents.items()}

    def _contents(self):
        """Request key -> the hashes by which the server counts the requests that hold it: of one, two or three."""
        recipe = config.check(config.read_recipe(self.recipe), Lengths)
        asking = asked.asking(recipe.generate, recipe.serve)
        found = {}

        async def learn():
            recorder = Recorder()
            endpoint = openai(recorder, base_url=self.url)
            for part in sorted((self.whole / "prompts").glob("part-*.jsonl")):
                for prompt in iter_jsonl(part, Prompt):
                    requests = list(asking.requests(prompt))
                    self.prompts |= {request.key: prompt.id for request in requests}
                    for first, last in combinations(range(K + 1), 2):
                        with contextlib.suppress(EndpointError):
                            await endpoint.complete_many(requests[first:last])
                        for request in requests[first:last]:
                            found.setdefault(request.key, []).append(recorder.content)

        asyncio.run(learn())
        return found


def campaign(work, *, kills, interrupts, n_prompts, seed, longest_s, timeout_s=1.0):
    """One course with a server of its own until all signals were sent; return it."""
    numbers = [signal.SIGKILL] * kills + [signal.SIGINT, signal.SIGTERM] * (interrupts // 2)
    random.Random(seed).shuffle(numbers)
    options = FakeOptions(words="20-120", latency_s="0.1-0.5", faults=FAULTS, retry_after_s=0.1, seed=seed)
    with fake_server(options) as url:
        course = Course(work, url, n_prompts=n_prompts, seed=seed, longest_s=longest_s, timeout_s=timeout_s)
        while numbers:
            course.run_folder(numbers=numbers)
    return course


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--interrupts", type=int, default=120, help="SIGINT and SIGTERM, half of them each")
    parser.add_argument("--prompts", type=int, default=120)
    parser.add_argument("--lanes", type=int, default=2, help="courses at a time")
    parser.add_argument(
        "--longest", type=float, default=1.0, help="seconds of generation after which a process is killed at last"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(f"seed {options.seed}, {options.prompts} prompts, {CONCURRENCY} in flight, {options.lanes} courses at a time")
    began = time.monotonic()
    courses = []

    def lane(number, folder):
        courses.append(
            campaign(
                folder,
                kills=share(options.kills, number, options.lanes),
                interrupts=2 * share(options.interrupts // 2, number, options.lanes),
                n_prompts=options.prompts,
                seed=options.seed + number,
                longest_s=options.longest,
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
    tell(courses, time.monotonic() - began)


def share(whole, number, lanes):
    """What one of several lanes does of a whole."""
    return whole // lanes + (number < whole % lanes)


def tell(courses, seconds):
    """Print what came of it, the last line as JSON."""

    def total(name):
        return sum(getattr(course, name) for course in courses)

    ends = sorted(end for course in courses for end in course.ends_s)
    by_stage = sum((course.stages for course in courses), Counter())
    faults = sum((course.struck for course in courses), Counter())
    late = sum(end > ENDS_WITHIN_S for end, _ in ends)
    codes = [code for course in courses for code in course.wrong_codes]
    print(f"{total('kills')} kills, {len(ends)} interrupts in {total('folders')} folders, {seconds:.0f} s")
    print(f"by stage: {dict(by_stage)}; faults in the last run of each folder and before: {dict(faults)}")
    print(f"lost {total('lost')}, doubled {total('doubled')}, asked again though received {total('received_again')}")
    print(f"folders in which samples of one prompt came apart: {total('partly')}")
    if ends:
        print(f"after SIGINT or SIGTERM: median {ends[len(ends) // 2][0]:.2f} s, longest {ends[-3:]}, late {late}")
    print(f"exit codes that are not 130: {codes}")
    bad = total("lost") + total("doubled") + total("received_again")
    result = {
        "name": "kill_resume",
        "unit": "outcomes lost, doubled or asked again though received",
        "ours": bad,
        "peers": {},
        "ratio": None,
        "goal": 0,
        "reached": bad == late == len(codes) == 0,
        "kills": total("kills"),
        "interrupts": len(ends),
        "slowest_end_s": round(ends[-1][0], 2) if ends else None,
        "faults": sum(faults.values()),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
