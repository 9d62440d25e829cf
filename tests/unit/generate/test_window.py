import asyncio
import gc
import json
import os
import signal
import time
from collections import Counter

import pytest

from promptmill.endpoints.deadlines import arrival
from promptmill.endpoints.function import Function
from promptmill.errors import (
    AuthFailed,
    DataError,
    EndpointError,
    Forbidden,
    QuotaSpent,
    Refused,
    RunError,
    Unavailable,
)
from promptmill.generate.index import read_outcomes, read_summary
from promptmill.generate.journal import Journal
from promptmill.generate.lane import Lane, LaneOptions
from promptmill.generate.lanes import Lanes
from promptmill.generate.parts import Part, count_part
from promptmill.generate.status import Progress
from promptmill.generate.window import Pace, Window
from promptmill.io.jsonl import write_jsonl
from promptmill.prompts import requests as prompts
from promptmill.records import Completion, Failure, Prompt, Sampling


class Scripted:
    """An endpoint that answers from a function and counts what it is asked."""

    def __init__(self, answer=lambda _request, _attempt: "ok", pause_s=0.0):
        self.answer = answer
        self.pause_s = pause_s
        self.asked = Counter()
        self.in_flight = self.peak = 0
        self.closed = False

    async def complete(self, request):
        self.asked[request.key] += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self.pause_s)
            text = self.answer(request, self.asked[request.key])
        finally:
            self.in_flight -= 1
        return Completion(key=request.key, prompt_id=request.prompt_id, model=request.model, sample=request.sample,
                          text=text, finish="stop")  # fmt: skip

    async def check(self, model):
        pass

    async def close(self):
        self.closed = True


def requests(prompt, k=1):
    return prompts.requests(
        prompt, model="m", k=k, protocol="chat", sampling=Sampling(max_tokens=5), template=None, system=None
    )


def make_parts(folder, texts, per_part=10, limit=None):
    parts = []
    for number, start in enumerate(range(0, len(texts), per_part)):
        path = folder / f"prompts-{number:05d}.jsonl"
        write_jsonl(
            path,
            [Prompt(id=f"p{start + i}", source="t", text=t) for i, t in enumerate(texts[start : start + per_part])],
        )
        parts.append(Part(path, folder / f"part-{number:05d}.jsonl", limit, plan="plan"))
    return parts


def lanes_of(endpoint, **options):
    lane = Lane(endpoint, "only", LaneOptions(), width=None)
    return Lanes([lane], **{"attempts": 3, "deadline_s": 120.0, "pause_s": 0.001, "patience_s": 0.1, **options})


def ask(parts, endpoint, *, k=1, width=4, progress=None, **options):
    progress = progress or Progress(0)
    window = Window(lanes_of(endpoint, **options), progress, pace=Pace(width))
    # the plan stands for what is asked: another k is another plan
    parts = [part._replace(plan=f"{part.plan} {k}") for part in parts]
    window.run(parts, lambda prompt: requests(prompt, k), model="m")
    return progress


def test_every_request_is_asked_once_and_every_part_committed_in_the_order_of_the_prompts(tmp_path):
    parts = make_parts(tmp_path, [f"text {i}" for i in range(25)])
    endpoint = Scripted(pause_s=0.001)
    progress = ask(parts, endpoint, k=2)
    assert sorted(path.name for path in tmp_path.glob("part-*")) == [
        f"part-{i:05d}.{kind}" for i in range(3) for kind in ("done", "jsonl")
    ]
    rows = [(o.prompt_id, o.sample) for part in parts for o in read_outcomes(part.outcomes)]
    assert rows == [(f"p{i}", s) for i in range(25) for s in range(2)]
    assert set(endpoint.asked.values()) == {1}
    assert (progress.done, progress.failed, endpoint.peak, endpoint.closed) == (50, 0, 4, True)


def test_a_second_run_sends_nothing_and_more_samples_ask_only_for_the_new_ones(tmp_path):
    parts = make_parts(tmp_path, ["a", "b"])
    ask(parts, Scripted())
    again = Scripted()
    assert ask(parts, again).reused == 2
    assert not again.asked
    more = Scripted()
    progress = ask(parts, more, k=3)
    assert (len(more.asked), progress.reused) == (4, 2)
    assert [(o.prompt_id, o.sample) for o in read_outcomes(parts[0].outcomes)] == [
        ("p0", 0), ("p0", 1), ("p0", 2), ("p1", 0), ("p1", 1), ("p1", 2)]  # fmt: skip


