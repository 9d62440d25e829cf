"""`lengths` from the recipe to the rows people came for, every row written out or counted."""

import json
import os

import pytest

from promptmill.endpoints.fake.answers import Writer, parse_mixture
from promptmill.records import Message, Request, Sampling
from promptmill.testing import fake_stats

WRITER = Writer(parse_mixture("2-30", name="words"))
RESULT_KEYS = ["index", "input_prompt", "output_text", "full_response", "status"]
ROW_KEYS = ["input_prompt", "output_prompt", "number_of_output_tokens", "remaining_tokens"]


def answer(question, *, seed=42, max_tokens=4000):
    """What the fake server says to a question in a chat."""
    return WRITER.write(f"<|user|>\n{question}\n<|assistant|>\n {seed} 0", max_tokens=max_tokens, stop=())


def expected_rows(question, *, step=20, seed=42):
    """The training rows of one whole answer: a prefix every `step` bytes, moved to the start of a character."""
    _, ids, finish = answer(question, seed=seed)
    assert finish == "stop"
    total = len(ids)
    counts = [*range(step, total, step), total]
    return [
        {
            "input_prompt": question,
            "output_prompt": bytes(i for i in ids[:count] if i < 256).decode(errors="ignore"),
            "number_of_output_tokens": count,
            "remaining_tokens": total - count,
        }
        for count in counts
    ]


def test_a_recipe_gives_exactly_the_files_people_came_for(mill, fake, asked, recipe, rows, tmp_path):
    with fake() as url:
        path = recipe(url)
        said = mill("lengths", "run", path, "--out", tmp_path / "run")
        assert said.code == 0
        assert asked(url) == 6
    exports = tmp_path / "run" / "exports"
    questions = json.loads((tmp_path / "prompts.json").read_text())["prompts"]
    processed = json.loads((exports / "processed_dataset.json").read_text())
    assert processed == {"prompts": questions, "count": 6}
    results = json.loads((exports / "vllm_results.json").read_text())
    training = rows(exports / "vllm_results_training.jsonl")
    assert list(results) == ["total", "success", "failed", "total_training_samples", "results"]
    assert (results["total"], results["success"], results["failed"]) == (6, 6, 0)
    assert results["total_training_samples"] == len(training)
    assert [list(result) for result in results["results"]] == [RESULT_KEYS] * 6
    assert [result["index"] for result in results["results"]] == [0, 1, 2, 3, 4, 5]
    assert [result["input_prompt"] for result in results["results"]] == questions
    assert [result["output_text"] for result in results["results"]] == [answer(q).text for q in questions]
    assert {result["status"] for result in results["results"]} == {"success"}
    assert results["results"][0]["full_response"]["choices"][0]["finish_reason"] == "stop"
    assert [list(row) for row in training] == [ROW_KEYS] * len(training)
    assert training == [row for question in questions for row in expected_rows(question)]
    assert "training rows" in said.err
    assert "First rows of" in said.out


def test_these_are_the_golden_rows(mill, fake, recipe, rows, tmp_path):
    with fake() as url:
        mill("lengths", "run", recipe(url, prompts=["Name three rivers."]), "--out", tmp_path / "run")
    first, *_, last = rows(tmp_path / "run" / "exports" / "vllm_results_training.jsonl")
    assert first == {
        "input_prompt": "Name three rivers.",
        "output_prompt": "third, in time when ",
        "number_of_output_tokens": 20,
        "remaining_tokens": 102,
    }
    assert last == {
        "input_prompt": "Name three rivers.",
        "output_prompt": "third, in time when 数学 different मन naïve information his another at at which as in or in "
        "answer the they first,",
        "number_of_output_tokens": 122,
        "remaining_tokens": 0,
    }


