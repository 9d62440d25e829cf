"""The batch protocol: what is sent, what is tried again and what is not, and what a result line says."""

import asyncio
import json

import msgspec
import pytest

from promptmill import errors
from promptmill.endpoints.batches import Batch, Batches, ResultLine, multipart
from promptmill.endpoints.fake import FakeOptions
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.link import Link
from promptmill.endpoints.transport import Reply
from promptmill.testing import fake_server

CANARY = "sk-canary-0123456789abcdef-canary"


class Scripted:
    """A transport that gives prepared replies, or raises prepared errors, and remembers what it was sent."""

    def __init__(self, *replies, pieces=None):
        self.replies = list(replies)
        self.pieces = pieces
        self.sent = []

    async def send(self, method, url, *, body, headers, timeout_s):
        assert timeout_s > 0
        assert headers["Accept"] == "application/json"
        self.sent.append((method, url, body))
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply[0], {}, json.dumps(reply[1]).encode())

    async def close(self):
        pass


class Streaming(Scripted):
    async def stream(self, url, take, *, headers, timeout_s):
        assert timeout_s > 0
        assert headers["Accept"] == "*/*"
        self.sent.append(("GET", url, None))
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            take(piece)
        return Reply(200, {}, b"")


def over(transport, url="http://server.test", key=None):
    return Batches(Link(url, api_key_env=key, timeout_s=120, transport=transport), pause_s=0.0)


def run(batches, ask):
    async def go():
        try:
            return await ask(batches)
        finally:
            await batches.close()

    return asyncio.run(go())


@pytest.fixture
def server():
    with fake_server(FakeOptions()) as url:
        yield url


def lines(*names):
    return b"".join(
        json.dumps(
            {"custom_id": n, "method": "POST", "url": "/v1/completions", "body": {"model": "fake", "prompt": n}}
        ).encode()
        + b"\n"
        for n in names
    )


CREATE = {"endpoint": "/v1/completions", "window": "24h"}


def test_a_file_goes_up_and_comes_down_byte_for_byte(server, tmp_path):
    content = b'{"a": "\xc3\xa9"}\r\n--promptmill-\r\n\n{"b": 2}\n'
    (tmp_path / "up.jsonl").write_bytes(content)

    async def there_and_back(batches):
        await batches.save(await batches.upload(tmp_path / "up.jsonl"), tmp_path / "down.jsonl")

    run(over(Http1Transport(), server), there_and_back)
    assert (tmp_path / "down.jsonl").read_bytes() == content


def test_the_form_has_the_purpose_and_the_file_as_rfc_7578_has_them():
    body, content_type = multipart({"purpose": "batch"}, name="r.jsonl", content=b"{}\n")
    boundary = content_type.removeprefix("multipart/form-data; boundary=")
    assert body.decode() == (
        f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="r.jsonl"\r\n'
        f"Content-Type: application/jsonl\r\n\r\n{{}}\n\r\n--{boundary}--\r\n"
    )


def test_a_batch_runs_and_says_where_its_answers_are(server, tmp_path):
    (tmp_path / "up.jsonl").write_bytes(lines("one", "two"))

    async def go(batches):
        made = await batches.create(await batches.upload(tmp_path / "up.jsonl"), metadata={"mark": "x"}, **CREATE)
        return made, await batches.get(made.id)

    made, later = run(over(Http1Transport(), server), go)
    assert (made.status, made.has_ended, made.metadata) == ("validating", False, {"mark": "x"})
    assert (later.status, later.has_ended, later.request_counts.completed) == ("completed", True, 2)
    assert later.output_file_id is not None
    assert later.error_file_id is None


def test_a_batch_is_found_on_a_later_page_by_its_mark_and_by_its_file(server, tmp_path):
    (tmp_path / "up.jsonl").write_bytes(lines("one"))

    async def go(batches):
        mine = await batches.upload(tmp_path / "up.jsonl")
        other = await batches.upload(tmp_path / "up.jsonl")
        wanted = await batches.create(mine, metadata={"mark": "x"}, **CREATE)
        for _ in range(101):
            await batches.create(other, metadata={"mark": "y"}, **CREATE)
        by_mark = await batches.find({"mark": "x"}, file_id=None, since=0)
        by_file = await batches.find({"mark": "z"}, file_id=mine, since=0)
        none = await batches.find({"mark": "z"}, file_id="file-nobody", since=0)
        too_old = await batches.find({"mark": "x"}, file_id=mine, since=4e9)
        return wanted.id, by_mark.id, by_file.id, none, too_old

    assert run(over(Http1Transport(), server), go) == ("batch_0000", "batch_0000", "batch_0000", None, None)


def test_a_living_batch_is_found_before_one_that_ended():
    page = {
        "data": [
            {"id": "b3", "status": "cancelled", "metadata": {"m": "x"}},
            {"id": "b2", "status": "in_progress", "metadata": {"m": "x"}},
            {"id": "b1", "status": "completed", "metadata": {"m": "x"}},
        ]
    }
    found = run(over(Scripted((200, page))), lambda b: b.find({"m": "x"}, file_id=None, since=0))
    assert found.id == "b2"


def test_a_list_of_batches_without_an_end_is_an_error():
    page = (200, {"data": [{"id": "b", "status": "completed"}], "has_more": True})
    transport = Scripted(*[page] * 1000)
    with pytest.raises(errors.Unavailable, match="has no end"):
        run(over(transport), lambda b: b.find({"m": "x"}, file_id=None, since=0))


BATCH = {"id": "b1", "status": "in_progress"}
BUSY = [(429, {}), (503, {}), errors.Timeout("slow"), errors.Unreachable("gone")]


def test_a_question_is_asked_again_while_the_server_is_busy():
    transport = Scripted(*BUSY, (200, BATCH))
    assert run(over(transport), lambda b: b.get("b1")).id == "b1"
    assert len(transport.sent) == 5


