"""`answers` from problems to graded rows and figures, through real servers and the real command line."""

import json
import re
import shutil
import signal
from pathlib import Path

import pytest
import yaml

import promptmill
from promptmill.io.locks import locked

PROBLEMS = [
    {"unique_id": "sum", "question": "What is 1200 + 34?", "answer_correct": "1,234", "category": "numbers"},
    {"unique_id": "half", "question": "What is 1/2 as a decimal?", "answer_correct": "0.5", "category": "numbers"},
    {
        "unique_id": "bat",
        "question": "Which is a mammal?",
        "choices": ["trout", "bat", "wren"],
        "choice_index_correct": 1,
        "answer_correct": "B",
        "category": "animals",
    },
]
GRADE = {"metric": {"kind": "auto", "limit_s": 100}}  # a machine that stalls changes no verdict
PLAIN = [
    "unique_id", "problem", "is_mcq", "choices", "choice_index_correct", "explanation_correct", "answer_correct",
    "category", "responses",
]  # fmt: skip
SOLVER = '''
ANSWERS = {answers!r}
CALLS = {calls!r}

async def solve(request):
    """Answer by the words of the problem and the sample number."""
    question = request.messages[-1].content
    with open(CALLS, "a") as file:
        file.write("x")
    said = next(said for words, said in ANSWERS.items() if words in question)
    text = said[request.sample % len(said)] if isinstance(said, list) else said
    return {{"text": text, "finish": "length" if text.endswith("...") else "stop"}}
'''
GOOD = {
    "1200": r"It is <answer>\boxed{1234}</answer>",
    "decimal": "The answer is 0.5.",
    "mammal": "The answer is (B).",
}


