"""Files of responses that other tools wrote: graded and compared without a run, by the real command line."""

import json

import pytest


def test_files_of_others_are_graded_without_a_run(mill, rows, tmp_path):
    given = tmp_path / "theirs.jsonl"
    row = {"unique_id": "a", "problem": "1 + 1?", "is_mcq": False, "choices": None, "choice_index_correct": None}
    row |= {"explanation_correct": "", "answer_correct": "2", "category": ""}
    said = [r"\boxed{2}", "The answer is 3.", "no idea", "<think>The answer is 2."]
    given.write_text(json.dumps({**row, "responses": [{"full_response": text} for text in said]}) + "\n")
    assert mill("answers", "extract", "--input", given, "--model", "theirs").code == 0
    (graded,) = rows(tmp_path / "theirs_processed.jsonl")
    assert [r["is_correct"] for r in graded["responses"]] == [True, False, False, False]
    assert [r["truncated"] for r in graded["responses"]] == [None, None, None, True]
    # what was written can be read again
    assert (
        mill("answers", "extract", "--input", tmp_path / "theirs_processed.jsonl", "--output", tmp_path / "o").code == 0
    )
    assert (tmp_path / "o" / "theirs_processed_summary.json").exists()


@pytest.mark.parametrize("responses", [[5], [{"said": "5"}], [None]])
def test_a_file_in_which_no_response_holds_a_text_is_refused(mill, tmp_path, responses):
    given = tmp_path / "theirs.jsonl"
    given.write_text(json.dumps({"problem": "2 + 3?", "answer_correct": "5", "responses": responses}))
    said = mill("answers", "extract", "--input", given)
    assert said.code == 2
    assert (
        f'{given}: none of its 1 responses holds a text. Write "responses": [{{"full_response": "..."}}].' in said.err
    )
    assert list(tmp_path.iterdir()) == [given]


def test_two_files_of_one_name_are_not_written_over_each_other(mill, tmp_path):
    row = json.dumps({"question": "1 + 1?", "answer_correct": "2", "response": "2"}) + "\n"
    for name in ("qwen2.5.jsonl", "qwen2.7.jsonl"):
        (tmp_path / name).write_text(row)
    said = mill("answers", "extract", "--input", tmp_path)
    assert said.code == 0, said.err
    assert "1 responses to 1 problems, read from 'response'" in said.err
    assert (tmp_path / "qwen2.5_processed.jsonl").exists()
    assert (tmp_path / "qwen2.7_summary.json").exists()
    (tmp_path / "qwen2.5.ndjson").write_text(row)
    said = mill("answers", "extract", "--input", tmp_path)
    assert said.code == 2
    assert "qwen2.5.ndjson: " in said.err
    assert "Give one of them another name." in said.err


def test_problems_that_do_not_say_what_is_right_are_counted(mill, tmp_path):
    given = tmp_path / "theirs.jsonl"
    given.write_text(json.dumps({"question": "1 + 1?", "answer": "2", "response": "2"}) + "\n")
    said = mill("answers", "extract", "--input", given)
    assert said.code == 0
    assert "1 problems do not say what is right, and are not graded. " in said.err
    assert "Call the column that does answer_correct, choice_index_correct or tests." in said.err


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"is_correct": "yes"}, "is not as 'extract' writes it: Expected `bool | null`, got `str` - at `$.is_correct`"),
        ({"is_correct": True, "score": "1"}, "got `str` - at `$.score`"),
        ({"is_correct": True, "score": 2}, "Expected `float` <= 1.0 - at `$.score`"),
        ({}, "has responses that are not graded. Grade them (extract)."),
    ],
)
def test_a_graded_file_with_wrong_values_is_named(mill, tmp_path, response, words):
    given = tmp_path / "theirs_processed.jsonl"
    row = {"question": "1 + 1?", "answer_correct": "2", "responses": [{"full_response": "2", **response}]}
    given.write_text(json.dumps(row) + "\n")
    said = mill("answers", "compare", given)
    assert said.code == 2
    assert "theirs_processed.jsonl:1: " in said.err
    assert words in said.err