def test_the_flags_people_use_today_need_no_recipe(mill_process, fake, asked, rows, tmp_path):
    prompts = ["Name three rivers.", "Why is the sky blue?"]
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": prompts, "count": 2}))
    with fake(words="2-8") as url:
        flags = ["--server-url", url, "--model", "fake", "--max-tokens", "200", "--temperature", "0.7"]
        flags += ["--batch-size", "4", "--tokenizer-path", "smollm2", "--delay", "0"]
        command = ["lengths", "generate", "--input", "prompts.json", "--output", "results.json", *flags]
        first = mill_process(*command, cwd=tmp_path)
        assert (first.code, asked(url)) == (0, 2)
        again = mill_process(*command, cwd=tmp_path)
        assert (again.code, asked(url)) == (0, 2)
    assert "all 2 requests are answered from the run folder, nothing is sent" in again.err
    results = json.loads((tmp_path / "results.json").read_text())
    training = rows(tmp_path / "results_training.jsonl")
    assert (results["total"], results["success"], results["failed"]) == (2, 2, 0)
    assert results["total_training_samples"] == len(training) > 0
    whole = [row for row in training if row["remaining_tokens"] == 0]
    assert [row["output_prompt"] for row in whole] == [result["output_text"] for result in results["results"]]
    assert "results_training.jsonl" in first.out


def test_a_second_run_sends_nothing_and_changes_no_file(mill, fake, recipe, tmp_path):
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "run")
        stats = fake_stats(url)
        exports = {file: file.read_bytes() for file in (tmp_path / "run" / "exports").rglob("*") if file.is_file()}
        said = mill("lengths", "run", path, "--out", tmp_path / "run")
        assert said.code == 0
        assert fake_stats(url) == stats
    assert "generate: all 6 requests are answered from the run folder, nothing is sent." in said.err
    assert len(exports) == 7
    assert {file: file.read_bytes() for file in exports} == exports


def test_a_finished_run_is_answered_from_its_folder_without_a_server(mill, fake, recipe, tmp_path):
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "run")
    assert mill("lengths", "run", path, "--out", tmp_path / "run").code == 0


def test_a_limit_asks_the_first_prompts_and_later_runs_only_the_rest(mill, fake, asked, recipe, tmp_path):
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "run", "--limit", "2")
        assert asked(url) == 2
        results = json.loads((tmp_path / "run" / "exports" / "vllm_results.json").read_text())
        assert results["total"] == 2
        mill("lengths", "run", path, "--out", tmp_path / "run")
        assert asked(url) == 6
    results = json.loads((tmp_path / "run" / "exports" / "vllm_results.json").read_text())
    assert (results["total"], results["success"]) == (6, 6)


def test_a_dry_run_sends_nothing_and_keeps_nothing(mill, fake, asked, recipe, tmp_path):
    with fake() as url:
        path = recipe(url, k=2)
        before = sorted(tmp_path.rglob("*"))
        said = mill("lengths", "run", path, "--out", tmp_path / "run", "--dry-run")
        assert said.code == 0
        assert asked(url) == 0
        assert sorted(tmp_path.rglob("*")) == before
        assert "prompts: 6 rows" in said.out
        assert "generate: 12 requests, 12 still to send" in said.out
        assert said.out.count("Request ") == 3
        assert '"content": "Name three rivers."' in said.out
        mill("lengths", "run", path, "--out", tmp_path / "run", "--limit", "1")
        said = mill("lengths", "run", path, "--out", tmp_path / "run", "--dry-run")
        assert "generate: 12 requests, 10 still to send" in said.out


def test_more_samples_ask_only_for_the_new_ones(mill, fake, asked, recipe, rows, tmp_path):
    with fake() as url:
        mill("lengths", "run", recipe(url), "--out", tmp_path / "run")
        said = mill("lengths", "run", recipe(url, k=3, choices="separate"), "--out", tmp_path / "run")
        assert said.code == 0
        stats = fake_stats(url)
    assert "generate: 12 of 18 requests to send; the rest is answered, or asks the same." in said.err
    assert [tally["received"] for tally in stats["contents"].values()] == [1] * 18
    exports = tmp_path / "run" / "exports"
    results = json.loads((exports / "vllm_results.json").read_text())["results"]
    assert [result["index"] for result in results] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert [r["output_text"] for r in results[:3]] == [
        answer("Name three rivers.", seed=seed).text for seed in (42, 43, 44)
    ]
    targets = rows(exports / "vllm_results_lengths.jsonl")
    assert [target["n_samples"] for target in targets] == [3] * 6
    lengths = sorted(len(answer("Name three rivers.", seed=seed).ids) for seed in (42, 43, 44))
    assert (targets[0]["input_prompt"], targets[0]["median"]) == ("Name three rivers.", lengths[1])


