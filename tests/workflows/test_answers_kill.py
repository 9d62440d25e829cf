"""A run of `answers` that is killed at any moment goes on to the files of a run that nobody disturbed."""

import fcntl
import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml

from promptmill import cli
from promptmill.generate.index import read_outcomes

PATIENCE_S = 600  # only guards against hanging
SOLVER = '''
import asyncio, hashlib, os
CALLS = {calls!r}

async def solve(request):
    """Answer by a hash of the question and the sample number: right, wrong, nothing, cut, or code."""
    await called("solver", request)
    question = request.messages[-1].content
    roll = int(hashlib.sha256(f"{{question}}{{request.sample}}".encode()).hexdigest(), 16) % 7
    if roll == 0:
        return {{"text": "", "finish": "stop"}}
    if roll == 1:
        return {{"text": "<think>I go on and on", "finish": "length"}}
    if "Write a function" in question:
        return {{"text": "```python\\ndef double(x):\\n    return " + ("x * 2" if roll > 3 else "x") + "\\n```"}}
    said = {{2: "Ernest Rutherfurd", 3: "4.0", 4: "B", 5: "4", 6: r"\\sqrt{{16}}"}}[roll]
    return {{"text": rf"So: <answer>\\boxed{{{{{{said}}}}}}</answer>", "finish": "stop"}}

async def judge(request):
    """Say yes to whatever names Rutherfurd."""
    await called("judge", request)
    verdict = "yes" if "Rutherfurd" in request.messages[-1].content else "no"
    return {{"text": '{{"verdict": "' + verdict + '"}}', "finish": "stop"}}

async def called(who, request):
    """Note the call at once, and take a moment."""
    note = os.open(CALLS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(note, f"{{who}} {{request.key}}\\n".encode())
    os.close(note)
    await asyncio.sleep(0.004)
'''
KINDS = [
    {"question": "What is 2 + 2?", "answer_correct": "4", "category": "numbers"},
    {"question": "Who split the atom?", "answer_correct": "Ernest Rutherford", "category": "people"},
    {"question": "Which is a mammal?", "choices": ["trout", "bat", "wren"], "answer_correct": "B"},
    {"question": "Write a function double.", "tests": ["assert double(2) == 4", "assert double(0) == 0"]},
]
PROBLEMS = [{**row, "question": f"{row['question']} ({n})"} for n in range(7) for row in KINDS]


def write_recipe(folder):
    (folder / "solver.py").write_text(SOLVER.format(calls=str(folder / "calls")))
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    here = str(folder / "solver.py")
    tree = {
        "workflow": "answers",
        "source": {"kind": "problems", "path": str(folder / "problems.jsonl")},
        "generate": {
            "model": "solver",
            "endpoints": [{"kind": "function", "function": f"{here}:solve"}],
            "k": 3,
            "concurrency": 4,
            "unusable": ["empty", "truncated"],
        },
        "judge": {
            "generate": {
                "model": "judge",
                "endpoints": [{"kind": "function", "function": f"{here}:judge"}],
                "concurrency": 4,
            }
        },
        # a machine that stalls changes no verdict
        "grade": {"metric": {"kind": "auto", "limit_s": 100}, "code": {"sandbox": "rlimits-only", "timeout_s": 100}},
        "rows_per_part": 9,
    }
    (folder / "answers.yaml").write_text(yaml.safe_dump(tree))
    return folder / "answers.yaml"


def stored(out):
    """Who answered which request, as far as it is in the run folder; a torn last line is left out."""
    found = set()
    for who, folder in (("solver", out / "generate"), ("judge", out / "judge" / "generate")):
        for path in (*folder.glob("part-*.jsonl"), *folder.glob("part-*.journal")):
            try:
                found |= {f"{who} {outcome.key}" for outcome in read_outcomes(path, torn=path.suffix == ".journal")}
            except FileNotFoundError:  # committed meanwhile
                continue
    return found


