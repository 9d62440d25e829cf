"""Run benchmarks one after another and keep what each says last, with the machine and the commit.

    python benchmarks/run.py [NAME ...]     all scripts beside this one, or those named (without .py)

Each script is a claim; its last line is one JSON object (name, unit, ours, peers, ratio, goal, reached). It goes to
`benchmarks/results/NAME.json`; the documentation reads its figures from there. Nothing ends the others: a goal that is
missed is recorded as missed, a script that lacks data or a model says what and is skipped, and one that fails makes
the exit code 1. A table of all stands at the end.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from load.needs import MISSING

HERE = Path(__file__).parent


def main() -> int:
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
    names = sys.argv[1:] or known
    if unknown := set(names) - set(known):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(known)}")
    ends = {name: measure(name) for name in names}
    print(f"\n{'':20}{'end':10}{'ours':>12}{'ratio':>8}  goal")
    for name, (end, result) in ends.items():
        told = "".join(f"{shown(result.get(field)):>{width}}" for field, width in (("ours", 12), ("ratio", 8)))
        print(f"{name:20}{end:10}{told}  {shown(result.get('goal'))}")
    return int(any(end == "failed" for end, _ in ends.values()))


def measure(name: str) -> tuple[str, dict]:
    """Run one script and keep its result: how it ended, and what it found."""
    print(f"== {name}", flush=True)
    began, load = time.time(), os.getloadavg()[0]
    done = subprocess.run(
        [sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True, check=False, cwd=HERE.parent
    )
    print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        return "skipped" if done.returncode == MISSING else "failed", {}
    result = last_object(done.stdout)
    if "reached" not in result:
        print(f"{name}: its last line is no result.", file=sys.stderr)
        return "failed", {}
    result |= {"seconds": round(time.time() - began), "load_before": round(load, 1), "machine": machine()}
    result |= {"commit": commit(), "date": time.strftime("%Y-%m-%d")}
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return "reached" if result["reached"] else "MISSED", result


def last_object(said: str) -> dict:
    """The JSON object in the last line of a text; empty where there is none."""
    try:
        found = json.loads(said.strip().rpartition("\n")[2])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def shown(value: object) -> str:
    return "-" if value is None or isinstance(value, dict) else str(value)


def machine() -> str:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{os.cpu_count()} x {models[0] if models else platform.processor()}, Python {platform.python_version()}"


def commit() -> str:
    """The commit that is measured; whether results were written since says nothing about it."""
    said = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=HERE
    ).stdout.strip()
    changed = subprocess.run(
        ["git", "status", "--porcelain", "--", ":/src", ":/benchmarks/*.py"],
        capture_output=True, text=True, check=False, cwd=HERE,
    ).stdout  # fmt: skip
    return (said or "unknown") + ("-dirty" if changed else "")


if __name__ == "__main__":
    sys.exit(main())
