import msgspec

from promptmill.records import (
    Completion,
    Failure,
    Message,
    Outcome,
    Prompt,
    Request,
    Sampling,
    content_id,
    split_of,
    stable_hash,
)


def request(**changes):
    given = {"prompt_id": "p", "model": "m", "protocol": "completion", "text": "t", "sampling": Sampling(max_tokens=5)}
    return Request(**{**given, **changes})


def test_the_key_is_the_same_on_every_machine_and_version():
    assert request().key == "e374f496f93f855a249d9183a1a1491b"


def test_the_key_depends_on_what_is_asked_and_not_on_the_prompt_id():
    assert request(prompt_id="other").key == request().key
    changed = [
        request(model="n"), request(text="u"), request(sample=1), request(sampling=Sampling(max_tokens=6)),
        request(sampling=Sampling(max_tokens=5, extra={"a": 1})),
        request(protocol="chat", text=None, messages=(Message(role="user", content="t"),)),
    ]  # fmt: skip
    assert len({request().key, *(r.key for r in changed)}) == 7


def test_the_order_of_extra_fields_does_not_change_the_key():
    one = request(sampling=Sampling(max_tokens=5, extra={"a": 1, "b": 2}))
    assert one.key == request(sampling=Sampling(max_tokens=5, extra={"b": 2, "a": 1})).key


def test_one_file_holds_completions_and_failures():
    rows = [
        Completion(key="1", prompt_id="p", model="m", text="x", finish="stop", token_ids=(1, 2)),
        Failure(key="2", prompt_id="p", model="m", kind="timeout", detail="d"),
    ]
    lines = [msgspec.json.encode(row) for row in rows]
    assert [msgspec.json.decode(line, type=Outcome) for line in lines] == rows


def test_a_prompt_of_several_turns_is_plain_with_its_roles():
    prompt = Prompt(
        id="1", source="s", messages=(Message(role="user", content="a"), Message(role="assistant", content="b"))
    )
    assert prompt.plain == "user: a\n\nassistant: b"


def test_stable_values_never_change():
    assert content_id({"b": 1, "a": [1, "x"]}) == "c2943e2ca0207624"
    assert stable_hash(42, "x") == 8108956335310933729
    splits = [split_of(str(i), shares=(0.8, 0.1, 0.1), seed=42) for i in range(12)]
    assert [split[0] for split in splits] == ["t", "t", "t", "t", "t", "t", "t", "t", "t", "t", "t", "t"]


def test_the_split_does_not_depend_on_what_a_sample_of_the_same_seed_took():
    sampled = sorted((str(i) for i in range(20000)), key=lambda i: stable_hash(42, i))[:1000]
    splits = [split_of(i, shares=(0.8, 0.1, 0.1), seed=42) for i in sampled]
    assert 750 < splits.count("train") < 850
    assert 70 < splits.count("test") < 130


def test_a_row_with_the_whole_response_is_read_back():
    row = Completion(key="1", prompt_id="p", model="m", text="x", finish="stop", response=msgspec.Raw(b'{"id":[1,{}]}'))
    line = msgspec.json.encode(row)
    assert msgspec.json.decode(line, type=Outcome).response == {"id": [1, {}]}
    assert msgspec.json.encode(msgspec.json.decode(line, type=Outcome)) == line
