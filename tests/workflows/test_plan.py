"""`promptmill plan` through the command line: what would be sent, why, and what it would cost."""

import json
import re
import shutil

import pytest
import yaml

from promptmill.testing import fake_stats

MANY = [f"Question {n}: " + "why " * (n % 9) for n in range(30)]


@pytest.fixture
def plan(mill):
    """The plan of a recipe as JSON; without a word on the error stream unless a pilot was asked."""

    def run(*arguments, code=0):
        said = mill("plan", *arguments, "--json")
        assert said.code == code, said.err
        return json.loads(said.out)

    return run


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_fresh_recipe_asks_everything_and_needs_no_server(mill, recipe, plan, tmp_path):
    path = recipe("http://127.0.0.1:9", k=3)
    before = contents(tmp_path)
    assert plan(path, "--out", tmp_path / "run") == {
        "prompts": 6,
        "requests": 18,
        "to_send": 18,
        "reused": {"equal to another prompt of its part": 0, "answered in this folder": 0, "taken over": 0},
        "why": {"never asked": 18},
        "changes": [],
        "refused": None,
        "later": None,
        "basis": "nothing: none of these very requests is answered yet (--pilot 20 asks some)",
        "estimate": None,
    }
    said = mill("plan", path, "--out", tmp_path / "run")
    assert said.out.splitlines() == [
        "prompts   6",
        "requests  18",
        "to send   18",
        "  18 never asked",
        "reused    0",
        "estimate  from nothing: none of these very requests is answered yet (--pilot 20 asks some)",
    ]
    assert contents(tmp_path) == before