def processes():
    """Every process that runs: number -> parent, start and command."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z":
                found[int(entry.name)] = (int(fields[1]), fields[19], command)
    return found


def offspring(number):
    """The processes that a process started, and those that they started: number -> parent, start and command."""
    running, found, parents = processes(), {}, {number}
    while parents:
        children = {child for child, (parent, *_) in running.items() if parent in parents}
        found |= {child: running[child] for child in children}
        parents = children
    return found


def wait_until_listening(process):
    """Wait until a process has handlers of its own for signals; before, Python is only starting."""
    bit = 1 << (signal.SIGTERM - 1)
    for _ in range(24000):
        if process.poll() is not None:
            return
        caught = (Path("/proc") / str(process.pid) / "status").read_text().partition("SigCgt:")[2].split()
        if caught and int(caught[0], 16) & bit:
            return
        time.sleep(0.01)
    pytest.fail("it never listened")


def wait_until_gone(started):
    """Fail if processes of a dead run live on."""
    for _ in range(2400):
        running = processes()
        left = {n: facts for n, facts in started.items() if n in running and running[n][1:] == facts[1:]}
        if not left:
            return
        time.sleep(0.05)
    for number in left:
        os.kill(number, signal.SIGKILL)
    pytest.fail(f"processes outlived their run: {left}")


def is_free(out):
    """Whether nobody holds the lock of a run."""
    if not (out / ".lock").exists():
        return True
    with (out / ".lock").open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def exports(out):
    return {path.name: path.read_bytes() for path in (out / "exports").iterdir() if not path.name.startswith(".")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_run_that_is_killed_at_random_moments_ends_as_if_it_was_not(start_mill, mill, until, tmp_path):
    (tmp_path / "calm").mkdir()
    calm = write_recipe(tmp_path / "calm")
    began = time.monotonic()
    assert start_mill("answers", "run", calm, "--out", tmp_path / "calm" / "run").wait(PATIENCE_S) == 0
    whole_s = time.monotonic() - began
    wanted = exports(tmp_path / "calm" / "run")
    calls = (tmp_path / "calm" / "calls").read_text().split("\n")[:-1]
    assert len(calls) == len(set(calls))
    assert len({call.split()[0] for call in calls}) == 2

    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    dice, helpers = random.Random(seed), 0
    for number in range(3):
        folder = tmp_path / f"storm-{number}"
        folder.mkdir()
        recipe, out = write_recipe(folder), folder / "run"
        note, kills = folder / "calls", 0
        for _ in range(6):
            before, had = stored(out), note.read_text().count("\n") if note.exists() else 0
            process = start_mill("answers", "run", recipe, "--out", out)
            wait_until_listening(process)
            time.sleep(dice.uniform(0.0, whole_s))
            sign = dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
            started = offspring(process.pid) if process.poll() is None else {}
            helpers += len(started)
            if process.poll() is None:
                process.send_signal(sign)
                kills += 1
            said = process.communicate(timeout=PATIENCE_S)
            # a shell calls -SIGINT 130: it came when nothing was left to do but to go
            ends = {-signal.SIGKILL} if sign == signal.SIGKILL else {130, -signal.SIGINT}
            assert process.returncode in {0, *ends}, (sign, said)
            wait_until_gone(started)
            until(lambda out=out: is_free(out))  # a helper that was just being started may hold it for a moment
            asked = note.read_text().split("\n")[had:-1] if note.exists() else []
            assert not before.intersection(asked), "an answer that was kept was asked again"
        said = mill("answers", "run", recipe, "--out", out)
        assert said.code == 0, said.err
        assert exports(out) == wanted
        asked = note.read_text().split("\n")[:-1]
        assert set(asked) == set(calls)
        assert len(asked) - len(set(asked)) <= 4 * kills  # those under way when the run ended
        assert not list(out.rglob(".*.tmp"))
    print("processes of sandbox and mathematics that were under way:", helpers)


def lose(out, name):
    next(out.glob(name)).unlink()


def cut(out, name):
    path = next(out.glob(name))
    path.write_bytes(path.read_bytes()[:-20])


def miss_a_line(out, name):
    path = next(out.glob(name))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))


DAMAGES = {  # what happens, to which file, what verify says, how many are asked again
    "scores cut": (cut, "grade/part-00001.jsonl", 0, 0),
    "a score missing": (miss_a_line, "grade/part-00001.jsonl", 0, 0),
    "scores missing": (lose, "grade/part-00001.jsonl", 0, 0),
    "memory of scores cut": (cut, "grade/made.json", 0, 0),
    "attempts cut": (cut, "attempts.json", 1, 0),
    "judge's manifest missing": (lose, "judge/manifest.json", 2, 0),
    "judge's manifest cut": (cut, "judge/manifest.json", 2, 0),
    "judge's questions missing": (lose, "judge/prompts/part-00000.jsonl", 1, 0),
    "judge's answers cut": (cut, "judge/generate/part-00000.jsonl", 2, 1),
    "judge's answers missing": (lose, "judge/generate/part-00000.jsonl", 2, None),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run: its recipe and its folder."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder)
    assert cli.run(["answers", "run", str(recipe), "--out", str(folder / "run")]) == 0
    return recipe, folder / "run"


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_damaged_of_scores_and_judge_is_named_and_made_again(mill, finished, tmp_path, name):
    recipe, good = finished
    damage, file, code, asked_again = DAMAGES[name]
    out, calls = tmp_path / "run", recipe.parent / "calls"
    shutil.copytree(good, out)
    damage(out, file)
    if file.startswith("grade"):
        shutil.rmtree(out / "exports")  # else nothing of it is read
    assert mill("verify", out).code == (code or 1 if file.startswith("grade") else code)
    if code == 2:
        assert mill("recover", out).code == 0
        assert mill("verify", out).code == 1
    before = calls.read_text().count("\n")
    said = mill("answers", "run", recipe, "--out", out)
    assert said.code == 0, said.err
    again = calls.read_text().count("\n") - before
    assert again == asked_again if asked_again is not None else again > 0
    assert exports(out) == exports(good)
    assert mill("verify", out).code == 0
