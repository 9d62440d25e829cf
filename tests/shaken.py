"""Run the suite on a machine that stalls: every now and then one of its processes, or all, stand still for a moment.

A busy machine does this to every test at some time. A test that is only green while nothing stalls asserts on a
wall-clock time without saying so; here it fails soon and often.

    python tests/shaken.py [--longest S] [--every S] [--seed N] [arguments of pytest]

Stalls close upon each other (`--every 0.03`) find in one short test what the whole suite meets once in a week.
"""

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import time

import psutil

SHORTEST_S = 0.05
ALL = 0.15  # how often it is all of them instead of one


def stall(victims: list[psutil.Process], seconds: float) -> None:
    """Stop processes for so long; those that stand still already are left alone."""
    stopped = []
    try:
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                if victim.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}:
                    victim.suspend()
                    stopped.append(victim)
        time.sleep(seconds)
    finally:
        for victim in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.resume()


def main() -> int:
    """Run pytest and shake it; its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--longest", type=float, default=0.8, help="seconds of the longest stall (default 0.8)")
    parser.add_argument("--every", type=float, default=0.3, help="seconds between two stalls on average (default 0.3)")
    parser.add_argument("--seed", type=int, default=0)
    options, rest = parser.parse_known_args()
    chance = random.Random(options.seed)
    suite = subprocess.Popen([sys.executable, "-m", "pytest", "--hypothesis-profile=wide", *(rest or ["-n", "2"])])
    root = psutil.Process(suite.pid)
    stalls = 0
    try:
        while suite.poll() is None:
            time.sleep(chance.uniform(0, 2 * options.every))
            with contextlib.suppress(psutil.NoSuchProcess):
                family = [root, *root.children(recursive=True)]
                stall(
                    family if chance.random() < ALL else [chance.choice(family)],
                    chance.uniform(SHORTEST_S, options.longest),
                )
                stalls += 1
    except KeyboardInterrupt:
        suite.send_signal(signal.SIGINT)
    print(f"{stalls} stalls of up to {options.longest} s", flush=True)
    return suite.wait()


if __name__ == "__main__":
    raise SystemExit(main())