def test_no_endpoints_at_all_are_needed_without_a_pilot(mill, fake, recipe, plan, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    path = recipe("unused", endpoints=[])
    assert plan(path, "--out", tmp_path / "run")["to_send"] == 6
    said = mill("plan", path, "--out", tmp_path / "run", "--pilot", 2)
    assert said.code == 2
    assert "generate.endpoints: is empty" in said.error
    assert not (tmp_path / "run").exists()
    with fake() as url:
        mill("lengths", "run", recipe(url, name="asked.yaml"), "--out", tmp_path / "run", "--limit", 4)
    found = plan(path, "--out", tmp_path / "run")
    assert (found["to_send"], found["estimate"]["prompts"], found["estimate"]["cost"]) == (2, 4, None)


def test_a_key_that_is_not_there_is_not_missed_without_a_pilot(mill, fake, recipe, plan, tmp_path, monkeypatch):
    with fake() as url:
        mill("lengths", "run", recipe(url), "--out", tmp_path / "run", "--limit", 3)
        endpoint = {"base_url": url, "api_key_env": "NOT_SET", "price_in": "1/1M", "price_out": "2/1M"}
        found = plan(recipe(url, endpoints=[endpoint]), "--out", tmp_path / "run")
    assert found["estimate"]["cost"]["mid"] > 0


def test_a_pilot_asks_its_prompts_with_all_samples_and_keeps_the_answers(mill, fake, asked, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url, prompts=MANY, k=2, choices="separate")
        found = plan(path, "--out", out, "--pilot", 5)
        assert asked(url) == 5 * 2
        assert (found["to_send"], found["reused"]["answered in this folder"]) == (50, 10)
        assert found["why"] == {"never asked": 50}
        assert found["basis"] == "the pilot and the answers so far: 5 prompts"
        assert found["estimate"]["prompts"] == 5
        assert plan(path, "--out", out, "--pilot", 5)["to_send"] == 50
        assert asked(url) == 10  # the same prompts, which are answered
        assert plan(path, "--out", out)["basis"] == "the answers so far: 5 prompts"
        said = mill("lengths", "run", path, "--out", out)
        assert "50 of 60 requests to send" in said.err
        assert asked(url) == 60
        mill("lengths", "run", path, "--out", tmp_path / "straight")
    results = "exports/vllm_results.json"
    assert (out / results).read_bytes() == (tmp_path / "straight" / results).read_bytes()


def test_a_pilot_leaves_a_folder_that_can_be_planned_by_its_name(mill, fake, recipe, plan, tmp_path):
    with fake() as url:
        plan(recipe(url, prompts=MANY), "--out", tmp_path / "run", "--pilot", 3)
        assert plan(tmp_path / "run")["to_send"] == 27


def test_an_estimate_of_a_pilot_is_near_what_it_really_comes_to(mill, fake, recipe, plan, rows, tmp_path):
    out = tmp_path / "run"
    with fake(words="30-40") as url:
        path = recipe(url, prompts=MANY * 4, endpoints=[{"base_url": url, "price_in": "1/1M", "price_out": "3/1M"}])
        found = plan(path, "--out", out, "--pilot", 20)["estimate"]
        answered = {row["key"] for path in (out / "generate").glob("part-*[ln]l") for row in rows(path)}
        mill("lengths", "run", path, "--out", out)
    usages = [row["usage"] for row in rows(out / "generate" / "part-00000.jsonl") if row["key"] not in answered]
    prompt_tokens = sum(usage["prompt_tokens"] for usage in usages)
    new_tokens = sum(usage["completion_tokens"] for usage in usages)
    assert found["prompt_tokens"]["mid"] == pytest.approx(prompt_tokens, rel=0.2)
    assert found["new_tokens"]["mid"] == pytest.approx(new_tokens, rel=0.2)
    assert found["cost"]["mid"] == pytest.approx((prompt_tokens + 3 * new_tokens) / 1e6, rel=0.2)
    assert found["new_tokens"]["low"] < found["new_tokens"]["mid"] < found["new_tokens"]["high"]


def test_after_a_run_nothing_is_to_be_sent_and_nothing_is_written(mill, fake, asked, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        before = contents(out)
        found = plan(path, "--out", out)
        assert (found["to_send"], found["reused"]["answered in this folder"], found["estimate"]) == (0, 6, None)
        assert mill("plan", path, "--out", out).out.splitlines()[-1] == "nothing is to be sent."
        assert asked(url) == 6
    assert contents(out) == before


def test_equal_prompts_of_a_part_are_sent_once(recipe, plan, tmp_path):
    found = plan(recipe("http://127.0.0.1:9", prompts=["same", "other", "same"]), "--out", tmp_path / "run")
    assert (found["prompts"], found["requests"], found["to_send"]) == (3, 3, 2)
    assert found["reused"]["equal to another prompt of its part"] == 1


def test_failures_are_named_by_their_kind(mill, fake, recipe, plan, tmp_path):
    with fake(faults="500:1.0") as url:
        path = recipe(url, attempts=1, patience_s=1, max_failure_share=1)
        mill("lengths", "generate", path, "--out", tmp_path / "run")
        why = plan(path, "--out", tmp_path / "run")["why"]
    assert sum(why.values()) == 6
    assert why["failed before (unavailable)"] > 0


def test_answers_of_another_recipe_are_told_with_what_differs_and_that_a_run_would_be_refused(
    mill, fake, recipe, plan, tmp_path
):
    out, other = tmp_path / "run", ("--set", "generate.sampling.temperature=1.5")
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        before = contents(out)
        found = plan(path, "--out", out, *other, code=2)
        said = mill("plan", path, "--out", out, *other)
        ends = [mill(*command, path, "--out", out, *other) for command in (["lengths", "run"], ["lengths", "generate"])]
        ends.append(mill("lengths", "run", path, "--out", out, *other, "--dry-run"))
        ends.append(mill("plan", path, "--out", out, *other, "--pilot", 2))
    assert (found["to_send"], found["why"]) == (
        6,
        {f"not asked by this recipe: the 6 answers in {out} are another's": 6},
    )
    assert found["changes"] == ["generate.sampling.temperature: 0.7 -> 1.5"]
    assert found["refused"] == (
        f"{out}: holds answers of another recipe. What differs: generate.sampling.temperature: 0.7 -> 1.5. "
        "Use another --out, or set the recipe back."
    )
    assert (said.code, said.err) == (2, "")
    assert said.out.splitlines()[-3:] == [
        "differs   generate.sampling.temperature: 0.7 -> 1.5",
        f"refused   a run into this folder would end at once: {found['refused']}",
        "estimate  from nothing: none of these very requests is answered yet (--pilot 20 asks some)",
    ]
    assert [(end.code, end.error) for end in ends] == [(2, f"error: {found['refused']}")] * 4
    assert contents(out) == before


def test_what_is_refused_says_which_reuse_would_go_on_and_with_it_nothing_is(mill, fake, recipe, plan, tmp_path):
    out, more = tmp_path / "run", ("--set", "generate.sampling.max_tokens=4001")
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        refused = plan(path, "--out", out, *more, code=2)["refused"]
        assert refused.endswith("or set the recipe back (or --generate.reuse complete keeps what is still valid).")
        found = plan(path, "--out", out, *more, "--set", "generate.reuse=complete")
    assert (found["refused"], found["to_send"]) == (None, 0)
    assert found["changes"] == ["generate.sampling.max_tokens: 4000 -> 4001"]


def test_a_folder_of_another_workflow_or_of_other_files_would_be_refused(mill, fake, recipe, plan, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("")
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "run")
        manifest = tmp_path / "run" / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"workflow": "lengths"', '"workflow": "answers"'))
        assert plan(path, "--out", full, code=2)["refused"] == (
            f"{full}: is not empty and holds no run ('thesis.tex' ...). Name a new folder with --out."
        )
        assert plan(path, "--out", tmp_path / "run", code=2)["refused"] == (
            f"{tmp_path / 'run'}: holds a run of 'answers'. Use another --out for 'lengths'."
        )


def test_complete_takes_over_what_ended_and_says_which_were_truncated(mill, fake, asked, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake(words="2-30") as url:
        mill("lengths", "run", recipe(url, prompts=MANY, sampling={"max_tokens": 60}), "--out", out)
        cut = json.loads((out / "manifest.json").read_text())["stages"]["generate"]["counts"]["truncated"]
        assert 0 < cut < 30
        longer = recipe(url, prompts=MANY, sampling={"max_tokens": 4000}, reuse="complete")
        found = plan(longer, "--out", out)
        assert found["to_send"] == cut
        assert found["reused"]["taken over"] == 30 - cut
        assert found["why"] == {"answered under another max_tokens or seed, but truncated or too long": cut}
        assert found["changes"] == ["generate.sampling.max_tokens: 60 -> 4000"]
        fake_stats(url, reset=True)
        mill("lengths", "run", longer, "--out", out)
        assert asked(url) == cut


def test_complete_still_says_never_asked_of_what_never_was(mill, fake, recipe, plan, tmp_path):
    with fake() as url:
        mill("lengths", "run", recipe(url), "--out", tmp_path / "run", "--limit", 4)
        found = plan(recipe(url, sampling={"max_tokens": 4001}, reuse="complete"), "--out", tmp_path / "run")
    assert found["reused"]["taken over"] == 4
    assert found["why"] == {"never asked": 2}


def test_top_up_takes_answers_of_another_seed_and_sends_the_samples_that_are_short(
    mill, fake, asked, recipe, plan, tmp_path
):
    out = tmp_path / "run"
    with fake() as url:
        mill("lengths", "run", recipe(url, k=2, choices="separate"), "--out", out)
        more = recipe(url, k=3, choices="separate", reuse="top-up", sampling={"max_tokens": 4000, "seed": 7})
        found = plan(more, "--out", out)
        assert (found["requests"], found["to_send"], found["reused"]["taken over"]) == (18, 6, 12)
        fake_stats(url, reset=True)
        mill("lengths", "run", more, "--out", out)
        assert asked(url) == 6


def test_an_answer_that_was_taken_over_is_not_counted_on_again(mill, fake, asked, recipe, plan, tmp_path):
    out = tmp_path / "run"
    another = {"max_tokens": 4000, "seed": 7}
    with fake() as url:
        mill("lengths", "run", recipe(url), "--out", out)
        mill("lengths", "run", recipe(url, reuse="top-up", sampling=another), "--out", out)  # all taken over
        more = recipe(url, k=2, choices="separate", reuse="top-up", sampling=another)
        found = plan(more, "--out", out)
        fake_stats(url, reset=True)
        mill("lengths", "run", more, "--out", out)
        assert (found["to_send"], found["reused"]["taken over"]) == (asked(url), 0) == (6, 0)


def test_what_was_taken_over_for_being_short_tells_nothing_of_the_rest(mill, fake, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake(words="40") as url:
        mill("lengths", "run", recipe(url), "--out", out)
        whole = recipe(url, reuse="complete", sampling={"max_tokens": 5000}, name="whole.yaml")
        mill("lengths", "run", whole, "--out", out)  # all taken over
        found = plan(whole, "--out", out, "--set", "generate.k=2")
    assert (found["to_send"], found["estimate"]) == (6, None)


def test_more_samples_of_the_same_recipe_are_estimated_from_those_that_are_there(mill, fake, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        mill("lengths", "run", recipe(url, k=2, choices="separate"), "--out", out)
        found = plan(recipe(url, k=3, choices="separate"), "--out", out)
        mill("lengths", "run", recipe(url, k=3, choices="separate"), "--out", out)
    summary = json.loads((out / "generate" / "part-00000.done").read_text())
    assert (found["to_send"], found["reused"]["answered in this folder"]) == (6, 12)
    assert found["estimate"]["prompts"] == 6
    assert found["estimate"]["prompt_tokens"]["mid"] == pytest.approx(summary["prompt_tokens"] / 3, rel=0.02)


def test_a_shared_store_is_looked_into_and_none_is_made(mill, fake, recipe, plan, tmp_path):
    store = tmp_path / "store"
    with fake() as url:
        path = recipe(url, store=str(store))
        assert plan(path, "--out", tmp_path / "one")["why"] == {"never asked": 6}
        assert not store.exists()
        mill("lengths", "run", path, "--out", tmp_path / "one", "--limit", 4)
        found = plan(path, "--out", tmp_path / "two")
    assert (found["to_send"], found["reused"]["taken over"]) == (2, 4)
    assert not (tmp_path / "two").exists()


def test_money_is_by_the_prices_of_the_endpoints_and_their_weights(mill, fake, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        priced = [
            {"base_url": url, "price_in": "1/1M", "price_out": "3/1M", "weight": 3},
            {"base_url": url, "price_in": "5/1M", "price_out": "7/1M"},
        ]
        path = recipe(url, endpoints=priced)
        mill("lengths", "run", path, "--out", out, "--limit", 4)
        found = plan(path, "--out", out)["estimate"]
        bare = plan(recipe(url, endpoints=[priced[0], {"base_url": url}], name="bare.yaml"), "--out", out)["estimate"]
        said = mill("plan", path, "--out", out).out
    # (3 x 1 + 5) / 4 = 2 and (3 x 3 + 7) / 4 = 4 for a million tokens
    expected = (2 * found["prompt_tokens"]["mid"] + 4 * found["new_tokens"]["mid"]) / 1e6
    assert found["cost"]["mid"] == pytest.approx(expected)
    assert bare["cost"] is None
    assert "  money          " in said
    assert "  time           " in said


def test_each_key_of_an_endpoint_has_its_weight_in_the_money(mill, fake, recipe, plan, tmp_path, monkeypatch):
    monkeypatch.setenv("THREE", "one,two,three")
    out = tmp_path / "run"
    with fake() as url:
        many = {"base_url": url, "api_keys_env": "THREE", "price_in": "1/1M", "price_out": "3/1M"}
        path = recipe(url, endpoints=[many, {"base_url": url, "price_in": "5/1M", "price_out": "7/1M"}])
        mill("lengths", "run", path, "--out", out, "--limit", 4)
        found = plan(path, "--out", out)["estimate"]
    expected = (2 * found["prompt_tokens"]["mid"] + 4 * found["new_tokens"]["mid"]) / 1e6
    assert found["cost"]["mid"] == pytest.approx(expected)


def test_time_is_by_the_width_that_the_run_had_reached(mill, fake, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url, prompts=MANY, concurrency="auto")
        plan(path, "--out", out, "--pilot", 4)
    times = {}
    for width in (1, 2):
        status = json.loads((out / "status.json").read_text())
        assert status["reached"] > 0
        (out / "status.json").write_text(json.dumps(status | {"reached": width}))
        times[width] = plan(path, "--out", out)["estimate"]["time_s"]["mid"]
    assert times[1] == pytest.approx(2 * times[2])


def test_at_best_the_servers_do_as_much_for_as_many_as_the_recipe_allows(mill, fake, recipe, plan, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out, "--set", "generate.concurrency=2")
        status = json.loads((out / "status.json").read_text())
        (out / "status.json").write_text(json.dumps(status | {"reached": 2}))
        two, four = (
            plan(path, "--out", out, "--set", "generate.k=2", "--set", f"generate.concurrency={n}")["estimate"][
                "time_s"
            ]
            for n in (2, 4)
        )
    assert four["mid"] == pytest.approx(two["mid"])
    assert four["low"] == pytest.approx(two["low"] / 2)


def test_the_time_is_no_less_than_the_limits_per_minute_allow(fake, recipe, plan, tmp_path):
    with fake() as url:
        out = tmp_path / "run"
        path = recipe(url, prompts=MANY, endpoints=[{"base_url": url, "rpm": 10}])
        plan(path, "--out", out, "--pilot", 5)
        for file in (out / "generate").glob("part-*"):  # however long they took on this machine
            file.write_bytes(re.sub(rb'"latency_s":[-+.e\d]+', b'"latency_s":0.01', file.read_bytes()))
        found = plan(path, "--out", out)["estimate"]["time_s"]
        assert found == {"low": 120.0, "mid": 120.0, "high": 120.0}  # ten, a minute, ten, a minute, five
        beside = ["--set", "generate.k=3", "--set", "generate.endpoints.0.rpm=20"]
        assert plan(path, "--out", out, *beside, "--set", "generate.choices=separate")["estimate"]["time_s"] == {
            "low": 240.0,  # 3 x 30 - 5 = 85 requests
            "mid": 240.0,
            "high": 240.0,
        }
        free = recipe(url, prompts=MANY, endpoints=[{"base_url": url, "rpm": 10}, {"base_url": url}], name="free.yaml")
        assert plan(free, "--out", out)["estimate"]["time_s"]["high"] < 60


def test_a_limit_plans_the_first_prompts_alone(fake, asked, recipe, plan, tmp_path):
    with fake() as url:
        path = recipe(url, prompts=MANY)
        found = plan(path, "--out", tmp_path / "run", "--limit", 8)
        assert (found["prompts"], found["to_send"]) == (8, 8)
        found = plan(path, "--out", tmp_path / "run", "--limit", 8, "--pilot", 20)
        assert (found["to_send"], asked(url)) == (0, 8)


def test_a_pilot_takes_prompts_of_every_part(fake, asked, recipe, plan, tmp_path):
    with fake() as url:
        path = recipe(url, prompts=MANY)
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"rows_per_part": 7}))
        found = plan(path, "--out", tmp_path / "run", "--pilot", 10)
        assert (found["to_send"], asked(url)) == (20, 10)
        assert plan(path, "--out", tmp_path / "run")["to_send"] == 20


def test_a_wrong_recipe_or_option_is_one_line(mill, recipe, tmp_path):
    path = recipe("http://127.0.0.1:9")
    assert "no such recipe" in mill("plan", tmp_path / "none.yaml").error
    assert "is not of the form key.path=value" in mill("plan", path, "--set", "generate.k").error
    assert mill("plan", path, "--pilot", 0).code == 2
    shutil.copy(path, tmp_path / "other.yaml")
    (tmp_path / "other.yaml").write_text(path.read_text().replace("workflow: lengths", "workflow: lenghts"))
    assert "Did you mean 'lengths'?" in mill("plan", tmp_path / "other.yaml").error


def test_a_run_says_what_it_used_and_what_it_took_over(mill, fake, recipe, tmp_path):
    store = f"--set=generate.store={tmp_path / 'store'}"
    prices = ["--set=generate.endpoints.0.price_in=1/1M", "--set=generate.endpoints.0.price_out=1/1M"]
    with fake(words="3-9") as url:
        first = mill("lengths", "run", recipe(url), "--out", tmp_path / "run", store, *prices)
        second = mill("lengths", "run", recipe(url), "--out", tmp_path / "other", store)
    assert "generate: used by this run so far: 6 requests, " in first.err
    assert ", cost 0.00" in first.err
    assert "generate: 6 answers are taken over (generate.reuse, generate.store); they cost nothing." in second.err
    assert "generate: used by this run so far: 0 requests, 0 tokens." in second.err
