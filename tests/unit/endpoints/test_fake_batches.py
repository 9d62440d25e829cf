"""The fake server's batch pages: they behave as OpenAI's do, and go wrong as they are told."""

import json
import urllib.error
import urllib.request

import pytest

from promptmill.endpoints.batches import multipart
from promptmill.endpoints.fake import FakeOptions
from promptmill.errors import ConfigError
from promptmill.testing import fake_server


def call(url, body=None, content_type="application/json", method=None):
    """The status and body of a request."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": content_type}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def line(name, **more):
    body = {"model": "fake", "prompt": name, "max_tokens": 50}
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/completions", "body": body, **more})


def run(url, *lines):
    """Upload the lines and run them; return the facts of the batch, its answers and its errors."""
    form, content_type = multipart({"purpose": "batch"}, name="r.jsonl", content="\n".join(lines).encode() + b"\n")
    file_id = json.loads(call(f"{url}/v1/files", form, content_type)[1])["id"]
    made = call(f"{url}/v1/batches", {"input_file_id": file_id, "endpoint": "/v1/completions"})[1]
    facts = json.loads(call(f"{url}/v1/batches/{json.loads(made)['id']}")[1])
    files = []
    for kind in ("output_file_id", "error_file_id"):
        content = call(f"{url}/v1/files/{facts[kind]}/content")[1] if facts[kind] else b""
        files.append(content.decode().split("\n")[:-1])
    return facts, *files


def test_a_line_gets_the_answer_of_the_live_page():
    with fake_server(FakeOptions(words="5-9")) as url:
        _, (row,), _ = run(url, line("one"))
        live = json.loads(call(f"{url}/v1/completions", {"model": "fake", "prompt": "one", "max_tokens": 50})[1])
    row = json.loads(row)
    assert (row["custom_id"], row["response"]["status_code"], row["error"]) == ("one", 200, None)
    assert row["response"]["body"] == live


def test_results_are_in_another_order_than_requests():
    names = [f"n{i}" for i in range(20)]
    with fake_server(FakeOptions()) as url:
        _, rows, _ = run(url, *map(line, names))
    came = [json.loads(row)["custom_id"] for row in rows]
    assert came != names
    assert sorted(came) == sorted(names)


def test_a_batch_that_expires_has_a_part_of_its_answers_and_names_the_rest():
    with fake_server(FakeOptions(batch_script="expired", batch_done=0.5)) as url:
        facts, rows, rest = run(url, *map(line, "abcd"))
        again, *_ = run(url, *map(line, "abcd"))
    assert facts["status"] == "expired"
    assert sorted(json.loads(row)["custom_id"] for row in rows) == ["a", "b"]
    assert {json.loads(row)["custom_id"]: json.loads(row)["error"]["code"] for row in rest} == dict.fromkeys(
        "cd", "batch_expired"
    )
    assert again["status"] == "completed"


def test_each_fault_of_a_line_strikes_as_its_name_says():
    def strike(fault):
        with fake_server(FakeOptions(batch_faults=f"{fault}:1")) as url:
            _, rows, errors = run(url, line("one"))
        return rows, errors

    assert [json.loads(row)["response"]["status_code"] for row in strike("429")[1]] == [429]
    assert strike("missing") == ([], [])
    assert len(strike("double")[0]) == 2
    assert sorted(json.loads(row)["custom_id"] for row in strike("stranger")[0]) == ["one", "somebody-else"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(strike("json")[0][0])


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        (["{"], "invalid_json_line", 1),
        ([line("a"), line("a")], "duplicate_custom_id", 2),
        ([line("a"), line("b", url="/v1/chat/completions")], "mismatched_endpoint", 2),
    ],
)
def test_a_file_that_is_wrong_fails_whole(lines, code, number):
    with fake_server(FakeOptions()) as url:
        facts, _, _ = run(url, *lines)
    problem = facts["errors"]["data"][0]
    assert (facts["status"], problem["code"], problem["line"]) == ("failed", code, number)


def test_a_batch_in_progress_can_be_cancelled_and_one_that_ended_cannot():
    with fake_server(FakeOptions(batch_s=3600, batch_done=0.25)) as url:
        facts, _, _ = run(url, *map(line, "abcd"))
        page = f"{url}/v1/batches/{facts['id']}"
        first = call(f"{page}/cancel", {})
        second = call(f"{page}/cancel", {})
    assert facts["status"] == "in_progress"
    assert json.loads(first[1])["status"] == "cancelled"
    assert json.loads(first[1])["request_counts"] == {"total": 4, "completed": 1, "failed": 3}
    assert second[0] == 409


def test_a_creation_whose_answer_is_lost_happened_all_the_same():
    with fake_server(FakeOptions(batch_lost=1)) as url:
        form, content_type = multipart({"purpose": "batch"}, name="r.jsonl", content=line("a").encode())
        file_id = json.loads(call(f"{url}/v1/files", form, content_type)[1])["id"]
        status, _ = call(f"{url}/v1/batches", {"input_file_id": file_id, "endpoint": "/v1/completions"})
        known = json.loads(call(f"{url}/v1/batches")[1])["data"]
    assert status == 500
    assert [batch["input_file_id"] for batch in known] == [file_id]


@pytest.mark.parametrize(
    ("page", "body", "status"),
    [
        ("/v1/files", b"no form", 400),
        ("/v1/files/file-none", None, 404),
        ("/v1/batches", b"{}", 400),
        ("/v1/batches/batch-none", None, 404),
    ],
)
def test_wrong_questions_get_the_status_that_openai_gives(page, body, status):
    with fake_server(FakeOptions()) as url:
        assert call(f"{url}{page}", body)[0] == status


def test_the_batch_pages_want_the_key_too():
    with fake_server(FakeOptions(keys=("k",))) as url:
        assert call(f"{url}/v1/batches")[0] == 401


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_faults": "418:1"}, "batch_faults: no '418'"),
        ({"batch_faults": "500:x"}, "batch_faults: '500:x' is not readable"),
        ({"batch_faults": "500:0.9,429:0.2"}, "add up to 1.1"),
        ({"batch_script": "exploded"}, "batch_script: no 'exploded'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ConfigError, match=said), fake_server(FakeOptions(**options)):
        pass
