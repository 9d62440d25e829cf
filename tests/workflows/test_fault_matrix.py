"""Every fault of the fake server through the whole engine, at one lane and at four: kinds, counts, ends, and no hang.

`once`: the first request of each prompt is struck, later ones are not. `for ever`: all are. All cases run at the same
time in threads, since they mostly wait. Where a server is silent, nobody waits for a deadline: the clock of the loop
that asks is moved on when the server has all the requests that it will not answer. So no right answer is ever late.
"""

import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import repeat
from typing import NamedTuple

import pytest

from promptmill import config
from promptmill.endpoints.fake.answers import FAULTS, RIGHT
from promptmill.errors import AuthFailed, EndpointError
from promptmill.generate.index import read_outcomes
from promptmill.generate.journal import Journal
from promptmill.records import Completion
from promptmill.run import open_run
from promptmill.testing import FakeOptions, fake_server, fake_stats
from promptmill.workflows import asking as asked
from promptmill.workflows import stages
from promptmill.workflows.lengths import Lengths

PATIENCE_S = 240  # only guards against hanging
HANGING = {"timeout", "slow-head"}
TIMEOUT_S = 600.0
KEYS = [f"key-number-{n}-of-the-matrix" for n in range(4)]
KINDS = {
    "rate": {"429", "429-date", "429-garbage", "429-ms", "429-none", "429-negative", "error-200-429"},
    "overload": {"503", "529"},
    "timeout": {"408", "504", "timeout", "slow-head"},
    "network": {"half", "wrong-length", "drop", "reset-before"},
    "unavailable": {
        *("409", "500", "500-html", "502", "204", "error-200", "cut", "json", "bad-utf8"),
        *("null", "array", "empty", "no-text", "no-finish", "wrong-finish"),
    },
    "refused": {"400", "404", "413", "422", "302"},
    "too_long": {"400-too-long"},
    "filter": {"400-filter"},
    "auth": {"401", "403"},
    "quota": {"402", "429-quota"},
}
KIND_OF = {fault: kind for kind, faults in KINDS.items() for fault in faults}
AT_ONCE = {"refused", "too_long", "filter"}  # asking again cannot help
OF_THE_KEY = {"auth", "quota"}
UNANNOUNCED = {"drop", "reset-before"}  # a kept connection that ends under a request: sent once more, as one attempt


class Came(NamedTuple):
    """What became of a run.

    Attributes:
        error: what ended it early, if anything did.
        counts: of the stage.
        received: requests that the server got.
        rows: the outcomes in the files.
        states: of the lanes at the end, sorted.
        failed: attempts that failed at each lane.
        short: whether the exit code would be 1.
    """

    error: Exception | None
    counts: dict
    received: int
    rows: list
    states: list
    failed: list
    short: bool


LOOPS = {}  # the newest of each thread


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be moved on."""

    ahead_s = 0.0

    def __init__(self):
        super().__init__()
        LOOPS[threading.get_ident()] = self

    def time(self):
        return super().time() + self.ahead_s

    def move_on(self, seconds):
        def move():
            self.ahead_s += seconds

        with suppress(RuntimeError):  # it has just been closed
            self.call_soon_threadsafe(move)


@contextmanager
def movable_clocks():
    """Let what asks in this block do so in a loop whose clock can be moved on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "uvloop", None)
        patch.setattr(asyncio.events, "new_event_loop", Loop)
        yield


@contextmanager
def deadlines_over(url, *moments):
    """Move this thread's clock beyond a deadline at each moment, one after the other, in what the server was asked."""
    asker, over = threading.get_ident(), threading.Event()

    def watch():
        for moment in moments:
            while not over.wait(0.01):
                found = fake_stats(url)
                if moment(found["received"], found["in_flight"]):
                    LOOPS[asker].move_on(TIMEOUT_S + 1)
                    break

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def are(received, waiting):
    """The moment when a server was asked so often, and does not answer so many."""
    return lambda *found: found == (received, waiting)