def test_equal_prompts_of_a_part_are_asked_once(tmp_path):
    endpoint = Scripted()
    ask(make_parts(tmp_path, ["same", "same", "other"]), endpoint)
    assert sorted(endpoint.asked.values()) == [1, 1]


def test_a_limit_asks_the_first_prompts_alone(tmp_path):
    endpoint = Scripted()
    ask(make_parts(tmp_path, ["a", "b", "c"], limit=2), endpoint)
    assert len(endpoint.asked) == 2


def test_a_busy_server_is_asked_again_and_the_attempts_are_recorded(tmp_path):
    def flaky(request, attempt):
        if attempt < 3:
            raise Unavailable("503")
        return "at last"

    parts = make_parts(tmp_path, ["a"])
    ask(parts, Scripted(flaky))
    (outcome,) = Journal(parts[0].outcomes)
    assert (outcome.text, outcome.attempts) == ("at last", 3)


def test_a_refused_request_is_a_failure_row_after_one_attempt_and_the_part_is_still_committed(tmp_path):
    def refuse(request, attempt):
        if request.prompt_id == "p1":
            raise Refused("too long")
        return "ok"

    parts = make_parts(tmp_path, ["a", "b", "c"])
    endpoint = Scripted(refuse)
    progress = ask(parts, endpoint)
    rows = list(read_outcomes(parts[0].outcomes))
    assert [type(row) for row in rows] == [Completion, Failure, Completion]
    assert (rows[1].kind, rows[1].detail, rows[1].attempts, progress.failed) == ("refused", "too long", 1, 1)


def test_a_failure_that_may_pass_is_noted_in_the_summary_and_the_next_run_asks_it_alone(tmp_path):
    def down(request, attempt):
        if request.prompt_id == "p1":
            raise Unavailable("down")
        return "ok"

    parts = make_parts(tmp_path, ["a", "b", "c"])
    ask(parts, Scripted(down))
    summary = read_summary(parts[0].outcomes)
    assert (summary.completions, summary.failures, summary.n_open()) == (2, {"unavailable": 1}, 1)
    endpoint = Scripted()
    ask(parts, endpoint)
    assert len(endpoint.asked) == 1
    assert [type(row) for row in read_outcomes(parts[0].outcomes)] == [Completion] * 3


def test_a_server_that_is_gone_ends_the_run_with_one_error_and_keeps_what_was_answered(tmp_path):
    def gone(request, attempt):
        if int(request.prompt_id[1:]) >= 5:
            raise Unavailable("connection refused")
        return "ok"

    parts = make_parts(tmp_path, [str(i) for i in range(200)], per_part=200)
    with pytest.raises(EndpointError, match=r"no lane has answered for 0\.1 s: only: connection refused\. Mend it"):
        ask(parts, Scripted(gone))
    kept = [outcome for outcome in Journal(parts[0].outcomes) if isinstance(outcome, Completion)]
    assert len(kept) == 5


def test_a_refused_key_ends_the_run(tmp_path):
    def deny(request, attempt):
        raise AuthFailed("401")

    with pytest.raises(AuthFailed, match="401"):
        ask(make_parts(tmp_path, ["a"]), Scripted(deny))


def test_a_request_without_an_answer_ends_at_its_deadline(tmp_path):
    parts = make_parts(tmp_path, ["a"])
    ask(parts, Scripted(pause_s=60), deadline_s=0.05)
    (outcome,) = Journal(parts[0].outcomes)
    assert isinstance(outcome, Failure)
    assert "no answer within 0.05 s" in outcome.detail


def test_a_window_works_inside_a_running_event_loop(tmp_path):
    parts = make_parts(tmp_path, ["a", "b"])

    async def notebook():
        return ask(parts, Scripted())

    assert asyncio.run(notebook()).done == 2


def test_a_delay_spaces_the_starts(tmp_path):
    starts = []

    def note(request, attempt):
        starts.append(time.monotonic())
        return "ok"

    window = Window(lanes_of(Scripted(note)), Progress(0), pace=Pace(4, delay_s=0.05))
    began = time.monotonic()
    window.run(make_parts(tmp_path, list("abcd")), requests, model="m")
    # each may come late, none early; loops have clocks of a millisecond
    assert [start - began > 0.05 * n - 0.003 for n, start in enumerate(starts)] == [True] * 4


def test_an_unwritable_journal_stops_the_run(tmp_path):
    parts = make_parts(tmp_path, ["a"])
    (tmp_path / "part-00000.journal").mkdir()
    with pytest.raises(RunError, match=r"part-00000\.journal: cannot be read: Is a directory"):
        ask(parts, Scripted())


