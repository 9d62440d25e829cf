"""A live run under a hand that steers it and caps that bind it; servers that give one, equal or no choices."""

import json

import pytest
import yaml

from promptmill.generate.index import read_outcomes
from promptmill.generate.journal import Journal
from promptmill.records import Completion
from promptmill.testing import fake_stats

PROMPTS = [f"Say {n} words." for n in range(100)]
PATIENCE_S = 240  # only guards against hanging
PRICES = {"price_in": "1/1K", "price_out": "2/1K"}


def rows(out):
    return [row for path in sorted((out / "generate").glob("part-*.jsonl")) for row in read_outcomes(path)]


def test_a_run_is_paused_resumed_set_and_stopped_while_it_lives(
    start_mill, mill, gated, beat, until, settled, recipe, asked, tmp_path
):
    out = tmp_path / "run"
    with gated() as (url, gate):
        path = recipe(url, prompts=PROMPTS, concurrency=2)
        process = start_mill("lengths", "generate", path, "--out", out)
        gate.let(3)
        beat(process, out, lambda s: s["done"] == 3 and s["in_flight"] == 2)
        assert mill("pause", out).code == 0
        beat(process, out, lambda s: s["paused"])
        gate.let()  # what is under way is finished, and nothing new is begun
        beat(process, out, lambda s: s["paused"] and s["in_flight"] == 0)
        beat(process, out, lambda s: s["waiting"] and s["in_flight"] == 0)
        assert asked(url) == 5
        assert mill("set", out, "concurrency=6").code == 0
        beat(process, out, lambda s: s["limits"]["concurrency"] == 6)
        assert asked(url) == 5  # still paused
        gate.hold()
        assert mill("resume", out).code == 0
        status = beat(process, out, lambda s: s["in_flight"] == 6)
        assert status["limits"]["concurrency"] == 6
        until(lambda: asked(url) == 11)
        assert mill("stop", out).code == 0
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130
        assert err.splitlines()[-1] == "interrupted: the same command goes on from here."
        stopped, kept = settled(url), (out / "generate/part-00000.journal").read_bytes().count(b"\n")
        assert (stopped["received"], kept, stopped["peak_in_flight"]) == (11, 5, 6)
        gate.let()
        assert mill("lengths", "generate", path, "--out", out).code == 0  # the stop was for that process alone
        assert asked(url) - 11 == len(PROMPTS) - kept
    assert [type(row) for row in rows(out)] == [Completion] * len(PROMPTS)


def test_a_stop_does_not_wait_for_an_answer_that_does_not_come(start_mill, mill, gated, beat, recipe, tmp_path):
    out = tmp_path / "run"
    with gated() as (url, _):
        path = recipe(url, prompts=PROMPTS, concurrency=4)
        process = start_mill("lengths", "generate", path, "--out", out)
        beat(process, out, lambda s: s["in_flight"] == 4)
        said = mill("stop", out, "--wait", PATIENCE_S)
        assert said.code == 0, said.err
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 130


@pytest.mark.parametrize(
    ("name", "cap", "more"), [("max_requests", 30, 500), ("max_tokens", 6000, 10**6), ("max_cost", 9.0, 1000)]
)
def test_a_cap_ends_the_run_with_exit_code_1_is_never_passed_and_raising_it_goes_on(
    mill, fake, settled, recipe, tmp_path, name, cap, more
):
    out = tmp_path / "run"
    with fake(words="5-30", faults="500:0.1,drop:0.1", latency_s="0.01") as url:
        use = {"base_url": url, "timeout_s": 1200, **PRICES}
        path = recipe(url, prompts=PROMPTS, endpoints=[use], sampling={"max_tokens": 200}, attempts=10)
        said = mill("lengths", "generate", path, "--out", out, "--set", f"generate.budget.{name}={cap}")
        assert said.code == 1
        assert f"generate: budget.{name}: {cap:g} is reached: " in said.err
        assert f"To go on: the same command with --generate.budget.{name} " in said.err
        received = settled(url)["received"]
        spent = json.loads((out / "spent.json").read_bytes())
        used = {
            "max_requests": received,
            "max_tokens": spent["tokens"] + spent["uncertain_tokens"],
            "max_cost": spent["cost"] + spent["uncertain_cost"],
        }[name]
        assert 0.5 * cap < used <= cap
        assert received <= spent["requests"] <= received + 10  # some went into a connection that had ended
        again = mill("lengths", "generate", path, "--out", out, "--set", f"generate.budget.{name}={cap}")
        assert again.code == 1  # what earlier sessions used counts
        kept = sum(isinstance(row, Completion) for row in read_outcomes(out / "generate/part-00000.journal"))
        answered = settled(url)["answered"]
        assert kept <= answered <= kept + 4  # what is late at the end of a run is given up
        assert mill("lengths", "generate", path, "--out", out, "--set", f"generate.budget.{name}={more}").code == 0
        assert fake_stats(url)["answered"] - answered == len(PROMPTS) - kept
    assert 0 < kept < len(PROMPTS)
    assert [type(row) for row in rows(out)] == [Completion] * len(PROMPTS)