@pytest.fixture
def solver(tmp_path):
    """A recipe whose model says what is given; and how often it was asked."""
    calls = tmp_path / "calls"
    calls.touch()

    def write(answers, *, problems=PROBLEMS, **sections):
        (tmp_path / "solver.py").write_text(SOLVER.format(answers=answers, calls=str(calls)))
        (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
        tree = {
            "workflow": "answers",
            "source": {"kind": "problems", "path": str(tmp_path / "problems.jsonl")},
            "generate": {
                "model": "solver",
                "endpoints": [{"kind": "function", "function": f"{tmp_path / 'solver.py'}:solve"}],
                "k": 2,
                **sections.pop("generate", {}),
            },
            "grade": GRADE,
            **sections,
        }
        path = tmp_path / "answers.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    write.calls = lambda: len(calls.read_text())
    return write


def processed(rows, folder):
    (path,) = (folder / "exports").glob("*_processed.jsonl")
    return {row["unique_id"]: row for row in rows(path)}


def test_problems_become_responses_graded_rows_and_figures(mill, solver, rows, tmp_path):
    wrong = {**GOOD, "1200": [r"<answer>\boxed{1234}</answer>", r"<answer>\boxed{1235}</answer>"]}
    said = mill("answers", "run", solver(wrong), "--out", tmp_path / "run", "--by-category")
    assert said.code == 0, said.err
    exports = tmp_path / "run" / "exports"
    plain = rows(exports / "solver_problems.jsonl")
    assert [list(row) for row in plain] == [PLAIN] * 3
    assert plain[0]["responses"] == [
        {"full_response": r"<answer>\boxed{1234}</answer>"},
        {"full_response": r"<answer>\boxed{1235}</answer>"},
    ]
    assert plain[2] == {
        "unique_id": "bat",
        "problem": "Which is a mammal?",
        "is_mcq": True,
        "choices": ["trout", "bat", "wren"],
        "choice_index_correct": 1,
        "explanation_correct": None,
        "answer_correct": "bat",
        "category": "animals",
        "responses": [{"full_response": "The answer is (B)."}] * 2,
    }
    graded = processed(rows, tmp_path / "run")
    assert [r["is_correct"] for r in graded["sum"]["responses"]] == [True, False]
    assert [r["is_correct"] for r in graded["half"]["responses"]] == [True, True]
    (one, two) = graded["bat"]["responses"]
    assert (one["extracted_answer"], one["is_correct"], one["finish_reason"], one["truncated"]) == (
        "B",
        True,
        "stop",
        False,
    )
    assert one["full_response"][slice(*one["span"])].strip("(). ") == "B"
    assert (one["sample"], two["sample"]) == (0, 1)
    summary = json.loads((exports / "solver_problems_summary.json").read_text())
    (model,) = summary["models"]
    assert model["overall"]["accuracy"]["value"] == pytest.approx(5 / 6)
    assert model["overall"]["pass_at"]["2"]["value"] == 1.0
    assert model["by_category"]["animals"]["accuracy"]["value"] == 1.0
    assert "animals" in said.out
    assert "83.3 %" in said.out


def test_a_second_run_sends_nothing_and_changes_nothing(mill, solver, tmp_path):
    path = solver(GOOD)
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    assert solver.calls() == 6
    files = sorted((tmp_path / "run").rglob("*.jsonl"))
    before = [file.read_bytes() for file in files]
    said = mill("answers", "run", path, "--out", tmp_path / "run")
    assert said.code == 0
    assert solver.calls() == 6
    assert "nothing is sent" in said.err
    assert [file.read_bytes() for file in files] == before


def test_more_responses_ask_only_for_those_that_are_missing(mill, solver, rows, tmp_path):
    path = solver(GOOD)
    mill("answers", "run", path, "--out", tmp_path / "run")
    assert mill("answers", "run", path, "--out", tmp_path / "run", "--k-responses", "3").code == 0
    assert solver.calls() == 9
    assert [len(row["responses"]) for row in processed(rows, tmp_path / "run").values()] == [3, 3, 3]


def test_an_unusable_answer_is_asked_again_under_a_new_sample_number(mill, solver, rows, tmp_path):
    path = solver({**GOOD, "decimal": ["", "0.5 it is. The answer is 0.5.", " ", "The answer is 0.5."]})
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    # two samples each; of `half` sample 0 is empty, so sample 2 is asked, is blank, so sample 3 is asked
    assert solver.calls() == 8
    responses = processed(rows, tmp_path / "run")["half"]["responses"]
    assert [response["sample"] for response in responses] == [1, 3]
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    assert solver.calls() == 8
    assert mill("verify", tmp_path / "run").code == 0


def test_attempts_end_and_what_was_said_is_kept(mill, solver, rows, tmp_path):
    path = solver({**GOOD, "decimal": ""}, generate={"max_attempts": 2})
    said = mill("answers", "run", path, "--out", tmp_path / "run")
    assert said.code == 0
    assert solver.calls() == 8
    responses = processed(rows, tmp_path / "run")["half"]["responses"]
    assert [(r["extracted_answer"], r["is_correct"], r["full_response"]) for r in responses] == [(None, False, "")] * 2
    assert "of no use" in said.err


def test_what_counts_as_unusable_can_be_said(mill, solver, rows, tmp_path):
    answers = {**GOOD, "decimal": ["cut in the middle of...", "I do not know", "The answer is 0.5."]}
    path = solver(answers, generate={"unusable": ["empty", "truncated", "unanswered"]})
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    assert solver.calls() == 9  # of `half`: 0 is cut, 1 says nothing, 2 is good, 3 is cut, 4 says nothing
    assert [r["sample"] for r in processed(rows, tmp_path / "run")["half"]["responses"]] == [0, 2]


def test_a_failed_request_is_no_response_and_uses_up_no_attempt(mill, fake, asked, rows, tmp_path):
    problems = tmp_path / "problems.jsonl"
    problems.write_text(json.dumps(PROBLEMS[0]) + "\n")
    flags = ["--input", problems, "--model", "fake", "--k-responses", "2", "--out", tmp_path / "run"]
    flags += ["--generate.attempts", "1", "--generate.choices", "separate", "--max-concurrent", "1"]
    with fake(faults="500:1") as url:
        said = mill("answers", "run", *flags, "--api", url)
    assert said.code in {1, 2}
    assert not list((tmp_path / "run").glob("exports/*_processed.jsonl")) or not any(
        row["responses"] for row in processed(rows, tmp_path / "run").values()
    )
    with fake() as url:
        assert mill("answers", "run", *flags, "--api", url).code == 0
        assert asked(url) == 2
    (row,) = processed(rows, tmp_path / "run").values()
    assert [response["sample"] for response in row["responses"]] == [0, 1]


def test_other_rules_grade_the_stored_answers_again_without_a_model(mill, solver, rows, tmp_path):
    path = solver({**GOOD, "decimal": "The answer is 1/2."})
    mill("answers", "run", path, "--out", tmp_path / "run")
    assert processed(rows, tmp_path / "run")["half"]["responses"][0]["is_correct"] is True
    said = mill("answers", "evaluate", "--out", tmp_path / "run", "--metric", "exact")
    assert said.code == 0, said.err
    assert solver.calls() == 6
    one = processed(rows, tmp_path / "run")["half"]["responses"][0]
    assert (one["is_correct"], one["metric"]) == (False, "exact")


def test_two_runs_are_compared_on_the_same_problems(mill, solver, tmp_path):
    mill("answers", "run", solver(GOOD), "--out", tmp_path / "one")
    worse = solver({**GOOD, "1200": "The answer is 7."}, generate={"model": "worse"})
    mill("answers", "run", worse, "--out", tmp_path / "two")
    said = mill("answers", "compare", tmp_path / "one", tmp_path / "two", "--json")
    assert said.code == 0, said.err
    (pair,) = json.loads(said.out)["comparisons"]
    assert (pair["first"], pair["second"]) == ("solver", "worse")
    assert pair["difference"]["value"] == pytest.approx(1 / 3)
    assert (pair["wins"], pair["ties"], pair["losses"]) == (1, 2, 0)


def test_the_judge_settles_what_the_rules_cannot_and_is_asked_once(mill, solver, rows, tmp_path):
    problems = [{"unique_id": "who", "question": "Who wrote Faust?", "answer_correct": "Johann Wolfgang von Goethe"}]
    answers = {
        "Compare": '{"reason": "the same person", "verdict": "yes"}',
        "Faust": r"<answer>\boxed{J. W. Goethe, the poet}</answer>",
    }
    (tmp_path / "judge.txt").write_text("Compare {reference} with {answer}.")
    generate = {"model": "judge", "endpoints": [{"kind": "function", "function": f"{tmp_path / 'solver.py'}:solve"}]}
    judge = {"prompt_file": str(tmp_path / "judge.txt"), "generate": generate}
    path = solver(answers, problems=problems, judge=judge)
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    assert solver.calls() == 3  # two samples, one judgement: equal pairs are judged once
    one, two = processed(rows, tmp_path / "run")["who"]["responses"]
    assert (one["is_correct"], two["is_correct"]) == (True, True)
    assert one["judge"]["model"] == "judge"
    assert one["judge"]["prompt"]
    mill("answers", "run", path, "--out", tmp_path / "run")
    assert solver.calls() == 3


def test_a_run_whose_judge_had_nothing_to_settle_is_whole(mill, solver, tmp_path):
    generate = {"model": "judge", "endpoints": [{"kind": "function", "function": f"{tmp_path / 'solver.py'}:solve"}]}
    path = solver(GOOD, judge={"generate": generate})
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    assert mill("verify", tmp_path / "run").code == 0
    (tmp_path / "run" / "judge").mkdir()  # what a kill leaves as the judge's run begins
    (tmp_path / "run" / "judge" / ".lock").touch()
    assert mill("verify", tmp_path / "run").code == 0
    assert mill("recover", tmp_path / "run").out == f"{tmp_path / 'run'}: nothing is to be repaired.\n"


def test_a_copy_inside_a_run_is_no_part_of_it(mill, solver, tmp_path):
    run = tmp_path / "run"
    assert mill("answers", "run", solver(GOOD), "--out", run).code == 0
    shutil.copytree(run, tmp_path / "copy")
    (tmp_path / "copy").rename(run / "copy")
    (run / "copy" / "generate" / "part-00000.jsonl").write_text("")
    assert mill("verify", run).out.splitlines()[-1] == f"{run}: is whole."
    assert mill("recover", run).out == f"{run}: nothing is to be repaired.\n"
    assert mill("verify", run / "copy").code == 2


def test_a_run_inside_a_run_that_somebody_works_in_is_left_alone(mill, solver, tmp_path):
    run = tmp_path / "run"
    assert mill("answers", "run", solver(GOOD), "--out", run).code == 0
    with locked(run / "judge"):
        for command in (["verify"], ["recover"], ["recover", "--dry-run"]):
            said = mill(*command, run)
            assert said.code == 2
            assert f"{run / 'judge'}: process " in said.error
            assert "works here, and its files change." in said.error


def test_a_judge_with_another_task_is_asked_again_and_his_old_verdicts_count_no_more(mill, solver, rows, tmp_path):
    problems = [{"unique_id": "who", "question": "Who wrote Faust?", "answer_correct": "Johann Wolfgang von Goethe"}]
    answers = {
        "Compare": '{"reason": "the same person", "verdict": "yes"}',
        "Strictly": '{"reason": "not the full name", "verdict": "no"}',
        "Faust": r"<answer>\boxed{J. W. Goethe, the poet}</answer>",
    }
    task, out = tmp_path / "judge.txt", tmp_path / "run"
    generate = {"model": "judge", "endpoints": [{"kind": "function", "function": f"{tmp_path / 'solver.py'}:solve"}]}
    judge = {"prompt_file": str(task), "generate": generate}
    path = solver(answers, problems=problems, judge=judge, generate={"k": 1})

    def judged(command, words):
        task.write_text(f"{words} {{reference}} with {{answer}}.")
        said = mill("answers", command, path, "--out", out)
        assert said.code == 0, said.err
        (response,) = processed(rows, out)["who"]["responses"]
        return response["is_correct"], solver.calls()

    assert judged("run", "Compare") == (True, 2)
    assert judged("evaluate", "Strictly compare") == (False, 2)  # as the rules say: nobody has judged it so
    assert processed(rows, out)["who"]["responses"][0]["judge"] is None
    assert judged("run", "Strictly compare") == (False, 3)
    assert processed(rows, out)["who"]["responses"][0]["judge"]["verdict"] == 0.0
    assert judged("run", "Compare") == (True, 3)  # he said so before


def test_a_judge_may_be_asked_about_every_answer(mill, solver, rows, tmp_path):
    (tmp_path / "judge.txt").write_text("Compare {reference} with {answer}.")
    generate = {"model": "judge", "endpoints": [{"kind": "function", "function": f"{tmp_path / 'solver.py'}:solve"}]}
    section = {"prompt_file": str(tmp_path / "judge.txt"), "generate": generate}
    answers = {"Compare": "I am not sure.", **GOOD}
    path = solver(answers, problems=PROBLEMS[:1], judge=section, grade={"metric": "judge"})
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    assert solver.calls() == 3
    one, _ = processed(rows, tmp_path / "run")["sum"]["responses"]
    assert (one["is_correct"], one["score"]) == (None, None)  # the judge did not say yes or no
    said = mill("answers", "run", solver(GOOD, grade={"metric": "judge"}), "--out", tmp_path / "other")
    assert said.code == 2
    assert "grade.metric: 'judge' needs to know whom to ask" in said.error


@pytest.mark.parametrize(
    ("rows_", "words"),
    [
        (['{"question": "a", "answer_correct": "1"', ""], ["problems.jsonl:1"]),
        ([json.dumps(PROBLEMS[0]), json.dumps(PROBLEMS[0])], ["problems.jsonl:2", "sum"]),
        ([json.dumps({**PROBLEMS[2], "choices": []})], ["problems.jsonl:1"]),
        ([json.dumps({**PROBLEMS[2], "choice_index_correct": 7})], ["problems.jsonl:1", "7"]),
        ([json.dumps({**PROBLEMS[2], "answer_correct": "C"})], ["problems.jsonl:1", "C"]),
        ([json.dumps({"answer_correct": "1"})], ["problems.jsonl:1", "question"]),
    ],
)
def test_a_bad_problem_file_is_one_line_before_anything_is_sent(mill, fake, asked, rows_, words, tmp_path):
    (tmp_path / "problems.jsonl").write_text("\n".join(rows_) + "\n")
    with fake() as url:
        said = mill(
            "answers",
            "run",
            "--input",
            tmp_path / "problems.jsonl",
            "--model",
            "fake",
            "--api",
            url,
            "--out",
            tmp_path / "run",
        )
        assert said.code == 2
        assert all(word in said.error for word in words)
        assert asked(url) == 0


def test_an_unreachable_server_is_one_line_and_leaves_no_rows(mill, solver, nobody, tmp_path):
    path = solver(GOOD, generate={"endpoints": [{"base_url": nobody}]})
    said = mill("answers", "run", path, "--out", tmp_path / "run")
    assert said.code == 2
    assert f"{nobody}: nothing answers" in said.error
    assert not list((tmp_path / "run").glob("exports/*"))


def test_templates_are_files_that_a_user_edits(mill, solver, tmp_path):
    assert mill("answers", "templates", tmp_path / "words").code == 0
    (tmp_path / "words" / "open.txt").write_text("Say it short: {question} {unknown}")
    path = solver(GOOD, generate={"templates": {"open": str(tmp_path / "words" / "open.txt")}})
    said = mill("answers", "run", path, "--out", tmp_path / "run", "--dry-run", "--k-responses", "1")
    assert "Say it short: What is 1200 + 34? {unknown}" in said.out
    assert "A. trout\\nB. bat\\nC. wren" in said.out
    (tmp_path / "words" / "open.txt").write_text("no place")
    assert "{question}" in mill("answers", "run", path, "--out", tmp_path / "run").error


def test_ctrl_c_leaves_a_folder_that_goes_on(mill, start_mill, gated, beat, until, settled, asked, rows, tmp_path):
    problems = [
        {"unique_id": f"p{n}", "question": f"What is {n} + 1?", "answer_correct": str(n + 1)} for n in range(30)
    ]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    flags = ["--input", tmp_path / "problems.jsonl", "--model", "fake", "--k-responses", "2", "--max-concurrent", "2"]
    flags += ["--generate.choices", "separate", "--out", tmp_path / "run"]
    with gated() as (url, gate):
        process = start_mill("answers", "run", *flags, "--api", url)
        gate.let(20)
        beat(process, tmp_path / "run", lambda s: s["done"] == 20)
        until(lambda: asked(url) == 22)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=240)
        assert process.returncode == 130
        assert settled(url)["received"] == 22
        gate.let()
        assert mill("answers", "run", *flags, "--api", url).code == 0
        assert asked(url) == 62  # two were in flight
    assert [len(row["responses"]) for row in processed(rows, tmp_path / "run").values()] == [2] * 30