def go(folder, url, *, prompts, lanes, **generate):
    """Ask through the engine as a recipe says; four lanes are four keys."""
    folder.mkdir()
    (folder / "prompts.json").write_text(json.dumps({"prompts": [f"Say {n} words." for n in range(prompts)]}))
    use = {"kind": "openai", "base_url": url, "token_ids": "never", "timeout_s": TIMEOUT_S}
    use |= {"api_keys_env": "MATRIX_KEYS"} if lanes == 4 else {"api_key_env": "MATRIX_KEY"}
    tree = {
        "workflow": "lengths",
        "source": {"path": str(folder / "prompts.json")},
        "generate": {
            "model": "fake",
            "endpoints": [use],
            "sampling": {"max_tokens": 4000},
            "concurrency": 4,
            "attempts": 3,
            "patience_s": 0.5,
            "deadline_s": 10**9,
            **generate,
        },
    }
    recipe = config.check(config.Document(tree, {}, "matrix.yaml"), Lengths)
    asking = asked.asking(recipe.generate, None)
    error, counts = None, {}
    with open_run(folder / "run", workflow="lengths", seeds={}) as run:
        run.identify("prompts", stages.source_identity(recipe.source, [], rows_per_part=100))
        run.identify("generate", asking.identity())
        stages.make_prompts(run, recipe.source, [], rows_per_part=100, reporter=stages.Silent())
        try:
            counts = asked.ask(run, asking, reporter=stages.Silent())
        except EndpointError as caught:
            error = caught
        rows = list(Journal(run.path / "generate" / "part-00000.jsonl"))
        status = json.loads((run.path / "status.json").read_bytes())
    short = asked.is_short_of_answers(recipe.generate, counts)
    states = sorted(lane["state"] for lane in status["lanes"])
    failed = [lane["failed"] for lane in status["lanes"]]
    return Came(error, counts, fake_stats(url)["received"], rows, states, failed, short)


def once(folder, fault, lanes):
    options = FakeOptions(script=f"{fault},ok", words="2-20", retry_after_s=0.02, slow_s=0.05)
    with fake_server(options) as url, deadlines_over(url, *[are(12, 12)] * (fault in HANGING)):
        concurrency = 12 if fault in HANGING else 4
        return go(folder, url, prompts=12, lanes=lanes, patience_s=PATIENCE_S, concurrency=concurrency)


def for_ever(folder, fault, lanes):
    """Two prompts, two attempts: too few failures for a lane to be taken out, so that all can be counted."""
    options = FakeOptions(faults=f"{fault}:1", words="2-20", retry_after_s=0.02, slow_s=0.05)
    with fake_server(options) as url, deadlines_over(url, *[are(2, 2), are(4, 2)] * (fault in HANGING)):
        return go(folder, url, prompts=2, lanes=lanes, attempts=2, patience_s=PATIENCE_S)


def all_of(work, faults):
    cases = [(how, fault, lanes) for fault in sorted(faults) for how in (once, for_ever) for lanes in (1, 4)]
    with ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(how, work / f"{how.__name__}-{f}-{lanes}", f, lanes) for how, f, lanes in cases]
        return {
            (how.__name__, fault, lanes): future.result(timeout=PATIENCE_S)
            for (how, fault, lanes), future in zip(cases, futures, strict=True)
        }


@pytest.fixture(scope="module")
def came(tmp_path_factory):
    """What came of every case: `(how, fault, lanes) -> Came`."""
    work = tmp_path_factory.mktemp("matrix")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATRIX_KEYS", json.dumps(KEYS))
        patch.setenv("MATRIX_KEY", KEYS[0])
        with movable_clocks():
            hung = all_of(work, HANGING)
        return hung | all_of(work, FAULTS.keys() - HANGING)


def of(faults):
    return pytest.mark.parametrize("fault", sorted(faults))


TRIED_AGAIN = {fault for fault, kind in KIND_OF.items() if kind not in AT_ONCE | OF_THE_KEY}
lanes_1_and_4 = pytest.mark.parametrize("lanes", [1, 4])


def test_every_fault_has_its_kind():
    assert KIND_OF.keys() | RIGHT == FAULTS.keys()
    assert len(FAULTS) >= 30


@lanes_1_and_4
@of(TRIED_AGAIN)
def test_a_fault_that_may_pass_is_tried_again_and_answered(came, fault, lanes):
    got = came["once", fault, lanes]
    assert got.error is None
    assert [type(row) for row in got.rows] == [Completion] * 12
    assert {row.attempts for row in got.rows} <= ({1, 2} if fault in UNANNOUNCED else {2})
    assert (got.received, got.short) == (24, False)
    assert {"refused", "no quota"}.isdisjoint(got.states)  # `out` is right where the others did the rest


@lanes_1_and_4
@of(TRIED_AGAIN)
def test_a_fault_that_stays_is_tried_so_often_and_becomes_a_row(came, fault, lanes):
    got = came["for_ever", fault, lanes]
    assert got.error is None
    assert [(row.kind, row.attempts) for row in got.rows] == [(KIND_OF[fault], 2)] * 2
    assert (got.counts["failures"], got.short) == ({KIND_OF[fault]: 2}, True)
    assert got.received in (range(4, 9) if fault in UNANNOUNCED else {4})


@lanes_1_and_4
@pytest.mark.parametrize(("how", "prompts"), [("once", 12), ("for_ever", 2)])
@of(fault for fault, kind in KIND_OF.items() if kind in AT_ONCE)
def test_what_is_refused_is_a_row_at_once(came, how, prompts, fault, lanes):
    got = came[how, fault, lanes]
    assert got.error is None
    assert [(row.kind, row.attempts) for row in got.rows] == [(KIND_OF[fault], 1)] * prompts
    assert (got.received, got.short, set(got.states)) == (prompts, True, {"ok"})


