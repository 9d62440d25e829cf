"""Run benchmarks one after another and keep what each says last, with the machine and the commit.

    python benchmarks/run.py [NAME ...]     all scripts beside this one, or those named (without .py)

Each script is a claim; its last line is one JSON object (name, unit, ours, peers, ratio, goal, reached). It goes to
`benchmarks/results/NAME.json`; the documentation reads its figures from there. A goal that is missed is recorded as
missed and does not end the others; a script that fails does.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    known = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
    names = sys.argv[1:] or known
    if unknown := set(names) - set(known):
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(known)}")
    for name in names:
        print(f"== {name}", flush=True)
        began, load = time.time(), os.getloadavg()[0]
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py")], stdout=subprocess.PIPE, text=True, check=False, cwd=HERE.parent
        )
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            return done.returncode
        result = json.loads(done.stdout.strip().splitlines()[-1])
        result |= {"seconds": round(time.time() - began), "load_before": round(load, 1), "machine": machine()}
        result |= {"commit": commit(), "date": time.strftime("%Y-%m-%d")}
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def machine() -> str:
    models = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return f"{os.cpu_count()} x {models[0] if models else platform.processor()}, Python {platform.python_version()}"


def commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=HERE
    )
    return said.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
