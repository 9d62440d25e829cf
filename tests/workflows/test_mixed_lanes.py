"""Lanes that are not alike: a dead key, a slow one, one with a quota; two servers with two keys each."""

import json
import socket
from contextlib import ExitStack

import pytest

from promptmill.generate.index import read_outcomes
from promptmill.records import Completion
from promptmill.testing import fake_stats

PATIENCE_S = 240  # only guards against hanging
PROMPTS = [f"Say {n} words." for n in range(120)]
KEYS = [f"key-number-{n}-of-mixed-lanes" for n in range(4)]


@pytest.fixture
def keys(monkeypatch):
    for number, key in enumerate(KEYS):
        monkeypatch.setenv(f"MIXED_{number}", key)
    monkeypatch.setenv("MIXED_ALL", json.dumps(KEYS))


def rows(out):
    return [row for path in sorted((out / "generate").glob("part-*.jsonl")) for row in read_outcomes(path)]


def test_of_four_keys_one_dead_one_slow_and_one_with_a_quota_every_prompt_is_answered_once(
    keys, start_mill, gated, fake, until, settled, recipe, tmp_path
):
    """The slow one answers five at first, and what else it was asked only when all others are done."""
    out = tmp_path / "run"
    with (
        fake(keys=("another",)) as dead,
        gated(keys=(KEYS[1],)) as (slow, slow_gate),
        fake(keys=(KEYS[2],), key_quota=10, quota_window_s=3600) as limited,
        gated(keys=(KEYS[3],)) as (good, good_gate),
    ):
        urls = [dead, slow, limited, good]
        uses = [
            {"kind": "openai", "base_url": url, "api_key_env": f"MIXED_{n}", "timeout_s": 1200}
            for n, url in enumerate(urls)
        ]
        path = recipe(good, prompts=PROMPTS, endpoints=uses, concurrency=4)
        process = start_mill("lengths", "generate", path, "--out", out)
        slow_gate.let(5)
        until(lambda: fake_stats(slow)["answered"] == 5)
        until(lambda: fake_stats(limited)["faults"].get("quota"))
        good_gate.let()
        until(lambda: sum(fake_stats(url)["answered"] + fake_stats(url)["in_flight"] for url in urls) == len(PROMPTS))
        slow_gate.let()
        _, err = process.communicate(timeout=PATIENCE_S)
        counts = [settled(url) for url in urls]
    assert process.returncode == 0, err
    outcomes = rows(out)
    assert [type(row) for row in outcomes] == [Completion] * len(PROMPTS)
    assert len({row.key for row in outcomes}) == len(PROMPTS)
    by_lane = [sum(row.served_by.startswith(url) for row in outcomes) for url in urls]
    assert by_lane == [c["answered"] for c in counts]  # nothing that was answered is asked elsewhere
    assert (by_lane[0], by_lane[2], sum(by_lane)) == (0, 10, len(PROMPTS))
    assert counts[0]["received"] == 0  # found out before anything was sent
    assert 5 <= by_lane[1] <= 5 + 4
    assert by_lane[3] > by_lane[1]  # the fast one does more
    refused_for_now = counts[2]["faults"]["quota"]
    assert sum(c["received"] for c in counts) == len(PROMPTS) + refused_for_now
    assert refused_for_now <= 4
    assert f"lane {dead} (MIXED_0 #" in err
    assert not any(key in err for key in KEYS)


def test_with_hedge_the_last_requests_do_not_wait_for_the_one_lane_that_is_slow_from_its_first_answer(
    mill, fake, settled, recipe, tmp_path
):
    out = tmp_path / "run"
    with ExitStack() as stack:
        slow = stack.enter_context(fake(latency_s="1200"))
        urls = [slow, *(stack.enter_context(fake(latency_s="0.02")) for _ in range(3))]
        uses = [{"base_url": url, "timeout_s": 1800} for url in urls]
        path = recipe(slow, prompts=PROMPTS, endpoints=uses, concurrency=8, hedge=True)
        said = mill("lengths", "generate", path, "--out", out)
        counts = [settled(url) for url in urls]
    assert said.code == 0
    assert [type(row) for row in rows(out)] == [Completion] * len(PROMPTS)
    assert (counts[0]["answered"], counts[0]["received"] > 0) == (0, True)  # what it was asked, others answered
    spent = json.loads((out / "spent.json").read_bytes())
    assert spent["requests"] >= sum(count["received"] for count in counts) > len(PROMPTS)


