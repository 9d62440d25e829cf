"""`promptmill plan`: what would be sent and why, from what was asked before."""

import json

import pytest


@pytest.fixture
def planned(mill, recipe, url, tmp_path):
    """The plan of a recipe over the folder `run`."""

    def plan(*arguments):
        said = mill("plan", recipe(url), "--out", tmp_path / "run", "--json", *arguments)
        assert said.code == 0, said
        return json.loads(said.out)

    return plan


@pytest.fixture(scope="module")
def url(fake):
    with fake(words="3-9") as address:
        yield address


@pytest.fixture
def run(mill, recipe, url, tmp_path):
    def go(*arguments):
        said = mill("lengths", "run", recipe(url), "--out", tmp_path / "run", *arguments)
        assert said.code == 0, said
        return said

    return go


def test_nothing_is_known_and_nothing_is_made_before_anything_was_asked(planned, tmp_path):
    found = planned()
    assert (found["requests"], found["to_send"], found["why"]) == (6, 6, {"never asked": 6})
    assert found["estimate"] is None
    assert found["basis"] == "nothing: none of these very requests is answered yet (--pilot 20 asks some)"
    assert not (tmp_path / "run").exists()


def test_a_pilot_is_learnt_from_and_kept(planned, asked, url):
    before = asked(url)
    found = planned("--pilot", "2")
    assert asked(url) - before == 2
    assert (found["to_send"], found["reused"]["answered in this folder"]) == (4, 2)
    assert found["basis"] == "the pilot and the answers so far: 2 prompts"
    assert found["estimate"]["new_tokens"]["mid"] > 0


def test_more_samples_are_estimated_from_those_that_are_there(planned, run):
    run()
    assert planned()["estimate"] is None
    found = planned("--set", "generate.k=3")
    assert (found["to_send"], found["basis"]) == (12, "the answers so far: 6 prompts")
    one_more = planned("--set", "generate.k=2")["estimate"]
    for name in ("prompt_tokens", "new_tokens"):
        assert found["estimate"][name]["mid"] == pytest.approx(2 * one_more[name]["mid"])


def test_the_time_is_that_of_as_many_in_flight_as_were_seen(planned, run):
    run("--generate.concurrency", "2")
    four = planned("--set", "generate.k=2", "--set", "generate.concurrency=4")["estimate"]["time_s"]
    two = planned("--set", "generate.k=2", "--set", "generate.concurrency=2")["estimate"]["time_s"]
    assert four["mid"] == pytest.approx(two["mid"])
    assert four["low"] == pytest.approx(two["low"] / 2)


def test_a_run_says_what_it_used_and_what_it_took_over(mill, recipe, url, tmp_path):
    store = f"--set=generate.store={tmp_path / 'store'}"
    prices = ["--set=generate.endpoints.0.price_in=1/1M", "--set=generate.endpoints.0.price_out=1/1M"]
    first = mill("lengths", "run", recipe(url), "--out", tmp_path / "run", store, *prices)
    assert "generate: used by this run so far: 6 requests, " in first.err
    assert ", cost 0.00" in first.err
    second = mill("lengths", "run", recipe(url), "--out", tmp_path / "other", store)
    assert "generate: 6 answers are taken over (generate.reuse, generate.store); they cost nothing." in second.err
    assert "generate: used by this run so far: 0 requests, 0 tokens." in second.err
