import json

import msgspec
import pytest

from promptmill.derive.exports import write_results
from promptmill.errors import DataError
from promptmill.records import Completion, Failure, Message, Prompt, Usage

PROMPT = Prompt(id="a", source="s", text='Say "é".')
COMPLETION = Completion(
    key="k1",
    prompt_id="a",
    model="m",
    text="é",
    finish="length",
    token_ids=(7, 8),
    usage=Usage(prompt_tokens=4, completion_tokens=2),
)


def write(path, rows, **options):
    counts = write_results(path, rows, training_samples=3, **options)
    return counts, json.loads(path.read_bytes())


def test_the_object_has_exactly_the_keys_that_other_tools_read(tmp_path):
    failure = Failure(key="k2", prompt_id="b", model="m", kind="timeout", detail="no answer in 300 s", attempts=3)
    rows = [(0, PROMPT, COMPLETION), (1, Prompt(id="b", source="s", text="two"), failure)]
    counts, found = write(tmp_path / "r.json", rows)
    assert counts == {"total": 2, "success": 1, "failed": 1}
    assert list(found) == ["total", "success", "failed", "total_training_samples", "results"]
    assert (found["total"], found["success"], found["failed"], found["total_training_samples"]) == (2, 1, 1, 3)
    assert found["results"] == [
        {
            "index": 0,
            "input_prompt": 'Say "é".',
            "output_text": "é",
            "full_response": {
                "id": "k1",
                "object": "text_completion",
                "model": "m",
                "choices": [{"index": 0, "finish_reason": "length", "text": "é", "token_ids": [7, 8]}],
                "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6},
            },
            "status": "success",
        },
        {
            "index": 1,
            "input_prompt": "two",
            "output_text": None,
            "full_response": {"error": {"kind": "timeout", "detail": "no answer in 300 s"}},
            "status": "failed",
        },
    ]


def test_a_body_that_was_kept_is_written_as_it_came(tmp_path):
    kept = msgspec.structs.replace(COMPLETION, response=msgspec.Raw(b'{"id": "cmpl-1", "extra": [1]}'))
    _, found = write(tmp_path / "r.json", [(0, PROMPT, kept)])
    assert found["results"][0]["full_response"] == {"id": "cmpl-1", "extra": [1]}


def test_a_chat_answer_has_a_message(tmp_path):
    prompt = Prompt(id="a", source="s", messages=(Message(role="user", content="Hi"),))
    answer = Completion(key="k", prompt_id="a", model="m", text="Yo", reasoning="hm", finish="filter")
    _, found = write(tmp_path / "r.json", [(0, prompt, answer)], protocol="chat")
    (row,) = found["results"]
    assert row["input_prompt"] == "Hi"
    assert row["full_response"]["choices"] == [
        {
            "index": 0,
            "finish_reason": "content_filter",
            "message": {"role": "assistant", "content": "Yo", "reasoning": "hm"},
        }
    ]


def test_a_request_never_answered_is_failed(tmp_path):
    counts, found = write(tmp_path / "r.json", [(0, PROMPT, None)])
    assert counts == {"total": 1, "success": 0, "failed": 1}
    assert found["results"][0]["full_response"] == {"error": {"kind": "missing", "detail": "not answered yet"}}


def test_no_row_is_still_a_whole_object(tmp_path):
    _, found = write(tmp_path / "r.json", [])
    assert (found["total"], found["results"]) == (0, [])


def test_an_output_path_that_is_a_folder_is_one_clear_error(tmp_path):
    (tmp_path / "r.json").mkdir()
    with pytest.raises(DataError, match=r"r\.json: is a folder, cannot be written as a file\. Name a file in it\."):
        write_results(tmp_path / "r.json", [(0, PROMPT, COMPLETION)], training_samples=0)
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_an_error_while_reading_leaves_no_file(tmp_path):
    def broken():
        yield 0, PROMPT, COMPLETION
        raise DataError("outcomes.jsonl:2: torn")

    with pytest.raises(DataError, match="torn"):
        write_results(tmp_path / "r.json", broken(), training_samples=0)
    assert list(tmp_path.iterdir()) == []