def test_two_servers_with_two_keys_each_share_the_work_and_a_key_that_dies_leaves_it_to_the_others(
    keys, start_mill, fake, gated, until, settled, recipe, tmp_path, monkeypatch
):
    monkeypatch.setenv("MIXED_TWO", ",".join(KEYS[:2]))
    out = tmp_path / "run"
    with fake(keys=tuple(KEYS), key_lifetime=10) as one, gated() as (two, gate):
        uses = [
            {"kind": "openai", "base_url": url, "api_keys_env": "MIXED_TWO", "timeout_s": 1200} for url in (one, two)
        ]
        path = recipe(one, prompts=PROMPTS, endpoints=uses, concurrency=8)
        process = start_mill("lengths", "generate", path, "--out", out)
        until(lambda: [key["received"] > key["answered"] for key in fake_stats(one)["keys"].values()] == [True, True])
        gate.let()  # the second server answers when both keys of the first are dead
        _, err = process.communicate(timeout=PATIENCE_S)
        stats = [settled(url) for url in (one, two)]
    assert process.returncode == 0, err
    outcomes = rows(out)
    assert [type(row) for row in outcomes] == [Completion] * len(PROMPTS)
    assert [s["answered"] for s in stats] == [2 * 10, len(PROMPTS) - 2 * 10]
    assert len(stats[1]["keys"]) == 2
    assert err.count("refused: ") == 2


def test_all_keys_dead_in_the_middle_is_exit_code_2_and_a_folder_that_goes_on(
    keys, mill, fake, settled, recipe, tmp_path
):
    out = tmp_path / "run"
    with fake(keys=tuple(KEYS), key_lifetime=10) as url:
        use = {"kind": "openai", "base_url": url, "api_keys_env": "MIXED_ALL", "timeout_s": 1200}
        said = mill("lengths", "generate", recipe(url, prompts=PROMPTS, endpoints=[use], concurrency=4), "--out", out)
        assert said.code == 2
        assert said.error.startswith("error: no key is left that is accepted: ")
        assert said.error.endswith("Mend it and run again: what was answered is kept.")
        answered = settled(url)["answered"]
        kept = [row for path in (out / "generate").glob("*.journal") for row in read_outcomes(path)]
        assert answered == 40
        assert answered - len(kept) <= 4
    with fake() as url:
        path = recipe(url, prompts=PROMPTS)
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert fake_stats(url)["received"] == len(PROMPTS) - len(kept)


def test_a_server_that_is_away_at_first_gets_work_when_it_comes(
    start_mill, beat, fake, gated, until, settled, recipe, tmp_path
):
    """The steady one holds one answer until the late one has given one; another is free to look for the late one."""
    out = tmp_path / "run"
    with gated() as (steady, gate), socket.socket() as kept, ExitStack() as stack:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # nobody listens here, and nobody else gets it
        kept.bind(("127.0.0.1", 0))
        port = kept.getsockname()[1]
        late = f"http://127.0.0.1:{port}"
        uses = [
            {"kind": "openai", "base_url": steady, "timeout_s": 1200, "max_in_flight": 1},
            {"kind": "openai", "base_url": late, "timeout_s": 1200},
        ]
        path = recipe(steady, prompts=PROMPTS[:80], endpoints=uses, concurrency=2, patience_s=1200)
        process = start_mill("lengths", "generate", path, "--out", out)
        gate.let(5)
        beat(process, out, lambda s: s["done"] == 5)
        stack.enter_context(fake(port=port))
        until(lambda: fake_stats(late)["answered"])
        gate.let()
        _, err = process.communicate(timeout=PATIENCE_S)
        answered = [settled(url)["answered"] for url in (steady, late)]
    assert process.returncode == 0, err
    assert [type(row) for row in rows(out)] == [Completion] * 80
    assert sum(answered) == 80
    assert min(answered) > 0
    assert f"lane {late}: out: {late}: nothing answers (connection refused)" in err
