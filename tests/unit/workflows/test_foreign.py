"""Rows with responses that other tools wrote."""

import json

import pytest

from promptmill.errors import DataError
from promptmill.sources.rows import Rows
from promptmill.workflows.foreign import COLUMNS, PASSED, ResponseRows

PROBLEM = {"question": "1 + 1?", "answer_correct": "2"}


def texts(path, reader):
    rows = [row for row in Rows(str(path), "auto", columns=COLUMNS, read=reader.read) if row is not PASSED]
    return [[response.text for response in reader.responses(row)] for row in rows]


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("columns", "read_from"),
    [
        ({"responses": [{"full_response": "a"}, {"full_response": "b"}]}, "responses"),
        ({"responses": ["a", "b"]}, "responses"),
        ({"responses": [{"response": "a"}, {"text": "b"}]}, "responses"),
        ({"responses": [{"content": "a"}, {"generated_text": "b"}]}, "responses"),
        ({"completions": ["a", "b"]}, "completions"),
        ({"outputs": [{"output": "a"}, {"completion": "b"}]}, "outputs"),
        ({"resps": [["a", "b"]]}, "resps"),
        ({"resps": [["a"], ["b"]]}, "resps"),
        ({"responses": json.dumps(["a", "b"])}, "responses"),  # as a table holds it
    ],
)
def test_lists_of_responses_are_read_under_the_names_people_use(tmp_path, columns, read_from):
    reader = ResponseRows()
    assert texts(lines(tmp_path / "f.jsonl", {**PROBLEM, **columns}), reader) == [["a", "b"]]
    assert reader.read_from == {read_from}


@pytest.mark.parametrize("name", ["full_response", "response", "completion", "output", "generated_text", "prediction"])
def test_one_response_a_row_is_read_under_the_names_people_use(tmp_path, name):
    reader = ResponseRows()
    assert texts(lines(tmp_path / "f.jsonl", {**PROBLEM, name: "[a], b"}), reader) == [["[a], b"]]
    assert reader.read_from == {name}


def test_tables_are_read_too(tmp_path):
    (tmp_path / "f.csv").write_text('question,answer_correct,response,model\n1 + 1?,2,"two, I think",m\n')
    reader = ResponseRows()
    (row,) = Rows(str(tmp_path / "f.csv"), "auto", columns=COLUMNS, read=reader.read)
    assert [(each.text, each.model) for each in reader.responses(row)] == [("two, I think", "m")]


def test_the_model_of_a_row_answers_for_its_responses_unless_they_tell_their_own(tmp_path):
    given = lines(tmp_path / "f.jsonl", {**PROBLEM, "model": "m", "responses": ["a", {"text": "b", "model": "n"}]})
    reader = ResponseRows("other")
    (row,) = Rows(str(given), "auto", columns=COLUMNS, read=reader.read)
    assert [each.model for each in reader.responses(row)] == ["m", "n"]


def sample(number, name, **doc):
    return {
        "doc_id": number,
        "doc": {"question": f"{number} + 1?", "answer": "so it is\n#### 2", **doc},
        "target": "so it is\n#### 2",
        "resps": [["The answer is 2."]],
        "filtered_resps": ["2"],
        "filter": name,
        "exact_match": 1.0,
    }


def test_samples_of_the_harness_are_read_once_for_all_their_filters(tmp_path):
    rows = [sample(n, name) for n in (0, 1) for name in ("strict-match", "flexible-extract")]
    reader = ResponseRows()
    found = list(Rows(str(lines(tmp_path / "f.jsonl", *rows)), "auto", columns=COLUMNS, read=reader.read))
    assert [row.id for row in found] == ["0", "", "1", ""]
    assert [row.reference.answer for row in found if row is not PASSED] == ["2", "2"]


def test_options_of_the_harness_come_with_a_letter_or_an_index(tmp_path):
    options = {"question": "Which?", "choices": ["trout", "bat"]}
    rows = [{"doc_id": n, "doc": options, "target": each, "resps": [["B"]]} for n, each in enumerate(["(B)", 1])]
    found = list(Rows(str(lines(tmp_path / "f.jsonl", *rows)), "auto", columns=COLUMNS, read=ResponseRows().read))
    assert [row.meta["choice_index_correct"] for row in found] == [1, 1]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"said": "a"}, 'no column of responses. There are: question, answer_correct, said. Write "responses": '),
        ({"responses": 5}, "column 'responses' holds the number 5, not a list of responses. Write"),
        ({"responses": "a text"}, "column 'responses' holds a text, not a list of responses. Write"),
        ({"responses": {"full_response": "a"}}, "column 'responses' holds an object, not a list of responses. Write"),
    ],
)
def test_a_row_without_responses_is_named_with_what_would_do(tmp_path, row, words):
    given = lines(tmp_path / "f.jsonl", {**PROBLEM, "responses": ["a"]}, {**PROBLEM, "question": "2?", **row})
    with pytest.raises(DataError) as error:
        texts(given, ResponseRows())
    assert f"{given}:2: {words}" in str(error.value)


@pytest.mark.parametrize("row", [{"responses": None}, {"responses": []}, {"responses": ""}, {"response": None}])
def test_a_problem_that_nobody_answered_is_a_problem_without_responses(tmp_path, row):
    reader = ResponseRows()
    assert texts(lines(tmp_path / "f.jsonl", {**PROBLEM, **row}), reader) == [[]]
