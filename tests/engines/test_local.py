"""The local engine: the same rows whatever the number of shards and processes."""

import signal
import subprocess
import sys
import time
from functools import partial
from operator import mul
from pathlib import Path

import pytest

from promptmill import config
from promptmill.engines import Local
from promptmill.testing import FakeOptions, fake_server
from promptmill.workflows import lengths
from promptmill.workflows.stages import Silent


def test_shards_come_back_in_order_from_one_process_and_from_several():
    # of the library's own, which a process of the pool finds wherever the tests are started
    assert list(Local(1).map(partial(mul, 2), [3, 1, 2])) == [6, 2, 4]
    assert list(Local(2).map(partial(mul, 2), [3, 1, 2])) == [6, 2, 4]


def test_an_error_in_a_worker_reaches_the_caller():
    with pytest.raises(ValueError, match="'shard 1'"):
        list(Local(2).map(int, ["shard 1", "2"]))


def run(folder, url, **changes):
    tree = {
        "source": {"kind": "prompts", "path": str(folder / "prompts.txt")},
        "generate": {"model": "fake", "endpoints": [{"base_url": url}], "k": 2, "sampling": {"max_tokens": 3000}},
        "slices": {"tokenizer": "smollm2", "formats": ["jsonl", "parquet"]},
        **changes,
    }
    out = folder / f"run-{len(list(folder.iterdir()))}"
    counts = lengths.run(config.check(config.Document(tree, {}, "test"), lengths.Lengths), out, reporter=Silent())
    exports = {path.name: path.read_bytes() for path in (out / "exports").iterdir() if path.suffix == ".jsonl"}
    return counts, exports, {path.name for path in (out / "exports").iterdir()}


def test_one_part_and_eight_parts_on_two_processes_give_the_same_files(tmp_path):
    (tmp_path / "prompts.txt").write_text("".join(f"Tell me of number {n}.\n" for n in range(31)))
    with fake_server(FakeOptions(words="5-200")) as url:
        counts, exports, names = run(tmp_path, url)
        again, sharded, sharded_names = run(tmp_path, url, rows_per_part=4, engine={"kind": "local", "workers": 2})
    assert exports == sharded
    assert names == sharded_names
    assert counts["slices"] == again["slices"]
    assert len(exports["vllm_results_training.jsonl"].splitlines()) == counts["slices"]["training_rows"] > 62


SLEEPY = """
import os, sys, time
from pathlib import Path
from promptmill.engines import Local

def sleep(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
    return {}

if __name__ == "__main__":
    list(Local(2).map(sleep, [sys.argv[1]] * 4))
"""


def ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_when_their_parent_is_interrupted_or_killed(tmp_path, number):
    script, marks = tmp_path / "sleepy.py", tmp_path / "marks"
    script.write_text(SLEEPY)
    marks.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(marks)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(list(marks.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        workers = [int(path.name) for path in marks.iterdir()]
        parent.send_signal(number)
        parent.wait(timeout=120)
        deadline = time.monotonic() + 120
        while not all(map(ended, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [pid for pid in workers if not ended(pid)] == []
        assert len(workers) == 2
    finally:
        parent.kill()
