"""Batch files through the real command line and a real server: the same outcomes and exports as asking live."""

import json
import shutil
import urllib.request
from collections import Counter

import pytest
import yaml

from promptmill import config
from promptmill.endpoints.fake.http import Plan, reply
from promptmill.endpoints.http1 import Http1Transport
from promptmill.errors import PromptmillError, Unreachable
from promptmill.generate.journal import Journal
from promptmill.records import Completion, Failure
from promptmill.testing import FakeOptions, fake_server
from promptmill.workflows import batching
from promptmill.workflows.lengths import Lengths
from promptmill.workflows.stages import Silent

PROMPTS = [f"Question number {i}?" for i in range(12)]


@pytest.fixture
def get():
    """The JSON rows of a page, or of the lines of a file, of a server."""

    def fetch(url, page):
        with urllib.request.urlopen(f"{url}{page}", timeout=120) as reply:
            return [json.loads(line) for line in reply.read().splitlines()]

    return fetch


@pytest.fixture
def asked_in_batches(get):
    """How many batches that were not cancelled hold each custom_id."""

    def count(url):
        held = Counter()
        for batch in get(url, "/v1/batches?limit=100")[0]["data"]:
            if batch["status"] != "cancelled":
                held.update(row["custom_id"] for row in get(url, f"/v1/files/{batch['input_file_id']}/content"))
        return held

    return count


@pytest.fixture
def by_batch(mill):
    """Write, submit and collect until nothing is open, `rounds` times at most."""

    def go(target, out, *, rounds=1, flags=()):
        for _ in range(rounds):
            for command in (["write", target, "--out", out, *flags], ["submit", out], ["collect", out]):
                said = mill("batch", *command)
                assert said.code == 0, said.err
            target = out
        return said

    return go


def ledger(out):
    return json.loads((out / "batch" / "ledger.json").read_text())


def states(out):
    return [file["state"] for file in ledger(out)["files"]]


def outcomes(out):
    return [
        outcome
        for path in sorted((out / "prompts").glob("part-*.jsonl"))
        for outcome in Journal(out / "generate" / path.name)
    ]


def options_of(out):
    return config.check(config.read_recipe(out / "recipe.yaml"), Lengths).generate


def exports(out):
    return {path.name: path.read_bytes() for path in (out / "exports").iterdir()}


@pytest.mark.parametrize("protocol", ["chat", "completion"])
def test_exports_by_batch_are_byte_for_byte_those_of_asking_live(
    fake, recipe, mill, by_batch, asked, tmp_path, protocol
):
    with fake() as url:
        path = recipe(url, prompts=PROMPTS, k=2, protocol=protocol, choices="separate")
        assert mill("lengths", "run", path, "--out", tmp_path / "live").code == 0
        sent = asked(url)
        assert "all 24 requests are settled" in by_batch(path, tmp_path / "batch", flags=["--max-lines", 5]).err
        said = mill("lengths", "run", "--out", tmp_path / "batch")
        assert asked(url) == sent == 24
    assert "all 24 requests are answered from the run folder" in said.err
    assert [file["lines"] for file in ledger(tmp_path / "batch")["files"]] == [5, 5, 5, 5, 4]
    live = exports(tmp_path / "live")
    assert len(json.loads(live["vllm_results.json"])["results"]) == 24
    assert exports(tmp_path / "batch") == live


def test_the_outcomes_are_those_of_asking_live_but_for_the_time_they_took(fake, recipe, mill, by_batch, tmp_path):
    def plain(out):
        return {
            row["key"]: {name: value for name, value in row.items() if name != "latency_s"}
            for row in map(json.loads, (out / "generate" / "part-00000.jsonl").read_text().splitlines())
        }

    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "live")
        by_batch(path, tmp_path / "batch")
    assert plain(tmp_path / "batch") == plain(tmp_path / "live")


FAULTS = "400:0.1,429:0.1,500:0.1,expired:0.1,missing:0.1,double:0.1,stranger:0.1,json:0.1"