def test_progress_counts_rates_and_the_time_left():
    progress = Progress(10)
    assert progress.facts()["eta_s"] is None
    progress.reused = 4
    progress.count(Completion(key="k", prompt_id="p", model="m", text="", finish="length"))
    progress.count(Failure(key="k", prompt_id="p", model="m", kind="timeout", detail=""))
    facts = progress.facts()
    assert (facts["done"], facts["failed"], facts["truncated"], facts["reused"]) == (1, 1, 1, 4)
    assert facts["eta_s"] >= 0
    json.dumps(facts)


def test_when_the_first_requests_are_all_refused_the_run_ends_with_that_reason(tmp_path):
    def refuse(request, attempt):
        raise Refused("400: unknown field 'foo'")

    parts = make_parts(tmp_path, [str(i) for i in range(200)], per_part=200)
    endpoint = Scripted(refuse)
    with pytest.raises(EndpointError, match=r"the first 20 requests were all refused, .* unknown field 'foo'"):
        ask(parts, endpoint)
    assert len(endpoint.asked) < 30
    again = Scripted()
    ask([part._replace(retry_refused=True) for part in parts], again)
    assert len(again.asked) == 200


def test_refusals_after_a_first_answer_do_not_end_a_run(tmp_path):
    def refuse(request, attempt):
        if request.prompt_id != "p0":
            raise Refused("too long")
        return "ok"

    progress = ask(make_parts(tmp_path, [str(i) for i in range(60)], per_part=60), Scripted(refuse), width=1)
    assert (progress.done, progress.failed) == (1, 59)


def test_an_error_that_comes_while_the_workers_are_still_being_started_is_the_error_that_is_told(tmp_path):
    def broken(request, attempt):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        ask(make_parts(tmp_path, [str(i) for i in range(200)], per_part=200), Scripted(broken), width=100)


def test_a_fixed_number_in_flight_is_not_bounded_by_the_limit_of_auto():
    lane = Lane(Scripted(), "only", LaneOptions())
    lane.widen(fixed=512, most=256)
    assert lane.width.value == 512
    own = Lane(Scripted(), "only", LaneOptions(max_in_flight=8))
    own.widen(fixed=512, most=256)
    assert own.width.value == 8


def test_the_next_part_is_prepared_before_the_last_request_of_this_one_is_sent(tmp_path):
    parts = make_parts(tmp_path, [f"text {i}" for i in range(20)])
    opened = []

    def look(request, attempt):
        opened.append((request.prompt_id, len(drawn)))
        return "ok"

    drawn = set()

    def to_requests(prompt):
        drawn.add(prompt.id)
        return requests(prompt)

    window = Window(lanes_of(Scripted(look)), Progress(20), pace=Pace(1))
    window.run(parts, to_requests, model="m")
    assert dict(opened)["p0"] == 10  # the first request waits for its own part alone
    assert dict(opened)["p9"] == 20


def test_a_disk_that_does_not_take_a_whole_part_stops_the_run_and_keeps_the_journal(tmp_path):
    parts = make_parts(tmp_path, ["a", "b"])
    (tmp_path / ".part-00000.jsonl.tmp").mkdir()  # where the part is written before it gets its name
    with pytest.raises(DataError, match="cannot be written"):
        ask(parts, Scripted())
    assert len(list(read_outcomes(tmp_path / "part-00000.journal"))) == 2


def test_equal_requests_are_counted_once_where_nothing_is_answered(tmp_path):
    parts = make_parts(tmp_path, ["same", "same", "other"])
    assert count_part(parts[0], lambda prompt: requests(prompt, 2)) == (6, 4, 0, 0.0)


def test_the_garbage_collector_is_set_back_after_the_run(tmp_path):
    before = gc.get_threshold()
    seen = []
    ask(make_parts(tmp_path, ["a"]), Scripted(lambda _request, _attempt: seen.append(gc.get_threshold()) or "ok"))
    assert seen[0][0] >= 20_000
    assert gc.get_threshold() == before


def test_answers_in_flight_are_kept_when_the_last_key_has_no_quota_left(tmp_path):
    class Spent(Scripted):
        async def complete(self, request):
            if request.prompt_id == "p0":
                await others.wait()
                asyncio.get_running_loop().call_soon(dead.set)  # when the error has gone up
                raise QuotaSpent("no money")
            if len(self.asked) == 2:
                others.set()
            completion = await super().complete(request)
            await dead.wait()
            assert lanes.lanes[0].is_dead
            return completion

    others, dead = asyncio.Event(), asyncio.Event()
    lanes = lanes_of(Spent())
    parts = make_parts(tmp_path, [f"text {i}" for i in range(30)])
    with pytest.raises(AuthFailed, match="no key is left"):
        Window(lanes, Progress(0), pace=Pace(4)).run(parts, requests, model="m")
    rows = [outcome.prompt_id for part in parts for outcome in Journal(part.outcomes).read().values()]
    assert sorted(rows) == ["p1", "p2", "p3"]


