"""Lanes that are not alike: a dead key, a slow one, one with a quota; two servers with two keys each."""

import json
import socket
import threading
from contextlib import ExitStack

import pytest

from promptmill.generate.index import read_outcomes
from promptmill.records import Completion
from promptmill.testing import fake_stats

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
    keys, mill, fake, recipe, tmp_path
):
    out = tmp_path / "run"
    with (
        fake(keys=("another",)) as dead,
        fake(keys=(KEYS[1],), latency_s="0.3") as slow,
        fake(keys=(KEYS[2],), key_quota=10, quota_window_s=1.0) as limited,
        fake(keys=(KEYS[3],), latency_s="0.05") as good,
    ):
        urls = [dead, slow, limited, good]
        uses = [{"kind": "openai", "base_url": url, "api_key_env": f"MIXED_{n}"} for n, url in enumerate(urls)]
        said = mill("lengths", "generate", recipe(good, prompts=PROMPTS, endpoints=uses, concurrency=4), "--out", out)
        counts = [fake_stats(url) for url in urls]
    assert said.code == 0
    outcomes = rows(out)
    assert [type(row) for row in outcomes] == [Completion] * len(PROMPTS)
    assert len({row.key for row in outcomes}) == len(PROMPTS)
    by_lane = [sum(row.served_by.startswith(url) for row in outcomes) for url in urls]
    assert by_lane == [c["answered"] for c in counts]  # nothing that was answered is asked elsewhere
    assert (by_lane[0], sum(by_lane)) == (0, len(PROMPTS))
    assert counts[0]["received"] == 0  # found out before anything was sent
    assert min(by_lane[1:]) >= 4
    assert by_lane[3] > by_lane[1]  # the fast one does more
    refused_for_now = counts[2]["faults"]["quota"]
    assert sum(c["received"] for c in counts) == len(PROMPTS) + refused_for_now
    assert refused_for_now <= 4 * by_lane[2]
    assert f"lane {dead} (MIXED_0 #" in said.err
    assert not any(key in said.err for key in KEYS)


def test_with_hedge_the_last_requests_do_not_wait_for_the_one_lane_that_is_slow_from_its_first_answer(
    mill, fake, recipe, tmp_path
):
    out = tmp_path / "run"
    with ExitStack() as stack:
        slow = stack.enter_context(fake(latency_s="30"))
        urls = [slow, *(stack.enter_context(fake(latency_s="0.02")) for _ in range(3))]
        path = recipe(slow, prompts=PROMPTS, endpoints=[{"base_url": url} for url in urls], concurrency=8, hedge=True)
        said = mill("lengths", "generate", path, "--out", out)
        counts = [fake_stats(url) for url in urls]
    assert said.code == 0
    assert [type(row) for row in rows(out)] == [Completion] * len(PROMPTS)
    assert (counts[0]["answered"], counts[0]["received"] > 0) == (0, True)  # what it was asked, others answered
    spent = json.loads((out / "spent.json").read_bytes())
    assert spent["requests"] >= sum(count["received"] for count in counts) > len(PROMPTS)


def test_two_servers_with_two_keys_each_share_the_work_and_a_key_that_dies_leaves_it_to_the_others(
    keys, mill, fake, recipe, tmp_path, monkeypatch
):
    monkeypatch.setenv("MIXED_TWO", ",".join(KEYS[:2]))
    out = tmp_path / "run"
    with fake(keys=tuple(KEYS), latency_s="0.02", key_lifetime=10) as one, fake(latency_s="0.02") as two:
        uses = [{"kind": "openai", "base_url": url, "api_keys_env": "MIXED_TWO"} for url in (one, two)]
        said = mill("lengths", "generate", recipe(one, prompts=PROMPTS, endpoints=uses, concurrency=8), "--out", out)
        stats = [fake_stats(url) for url in (one, two)]
    assert said.code == 0
    outcomes = rows(out)
    assert [type(row) for row in outcomes] == [Completion] * len(PROMPTS)
    assert sum(s["answered"] for s in stats) == len(PROMPTS)
    assert stats[0]["answered"] < 2 * (10 + 8)  # a key's last requests were in flight when it died
    assert len(stats[1]["keys"]) == 2
    assert said.err.count("refused: ") == 2


def test_all_keys_dead_in_the_middle_is_exit_code_2_and_a_folder_that_goes_on(keys, mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake(keys=tuple(KEYS), key_lifetime=10) as url:
        use = {"kind": "openai", "base_url": url, "api_keys_env": "MIXED_ALL"}
        said = mill("lengths", "generate", recipe(url, prompts=PROMPTS, endpoints=[use], concurrency=4), "--out", out)
        assert said.code == 2
        assert said.error.startswith("error: no key is left that is accepted: ")
        assert said.error.endswith("Mend it and run again: what was answered is kept.")
        answered = fake_stats(url)["answered"]
        kept = [row for path in (out / "generate").glob("*.journal") for row in read_outcomes(path)]
        assert 40 <= answered <= 40 + 4
        assert answered - len(kept) <= 4
    with fake() as url:
        path = recipe(url, prompts=PROMPTS)
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert fake_stats(url)["received"] == len(PROMPTS) - len(kept)


def test_a_server_that_is_away_at_first_gets_work_when_it_comes(mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    late = f"http://127.0.0.1:{port}"
    with fake(latency_s="0.1") as steady, ExitStack() as stack:
        starting = threading.Timer(0.3, lambda: stack.enter_context(fake(port=port)))
        starting.start()
        uses = [{"kind": "openai", "base_url": url} for url in (steady, late)]
        path = recipe(steady, prompts=PROMPTS[:80], endpoints=uses, concurrency=2)
        said = mill("lengths", "generate", path, "--out", out)
        starting.join(30)
        answered = [fake_stats(url)["answered"] for url in (steady, late)]
    assert said.code == 0
    assert [type(row) for row in rows(out)] == [Completion] * 80
    assert sum(answered) == 80
    assert min(answered) > 0
    assert f"lane {late}: out: {late}: nothing answers (connection refused)" in said.err
