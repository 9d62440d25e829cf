"""Ends that nobody planned: kill -9, Ctrl-C, SIGTERM, a full disk, a folder that may not be written, two at a time."""

import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from promptmill.generate.index import read_outcomes

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "kill_resume.py"
MANY = [f"Say {n} words." for n in range(120)]
PATIENCE_S = 240  # only guards against hanging


def journalled(out):
    """The outcomes of a run by key, wherever they stand; a torn last line is left out."""
    found = {}
    for path in sorted((*(out / "generate").glob("*.jsonl"), *(out / "generate").glob("*.journal"))):
        found |= {outcome.key: outcome for outcome in read_outcomes(path, torn=path.suffix == ".journal")}
    return found


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_at_random_moments_lose_double_and_repeat_nothing(tmp_path):
    if not BENCHMARK.exists():
        pytest.skip("benchmarks/ is not here")
    spec = importlib.util.spec_from_file_location("kill_resume", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    course = module.campaign(
        tmp_path,
        kills=12,
        interrupts=6,
        n_prompts=80,
        seed=seed,
        longest_s=1.0,
        timeout_s=30,  # so no answer is late
    )
    assert (course.kills, len(course.ends_s), course.wrong_codes) == (12, 6, [])
    assert (course.lost, course.doubled, course.received_again) == (0, 0, 0)
    assert course.struck


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_asking_ends_soon_and_the_folder_goes_on(
    start_mill, mill, fake, gated, beat, settled, recipe, tmp_path, number
):
    out = tmp_path / "run"
    with gated() as (url, gate):  # the other answers never come: the end does not wait for them
        gate.let(30)
        path = recipe(url, prompts=MANY, concurrency=16)
        process = start_mill("lengths", "run", path, "--out", out)
        beat(process, out, lambda s: s["done"] == 30)
        process.send_signal(number)
        try:
            stdout, stderr = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            pytest.fail("the run did not end")
        assert process.returncode == 130
        assert stderr.splitlines()[-1] == "interrupted: the same command goes on from here."
        assert "Traceback" not in stderr
        assert stdout == ""
        known = journalled(out)
        assert len(known) == 30
        assert settled(url)["received"] - len(known) <= 16
    with fake() as url:
        path = recipe(url, prompts=MANY, concurrency=16)
        assert mill("lengths", "run", path, "--out", out).code == 0
        assert settled(url)["received"] == len(MANY) - len(known)
    assert {key: journalled(out)[key] for key in known} == known
    assert json.loads((out / "exports" / "vllm_results.json").read_text())["success"] == len(MANY)


NO_NAMES = """
import socket, sys, threading

def hang(*_, **__):
    print("looks a name up", flush=True)
    threading.Event().wait()

socket.getaddrinfo = hang
if sys.argv.pop(1) == "asyncio":
    sys.modules["uvloop"] = None
from promptmill.cli import main
main()
"""


@pytest.mark.parametrize(("number", "loop"), [(signal.SIGINT, "asyncio"), (signal.SIGTERM, "uvloop")])
def test_a_signal_while_a_name_is_looked_up_ends_the_run(recipe, tmp_path, number, loop):
    out = tmp_path / "run"
    path = recipe("http://silent.example:8000")
    timeout = ["--set", "generate.endpoints.0.timeout_s=1200"]
    process = subprocess.Popen(
        [sys.executable, "-c", NO_NAMES, loop, "lengths", "run", str(path), "--out", str(out), *timeout],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    patience = threading.Timer(PATIENCE_S, process.kill)  # the name server never answers
    patience.start()
    try:
        assert process.stdout.readline() == "looks a name up\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE_S)
    finally:
        patience.cancel()
        process.kill()
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted: the same command goes on from here."


CUTTING = """
import threading
from pathlib import Path

def hold(event, arguments):
    if event == "open" and "_training.jsonl" in str(arguments[0]) and not held:
        held.append(True)
        print("cuts", flush=True)
        threading.Event().wait()  # until a signal comes

held = []
sys.addaudithook(hold)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_asking_is_heard_too(start_mill, mill, fake, settled, recipe, tmp_path, number):
    out = tmp_path / "run"
    with fake(words="400") as url:
        path = recipe(url, prompts=MANY, slices={"step": 50}, sampling={"max_tokens": 30000}, concurrency=8)
        process = start_mill("lengths", "run", path, "--out", out, first=CUTTING)
        assert process.stdout.readline() == "cuts\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130, stderr
        assert stderr.splitlines()[-1] == "interrupted: the same command goes on from here."
        assert f"{out}: was interrupted (stage slices" in mill("status", out).out
        sent = settled(url)["received"]
        assert mill("lengths", "run", path, "--out", out).code == 0
        assert settled(url)["received"] == sent == len(MANY)
    assert json.loads((out / "exports" / "vllm_results.json").read_text())["success"] == len(MANY)
    assert [entry.name for entry in out.rglob(".*")] == [".lock"]


def test_a_run_that_was_killed_while_it_committed_its_last_part_commits_it_without_asking(mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        assert mill("lengths", "run", path, "--out", out).code == 0
        part = out / "generate" / "part-00000.jsonl"
        whole, summary = part.read_bytes(), part.with_suffix(".done").read_bytes()
        part.rename(part.with_suffix(".journal"))
        part.with_suffix(".done").unlink()
        part.with_name(".part-00000.jsonl.tmp").write_bytes(whole[:100])
    assert mill("lengths", "run", path, "--out", out).code == 0  # the server is gone
    assert (part.read_bytes(), part.with_suffix(".done").read_bytes()) == (whole, summary)
    assert sorted(entry.name for entry in part.parent.iterdir()) == ["part-00000.done", "part-00000.jsonl"]


def test_a_second_process_in_a_run_folder_is_told_the_pid_of_the_first(
    start_mill, mill, gated, beat, until, recipe, asked, tmp_path
):
    out = tmp_path / "run"
    with gated() as (url, _):
        path = recipe(url)
        process = start_mill("lengths", "run", path, "--out", out)
        beat(process, out, lambda s: s["in_flight"] == 4)
        until(lambda: asked(url) == 4)
        said = mill("lengths", "run", path, "--out", out)
        assert said.code == 2
        assert said.error == (
            f"error: {out}: process {process.pid} works in this folder. Wait for it, or use another --out."
        )
        assert mill("show", out).code == 0  # looking is allowed
        assert asked(url) == 4
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130


def test_a_kill_makes_no_cap_larger(start_mill, mill, gated, until, settled, recipe, asked, tmp_path):
    """What was sent after the last beat is counted, too; what is counted beside it is a fiftieth of what is left."""
    out, cap, width = tmp_path / "run", 60, 4
    with gated(words="2") as (url, gate):
        path = recipe(url, prompts=MANY, concurrency=width, budget={"max_requests": cap})
        gate.let(15)
        for so_many in (15 + width, 30 + width):
            process = start_mill("lengths", "run", path, "--out", out)
            until(lambda so_many=so_many: asked(url) >= so_many, "so many were not asked")
            process.kill()
            process.communicate(timeout=PATIENCE_S)
            received = settled(url)["received"]
            assert so_many == received <= json.loads((out / "spent.json").read_bytes())["requests"]
            gate.let(15 - width)  # the four that were killed come again
        gate.let()
        said = mill("lengths", "run", path, "--out", out)
        received = settled(url)["received"]
    assert said.code == 1
    assert cap - 2 * (1 + width) <= received <= cap  # what was in flight may have been counted and not have come


def test_the_same_command_beside_a_dead_process_goes_on(start_mill, mill, gated, beat, recipe, tmp_path):
    out = tmp_path / "run"
    with gated() as (url, gate):
        path = recipe(url)
        process = start_mill("lengths", "run", path, "--out", out)
        beat(process, out, lambda s: s["in_flight"] == 4)
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        gate.let()
        assert mill("lengths", "run", path, "--out", out).code == 0


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from promptmill import cli
sys.exit(cli.run(sys.argv[2:]))
"""


def test_a_file_that_may_not_grow_is_one_line_and_what_was_acknowledged_is_kept(mill, fake, settled, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url, prompts=MANY, concurrency=8)
        command = [sys.executable, "-c", LIMITED, "20000", "lengths", "run", str(path), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 2
        journal = out / "generate" / "part-00000.journal"
        assert done.stderr.splitlines()[-1] == (
            f"error: {journal}: cannot be written: File too large. Make room or mend the disk and run again: "
            "every outcome before this one is kept."
        )
        assert "Traceback" not in done.stderr
        known = journalled(out)
        assert 10 < len(known) < 100
        before = settled(url)["received"]
        assert before - len(known) <= 8
        assert mill("lengths", "run", path, "--out", out).code == 0
        assert settled(url)["received"] - before == len(MANY) - len(known)
    assert {key: journalled(out)[key] for key in known} == known


@contextlib.contextmanager
def small_disk(path, kilobytes):
    """A disk of its own; skips where that is not allowed."""
    path.mkdir()
    try:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mount.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("kilobytes", [16, 32, 48, 64, 96, 128, 160, 224, 320])
def test_a_full_disk_at_any_stage_is_one_line_and_the_run_goes_on_when_there_is_room(
    mill, fake, settled, recipe, tmp_path, kilobytes
):
    with fake() as url, small_disk(tmp_path / "disk", kilobytes) as disk:
        path = recipe(url, prompts=MANY, slices={"step": 5}, concurrency=8)
        out = disk / "run"
        said = mill("lengths", "run", path, "--out", out)
        assert said.code == 2
        assert "No space left on device" in said.error or "not enough" in said.error.lower(), said.error
        known = journalled(out) if (out / "generate").exists() else {}
        before = settled(url)["received"]
        assert before - len(known) <= 8
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert mill("lengths", "run", path, "--out", out).code == 0
        assert settled(url)["received"] - before == len(MANY) - len(known)
        assert {key: journalled(out)[key] for key in known} == known
        results = json.loads((out / "exports" / "vllm_results.json").read_text())
        assert (results["total"], results["success"]) == (len(MANY), len(MANY))


@pytest.fixture
def closed_folder(tmp_path):
    """A folder that may not be written: by its rights, or, for root, whom rights do not bind, by its disk."""
    if os.geteuid() == 0:
        with small_disk(tmp_path / "closed", 64) as disk:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            yield disk
        return
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    yield folder
    folder.chmod(0o755)


def test_folders_that_may_not_be_written_are_one_line_before_anything_is_asked(
    mill, fake, recipe, asked, closed_folder, tmp_path
):
    with fake() as url:
        path = recipe(url)
        for where in (
            ["--out", closed_folder],
            ["--out", closed_folder / "run"],
            ["--output", closed_folder / "a.json"],
        ):
            said = mill("lengths", "generate", path, *where)
            assert said.code == 2
            assert said.err.splitlines() == [said.error]
            assert f"{closed_folder} may not be written. Name another path or change its rights." in said.error
        assert mill("lengths", "run", path, "--out", closed_folder / "run", "--dry-run").code == 0
        assert asked(url) == 0
    assert list(closed_folder.iterdir()) == []


def test_a_finished_run_on_a_disk_that_became_read_only_can_be_looked_at_and_says_so(mill, fake, recipe, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    with fake() as url, small_disk(tmp_path / "disk", 4000) as disk:
        path = recipe(url)
        assert mill("lengths", "run", path, "--out", disk / "run").code == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert mill("show", disk / "run").code == 0
        assert "may not be written" in mill("lengths", "run", path, "--out", disk / "run").error
        said = mill("lengths", "slices", "--out", disk / "run")
        assert (said.code, said.err.splitlines()) == (2, [said.error])
        assert "Read-only file system" in said.error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_into_an_import_that_takes_long_ends_the_run_before_the_import_ends(
    start_mill, until, recipe, tmp_path, number
):
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    (tmp_path / "heavy.py").write_text(
        "import pathlib, time\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        "for _ in range(100000): time.sleep(0.01)\n"
        f"pathlib.Path({str(ended)!r}).touch()\n"
        "async def answer(request):\n    return 'so'\n"
    )
    use = {"kind": "function", "function": f"{tmp_path / 'heavy.py'}:answer"}
    process = start_mill("lengths", "generate", recipe("", endpoints=[use]), "--out", tmp_path / "run")
    until(begun.exists)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, ended.exists()) == (130, False)
    assert stderr.splitlines()[-1] == "interrupted: the same command goes on from here."