def test_a_cap_that_is_raised_while_the_run_lives_lets_it_end(start_mill, mill, gated, beat, recipe, tmp_path):
    out = tmp_path / "run"
    with gated() as (url, gate):
        path = recipe(url, prompts=PROMPTS[:60], concurrency=4, budget={"max_requests": 40})
        process = start_mill("lengths", "generate", path, "--out", out)
        gate.let(3)
        beat(process, out, lambda s: s["done"] == 3)
        assert mill("set", out, "max_requests=1000").code == 0
        beat(process, out, lambda s: s["limits"]["max_requests"] == 1000)
        gate.let()
        _, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert fake_stats(url)["received"] == 60


def test_the_time_of_a_run_is_capped_too(mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake(latency_s="0.1") as url:
        path = recipe(url, prompts=PROMPTS, concurrency=2, budget={"max_wall_s": 0.5})
        said = mill("lengths", "generate", path, "--out", out)
        assert said.code == 1
        assert "generate: budget.max_wall_s: 0.5 s are over. What is done is kept." in said.err
        assert fake_stats(url)["received"] < 20  # two at a time, none in less than 0.1 s
    with fake() as url:
        path = recipe(url, prompts=PROMPTS, concurrency=2, budget={"max_wall_s": 6000})
        assert mill("lengths", "generate", path, "--out", out).code == 0


@pytest.mark.parametrize(
    ("options", "n_requests", "n_different"),
    [
        ({"choices": "all"}, 8, 3),
        ({"choices": "one"}, 24, 3),  # the first answers tell; then each is asked alone
        ({"choices": "refused"}, 24, 3),
        ({"choices": "all", "equal_choices": True}, 24, 3),
    ],
)
def test_three_samples_are_three_answers_whatever_the_server_makes_of_n(
    mill, fake, recipe, tmp_path, options, n_requests, n_different
):
    out = tmp_path / "run"
    with fake(words="60-90", **options) as url:
        path = recipe(url, prompts=PROMPTS[:8], k=3, concurrency=1, endpoints=[{"base_url": url}])
        assert mill("lengths", "generate", path, "--out", out).code == 0
        stats = fake_stats(url)
    found = rows(out)
    assert [(type(row), row.sample) for row in found] == [(Completion, sample) for _ in range(8) for sample in range(3)]
    by_prompt = {}
    for row in found:
        by_prompt.setdefault(row.prompt_id, set()).add(row.text)
    assert {len(texts) for texts in by_prompt.values()} == {n_different}
    assert n_requests <= stats["answered"] <= n_requests + 1


@pytest.mark.parametrize("choices", ["all", "one", "refused"])
def test_many_in_flight_at_once_learn_what_the_server_makes_of_n(mill, fake, recipe, tmp_path, choices):
    out = tmp_path / "run"
    with fake(words="60-90", choices=choices, latency_s="0.01-0.2") as url:
        path = recipe(url, prompts=PROMPTS[:40], k=3, concurrency=32, endpoints=[{"base_url": url}])
        assert mill("lengths", "generate", path, "--out", out).code == 0
    assert [(type(row), row.sample) for row in rows(out)] == [(Completion, s) for _ in range(40) for s in range(3)]


def test_more_samples_ask_for_the_missing_ones_and_the_share_of_repeated_ones_is_told(mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake(words="60-90") as url:
        for k, n_answers in ((5, 5), (8, 8)):
            path = recipe(url, prompts=PROMPTS[:4], k=k, endpoints=[{"base_url": url}])
            said = mill("lengths", "generate", path, "--out", out)
            assert said.code == 0
            assert len(rows(out)) == 4 * n_answers
            assert f"generate: 0 of {4 * n_answers} samples (0.0%) repeat another." in said.err
        assert "generate: 12 of 32 requests to send" in said.err
        assert fake_stats(url)["received"] == 8


def test_a_slow_server_is_hedged_by_the_other_and_every_prompt_has_one_answer(mill, fake, recipe, settled, tmp_path):
    out = tmp_path / "run"
    with fake(latency_s="0.8:0.01,0.2:1200") as slow, fake(latency_s="0.01") as fast:  # late by whatever measure
        uses = [{"base_url": url, "timeout_s": 1800} for url in (slow, fast)]
        path = recipe(slow, prompts=PROMPTS, endpoints=uses, concurrency=16, hedge=True)
        assert mill("lengths", "generate", path, "--out", out).code == 0
        received = sum(settled(url)["received"] for url in (slow, fast))
    status = json.loads((out / "spent.json").read_bytes())
    assert status["requests"] >= received > len(PROMPTS)  # the losers too; one may be given up before it is sent
    assert len(rows(out)) == len({row.key for row in rows(out)}) == len(PROMPTS)


def test_a_cap_that_cannot_be_kept_is_not_taken_and_the_run_goes_on(start_mill, mill, beat, recipe, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import asyncio, pathlib\n"
        "asked = []\n"
        "async def answer(request):\n"
        "    asked.append(request)\n"
        "    while len(asked) > 3 and not pathlib.Path(__file__).with_name('open').exists():\n"
        "        await asyncio.sleep(0.01)\n"
        "    return 'so'\n"
    )
    use = {"kind": "function", "function": f"{tmp_path / 'slow.py'}:answer", "timeout_s": 1200}
    path = recipe("", prompts=PROMPTS[:60], concurrency=1, endpoints=[use], sampling={"max_tokens": "context"})
    out = tmp_path / "run"
    process = start_mill("lengths", "generate", path, "--out", out)
    beat(process, out, lambda s: s["done"] == 3)
    assert mill("set", out, "max_tokens=100000", "concurrency=3").code == 0
    status = beat(process, out, lambda s: s["limits"]["concurrency"] == 3)
    assert status["limits"]["max_tokens"] is None
    (tmp_path / "open").touch()
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "max_tokens and max_cost are not taken: how long an answer can get is not known" in err


def test_where_the_store_answers_all_no_server_is_asked_and_none_is_started(mill, fake, nobody, recipe, tmp_path):
    store = str(tmp_path / "store")
    with fake() as url:
        assert mill("lengths", "generate", recipe(url, k=2, store=store), "--out", tmp_path / "first").code == 0
    said = mill("lengths", "generate", recipe(nobody, k=2, store=store), "--out", tmp_path / "second")
    assert said.code == 0, said.err
    assert "12 answers are taken over (generate.reuse, generate.store); they cost nothing." in said.err
    assert [(type(row), row.cost) for row in rows(tmp_path / "second")] == [(Completion, None)] * 12
    assert json.loads((tmp_path / "second" / "spent.json").read_bytes())["requests"] == 0
    path = recipe("unused", k=2, store=store, endpoints=[])
    serve = {"kind": "llama.cpp", "model": str(tmp_path / "no-such-model.gguf")}
    path.write_text(json.dumps({**yaml.safe_load(path.read_text()), "serve": serve}))
    said = mill("lengths", "generate", path, "--out", tmp_path / "third")
    assert said.code == 0, said.err
    assert "all 12 requests are answered from the run folder, nothing is sent." in said.err


def test_where_the_store_answers_a_part_the_server_is_asked_for_the_rest(mill, fake, nobody, recipe, tmp_path):
    store = str(tmp_path / "store")
    with fake() as url:
        assert mill("lengths", "generate", recipe(url, store=store), "--out", tmp_path / "first").code == 0
        said = mill("lengths", "generate", recipe(url, k=2, choices="separate", store=store), "--out", tmp_path / "two")
        assert said.code == 0
        assert fake_stats(url)["received"] == 12
    said = mill("lengths", "generate", recipe(nobody, k=3, store=store), "--out", tmp_path / "three")
    assert (said.code, said.error.startswith(f"error: {nobody}: nothing answers")) == (2, True)
    kept = Journal(tmp_path / "three" / "generate" / "part-00000.jsonl").read()
    assert len(kept) == 12  # what the store has is kept