@lanes_1_and_4
@pytest.mark.parametrize("how", ["once", "for_ever"])
@of(fault for fault, kind in KIND_OF.items() if kind in OF_THE_KEY and fault != "403")
def test_a_refused_key_is_never_the_fault_of_a_request(came, how, fault, lanes):
    got = came[how, fault, lanes]
    state = "no quota" if KIND_OF[fault] == "quota" else "refused"
    if how == "for_ever" or lanes == 1:  # every lane was refused
        assert isinstance(got.error, AuthFailed)
        assert str(got.error).startswith("no key is left that is accepted: http://127.0.0.1:")
        assert str(got.error).endswith("Mend it and run again: what was answered is kept.")
        assert not any(key in str(got.error) for key in KEYS)
        assert set(got.states) == {state}
    assert [row for row in got.rows if not isinstance(row, Completion)] == []
    assert got.received <= (8 if lanes == 1 or how == "for_ever" else 24)  # what one lane refuses another may answer


@lanes_1_and_4
def test_a_prompt_that_every_key_is_forbidden_is_a_row_and_the_keys_live(came, lanes):
    got = came["for_ever", "403", lanes]  # two prompts: three in a row would be the key's own fault
    assert got.error is None
    assert [(row.kind, row.attempts) for row in got.rows] == [("auth", 1)] * 2
    assert (got.received, got.short, set(got.states)) == (2 * lanes, True, {"ok"})


def test_a_key_that_is_forbidden_three_times_in_a_row_is_refused(came):
    got = came["once", "403", 1]
    assert isinstance(got.error, AuthFailed)
    assert got.states == ["refused"]


@lanes_1_and_4
@pytest.mark.parametrize(("how", "prompts"), [("once", 12), ("for_ever", 2)])
@of(RIGHT)
def test_an_unusual_answer_is_an_answer(came, how, prompts, fault, lanes):
    got = came[how, fault, lanes]
    assert got.error is None
    assert [(type(row), row.attempts) for row in got.rows] == [(Completion, 1)] * prompts
    assert (got.received, got.short) == (prompts, False)


@lanes_1_and_4
@pytest.mark.parametrize("fault", ["500", "drop", "json", "timeout", "504"])
def test_a_server_that_only_fails_ends_the_run_after_the_patience(tmp_path, monkeypatch, fault, lanes):
    monkeypatch.setenv("MATRIX_KEYS", json.dumps(KEYS))
    monkeypatch.setenv("MATRIX_KEY", KEYS[0])
    with fake_server(FakeOptions(faults=f"{fault}:1")) as url, ExitStack() as stack:
        if fault == "timeout":
            stack.enter_context(movable_clocks())
            stack.enter_context(deadlines_over(url, *repeat(lambda _, waiting: waiting, 10**5)))
        got = go(tmp_path / "case", url, prompts=60, lanes=lanes, attempts=50)
    assert str(got.error).startswith("no lane has answered for 0.5 s: http://127.0.0.1:")
    assert set(got.states) == {"out"}
    assert (got.rows, min(got.failed) >= 5, got.received <= 80 * lanes) == ([], True, True)


@lanes_1_and_4
def test_a_server_that_only_refuses_ends_the_run_after_twenty(tmp_path, monkeypatch, lanes):
    monkeypatch.setenv("MATRIX_KEYS", json.dumps(KEYS))
    monkeypatch.setenv("MATRIX_KEY", KEYS[0])
    with fake_server(FakeOptions(faults="422:1")) as url:
        got = go(tmp_path / "case", url, prompts=60, lanes=lanes)
    assert str(got.error).startswith("the first 20 requests were all refused, the newest with: http://127.0.0.1:")
    assert 20 <= got.received <= 23


@pytest.mark.parametrize(
    ("faults", "code", "line"),
    [
        ("401:1", 2, "error: no key is left that is accepted: "),
        ("402:1", 2, "error: no key is left that is accepted: "),
        ("422:1", 1, ""),
        ("500:1", 2, "error: no lane has answered for 0.5 s: "),
        ("429:1", 1, ""),
        ("gzip:1", 0, ""),
    ],
)
def test_the_exit_code_says_how_it_ended(mill, recipe, tmp_path, faults, code, line):
    with fake_server(FakeOptions(faults=faults, retry_after_s=0.01)) as url:
        path = recipe(url, attempts=3 if faults != "500:1" else 50, patience_s=0.5)
        said = mill("lengths", "generate", path, "--out", tmp_path / "run")
    assert said.code == code
    assert said.err.splitlines()[-1].startswith(line)
    assert "Traceback" not in said.err
    rows = [row for part in (tmp_path / "run" / "generate").glob("*.jsonl") for row in read_outcomes(part)]
    assert len(rows) == (6 if code < 2 else 0)