def test_a_question_is_asked_five_times_at_most():
    transport = Scripted(*[(503, {})] * 9)
    with pytest.raises(errors.Unavailable):
        run(over(transport), lambda b: b.get("b1"))
    assert len(transport.sent) == 5


@pytest.mark.parametrize("answer", [(500, {}), errors.Timeout("slow"), errors.Unreachable("gone"), (200, {"no": 1})])
def test_a_creation_that_may_have_happened_is_never_asked_again(answer):
    transport = Scripted(answer)
    with pytest.raises(errors.EndpointError):
        run(over(transport), lambda b: b.create("f", metadata={}, **CREATE))
    assert len(transport.sent) == 1


def test_a_creation_that_surely_did_not_happen_is_asked_again():
    transport = Scripted((429, {}), (429, {}), (200, BATCH))
    assert run(over(transport), lambda b: b.create("f", metadata={"m": "x"}, **CREATE)).id == "b1"
    sent = {json.loads(body)["metadata"]["m"] for _, _, body in transport.sent}
    assert (len(transport.sent), sent) == (3, {"x"})


@pytest.mark.parametrize(("status", "error"), [(401, errors.AuthFailed), (404, errors.Refused), (400, errors.Refused)])
def test_what_asking_again_cannot_change_is_asked_once(status, error):
    transport = Scripted((status, {"error": {"message": "no"}}))
    with pytest.raises(error):
        run(over(transport), lambda b: b.cancel("b1"))
    assert len(transport.sent) == 1


def test_created_and_accepted_are_answers_too():
    assert run(over(Scripted((201, BATCH))), lambda b: b.create("f", metadata={}, **CREATE)).id == "b1"


def test_the_query_of_the_address_goes_behind_the_questions_own():
    transport = Scripted((200, {"data": []}))
    run(over(transport, "http://server.test/v1?api-version=7"), lambda b: b.find({}, file_id=None, since=0))
    assert transport.sent[0][1] == "http://server.test/v1/batches?limit=100&api-version=7"


def test_results_come_in_pieces_and_no_key_gets_through_wherever_they_are_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("BATCH_KEY", CANARY)
    text = f'{{"a": "{CANARY}"}}\n{{"b": 1}}\nlast {CANARY}'.encode()
    for size in (1, 7, 30, 1000):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        batches = over(Streaming(pieces=pieces), key="BATCH_KEY")
        run(batches, lambda b: b.save("f", tmp_path / "out.jsonl"))
        assert (tmp_path / "out.jsonl").read_bytes() == b'{"a": "[key]"}\n{"b": 1}\nlast [key]'


def test_results_that_break_off_are_fetched_again_and_never_seen_half(tmp_path):
    broken = Streaming(pieces=[b"half\n", errors.Unreachable("gone")])
    with pytest.raises(errors.Unreachable):
        run(over(broken), lambda b: b.save("f", tmp_path / "out.jsonl"))
    assert len(broken.sent) == 5
    assert list(tmp_path.iterdir()) == []


def test_a_transport_that_does_not_stream_will_do(tmp_path):
    run(over(Scripted((200, {"a": 1}))), lambda b: b.save("f", tmp_path / "out.jsonl"))
    assert (tmp_path / "out.jsonl").read_bytes() == b'{"a": 1}'


def test_results_that_are_gone_are_refused(server, tmp_path):
    with pytest.raises(errors.Refused, match="No such File"):
        run(over(Http1Transport(), server), lambda b: b.save("file-nobody", tmp_path / "out.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_results_is_not_a_fault_of_the_server(server, tmp_path):
    with pytest.raises(errors.PromptmillError, match="cannot be written") as raised:
        run(over(Http1Transport(), server), lambda b: b.save("file-nobody", tmp_path / "missing" / "out.jsonl"))
    assert not isinstance(raised.value, errors.EndpointError)


def test_a_batch_that_failed_says_why_with_the_line():
    def why(*problems):
        return msgspec.convert({"id": "b", "status": "failed", "errors": {"data": problems}}, Batch).why

    assert why({"code": "invalid_json_line", "message": "not JSON", "line": 3}) == "line 3: not JSON"
    assert why({"code": "token_limit_exceeded"}) == "token_limit_exceeded"
    assert why() == "no reason given"


def decoded(**line):
    return msgspec.json.decode(json.dumps({"custom_id": "c", **line}), type=ResultLine)


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        ({"response": {"status_code": 200, "body": {"choices": []}}}, 200, {"choices": []}),
        ({"response": {"status_code": 400, "body": {"error": "x"}}, "error": None}, 400, {"error": "x"}),
        # vLLM's run-batch: the status in the response, the words in the error
        (
            {"response": {"status_code": 400, "body": None}, "error": {"message": "bad"}},
            400,
            {"error": {"message": "bad"}},
        ),
        ({"response": None, "error": {"code": "server_error", "message": "oh"}}, 500, {"error": {"message": "oh"}}),
        ({}, 500, {"error": {"message": "no response"}}),
    ],
)
def test_a_result_line_is_read_as_the_live_reply_that_it_stands_for(line, status, body):
    reply = decoded(**line).reply()
    assert (reply.status, json.loads(reply.body)) == (status, body)


@pytest.mark.parametrize(
    ("line", "ending"),
    [
        ({"error": {"code": "batch_expired"}}, "expired"),
        ({"error": {"code": "batch_cancelled"}}, "cancelled"),
        ({"error": {"code": "server_error"}}, None),
        ({"response": {"status_code": 200, "body": {}}, "error": None}, None),
    ],
)
def test_a_line_whose_turn_never_came_says_so(line, ending):
    assert decoded(**line).ending == ending