def test_a_smaller_k_uses_what_is_there_and_keeps_what_was_paid_for(mill, fake, asked, recipe, tmp_path):
    with fake() as url:
        mill("lengths", "run", recipe(url, k=2), "--out", tmp_path / "run")
        mill("lengths", "run", recipe(url, k=1), "--out", tmp_path / "run")
        results = json.loads((tmp_path / "run" / "exports" / "vllm_results.json").read_text())
        assert results["total"] == 6
        mill("lengths", "run", recipe(url, k=2), "--out", tmp_path / "run")
        assert asked(url) == 6  # two samples a request


def test_the_stages_run_alone_one_after_the_other(mill, fake, asked, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        assert mill("lengths", "prompts", path, "--out", out).code == 0
        assert asked(url) == 0
        assert sorted(entry.name for entry in (out / "exports").iterdir()) == ["processed_dataset.json"]
        assert mill("lengths", "generate", path, "--out", out).code == 0
        assert asked(url) == 6
    said = mill("lengths", "slices", "--out", out)  # the recipe is the one in the folder
    assert said.code == 0
    assert (out / "exports" / "vllm_results_training.jsonl").stat().st_size > 0


def test_a_stage_behind_the_prompts_does_not_need_their_source_any_more(mill, fake, recipe, rows, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        mill("lengths", "run", recipe(url), "--out", out)
    (tmp_path / "prompts.json").unlink()
    said = mill("lengths", "slices", "--out", out, "--set", "slices.step=1000000")
    assert said.code == 0
    assert len(rows(out / "exports" / "vllm_results_training.jsonl")) == 6


def test_a_changed_recipe_is_refused_with_the_difference_and_nothing_is_touched(mill, fake, asked, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file() and file.name != "run.log"}
        for flags in (["--temperature", "0.9"], ["--temperature", "0.9", "--dry-run"]):
            said = mill("lengths", "run", path, "--out", out, *flags)
            assert said.code == 2
            assert said.error == (
                f"error: {out}: holds answers of another recipe. What differs: "
                "generate.sampling.temperature: 0.7 -> 0.9. Use another --out, or set the recipe back."
            )
        said = mill("lengths", "run", path, "--out", out, "--set", "select=[dedup]")
        assert "What differs: prompts.select: [] -> [{'kind': 'dedup'" in said.error
        (tmp_path / "prompts.json").write_text('{"prompts": ["Other."], "count": 1}')
        assert (
            "What differs: source.path: file 1: its content. Use another --out"
            in mill("lengths", "run", path, "--out", out).error
        )
        assert asked(url) == 6
    after = {file: file.read_bytes() for file in out.rglob("*") if file.is_file() and file.name != "run.log"}
    assert after == before


def test_prompts_may_change_as_long_as_nothing_was_asked_and_the_export_follows(mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        mill("lengths", "prompts", recipe(url), "--out", out)
        mill("lengths", "prompts", recipe(url, prompts=["Only this."]), "--out", out)
    processed = json.loads((out / "exports" / "processed_dataset.json").read_text())
    assert processed == {"prompts": ["Only this."], "count": 1}


def test_another_step_rebuilds_the_slices_without_a_request(mill, fake, asked, recipe, rows, tmp_path):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        assert mill("lengths", "run", path, "--out", out, "--set", "slices.step=7").code == 0
        assert asked(url) == 6
    questions = json.loads((tmp_path / "prompts.json").read_text())["prompts"]
    expected = [row for question in questions for row in expected_rows(question, step=7)]
    assert rows(out / "exports" / "vllm_results_training.jsonl") == expected
    results = json.loads((out / "exports" / "vllm_results.json").read_text())
    assert results["total_training_samples"] == len(expected)


@pytest.mark.parametrize("lost", ["prompts", "slices", "exports", "exports/vllm_results_training.jsonl"])
def test_what_was_derived_can_be_deleted_and_comes_back_without_a_request(mill, fake, asked, recipe, tmp_path, lost):
    out = tmp_path / "run"
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        kept = {file: file.read_bytes() for file in out.rglob("*.json*") if file.parent.name in {"exports", "prompts"}}
        gone = out / lost
        for file in [gone] if gone.is_file() else [file for file in gone.rglob("*") if file.is_file()]:
            file.unlink()
        assert mill("lengths", "run", path, "--out", out).code == 0
        assert asked(url) == 6
    assert {file: file.read_bytes() for file in kept} == kept


def test_formats_that_are_no_longer_wanted_do_not_stay_behind(mill, fake, recipe, tmp_path):
    import duckdb

    out = tmp_path / "run"
    with fake() as url:
        mill("lengths", "run", recipe(url, slices={"formats": ["jsonl", "parquet"]}), "--out", out)
        exports = out / "exports"
        count = json.loads((exports / "vllm_results.json").read_text())["total_training_samples"]
        found = duckdb.sql(f"SELECT * FROM '{exports}/vllm_results_training.parquet'")
        assert found.columns == ROW_KEYS
        assert len(found.fetchall()) == count > 0
        mill("lengths", "run", recipe(url), "--out", out)
    assert sorted(file.name for file in exports.rglob("*.parquet")) == []


def test_two_results_files_in_one_folder_keep_their_splits_apart(mill, fake, recipe, tmp_path):
    with fake() as url:
        for name, prompts in (("a", ["Name three rivers."]), ("b", ["Why is the sky blue?"])):
            path = recipe(url, prompts=prompts, name=f"{name}.yaml")
            assert (
                mill("lengths", "run", path, "--output", tmp_path / f"{name}.json", "--slices.split_files", "true").code
                == 0
            )
    for name, prompt in (("a", "Name three rivers."), ("b", "Why is the sky blue?")):
        split = b"".join(
            (tmp_path / f"{name}_splits" / f"{s}.jsonl").read_bytes() for s in ("train", "validation", "test")
        )
        assert {json.loads(line)["input_prompt"] for line in split.splitlines()} == {prompt}


def test_truncated_answers_go_to_the_censored_file_alone(mill, fake, recipe, rows, tmp_path):
    with fake(words="0.5:2,0.5:200") as url:
        path = recipe(url, sampling={"max_tokens": 100})
        said = mill("lengths", "run", path, "--out", tmp_path / "run")
        assert said.code == 0
    exports = tmp_path / "run" / "exports"
    results = json.loads((exports / "vllm_results.json").read_text())["results"]
    cut = {r["input_prompt"] for r in results if r["full_response"]["choices"][0]["finish_reason"] == "length"}
    assert 0 < len(cut) < 6
    censored = rows(exports / "vllm_results_censored.jsonl")
    assert {row["input_prompt"] for row in censored} == cut
    assert [row["remaining_tokens_at_least"] for row in censored[:5]] == [80, 60, 40, 20, 0]
    training = rows(exports / "vllm_results_training.jsonl")
    assert {row["input_prompt"] for row in training} == {r["input_prompt"] for r in results} - cut
    assert f"{len(cut)} truncated answers" in said.err


FAULTS = ["429", "429-date", "429-garbage", "500", "503", "drop", "half", "json", "empty", "slow"]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_answer_comes_in_spite_of_a_fault_at_each_first_attempt(mill, fake, recipe, tmp_path, fault):
    with fake(script=f"{fault},ok", slow_s=0.05) as url:
        said = mill("lengths", "run", recipe(url, concurrency=6), "--out", tmp_path / "run")
        assert said.code == 0
        stats = fake_stats(url)
    results = json.loads((tmp_path / "run" / "exports" / "vllm_results.json").read_text())
    assert (results["success"], results["failed"]) == (6, 0)
    assert [tally["received"] for tally in stats["contents"].values()] == [1 if fault == "slow" else 2] * 6
    questions = json.loads((tmp_path / "prompts.json").read_text())["prompts"]
    assert [r["output_text"] for r in results["results"]] == [answer(q).text for q in questions]


def test_a_refused_prompt_is_a_failed_row_and_too_many_of_them_are_exit_code_1(mill, fake, asked, recipe, tmp_path):
    out = tmp_path / "run"
    with fake(context=300) as url:
        path = recipe(url, prompts=["Name three rivers.", "x" * 400], sampling={"max_tokens": "context"})
        assert mill("lengths", "run", path, "--out", out).code == 1
        assert mill("lengths", "run", path, "--out", out, "--set", "generate.max_failure_share=0.5").code == 0
        sent = asked(url)
        assert mill("lengths", "run", path, "--out", out).code == 1
        assert asked(url) == sent
    results = json.loads((out / "exports" / "vllm_results.json").read_text())
    assert (results["total"], results["success"], results["failed"]) == (2, 1, 1)
    good, bad = results["results"]
    assert (good["status"], bad["status"], bad["output_text"]) == ("success", "failed", None)
    assert bad["full_response"]["error"]["kind"] == "too_long"
    assert "Shorten the prompt" in bad["full_response"]["error"]["detail"]


def test_what_failed_for_now_is_asked_again_by_the_next_run_and_nothing_else(mill, fake, recipe, tmp_path):
    out = tmp_path / "run"
    with fake(script="500,ok") as url:
        path = recipe(url, attempts=1)
        assert mill("lengths", "run", path, "--out", out).code == 1
        results = json.loads((out / "exports" / "vllm_results.json").read_text())
        assert (results["success"], results["failed"], results["total_training_samples"]) == (0, 6, 0)
        assert mill("lengths", "run", path, "--out", out).code == 0
        assert [tally["received"] for tally in fake_stats(url)["contents"].values()] == [2] * 6
    results = json.loads((out / "exports" / "vllm_results.json").read_text())
    assert (results["success"], results["failed"]) == (6, 0)


def test_raw_completion_with_a_template_sends_exactly_that_text(mill, fake, recipe, tmp_path):
    with fake() as url:
        path = recipe(url, prompts=["Name three rivers."], protocol="completion", template="Q: {prompt}\nA:")
        assert mill("lengths", "run", path, "--out", tmp_path / "run").code == 0
    (result,) = json.loads((tmp_path / "run" / "exports" / "vllm_results.json").read_text())["results"]
    text = WRITER.write("Q: Name three rivers.\nA: 42 0", max_tokens=4000, stop=()).text
    assert (result["input_prompt"], result["output_text"]) == ("Name three rivers.", text)
    assert result["full_response"]["choices"][0]["text"] == text


def test_parts_are_committed_one_by_one_and_the_rows_do_not_depend_on_their_number(mill, fake, recipe, tmp_path):
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "one")
        mill("lengths", "run", path, "--out", tmp_path / "three", "--set", "rows_per_part=2")
    assert len(list((tmp_path / "three" / "generate").glob("part-*.jsonl"))) == 3
    for name in ("processed_dataset.json", "vllm_results.json", "vllm_results_training.jsonl"):
        assert (tmp_path / "one" / "exports" / name).read_bytes() == (
            tmp_path / "three" / "exports" / name
        ).read_bytes()


def test_no_key_of_a_user_is_found_in_any_file_of_a_run(mill, fake, recipe, tmp_path, monkeypatch):
    canary = "sk-canary-0123456789abcdef"
    monkeypatch.setenv("MILL_TEST_KEY", canary)
    with fake(keys=(canary,), script="500,ok") as url:
        path = recipe(url)
        said = mill("lengths", "run", path, "--out", tmp_path / "run", "--set",
                    "generate.endpoints.openai.api_key_env=MILL_TEST_KEY")  # fmt: skip
        assert said.code == 0
    assert canary not in said.out + said.err
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert len(files) > 10
    assert [file for file in files if canary.encode() in file.read_bytes()] == []
    assert os.environ["MILL_TEST_KEY"] == canary


def test_a_key_is_what_the_journal_says_it_is(mill, fake, recipe, rows, tmp_path):
    with fake() as url:
        mill("lengths", "run", recipe(url, prompts=["Name three rivers."]), "--out", tmp_path / "run")
    (row,) = rows(tmp_path / "run" / "generate" / "part-00000.jsonl")
    request = Request(
        prompt_id=row["prompt_id"],
        model="fake",
        protocol="chat",
        messages=(Message(role="user", content="Name three rivers."),),
        sampling=Sampling(temperature=0.7, top_p=0.9, max_tokens=4000, seed=42),
    )
    assert row["key"] == request.key


def test_another_output_leaves_files_of_the_old_names_there_alone(mill, recipe, fake, tmp_path):
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", tmp_path / "run", "--output", tmp_path / "a" / "results.json")
        other = tmp_path / "b" / "results_training.jsonl"
        other.parent.mkdir()
        other.write_text("of another run\n")
        said = mill("lengths", "run", path, "--out", tmp_path / "run", "--output", tmp_path / "b" / "new.json")
    assert said.code == 0, said.err
    assert other.read_text() == "of another run\n"
    assert (tmp_path / "b" / "new_training.jsonl").exists()


def test_what_was_learned_from_other_rows_does_not_stand_beside_new_ones(mill, recipe, fake, tmp_path):
    out = tmp_path / "run"
    learned = [
        out / "exports" / "length_predictor.png",
        out / "train" / "report.json",
        out / "simulate" / "report.json",
    ]
    with fake() as url:
        path = recipe(url)
        mill("lengths", "run", path, "--out", out)
        for file in learned:
            file.parent.mkdir(exist_ok=True)
            file.write_text("{}")
        mill("lengths", "run", path, "--out", out)
        assert [file.exists() for file in learned] == [True, True, True]
        said = mill("lengths", "run", path, "--out", out, "--slices.step", "7")
    assert said.code == 0, said.err
    assert [file.exists() for file in learned] == [False, False, False]


def test_equal_prompts_are_counted_once_where_a_run_says_what_it_will_send(mill, recipe, fake, asked, tmp_path):
    with fake() as url:
        path = recipe(url, prompts=["Why?", "Why?", "Who?"])
        assert "generate: 3 requests, 2 still to send" in mill("lengths", "run", path, "--dry-run").out
        said = mill("lengths", "run", path, "--out", tmp_path / "run")
        assert "generate: 2 of 3 requests to send" in said.err
        assert asked(url) == 2


def test_equal_prompts_share_one_answer_and_one_set_of_rows(mill, recipe, fake, rows, tmp_path):
    with fake(words="5-20") as url:
        path = recipe(url, prompts=["Why?", "Who?", "Why?"], k=2)
        assert mill("lengths", "run", path, "--out", tmp_path / "run").code == 0
    exports = tmp_path / "run" / "exports"
    assert [row["n_samples"] for row in rows(exports / "vllm_results_lengths.jsonl")] == [2, 2]
    results = json.loads((exports / "vllm_results.json").read_text())
    assert [row["index"] for row in results["results"]] == [0, 0, 1, 1, 2, 2]
    assert results["results"][0]["output_text"] == results["results"][4]["output_text"]
    ends = [row for row in rows(exports / "vllm_results_training.jsonl") if row["remaining_tokens"] == 0]
    assert len(ends) == 4
    assert results["total_training_samples"] == len(rows(exports / "vllm_results_training.jsonl"))
