"""Disks that fill up, may not grow, turn read-only or vanish: one line, nothing lost, and the run goes on."""

import os
import shutil
import subprocess
import sys

import pytest

from promptmill.generate.store import Store

MANY = [f"Say {n} words." for n in range(120)]
PATIENCE_S = 240  # only guards against hanging
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from promptmill import cli
sys.exit(cli.run(sys.argv[2:]))
"""


@pytest.fixture
def disk(tmp_path):
    """A disk of its own, 4 MB; skips where that is not allowed."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0 or not _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", path):
        pytest.skip("mounting a small disk needs root")
    yield path
    while subprocess.run(["umount", "-l", str(path)], check=False, capture_output=True).returncode == 0:
        pass


def _mount(*arguments):
    return subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True).returncode == 0


def kept(out):
    """Keys that stand in the files of a run."""
    lines = [
        line
        for path in (*(out / "generate").glob("*.jsonl"), *(out / "generate").glob("*.journal"))
        for line in path.read_bytes().split(b"\n")[:-1]
        if b'"completion"' in line
    ]
    return {line.split(b'"key":"')[1][:16] for line in lines}


@pytest.fixture
def started(start_mill, beat):
    """Start a run whose server's gate lets 20 answers go, and wait until they are kept."""

    def start(gate, out, path):
        process = start_mill("lengths", "generate", path, "--out", out)
        gate.let(20)
        beat(process, out, lambda s: s["done"] == 20)
        return process

    return start


def said_once(process):
    """What a process said last; it said one error and no traceback."""
    _, err = process.communicate(timeout=PATIENCE_S)
    lines = err.splitlines()
    assert "Traceback" not in err
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    return lines[-1]


def test_a_disk_that_fills_up_while_asking(disk, started, mill, gated, settled, recipe):
    out = disk / "run"
    with gated() as (url, gate):
        path = recipe(url, prompts=MANY)
        process = started(gate, out, path)
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 4096)
            except OSError:
                pass
        gate.let()
        line = said_once(process)
        assert process.returncode == 2
        assert "No space left on device. Make room or mend the" in line
        before = kept(out)
        received = settled(url)["received"]
        assert received - len(before) <= 4
        filler.unlink()
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert settled(url)["received"] - received == len(MANY) - len(before)
        assert kept(out) >= before


def test_a_disk_that_turns_read_only_while_asking(disk, started, mill, gated, settled, recipe):
    out = disk / "run"
    with gated() as (url, gate):
        path = recipe(url, prompts=MANY)
        process = started(gate, out, path)
        # a disk with open files turns read-only only by force, and a tmpfs not even so: a layer over it does
        assert _mount("--bind", disk, disk)
        assert _mount("-o", "remount,ro,bind", disk)
        line = said_once(process)
        gate.let()
        assert process.returncode == 2
        assert "cannot be written: " in line
        subprocess.run(["umount", "-l", str(disk)], check=True)
        before, received = kept(out), settled(url)["received"]
        assert received - len(before) <= 4
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert settled(url)["received"] - received == len(MANY) - len(before)


def test_a_disk_that_vanishes_while_asking_and_comes_back(disk, started, mill, gated, settled, recipe, tmp_path):
    out, real = disk / "run", tmp_path / "real"
    real.mkdir()
    assert _mount("--bind", real, disk)
    with gated() as (url, gate):
        path = recipe(url, prompts=MANY)
        process = started(gate, out, path)
        subprocess.run(["umount", "-l", str(disk)], check=True)
        line = said_once(process)
        assert process.returncode == 2
        gate.let()
        assert f"error: {out}" in line
        assert not (disk / "run").exists()
        assert _mount("--bind", real, disk)
        before, received = kept(out), settled(url)["received"]
        assert received - len(before) <= 4
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert settled(url)["received"] - received == len(MANY) - len(before)


def test_a_store_on_a_full_disk_is_one_line_and_the_run_keeps_its_answers(disk, mill, fake, settled, recipe, tmp_path):
    out = tmp_path / "run"
    _mount("-o", "remount,size=96k", disk)
    with fake(latency_s="0.02", words="100-200") as url:
        path = recipe(url, prompts=MANY, store=str(disk / "store"))
        said = mill("lengths", "generate", path, "--out", out)
        assert said.code == 2
        assert said.error == (
            f"error: {disk}/store/answers.sqlite: database or disk is full. "
            "Make room or mend the disk; what was kept before is kept."
        )
        before, received = kept(out), settled(url)["received"]
        assert received - len(before) <= 4
        _mount("-o", "remount,size=4m", disk)
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert settled(url)["received"] - received == len(MANY) - len(before)


@pytest.mark.parametrize("limit", [300, 600, 1200, 2500, 5000])
def test_files_that_may_not_grow_are_one_line_whichever_meets_the_limit(mill, fake, settled, recipe, tmp_path, limit):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url, prompts=MANY)
        command = [sys.executable, "-c", LIMITED, str(limit), "lengths", "generate", str(path), "--out", str(out)]
        env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=env)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "File too large" in done.stderr.splitlines()[-1]
        before, received = kept(out), settled(url)["received"]
        assert received - len(before) <= 4
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert settled(url)["received"] - received == len(MANY) - len(before)


def test_two_runs_in_one_store_at_once_share_it_and_neither_fails(start_mill, mill, fake, settled, recipe, tmp_path):
    store = tmp_path / "store"
    with fake(latency_s="0.005") as url:
        path = recipe(url, prompts=MANY, store=str(store))
        both = [start_mill("lengths", "generate", path, "--out", tmp_path / name) for name in ("one", "two")]
        for process in both:
            _, err = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, err
        received = settled(url)["received"]
        assert len(MANY) <= received <= 2 * len(MANY)
        assert mill("lengths", "generate", path, "--out", tmp_path / "three").code == 0
        assert settled(url)["received"] == received  # the third asks nobody
    assert len(Store(store).find(key.decode() for key in whole_keys(tmp_path / "one"))) == len(MANY)


def whole_keys(out):
    return [line.split(b'"key":"')[1].split(b'"')[0] for line in (out / "generate/part-00000.jsonl").open("rb")]


def test_a_folder_that_is_deleted_while_asking_ends_the_run_soon_and_it_begins_anew(
    started, mill, gated, settled, recipe, tmp_path
):
    out = tmp_path / "run"
    with gated() as (url, gate):
        path = recipe(url, prompts=MANY, concurrency=2)
        process = started(gate, out, path)
        shutil.rmtree(out / "generate")
        gate.let(1)  # one answer more, and it is seen
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        last = err.splitlines()[-1]
        assert last.startswith(f"error: {out / 'generate' / 'part-00000.journal'}: somebody deleted it while it was")
        assert settled(url)["received"] <= 23
        gate.let()
        assert mill("lengths", "generate", recipe(url, prompts=MANY, concurrency=60), "--out", out).code == 0
    assert len(kept(out)) == len(MANY)


def test_a_process_that_may_open_few_files_asks_less_at_a_time_and_says_so(start_mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url, prompts=MANY, concurrency=64)
        few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
        process = start_mill("lengths", "generate", path, "--out", out, first=few)
        _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "requests at a time instead of 64: this process may open no more files (ulimit -n)." in err
    assert len(kept(out)) == len(MANY)