def test_whatever_happens_to_lines_the_next_write_asks_again_what_is_open_and_nothing_else(
    fake, recipe, mill, by_batch, asked_in_batches, tmp_path
):
    prompts = [f"Question number {i}?" for i in range(60)]
    out = tmp_path / "batch"
    with fake(batch_faults=FAULTS, fault_attempts=1) as url:
        path = recipe(url, prompts=prompts)
        by_batch(path, out)
        first = ledger(out)["files"][0]["counts"]
        by_batch(out, out)
        held = Counter(asked_in_batches(url).values())
    # 60 lines by eight faults of a tenth each: every one of them struck
    assert all(first[name] for name in ("answers", "refused", "again", "missing", "doubled", "unknown", "broken"))
    assert first["answers"] + first["refused"] + first["again"] + first["missing"] == 60
    open_after = first["again"] + first["missing"]
    assert [file["lines"] for file in ledger(out)["files"]] == [60, open_after]
    assert held == {1: 60 - open_after, 2: open_after}
    last = Counter(type(outcome).__name__ for outcome in outcomes(out))
    assert last == {"Completion": 60 - first["refused"], "Failure": first["refused"]}
    tried = Counter(outcome.attempts for outcome in outcomes(out) if isinstance(outcome, Completion))
    assert tried == {1: 60 - first["refused"] - first["again"], 2: first["again"]}


def test_a_line_that_the_server_refuses_is_the_failure_that_asking_live_would_make(
    fake, recipe, mill, by_batch, tmp_path
):
    with fake(context=400) as url:
        path = recipe(url, prompts=["short", "long " * 100], sampling={"max_tokens": 50})
        mill("lengths", "run", path, "--out", tmp_path / "live")
        by_batch(path, tmp_path / "batch")
        assert "write: 0 requests in 0 files" in mill("batch", "write", tmp_path / "batch").err
    (live,) = [outcome for outcome in outcomes(tmp_path / "live") if isinstance(outcome, Failure)]
    (ours,) = [outcome for outcome in outcomes(tmp_path / "batch") if isinstance(outcome, Failure)]
    assert (ours.key, ours.kind, ours.attempts) == (live.key, live.kind, 1)
    assert ours.detail.startswith(live.detail)


def test_a_batch_that_expires_keeps_what_was_done_and_the_rest_is_asked_again(fake, recipe, by_batch, tmp_path, mill):
    out = tmp_path / "batch"
    with fake(batch_script="expired", batch_done=0.5) as url:
        path = recipe(url, prompts=PROMPTS)
        said = by_batch(path, out)
        kept = {outcome.key for outcome in outcomes(out) if isinstance(outcome, Completion)}
        assert "requests-00000.jsonl: expired: 6 answers, 6 to ask again" in said.err
        assert (len(kept), states(out)) == (6, ["expired"])
        by_batch(out, out)
        mill("lengths", "run", path, "--out", tmp_path / "live")
        mill("lengths", "run", "--out", out)
    assert states(out) == ["expired", "collected"]
    assert [file["lines"] for file in ledger(out)["files"]] == [12, 6]
    assert exports(out) == exports(tmp_path / "live")


def test_asking_live_goes_on_where_a_batch_left_off(fake, recipe, by_batch, mill, asked, tmp_path):
    out = tmp_path / "batch"
    with fake(batch_script="expired", batch_done=0.5) as url:
        by_batch(recipe(url, prompts=PROMPTS), out)
        assert mill("lengths", "run", "--out", out).code == 0
        assert asked(url) == 6


def test_a_batch_that_fails_whole_says_why_and_its_requests_are_open_again(fake, recipe, by_batch, tmp_path):
    out = tmp_path / "batch"
    with fake(batch_script="failed") as url:
        said = by_batch(recipe(url), out)
        assert "requests-00000.jsonl: failed: scripted to fail: 0 answers, 6 did not come back" in said.err
        by_batch(out, out)
    assert states(out) == ["failed", "collected"]