def test_ctrl_c_ends_a_window_inside_a_running_event_loop_too(tmp_path):
    class Interrupted(Scripted):
        async def complete(self, request):
            completion = await super().complete(request)
            if len(self.asked) >= 10:
                if not sent:
                    sent.append(os.kill(os.getpid(), signal.SIGINT))
                await asyncio.Event().wait()  # the thread that hears it may be late
            return completion

    sent = []
    endpoint = Interrupted()
    parts = make_parts(tmp_path, [f"text {i}" for i in range(400)])

    async def notebook():
        before = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ask(parts, endpoint)
        assert signal.getsignal(signal.SIGINT) is before

    asyncio.run(notebook())
    assert 10 <= len(endpoint.asked) < 20


def test_a_function_that_never_waits_lets_the_run_hear_signals(tmp_path):
    asked = []

    async def answer(request):
        asked.append(request.key)
        if len(asked) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return "ok"

    with pytest.raises(KeyboardInterrupt):
        ask(make_parts(tmp_path, [f"text {i}" for i in range(400)], per_part=400), Function(answer))
    assert len(asked) < 400


@pytest.mark.parametrize("n_lanes", [1, 3])
def test_a_prompt_that_a_firewall_forbids_is_a_failure_row_and_kills_no_key(tmp_path, n_lanes):
    def forbid(request, _attempt):
        if request.prompt_id == "p0":
            raise Forbidden("403: blocked")
        return "ok"

    lanes = Lanes(
        [Lane(Scripted(forbid, pause_s=0.001), f"lane {n}", LaneOptions()) for n in range(n_lanes)],
        attempts=3,
        deadline_s=120.0,
    )
    parts = make_parts(tmp_path, [f"text {i}" for i in range(30)])
    progress = Progress(30)
    Window(lanes, progress, pace=Pace(4)).run(parts, requests, model="m")
    assert (progress.done, progress.failed) == (29, 1)
    (row,) = [o for o in Journal(parts[0].outcomes).read().values() if isinstance(o, Failure)]
    assert (row.prompt_id, row.kind) == ("p0", "auth")
    assert [lane.state for lane in lanes.lanes] == ["ok"] * n_lanes


def test_a_key_that_is_forbidden_everything_ends_the_run(tmp_path):
    def forbid(_request, _attempt):
        raise Forbidden("403: no access")

    endpoint = Scripted(forbid)
    with pytest.raises(AuthFailed, match="403: no access"):
        ask(make_parts(tmp_path, [f"text {i}" for i in range(30)]), endpoint)
    assert sum(endpoint.asked.values()) <= 6


class Interrupting:
    """An endpoint whose second answer comes in the moment in which a signal does."""

    def __init__(self):
        self.asked = 0

    async def complete(self, request):
        self.asked += 1
        loop = asyncio.get_running_loop()
        coming = loop.create_future()
        loop.call_soon(self.answer, coming, self.asked)
        text = await arrival(coming)
        return Completion(key=request.key, prompt_id=request.prompt_id, model=request.model, sample=request.sample,
                          text=text, finish="stop")  # fmt: skip

    def answer(self, coming, number):
        if number == 2:
            os.kill(os.getpid(), signal.SIGINT)
        coming.set_result(f"answer {number}")

    async def check(self, model):
        pass

    async def close(self):
        pass


@pytest.mark.parametrize("hedge", [False, True])
def test_an_answer_that_comes_together_with_an_interrupt_is_kept_and_nothing_is_sent_after_it(tmp_path, hedge):
    (part,) = make_parts(tmp_path, ["a", "b", "c", "d"])
    endpoint = Interrupting()
    both = [Lane(endpoint, f"lane {n}", LaneOptions(), width=1) for n in range(2)]
    lanes = Lanes(both, attempts=3, deadline_s=120.0, hedge=hedge)
    with pytest.raises(KeyboardInterrupt):
        Window(lanes, Progress(0), pace=Pace(1)).run([part], requests, model="m")
    assert [outcome.text for outcome in Journal(part.outcomes)] == ["answer 1", "answer 2"]
    assert endpoint.asked == 2
    assert [lane.in_flight for lane in both] == [0, 0]
