"""1,000,000 requests in one process: memory below 500 MB and flat, no file handle left open, a fast restart.

The stages `prompts` and `generate` run on a million short prompts against the lean server (300-byte answers). While it
asks, the resident memory of the process and its open files are read a hundred times. The line through the memory of
the last 800,000 requests must not rise by more than 2 MB in 100,000 requests. Then the same command is given again: the
million finished rows must be seen in less than 5 s and 500 MB, the interpreter's own start included.

There is no peer: the figure is the greatest resident memory.

Run: python benchmarks/million.py [--requests 1000000]
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import yaml

from load.measured import load_server, ours, recipe, select

MOST_MB, MOST_RISE_MB, MOST_START_S = 500, 2.0, 5.0


def looked_at(pid):
    """Resident memory in MB and open files of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    rss_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return rss_kb / 1024, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def watched(argv, out, total, log):
    """Run and sample; pairs of (requests done, MB, open files), and the greatest resident memory in MB."""
    samples, next_at = [], 0
    with log.open("wb") as said:
        process = subprocess.Popen(argv, stdout=said, stderr=said)
        while True:
            found, status, usage = os.wait4(process.pid, os.WNOHANG)
            if found:
                break
            time.sleep(0.05)
            try:
                facts = json.loads((out / "status.json").read_bytes())
                if facts.get("done", 0) >= next_at and facts["pid"] == process.pid:
                    samples.append((facts["done"], *looked_at(process.pid)))
                    next_at = facts["done"] + total // 100
            except (OSError, ValueError, StopIteration):
                continue
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, log.read_text()[-2000:]
    return samples, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    given = parser.parse_args()
    total = given.requests
    with tempfile.TemporaryDirectory() as folder, load_server("--answer-bytes", 300) as url:
        work = Path(folder)
        source, file, out = work / "prompts.jsonl", work / "recipe.yaml", work / "run"
        with source.open("w") as lines:
            lines.writelines(f'{{"prompt": "Say something about number {n}."}}\n' for n in range(total))
        file.write_text(yaml.safe_dump(recipe(url, source)))
        selected = run_timed(select, file, out)
        print(f"prompts: {selected:.0f} s", flush=True)
        began = time.monotonic()
        samples, most_mb = watched(ours(file, out), out, total, work / "log")
        asked_s = time.monotonic() - began
        late = [sample for sample in samples if sample[0] >= 0.2 * total]
        for done, mb, files in samples[:: max(1, len(samples) // 20)]:
            print(f"{done:9} done: {mb:.0f} MB, {files} files", flush=True)
        slope = statistics.linear_regression([s[0] for s in late], [s[1] for s in late]).slope * 100_000
        again, again_mb = restarted(file, out)
        n_files = sum(len(files) for _, _, files in os.walk(out))
    result = {"name": "million", "unit": "MB of resident memory at most", "ours": round(most_mb), "peers": {}}
    result |= {
        "ratio": round(most_mb / MOST_MB, 3),
        "goal": MOST_MB,
        "requests": total,
        "seconds_asking": round(asked_s),
    }
    result |= {"mb_per_100000": round(slope, 2), "mb": [[done, round(mb)] for done, mb, _ in samples[::5]]}
    half = len(late) // 2
    open_files = [max(files for _, _, files in each) for each in (late[:half], late[half:])]  # connections come and go
    result |= {"files_open": open_files, "files_of_the_run": n_files, "select_s": round(selected)}
    result |= {"restart_s": round(again, 2), "restart_mb": round(again_mb)}
    flat = slope <= MOST_RISE_MB and open_files[1] <= open_files[0] + 16
    result["reached"] = flat and max(most_mb, again_mb) < MOST_MB and again < MOST_START_S
    print(json.dumps(result))


def run_timed(work, *words):
    """Seconds of some work."""
    began = time.monotonic()
    work(*words)
    return time.monotonic() - began


def restarted(file, out):
    """Seconds and MB of the same command on the finished rows, the better of three."""
    found = []
    for _ in range(3):
        began = time.monotonic()
        process = subprocess.Popen(ours(file, out), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        found.append((time.monotonic() - began, usage.ru_maxrss / 1024))
    return min(found)


if __name__ == "__main__":
    main()