def test_cancelling_keeps_what_was_done_by_then(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake(batch_s=3600, batch_done=0.5) as url:
        mill("batch", "write", recipe(url, prompts=PROMPTS), "--out", out, "--max-lines", 6)
        mill("batch", "submit", out)
        assert (
            "under way: requests-00000.jsonl (in_progress, 0 of 6), requests-00001.jsonl"
            in mill("batch", "collect", out).err
        )
        said = mill("batch", "cancel", out, "requests-00000.jsonl")
        assert "requests-00000.jsonl: batch_0000 is cancelled; collect what is done" in said.err
        said = mill("batch", "collect", out)
        assert "requests-00000.jsonl: cancelled: 3 answers, 3 not reached" in said.err
        assert "collect: 9 of 12 are open. 6 of them wait in batches." in said.err
        assert "write: 3 requests in 1 file; 6 wait in files written before." in mill("batch", "write", out).err
        assert "requests-00002.jsonl: was not sent, and is not" in mill("batch", "cancel", out).err
        assert "write: 3 requests in 1 file" in mill("batch", "write", out).err
    assert states(out) == ["cancelled", "submitted", "cancelled", "written"]


def test_a_batch_that_ended_is_not_cancelled_but_waits_to_be_collected(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        mill("batch", "submit", out)
        assert "is completed already; collect it" in mill("batch", "cancel", out).err
        assert "all 6 requests are settled" in mill("batch", "collect", out).err
        assert "no batch is under way" in mill("batch", "cancel", out).err


def test_a_file_that_is_given_up_asks_no_server(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        mill("batch", "submit", out)
    (out / "batch" / "requests-00000.jsonl").unlink()
    assert "requests-00000.jsonl: cannot be read" in mill("batch", "write", out).error
    assert mill("batch", "cancel", out, "--give-up").code == 0
    assert states(out) == ["cancelled"]


def done_at_the_third_look(respond):
    """A server whose batches are in progress the first two times that it is asked after one."""
    looks = []

    def told(asked):
        plan = respond(asked)
        if asked.method == "GET" and "/batches/" in asked.path and len(looks) < 2:
            looks.append(asked)
            body = plan.payload.partition(b"\r\n\r\n")[2].replace(b'"completed"', b'"in_progress"', 1)
            return Plan(reply(200, body))
        return plan

    return told


def test_waiting_ends_when_the_batches_do(recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake_server(FakeOptions(words="2-30"), around=done_at_the_third_look) as url:
        mill("batch", "write", recipe(url), "--out", out)
        mill("batch", "submit", out)
        said = mill("batch", "collect", out, "--wait", "--every", 0.05)
    assert said.err.count("under way") == 2
    assert "all 6 requests are settled" in said.err


def test_a_batch_that_is_gone_does_not_keep_the_others_from_being_collected(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out, "--max-lines", 3)
        mill("batch", "submit", out)
        path = out / "batch" / "ledger.json"
        path.write_text(path.read_text().replace("batch_0000", "batch_gone"))
        said = mill("batch", "collect", out)
        assert said.code == 2
        assert "requests-00000.jsonl: " in said.error
        assert f"promptmill batch cancel {out} requests-00000.jsonl --give-up" in said.error
        assert states(out) == ["submitted", "collected"]
        mill("batch", "cancel", out, "requests-00000.jsonl", "--give-up")
        assert "write: 3 requests in 1 file" in mill("batch", "write", out).err


class Flaky(Http1Transport):
    """Nothing answers the first questions after how far a batch is."""

    down_for = 6

    async def send(self, method, url, **options):
        if method == "GET" and "/batches/" in url and self.down_for:
            self.down_for -= 1
            raise Unreachable("http://server.test: nothing answers.")
        return await super().send(method, url, **options)


def test_waiting_outlasts_a_server_that_is_down_for_a_while_and_a_single_look_does_not(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    said = []

    class Told(Silent):
        def line(self, text):
            said.append(text)

    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        mill("batch", "submit", out)
        with pytest.raises(Unreachable, match="nothing answers"):
            batching.collect(out, options_of(out), reporter=Silent(), wire=batching.Wire(Flaky(), pause_s=0.0))
        batching.collect(
            out, options_of(out), reporter=Told(), wait=True, every_s=0.01, wire=batching.Wire(Flaky(), pause_s=0.0)
        )
    assert said == [
        "collect: under way: requests-00000.jsonl (http://server.test: nothing answers)",
        "collect: requests-00000.jsonl: completed: 6 answers.",
        "collect: all 6 requests are settled.",
    ]


def test_status_tells_both_sides_and_changes_nothing(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out, "--max-lines", 4)
        mill("batch", "submit", out)
        before = (out / "batch" / "ledger.json").read_bytes()
        rows = json.loads(mill("batch", "status", out, "--json").out)
        text = mill("batch", "status", out).out.splitlines()
        assert (out / "batch" / "ledger.json").read_bytes() == before
        mill("batch", "collect", out)
        after = mill("batch", "status", out).out.splitlines()
    assert [(row["state"], row["status"], row["says"]["total"], row["lines"]) for row in rows] == [
        ("submitted", "completed", 4, 4),
        ("submitted", "completed", 2, 2),
    ]
    assert text[0].startswith(
        "requests-00000.jsonl, 4 requests, submitted (completed), batch_0000, the server says 4 done, 0 failed of 4"
    )
    assert after[1].startswith("requests-00001.jsonl, 2 requests, collected (completed), batch_0001, 2 answers")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class Deadly(Http1Transport):
    """Kills the process at one call: before it is sent, or when its answer was on the way."""

    def __init__(self, at, *, answered):
        super().__init__()
        self.at = at
        self.answered = answered
        self.calls = 0

    async def send(self, *args, **options):
        return await self._count(super().send, *args, **options)

    async def stream(self, *args, **options):
        return await self._count(super().stream, *args, **options)

    async def _count(self, ask, *args, **options):
        self.calls += 1
        if self.calls != self.at:
            return await ask(*args, **options)
        if self.answered:
            await ask(*args, **options)
        raise Killed


def all_steps(path, out, transport, mill):
    """Write, submit and collect, over one transport."""
    wire = batching.Wire(transport, pause_s=0.0)
    generate = options_of(out)
    batching.write(out, generate, reporter=Silent(), max_lines=3, wire=wire)
    batching.submit(out, generate, reporter=Silent(), wire=wire)
    batching.collect(out, generate, reporter=Silent(), wire=wire)


@pytest.mark.parametrize("answered", [False, True], ids=["before the call", "after the call"])
def test_a_kill_at_any_call_sends_nothing_twice_and_loses_nothing(
    fake, recipe, mill, asked_in_batches, tmp_path, answered
):
    with fake() as url:
        path = recipe(url)
        mill("lengths", "prompts", path, "--out", tmp_path / "base")
        whole = Deadly(0, answered=answered)
        shutil.copytree(tmp_path / "base", tmp_path / "whole")
        all_steps(path, tmp_path / "whole", whole, mill)
        n_calls = whole.calls
    # models twice (vLLM? served?), and for each of two files: upload, create, get, output
    assert n_calls == 2 + 2 * 4
    for at in range(1, n_calls + 1):
        out = tmp_path / f"killed-{at}"
        shutil.copytree(tmp_path / "base", out)
        with fake() as url:
            tree = yaml.safe_load((out / "recipe.yaml").read_text())
            tree["generate"]["endpoints"][0]["base_url"] = url
            (out / "recipe.yaml").write_text(yaml.safe_dump(tree))
            with pytest.raises(Killed):
                all_steps(path, out, Deadly(at, answered=answered), mill)
            all_steps(path, out, Deadly(0, answered=answered), mill)
            held = asked_in_batches(url)
        assert (len(held), set(held.values())) == (6, {1}), f"killed at call {at}"
        assert states(out) == ["collected", "collected"]
        assert len({outcome.key for outcome in outcomes(out)}) == len(outcomes(out)) == 6


def test_a_kill_between_keeping_results_and_saying_so_keeps_them_once(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake(batch_faults="500:0.3,expired:0.3") as url:
        mill("batch", "write", recipe(url, prompts=PROMPTS), "--out", out)
        mill("batch", "submit", out)
        before = (out / "batch" / "ledger.json").read_bytes()
        mill("batch", "collect", out)
        kept = outcomes(out)
        counts = ledger(out)["files"][0]["counts"]
        (out / "batch" / "ledger.json").write_bytes(before)
        assert "12 known already" in mill("batch", "collect", out).err
    assert counts["answers"]
    assert counts["again"]
    assert outcomes(out) == kept
    assert states(out) == ["collected"]


def test_a_creation_whose_answer_was_lost_is_found_and_not_made_again(fake, recipe, mill, asked_in_batches, tmp_path):
    out = tmp_path / "batch"
    with fake(batch_lost=1) as url:
        mill("batch", "write", recipe(url), "--out", out)
        wire = batching.Wire(pause_s=0.0)
        batching.submit(out, options_of(out), reporter=Silent(), wire=wire)
        assert set(asked_in_batches(url).values()) == {1}
    assert states(out) == ["submitted"]


class Losing(Http1Transport):
    """Creates no batch: the connection breaks before the question arrives."""

    async def send(self, method, url, **options):
        if method == "POST" and url.endswith("/batches"):
            url = url.replace("/batches", "/nowhere")
            await super().send(method, url, **options)
            raise Unreachable("the connection broke.")
        return await super().send(method, url, **options)


def test_a_creation_that_never_arrived_is_said_and_made_by_the_next_submit(
    fake, recipe, mill, asked_in_batches, tmp_path
):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        with pytest.raises(
            PromptmillError, match=r"Submit again: whether requests-00000.jsonl has a batch is looked up"
        ):
            batching.submit(out, options_of(out), reporter=Silent(), wire=batching.Wire(Losing(), pause_s=0.0))
        assert (states(out), asked_in_batches(url)) == (["submitting"], {})
        assert "its batch was never started. Submit it again" in mill("batch", "collect", out).err
        assert mill("batch", "submit", out).code == 0
        assert set(asked_in_batches(url).values()) == {1}


def test_results_of_another_run_are_refused_whole_even_where_it_asks_the_same(fake, recipe, by_batch, mill, tmp_path):
    with fake() as url:
        path = recipe(url)
        by_batch(path, tmp_path / "theirs")
        mill("batch", "write", path, "--out", tmp_path / "ours")
    ours, theirs = (ledger(tmp_path / name)["run"] for name in ("ours", "theirs"))
    file = tmp_path / "theirs" / "batch" / "requests-00000.output.jsonl"
    said = mill("batch", "collect", tmp_path / "ours", "--file", file)
    assert said.code == 2
    assert said.error == (
        f"error: {file}:1: answers a request of the run '{theirs}', and this is the run '{ours}'. Nothing was kept. "
        "Collect it with the folder of that run (batch/ledger.json names it)."
    )
    assert outcomes(tmp_path / "ours") == []
    assert states(tmp_path / "ours") == ["written"]


def test_a_result_file_that_answers_nothing_of_this_run_is_refused(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
    (tmp_path / "r.jsonl").write_text('{"custom_id": "request-1", "response": null}\n')
    said = mill("batch", "collect", out, "--file", tmp_path / "r.jsonl")
    assert "r.jsonl: has no line that answers a request of this run" in said.error
    assert "no such file" in mill("batch", "collect", out, "--file", tmp_path / "none.jsonl").error
    assert states(out) == ["written"]


def test_a_result_file_fetched_by_hand_needs_no_server(fake, recipe, by_batch, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        shutil.copytree(out, tmp_path / "copy")
        by_batch(out, out)
    file = out / "batch" / "requests-00000.output.jsonl"
    (tmp_path / "half.jsonl").write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]))
    said = mill("batch", "collect", tmp_path / "copy", "--file", tmp_path / "half.jsonl")
    assert "half.jsonl: 3 answers." in said.err
    assert states(tmp_path / "copy") == ["written"]
    said = mill("batch", "collect", tmp_path / "copy", "--file", file)
    assert "3 answers, 3 known already." in said.err
    assert "all 6 requests are settled" in said.err
    assert states(tmp_path / "copy") == ["collected"]
    assert len({outcome.key for outcome in outcomes(tmp_path / "copy")}) == 6


def test_files_hold_no_more_lines_and_bytes_than_allowed(fake, recipe, mill, tmp_path):
    with fake() as url:
        path = recipe(url, prompts=PROMPTS)
        mill("batch", "write", path, "--out", tmp_path / "lines", "--max-lines", 3)
        mill("batch", "write", path, "--out", tmp_path / "bytes", "--max-mb", 0.001)
        said = mill("batch", "write", path, "--out", tmp_path / "tiny", "--max-mb", 0.0001)
    assert [file["lines"] for file in ledger(tmp_path / "lines")["files"]] == [3, 3, 3, 3]
    files = sorted((tmp_path / "bytes" / "batch").glob("requests-*.jsonl"))
    sizes = [file.stat().st_size for file in files]
    assert len(sizes) > 1
    assert max(sizes) <= 1000
    assert sizes == [file["bytes"] for file in ledger(tmp_path / "bytes")["files"]]
    longest = max(len(line) for file in files for line in file.read_bytes().splitlines(keepends=True))
    assert all(size + longest > 1000 for size in sizes[:-1])
    assert "its request has" in said.error
    assert "a file may have 100" in said.error
    assert mill("batch", "write", path, "--max-lines", 50_001).code == 2
    assert mill("batch", "write", path, "--max-mb", 200.1).code == 2


def test_prompts_that_ask_the_same_stand_in_a_batch_once_and_share_its_answer(fake, recipe, by_batch, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        path = recipe(url, prompts=["same", "other", "same", "same"])
        tree = yaml.safe_load(path.read_text()) | {"rows_per_part": 2}
        path.write_text(yaml.safe_dump(tree))
        said = by_batch(path, out)
    assert [file["lines"] for file in ledger(out)["files"]] == [2]
    assert "2 answers" in said.err
    assert "all 3 requests are settled" in said.err  # "same" is asked once a part
    assert len({outcome.text for outcome in outcomes(out)}) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampling": {"max_tokens": "context"}}, "generate.sampling.max_tokens: is 'context'"),
        ({"endpoints": [{"kind": "llamacpp", "base_url": "http://127.0.0.1:9"}]}, "none is of kind 'openai'"),
    ],
)
def test_a_recipe_that_cannot_go_by_batch_is_refused_before_anything_is_made(recipe, mill, tmp_path, changes, said):
    path = recipe("http://127.0.0.1:9", **changes)
    assert said in mill("batch", "write", path, "--out", tmp_path / "out").error
    assert not (tmp_path / "out").exists()


def test_a_changed_recipe_does_not_take_over_batches_that_are_under_way(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        mill("batch", "submit", out)
        changed = recipe(url, name="changed.yaml", sampling={"max_tokens": 100})
        assert "holds batch files of another recipe" in mill("batch", "write", changed, "--out", out).error
        assert mill("batch", "write", recipe(url), "--out", out).code == 0
        assert "all 6 requests are settled" in mill("batch", "collect", out).err


def test_a_request_file_that_was_touched_is_not_sent(fake, recipe, mill, tmp_path):
    out = tmp_path / "batch"
    with fake() as url:
        mill("batch", "write", recipe(url), "--out", out)
        file = out / "batch" / "requests-00000.jsonl"
        file.write_bytes(file.read_bytes().replace(b"rivers", b"towers"))
        assert "requests-00000.jsonl: is not as it was written" in mill("batch", "submit", out).error
    assert states(out) == ["written"]


@pytest.mark.parametrize("command", ["write", "submit", "status", "collect", "cancel"])
def test_a_folder_without_a_run_is_one_line(mill, tmp_path, command):
    (tmp_path / "empty").mkdir()
    assert "no run is here" in mill("batch", command, tmp_path / "empty").error


def test_a_run_without_batch_files_has_no_status_yet(fake, recipe, mill, tmp_path):
    with fake() as url:
        mill("lengths", "prompts", recipe(url), "--out", tmp_path / "out")
    assert "Write them first" in mill("batch", "status", tmp_path / "out").error


def test_the_key_of_a_server_is_in_no_file_of_a_run(fake, recipe, mill, by_batch, tmp_path, monkeypatch):
    canary = "sk-canary-0123456789abcdef-canary"
    monkeypatch.setenv("BATCH_KEY", canary)
    out = tmp_path / "batch"
    with fake(keys=(canary,), batch_faults="500:0.5") as url:
        path = recipe(url, endpoints=[{"base_url": url, "api_key_env": "BATCH_KEY"}])
        by_batch(path, out, rounds=2)
        assert mill("batch", "status", out).code == 0
    for file in out.rglob("*"):
        assert not file.is_file() or canary.encode() not in file.read_bytes(), file


def test_another_endpoint_of_the_recipe_is_asked_when_it_is_named(fake, recipe, mill, asked_in_batches, tmp_path):
    out = tmp_path / "batch"
    with fake() as first, fake() as second:
        path = recipe(first, endpoints=[{"base_url": first}, {"base_url": second}])
        mill("batch", "write", path, "--out", out)
        assert "--endpoint 2: no endpoint" in mill("batch", "submit", out, "--endpoint", 2).error
        assert mill("batch", "submit", out, "--endpoint", 1).code == 0
        assert "all 6 requests are settled" in mill("batch", "collect", out).err
        assert (len(asked_in_batches(first)), len(asked_in_batches(second))) == (0, 6)


def test_what_the_store_has_is_not_written_and_what_is_collected_goes_into_it(fake, recipe, mill, by_batch, tmp_path):
    store = str(tmp_path / "store")
    with fake() as url:
        path = recipe(url, prompts=PROMPTS[:4], store=store)
        assert mill("lengths", "generate", path, "--out", tmp_path / "live").code == 0
        path = recipe(url, prompts=PROMPTS, k=2, store=store)
        said = mill("batch", "write", path, "--out", tmp_path / "batch")
        assert "generate: 4 answers are taken over (generate.reuse, generate.store); they cost nothing." in said.err
        assert "write: 20 requests in 1 file." in said.err
        by_batch(tmp_path / "batch", tmp_path / "batch")
    path = recipe("http://127.0.0.1:9", prompts=PROMPTS, k=2, store=store)
    said = mill("lengths", "generate", path, "--out", tmp_path / "third")
    assert said.code == 0, said.err
    assert "24 answers are taken over" in said.err
    said = mill("batch", "write", path, "--out", tmp_path / "fourth", "--endpoint", 0)
    assert (said.code, "write: 0 requests in 0 files." in said.err) == (0, True)


def test_what_an_earlier_batch_answered_is_reused_as_the_recipe_allows(fake, recipe, mill, by_batch, tmp_path):
    out = tmp_path / "run"
    with fake(words="5-10") as url:
        by_batch(recipe(url, prompts=PROMPTS, sampling={"max_tokens": 400}), out)
        path = recipe(url, prompts=PROMPTS, sampling={"max_tokens": 500}, reuse="complete")
        said = mill("batch", "write", path, "--out", out)
    assert said.code == 0, said.err
    assert "generate: 12 answers are taken over" in said.err
    assert "write: 0 requests in 0 files." in said.err


def test_write_takes_further_keys_with_a_recipe_and_not_with_a_run(fake, mill, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        said = mill("batch", "write", recipe(url), "--out", out, "--set", "generate.k=7")
        assert said.code == 0, said.err
        assert "  k: 7\n" in (out / "recipe.yaml").read_text()
        said = mill("batch", "write", out, "--set", "generate.k=8")
    assert said.code == 2
    assert said.err == f"error: --set: {out} keeps a recipe of its own. Give the recipe file and --out {out}.\n"