def test_graded_files_of_others_vote_by_spelling(mill, tmp_path):
    rows_of = {
        "one": [("0.5", True), (r"\frac{1}{2}", True), ("3", False)],
        "two": [("3", False), ("3.0", False), ("0.5", True)],
    }
    for name, said in rows_of.items():
        responses = [{"full_response": "", "extracted_answer": text, "is_correct": right} for text, right in said]
        row = {"question": "half?", "answer_correct": "0.5", "responses": responses}
        (tmp_path / f"{name}_processed.jsonl").write_text(json.dumps(row) + "\n")
    report = json.loads(mill("answers", "compare", *sorted(tmp_path.glob("*.jsonl")), "--json").out)
    assert [model["overall"]["maj_at_k"]["value"] for model in report["models"]] == [1.0, 0.0]


def test_a_line_for_each_sample_is_joined_where_the_lines_of_a_problem_follow_each_other(mill, rows, tmp_path):
    one = {"unique_id": "a", "question": "1 + 1?", "answer_correct": "2"}
    other = {"question": "2 + 2?", "answer_correct": "4"}  # known by its text
    lines = [
        {**one, "response": "The answer is 2.", "finish_reason": "stop"},
        {**one, "response": "So 1 + 1 =", "finish_reason": "length"},
        {**one, "response": None},
        {**other, "response": "The answer is 5.", "model": "m"},
        {**other, "response": "The answer is 4.", "model": "m"},
    ]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = mill("answers", "extract", "--input", tmp_path / "long.jsonl")
    assert said.code == 0, said.err
    assert "4 responses to 2 problems" in said.err
    graded = [
        [(each["sample"], each["is_correct"], each["truncated"], each["model"]) for each in row["responses"]]
        for row in rows(tmp_path / "long_processed.jsonl")
    ]
    assert graded == [
        [(0, True, False, ""), (1, False, True, "")],
        [(0, False, None, "m"), (1, True, None, "m")],
    ]


def test_lines_of_a_problem_that_do_not_follow_each_other_or_say_otherwise_are_refused(mill, tmp_path):
    one = {"unique_id": "a", "question": "1 + 1?", "answer_correct": "2", "response": "2"}
    between = {**one, "unique_id": "b"}
    nameless = {name: value for name, value in one.items() if name != "unique_id"}
    for first, *second, says in (
        (one, between, one, "3: the id 'a' stands at long.jsonl:1 already. Let rows of one problem follow each other."),
        (
            one,
            {**one, "answer_correct": "3"},
            "2: the id 'a' is another problem at long.jsonl:1. Give each problem one",
        ),
        (nameless, {**nameless, "answer_correct": "3"}, "2: is the same question as long.jsonl:1 with another right"),
    ):
        (tmp_path / "long.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [first, *second]))
        said = mill("answers", "extract", "--input", tmp_path / "long.jsonl")
        assert said.code == 2
        assert f"long.jsonl:{says}" in said.error


def test_extract_asks_no_judge(mill, tmp_path):
    (tmp_path / "f.jsonl").write_text('{"question": "?", "answer_correct": "2", "response": "2"}\n')
    said = mill("answers", "extract", "--input", tmp_path / "f.jsonl", "--metric", "judge")
    assert (said.code, said.err) == (
        2,
        "error: metric: 'judge' asks a model, and this command asks nobody. See docs/judge.md for files.\n",
    )


def test_graded_files_go_to_a_folder_whatever_its_name(mill, tmp_path):
    (tmp_path / "f.jsonl").write_text('{"question": "1 + 1?", "answer_correct": "2", "response": "2"}\n')
    for name in ("v2.5", "new"):
        assert mill("answers", "extract", "--input", tmp_path / "f.jsonl", "--output", tmp_path / name).code == 0
        assert (tmp_path / name / "f_processed.jsonl").exists()
    said = mill("answers", "extract", "--input", tmp_path / "f.jsonl", "--output", tmp_path / "g.parquet")
    assert "g.parquet: JSON Lines are written" in said.err