def test_code_is_run_against_the_tests_of_the_problem(mill, solver, rows, tmp_path):
    problems = [
        {
            "unique_id": "add",
            "question": "Write add(a, b).",
            "tests": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"],
        }
    ]
    said = ["```python\ndef add(a, b):\n    return a + b\n```", "def add(a, b):\n    return 3\n", "print('passed')"]
    path = solver({"add(a, b)": said}, problems=problems, generate={"k": 3}, grade={"code": {"timeout_s": 100}})
    done = mill("answers", "run", path, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    (row,) = rows(tmp_path / "run" / "exports" / "solver_problems_processed.jsonl")
    assert row["tests"] == ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
    assert [response["is_correct"] for response in row["responses"]] == [True, False, False]
    assert {response["metric"] for response in row["responses"]} == {"code"}
    assert row["responses"][0]["verified_by"].startswith("code: ")


def test_fewer_attempts_than_before_grade_the_responses_that_then_count(mill, solver, rows, tmp_path):
    empty = {**GOOD, "1200": ["", r"<answer>\boxed{1234}</answer>"]}
    path = solver(empty, generate={"k": 1})
    run = tmp_path / "run"
    assert mill("answers", "run", path, "--out", run).code == 0
    assert [each["is_correct"] for each in processed(rows, run)["sum"]["responses"]] == [True]
    said = mill("answers", "evaluate", path, "--out", run, "--max-attempts", 1)
    assert said.code == 0, said.err
    (response,) = processed(rows, run)["sum"]["responses"]
    assert (response["sample"], response["verified_by"], response["is_correct"]) == (0, "unanswered", False)
    mill("answers", "evaluate", path, "--out", run)
    assert [each["sample"] for each in processed(rows, run)["sum"]["responses"]] == [1]


def test_two_runs_of_one_model_are_told_apart(mill, solver, tmp_path):
    mill("answers", "run", solver(GOOD), "--out", tmp_path / "one")
    mill("answers", "run", solver({**GOOD, "1200": "The answer is 7."}), "--out", tmp_path / "two")
    said = mill("answers", "compare", tmp_path / "one", tmp_path / "two", "--json")
    assert said.code == 0, said.err
    (pair,) = json.loads(said.out)["comparisons"]
    assert (pair["first"], pair["second"]) == ("solver (one: solver_problems)", "solver (two: solver_problems)")
    assert "only one model is in there" in mill("answers", "compare", tmp_path / "one", tmp_path / "one").error


def test_other_problems_under_the_same_ids_are_not_compared(mill, solver, tmp_path):
    mill("answers", "run", solver(GOOD), "--out", tmp_path / "one")
    others = [{**PROBLEMS[0], "question": "What is 1200 + 35?"}]
    mill("answers", "run", solver(GOOD, problems=others, generate={"model": "other"}), "--out", tmp_path / "two")
    assert "problem 'sum' is another one in" in mill("answers", "compare", tmp_path / "one", tmp_path / "two").error
    others = [{**PROBLEMS[0], "unique_id": "further"}]
    mill("answers", "run", solver(GOOD, problems=others, generate={"model": "other"}), "--out", tmp_path / "three")
    said = mill("answers", "compare", tmp_path / "one", tmp_path / "three")
    assert said.code == 2
    assert "no problem was graded for two of these models. Compare answers to the same problems" in said.error


def test_figures_are_shown_only_by_the_commands_that_make_them(mill, solver, tmp_path):
    path = solver(GOOD)
    assert "In brackets" in mill("answers", "run", path, "--out", tmp_path / "run").out
    said = mill("answers", "generate", path, "--out", tmp_path / "run", "--k-responses", "3")
    assert said.code == 0, said.err
    assert "In brackets" not in said.out  # they would be those of two responses each
    assert "No such option" in mill("answers", "generate", path, "--by-category").err


def test_an_output_that_is_a_folder_is_said_before_anything_is_asked(mill, solver, tmp_path):
    said = mill("answers", "run", solver(GOOD), "--out", tmp_path / "run", "--output", tmp_path)
    assert said.code == 2
    assert f"{tmp_path}: is a folder" in said.error
    assert solver.calls() == 0


def test_a_run_is_not_taken_for_a_folder_of_files(mill, solver, tmp_path):
    assert mill("answers", "run", solver(GOOD), "--out", tmp_path / "run").code == 0
    said = mill("answers", "extract", "--input", tmp_path / "run")
    assert said.code == 2
    assert f"is a run. Grade it with: promptmill answers evaluate --out {tmp_path / 'run'}" in said.err


def test_files_that_another_command_wrote_over_are_written_again(mill, solver, rows, tmp_path):
    path, out = solver(GOOD), tmp_path / "run"
    mill("answers", "run", path, "--out", out)
    before = processed(rows, out)
    assert mill("answers", "extract", "--input", out / "exports").code == 0
    assert processed(rows, out) != before  # nobody told it the model
    said = mill("verify", out)
    assert said.code == 1
    assert "problems_processed.jsonl: is missing or not as it was written; the next run makes it anew" in said.out
    assert mill("answers", "evaluate", path, "--out", out).code == 0
    assert processed(rows, out) == before
    assert mill("verify", out).code == 0


def test_no_problems_are_no_number_of_problems(mill, solver, tmp_path):
    said = mill("answers", "run", solver(GOOD), "--out", tmp_path / "run", "--num-problems", 0)
    assert said.error == "error: source.n: 0: is no number of problems. Give 1 or more, or all."


def test_another_version_grades_again(mill, solver, tmp_path, monkeypatch):
    path = solver(GOOD)
    mill("answers", "run", path, "--out", tmp_path / "run")
    assert "are graded already" in mill("answers", "evaluate", path, "--out", tmp_path / "run").err
    monkeypatch.setattr(promptmill, "__version__", "999.0")
    assert "are graded already" not in mill("answers", "evaluate", path, "--out", tmp_path / "run").err
    assert solver.calls() == 6


def test_a_judge_who_gives_no_verdicts_is_told_and_is_no_success(mill, solver, rows, tmp_path):
    (tmp_path / "broken.py").write_text("async def judge(request):\n    raise ValueError('no')\n")
    generate = {"model": "judge", "endpoints": [{"kind": "function", "function": f"{tmp_path / 'broken.py'}:judge"}]}
    problems = [{"unique_id": "who", "question": "Who wrote Faust?", "answer_correct": "Johann Wolfgang von Goethe"}]
    answers = {"Faust": "<answer>J. W. Goethe, the poet</answer>"}
    path = solver(answers, problems=problems, judge={"generate": generate})
    said = mill("answers", "run", path, "--out", tmp_path / "run")
    assert said.code == 1
    assert "judge: 1 of them got no verdict, for their requests failed, and stay as the rules left them." in said.err
    assert [each["judge"] for each in processed(rows, tmp_path / "run")["who"]["responses"]] == [None, None]
    (tmp_path / "broken.py").write_text('async def judge(request):\n    return \'{"verdict": "yes"}\'\n')
    again = mill("answers", "run", path, "--out", tmp_path / "run", "--judge.generate.retry_refused", "true")
    assert again.code == 0, again.err
    assert [each["is_correct"] for each in processed(rows, tmp_path / "run")["who"]["responses"]] == [True, True]


def test_a_judge_whose_cap_is_reached_names_his_own_flag_and_whom_he_was_not_asked_about(mill, solver, tmp_path):
    (tmp_path / "yes.py").write_text('async def judge(request):\n    return \'{"verdict": "yes"}\'\n')
    judge = {
        "model": "judge",
        "endpoints": [{"kind": "function", "function": f"{tmp_path / 'yes.py'}:judge"}],
        "budget": {"max_requests": 1},
    }
    problems = [
        {"unique_id": name, "question": f"Who wrote {name}?", "answer_correct": "Johann Wolfgang von Goethe"}
        for name in ("Faust", "Egmont")
    ]
    answers = {"Faust": "<answer>J. W. Goethe, the poet</answer>", "Egmont": "<answer>Goethe, of Weimar</answer>"}
    path = solver(answers, problems=problems, judge={"generate": judge})
    planned = mill("plan", path, "--out", tmp_path / "run").out
    assert "later     judge is asked about answers that the rules leave open; how many, " in planned
    said = mill("answers", "run", path, "--out", tmp_path / "run")
    assert said.code == 1
    assert "To go on: the same command with --judge.generate.budget.max_requests 2" in said.err
    assert "judge: not asked: 1 of them; they stay as the rules left them." in said.err
    assert "ended early (judge: 1 of 2 requests are answered; " in mill("status", tmp_path / "run").out
    proof = mill("verify", tmp_path / "run")
    assert (proof.code, "has not every outcome yet; the next run asks the rest" in proof.out + proof.err) == (1, True)
    more = mill("answers", "run", path, "--out", tmp_path / "run", "--judge.generate.budget.max_requests", "2")
    assert (more.code, "ended early" in mill("status", tmp_path / "run").out) == (0, False)
    assert mill("verify", tmp_path / "run").code == 0


def test_more_problems_than_before_keep_the_answers_to_the_first(mill, solver, rows, tmp_path):
    path, run = solver(GOOD), tmp_path / "run"
    assert mill("answers", "run", path, "--out", run, "--num-problems", 2).code == 0
    assert solver.calls() == 4
    said = mill("answers", "run", path, "--out", run, "--num-problems", "all")
    assert said.code == 0, said.err
    assert solver.calls() == 6
    assert list(processed(rows, run)) == ["sum", "half", "bat"]
    assert mill("answers", "run", path, "--out", run, "--num-problems", 1).code == 0
    assert solver.calls() == 6
    assert list(processed(rows, run)) == ["sum"]
    assert mill("answers", "run", path, "--out", run).code == 0
    assert solver.calls() == 6


def test_a_plan_says_that_a_run_into_the_folder_would_be_refused_and_why(mill, solver, tmp_path):
    path, run = solver(GOOD), tmp_path / "run"
    assert mill("answers", "run", path, "--out", run).code == 0
    assert mill("plan", path, "--out", run).code == 0
    said = mill("plan", path, "--out", run, "--set", "generate.sampling.temperature=0", "--json")
    end = mill("answers", "run", path, "--out", run, "--generate.sampling.temperature", 0)
    refused = json.loads(said.out)["refused"]
    assert (said.code, end.code, end.error) == (2, 2, f"error: {refused}")
    assert "What differs: generate.sampling.temperature: 0.7 -> 0" in refused
    assert mill("plan", path, "--out", run, "--set", "grade.metric=exact").code == 0  # what is derived is made anew


def test_evaluate_reads_no_source_and_refuses_another_one(mill, solver, tmp_path):
    mill("answers", "run", solver(GOOD), "--out", tmp_path / "run")
    (tmp_path / "other.jsonl").write_text('{"question": "?", "answer_correct": "1"}\n')
    code, _, error = mill("answers", "evaluate", "--out", tmp_path / "run", "--input", tmp_path / "other.jsonl")
    assert code == 2
    assert f"the answers in {tmp_path / 'run'} are to problems.jsonl, and this command reads no source" in error
    (tmp_path / "problems.jsonl").rename(tmp_path / "renamed.jsonl")
    assert mill("answers", "evaluate", "--out", tmp_path / "run", "--input", tmp_path / "renamed.jsonl")[0] == 0
    assert mill("answers", "evaluate", "--out", tmp_path / "run", "--input", tmp_path / "gone.jsonl")[0] == 0


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (
            {"generate": {"templates": {"open": "gone.txt"}}},
            "generate.templates.open: gone.txt: cannot be read: No such",
        ),
        ({"generate": {"templates": {"choice": "mine.txt"}}}, "choice: mine.txt: has no '{choices}' in it"),
        ({"judge": {"prompt_file": "mine.txt", "generate": {"model": "j"}}}, "mine.txt: has no '{reference}' in it"),
    ],
)
def test_check_opens_the_templates_that_a_recipe_names(mill, solver, tmp_path, monkeypatch, section, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("Q: {question}")
    assert mill("check", solver(GOOD))[0] == 0
    code, _, error = mill("check", solver(GOOD, **section))
    assert code == 2
    assert words in error
    assert error.count("\n") == 1


def test_a_number_of_problems_is_no_option_of_what_reads_none(mill, solver, tmp_path):
    mill("answers", "run", solver(GOOD), "--out", tmp_path / "run")
    said = mill("answers", "evaluate", "--out", tmp_path / "run", "--num-problems", "1")
    assert said.code == 2
    assert "source.n: the run took all, the recipe says 1, and this command reads no source" in said.err
    assert mill("answers", "evaluate", "--out", tmp_path / "run", "--limit", "1").code == 0


def test_a_folder_without_a_run_is_named(mill, tmp_path):
    said = mill("answers", "evaluate", "--out", tmp_path / "none")
    assert said.code == 2
    assert f"{tmp_path / 'none'}: holds no run." in said.err


def test_equal_answers_vote_together_in_the_report_of_a_run(mill, solver, rows, tmp_path):
    problems = [{"unique_id": "e", "question": "Expand 2(x+1)", "answer_correct": "2x+2"}]
    answers = {"Expand": [r"\boxed{2x+2}", r"\boxed{2+2x}", r"\boxed{3x}", r"\boxed{3x}", r"\boxed{2(x+1)}"]}
    path = solver(answers, problems=problems, generate={"k": 5})
    assert mill("answers", "run", path, "--out", tmp_path / "run").code == 0
    said = processed(rows, tmp_path / "run")["e"]["responses"]
    assert [each["vote"] for each in said] == ["2(x+1)", "2(x+1)", "3x", "3x", "2(x+1)"]
    (summary,) = (tmp_path / "run" / "exports").glob("*_summary.json")
    assert json.loads(summary.read_text())["models"][0]["overall"]["maj_at_k"]["value"] == 1.0


def test_responses_of_a_file_are_put_before_a_judge_as_the_page_says(mill, rows, tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "judge.md").read_text()
    (replay,) = re.findall(r"```python\n(# replay\.py\n.*?)```", page, re.DOTALL)
    (recipe,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "replay.py" in text]
    monkeypatch.chdir(tmp_path)
    Path("replay.py").write_text(replay)
    Path("bare.txt").write_text("{question}\n")
    Path("judge.py").write_text(
        'async def judge(request):\n    return \'{"reason": "the same man", "verdict": "yes"}\'\n'
    )
    tree = yaml.safe_load(recipe)
    tree["grade"] = {**tree.get("grade", {}), **GRADE}
    tree["judge"]["generate"]["endpoints"] = [{"kind": "function", "function": "judge.py:judge"}]
    Path("recipe.yaml").write_text(yaml.safe_dump(tree))
    row = {"unique_id": "who", "question": "Who wrote Faust?", "answer_correct": "Johann Wolfgang von Goethe"}
    responses = [{"full_response": "The answer is Goethe."}, {"full_response": "I do not know."}]
    Path("theirs.jsonl").write_text(json.dumps({**row, "responses": responses}) + "\n")
    said = mill("answers", "run", "recipe.yaml", "--out", "run")
    assert said.code == 0, said.err
    graded = processed(rows, tmp_path / "run")["who"]["responses"]
    assert [(each["full_response"], each["is_correct"]) for each in graded] == [
        ("The answer is Goethe.", True), ("I do not know.", False),
    ]  # fmt: skip
    assert graded[0]["judge"]["verdict"] == 1.0


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("out.csv", "out.csv: JSON Lines are written, and this name says otherwise. Let it end in .jsonl."),
        ("results/", "output: 'results/' names no file. Write it like results/results.json."),
    ],
)
def test_an_output_that_is_no_file_of_json_lines_is_said_before_anything_is_asked(
    mill, solver, tmp_path, monkeypatch, output, words
):
    monkeypatch.chdir(tmp_path)
    said = mill("answers", "run", solver(GOOD), "--output", output)
    assert (said.code, said.err) == (2, f"error: {words}\n")
    assert solver.calls() == 0
