"""Sandboxed HumanEval programs a second, beside a bare `subprocess.run([python, file])` loop that protects nothing.

Each of HumanEval's reference solutions is judged by its tests. Ours runs two processes for each (tests and program
apart, both jailed) and must get every verdict right in every round; the loops run the same program and tests in one
file and look at the exit code, one at a time and two at a time. All take turns; the medians count. Two claims: at least
40 programs a second on two cores, and no slower than the faster loop. The attack suite is run and timed too.

Run: PROMPTMILL_DATA=../shared/data python benchmarks/sandbox.py [--rounds 3] [--attacks]
"""

import argparse
import json
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from load.needs import DATA, data
from promptmill.evaluate.code import code
from promptmill.evaluate.sandbox.jail import Limits
from promptmill.evaluate.sandbox.pool import Job, Sandbox
from promptmill.sources.problems import problems

HERE = Path(__file__).resolve().parent
CORES = 2
PART = 41


def programs():
    """(reference, program) of every problem."""
    path = data("humaneval", "humaneval-python.jsonl")
    rows = [json.loads(line) for line in path.read_text().split("\n") if line]
    prompts = problems(path=str(path))
    return [
        (prompt.reference, row["prompt"] + row["canonical_solution"]) for row, prompt in zip(rows, prompts, strict=True)
    ]


def timed(work, jobs, threads):
    """Seconds, and what came of each."""
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(lambda job: work(*job), jobs))
    return time.perf_counter() - began, found


def bare(folder):
    def run(reference, program):
        name = Path(folder, f"{reference.entry_point}.py")
        name.write_text(program + "\n" + "\n".join(reference.tests))
        done = subprocess.run([sys.executable, str(name)], capture_output=True, timeout=60, check=False)
        return done.returncode == 0

    return run


def attacks():
    """How many hostile programs there are, how many got through, and the longest that one took."""
    suite = runpy.run_path(str(HERE.parent / "tests" / "data" / "attacks.py"))
    limits = Limits(timeout_s=2.0, memory_mib=256, disk_mib=16)
    sandbox = Sandbox(limits, workers=CORES)
    known = (str(Path.home()), str(DATA), str(HERE), "canary", 9)
    hostile = [(Job(text, suite["TASK"]), False) for kind in ("FORGED", "EXHAUST") for text in suite[kind].values()]
    hostile += [
        (Job(suite["ATTEMPT"].format(known=known, body=body), ("assert attempt() == 'stopped'",)), True)
        for body in suite["ESCAPES"].values()
    ]
    hostile += [(Job(text, (f"assert 0 <= count() <= {most}",)), True) for most, text in suite["BOUNDED"].values()]
    further = runpy.run_path(str(HERE.parent / "tests" / "data" / "attacks_further.py"))
    hostile += [(Job(*each), False) for kind in ("FORGED", "ENDLESS") for each in further[kind].values()]
    hostile += [
        (
            Job(
                suite["ATTEMPT"].format(known=known, body=body) + further["DATAGRAM"],
                ("assert attempt() == 'stopped'",),
            ),
            True,
        )
        for body in further["ESCAPES"].values()
    ]
    hostile += [(Job(text, (f"assert 0 <= count() <= {most}",)), True) for most, text in further["BOUNDED"].values()]
    succeeded, longest = 0, 0.0
    for job, held in hostile:
        began = time.perf_counter()
        succeeded += sandbox.judge(job).passed is not held
        longest = max(longest, time.perf_counter() - began)
    good = sandbox.judge(Job("def add(a, b):\n    return a + b", suite["TASK"]))
    sandbox.close()
    return {"attacks": len(hostile), "succeeded": succeeded, "longest_s": round(longest, 2), "goes_on": good.passed}


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--attacks", action=argparse.BooleanOptionalAction, default=True)
    given = options.parse_args()
    jobs = programs()
    metric = code(timeout_s=30.0, workers=CORES)
    wrong, seen, rates = [], [], {"ours": [], "one at a time": [], "two at a time": []}
    with tempfile.TemporaryDirectory() as folder:
        ways = {"ours": (metric, CORES), "one at a time": (bare(folder), 1), "two at a time": (bare(folder), CORES)}
        for turn in range(given.rounds):
            spent, values = dict.fromkeys(ways, 0.0), []
            for first in range(0, len(jobs), PART):  # by turns, so that a busy minute meets all three
                for name, (work, threads) in ways.items():
                    seconds, found = timed(work, jobs[first : first + PART], threads)
                    spent[name] += seconds
                    if name == "ours":
                        values += found
                    elif not all(found):
                        sys.exit("a reference fails in the bare loop")
            seen.append([verdict.value for verdict in values])
            wrong += [(turn, job[0].entry_point, v.detail) for job, v in zip(jobs, values, strict=True) if v.value != 1]
            for name, seconds in spent.items():
                rates[name].append(len(jobs) / seconds)
            print(
                f"round {turn + 1}: " + ", ".join(f"{name} {each[-1]:.1f}/s" for name, each in rates.items()),
                flush=True,
            )
    metric.close()
    flaky = sum(len(set(values)) > 1 for values in zip(*seen, strict=True))
    suite = attacks() if given.attacks else {}
    print(f"wrong verdicts: {wrong or 'none'}; flaky: {flaky}; attacks: {suite}")
    middle = {name: statistics.median(each) for name, each in rates.items()}
    fastest = max(middle["one at a time"], middle["two at a time"])
    result = {
        "name": "sandbox",
        "unit": "HumanEval programs per second, two at a time",
        "ours": round(middle["ours"], 1),
        "peers": {f"subprocess.run, {name}": round(middle[name], 1) for name in ("one at a time", "two at a time")},
        "ratio": round(middle["ours"] / fastest, 2),
        "goal": 1.0,
        "reached": bool(middle["ours"] >= max(40, fastest) and not wrong and not flaky and not suite.get("succeeded")),
        "goal_per_second": 40,
        "wrong": len(wrong),
        "flaky": flaky,
        **suite,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
