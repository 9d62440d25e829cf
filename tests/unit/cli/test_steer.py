"""Steering and watching a run that another process works on."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time

import pytest

FACTS = {
    "stage": "generate", "total": 100, "reused": 40, "done": 9, "failed": 1, "truncated": 2, "in_flight": 16,
    "tokens": 812, "prompt_tokens": 90, "cost": 0.031234, "elapsed_s": 12.5, "requests_per_s": 2.04,
    "tokens_per_s": 211.6, "eta_s": 61.0, "retries": 3, "width": 16, "paused": False,
    "lanes": [{"name": "http://127.0.0.1:8000 \x1b[2J", "state": "cooling", "until_s": 12.0, "done": 9, "failed": 1}],
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


def control(run):
    return json.loads((run / "control.json").read_text())


def test_a_cap_on_money_is_refused_where_none_is_counted(say, work, run):
    work({**FACTS, "cost": None})
    assert say("set", run, "max_cost=20").err == (
        f"error: set max_cost: {run} counts no money, its endpoints have no price_in. Use max_tokens.\n"
    )
    assert not (run / "control.json").exists()
    assert say("set", run, "max_cost=null", "max_tokens=5").code == 0


def test_a_run_that_asks_its_judge_is_steered_like_any_other(say, work, run):
    process = work({**FACTS, "stage": "judge"}, judges=True)
    assert say("set", run, "concurrency=7").out.splitlines()[0] == "concurrency: the recipe's own -> 7"
    assert say("pause", run).code == 0
    assert json.loads((run / "judge" / "control.json").read_text()) == {"concurrency": 7, "paused": True}
    assert say("resume", run).out == f"{run}: process {process.pid} goes on.\n"
    said = say("status", run).out.splitlines()
    assert said[0] == f"{run}: process {process.pid}, stage judge"
    assert said[2].startswith("49/100 done, ")
    assert say("stop", run).out == f"{run}: process {process.pid} has ended. The same command goes on from here.\n"
    assert not (run / "control.json").exists()


def test_limits_of_a_live_run_are_changed_and_said(say, work, run):
    pid = work(FACTS).pid
    said = say("set", run, "concurrency=64", "max_cost=20", "max_tokens=1e6")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "concurrency: the recipe's own -> 64",
        "max_cost: the recipe's own -> 20.0",
        "max_tokens: the recipe's own -> 1000000",
        f"process {pid} hears of it within a second.",
    ]
    assert control(run) == {"concurrency": 64, "max_cost": 20.0, "max_tokens": 1000000}
    said = say("set", run, "concurrency=auto", "max_cost=null", "max_tokens=1000000")
    assert said.out.splitlines()[:3] == [
        "concurrency: 64 -> auto",
        "max_cost: 20.0 -> the recipe's own",
        "max_tokens: 1000000, as it was",
    ]
    assert control(run) == {"concurrency": "auto", "max_tokens": 1000000}


@pytest.mark.parametrize(
    ("assignment", "line"),
    [
        ("max_cots=2", "error: set max_cots=2: no limit 'max_cots'. Did you mean 'max_cost'? There are: concurrency, "),
        ("paused=true", "error: set paused=true: no limit 'paused'."),
        ("max_cost", "error: set max_cost: is not of the form name=value. Names are: concurrency, max_concurrency, "),
        ("max_cost=0", "error: set max_cost=0: max_cost: 0: Expected `float` > 0.0."),
        ("max_cost=-3", "error: set max_cost=-3: max_cost: -3: Expected `float` > 0.0."),
        ("max_cost=.inf", "error: set max_cost=.inf: max_cost: inf is no limit. Name a number, or null"),
        ("max_cost=.nan", "error: set max_cost=.nan: "),
        ("max_requests=0", "error: set max_requests=0: max_requests: 0: Expected `int` >= 1."),
        ("max_requests=1.5", "error: set max_requests=1.5: max_requests: 1.5: Expected `int | null`, got `float`."),
        ("concurrency=0", "error: set concurrency=0: concurrency: 0: Expected `int` >= 1."),
        ("concurrency=atuo", "error: set concurrency=atuo: concurrency: 'atuo': Invalid enum value 'atuo'. Did you "),
        ("concurrency=true", "error: set concurrency=true: concurrency: True: Expected "),
        ("concurrency=", "error: set concurrency=: is not of the form name=value."),
    ],
)
def test_a_wrong_limit_is_one_line_and_changes_nothing(say, work, run, assignment, line):
    work(FACTS)
    said = say("set", run, "max_wall_s=9", assignment)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith(line)
    assert not (run / "control.json").exists()


def test_pause_and_resume_say_what_they_do(say, work, run):
    pid = work(FACTS).pid
    say("set", run, "concurrency=2")
    assert say("pause", run) == (0, f"{run}: process {pid} starts no request until: promptmill resume {run}\n", "")
    assert control(run) == {"concurrency": 2, "paused": True}
    assert say("resume", run) == (0, f"{run}: process {pid} goes on.\n", "")
    assert control(run) == {"concurrency": 2}
    assert say("resume", run) == (0, f"{run}: process {pid} was not paused.\n", "")


def test_stop_waits_for_the_end(say, work, run):
    process = work(FACTS)
    assert say("stop", run) == (0, f"{run}: process {process.pid} has ended. The same command goes on from here.\n", "")
    assert process.wait(30) == 0


def test_stop_says_when_the_run_does_not_listen(say, work, run):
    process = work({"stage": "train"}, listens=False)
    said = say("stop", run, "--wait", "0.3")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"error: {run}: process {process.pid} has not ended within 0.3 s (stage train; only stages that "
        f"ask a model can be told). Wait for it, or end it with: kill {process.pid}\n"
    )
    assert say("stop", run, "--wait", "0").out == f"{run}: process {process.pid} was asked to end.\n"
    assert control(run) == {"stop": True}
    assert process.poll() is None


@pytest.mark.parametrize("words", [["set", "max_cost=1"], ["pause"], ["resume"], ["stop"]])
def test_nobody_is_steered_where_nobody_works(say, work, run, words):
    said = say(words[0], run, *words[1:])
    assert (said.code, said.out) == (2, "")
    assert said.err == f"error: {run}: no run is here (manifest.json is missing). Name the folder given with --out.\n"
    process = work(FACTS)
    process.kill()
    process.wait(30)
    said = say(words[0], run, *words[1:])
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        f"error: {run}: no process works here, so there is nothing to steer. The run's own command goes on.\n"
    )
    assert not (run / "control.json").exists()


def test_the_status_of_a_live_run_is_a_headline_and_the_panel(say, work, run):
    pid = work(FACTS).pid
    said = say("status", run)
    assert (said.code, said.err) == (0, "")
    head, bar, counts, money, lane = said.out.splitlines()
    assert head == f"{run}: process {pid}, stage generate"
    assert re.fullmatch(r"generate \S+ +50%  1m01s left *", bar)
    assert counts == "49/100 done, 1 failed, 2 truncated, 16/16 in flight, 3 retries, 2.0 requests/s, 212 tokens/s,"
    assert money == "cost 0.0312"
    assert lane.startswith("127.0.0.1:8000 \ufffd[2J  cooling 12s")


def test_the_status_of_a_run_that_a_cap_ended_does_not_call_it_done(say, work, run):
    made = {"requests": 10, "completions": 4, "missing": 6, "stopped": "budget.max_requests: 4 is reached."}
    process = work({"stage": "done", "counts": {"generate": made}})
    process.kill()
    process.wait(30)
    assert re.fullmatch(
        re.escape(
            f"{run}: ended early (generate: 4 of 10 requests are answered; budget.max_requests: 4 is reached.), last "
            "heartbeat "
        )
        + r"\d{4}-\d\d-\d\dT\S+\.\n",
        say("status", run).out,
    )


def test_the_status_of_a_dead_process_says_so_and_promises_no_time(say, work, run):
    process = work(FACTS)
    process.kill()
    process.wait(30)
    said = say("status", run)
    head, bar, counts, *_ = said.out.splitlines()
    assert said.code == 0
    assert re.fullmatch(
        re.escape(f"{run}: the process is gone (stage generate, last heartbeat ")
        + r"\d{4}-\d\d-\d\dT\S+\); the same command goes on\.",
        head,
    )
    assert bar.endswith("50%")
    assert counts == "49/100 done, 1 failed, 2 truncated, 3 retries, cost 0.0312"
    assert json.loads(say("status", run, "--json").out)["live"] is False
    assert say("status", run, "--watch").out == said.out  # nothing to wait for
    assert "\npromptmill_up 0\n" in say("status", run, "--prometheus").out


def test_a_process_that_has_not_told_anything_is_not_shown_with_the_numbers_of_the_one_before(say, work, run):
    process = work(FACTS)
    process.kill()
    process.wait(30)
    pid = work(None).pid
    head, bar, counts, *_ = say("status", run).out.splitlines()
    assert head == f"{run}: process {pid} has begun and has not told yet how far it is."
    assert "left" not in bar
    assert "in flight" not in counts


def test_a_run_that_is_done_says_done(say, work, run):
    process = work({"stage": "done", "counts": {}})
    assert say("status", run).out == f"{run}: process {process.pid}, stage done\n"  # its last words are being written
    (run / "end").touch()
    assert process.wait(30) == 0
    assert re.fullmatch(re.escape(str(run)) + r": done \(\d{4}-\S+\)\.\n", say("status", run).out)


def test_a_heartbeat_that_is_late_is_told(say, work, run):
    pid = work(FACTS).pid
    beat = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**beat, "time": "2020-01-02T03:04:05+0000"}))
    assert re.fullmatch(
        rf".*: process {pid}, stage generate, silent for \d{{9}} s", say("status", run).out.splitlines()[0]
    )


def test_the_status_as_json_is_the_heartbeat_and_whether_it_lives(say, work, run):
    pid = work(FACTS).pid
    shown = json.loads(say("status", run, "--json").out)
    assert shown.pop("live") is True
    assert shown == json.loads((run / "status.json").read_text())
    assert shown["pid"] == pid


def test_a_status_file_that_is_no_heartbeat_is_no_heartbeat(say, work, run):
    pid = work(None).pid
    (run / "status.json").write_text("[1]")
    assert say("status", run).out == f"{run}: process {pid} has begun and has not told yet how far it is.\n"
    assert json.loads(say("status", run, "--json").out) == {"live": True}


def test_a_folder_without_a_run_has_no_status(say, tmp_path):
    said = say("status", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {tmp_path}: no run is here")
    assert say("status", tmp_path, "--json", "--watch").err.startswith("error: --watch, --json and --prometheus: only")


def test_watching_without_a_terminal_says_plain_lines_until_the_end(say, work, run):
    process = work(FACTS)
    timer = threading.Timer(1.0, (run / "end").touch)
    timer.start()
    said = say("status", run, "--watch")
    timer.join()
    assert process.wait(30) == 0
    assert said.code == 0
    first, head, *_ = said.out.splitlines()
    assert first == (
        "generate: 49/100 done, 1 failed, 2 truncated, 16/16 in flight, 3 retries, 2.0 requests/s, 212 tokens/s, "
        "cost 0.0312, 1m01s left; lane 127.0.0.1:8000 \ufffd[2J cooling 12s"
    )
    assert head.startswith(f"{run}: the process is gone (stage generate")
    assert "\x1b" not in said.out


def test_watching_on_a_terminal_draws_and_ctrl_c_leaves_the_run_alone(work, run):
    process = work(FACTS)
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100", "PYTHONPATH": os.pathsep.join(sys.path)}
    watcher = subprocess.Popen(
        [sys.executable, "-m", "promptmill", "status", str(run), "--watch"],
        stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    os.close(theirs)
    shown, deadline = b"", time.monotonic() + 120
    while b"retries" not in shown and time.monotonic() < deadline:
        if select.select([ours], [], [], 0.5)[0]:
            shown += os.read(ours, 65536)
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=120)
    os.close(ours)
    assert watcher.returncode == 0
    assert err == f"{run}: the run goes on. End it with: promptmill stop {run}\n"
    text = shown.decode()
    assert f"process {process.pid}, " in " ".join(text.split())  # a long path makes it wrap or be cut
    assert "49/100 done, 1 failed" in text
    assert "\x1b[2J" not in text  # a lane's name does not clear the screen
    assert process.poll() is None
