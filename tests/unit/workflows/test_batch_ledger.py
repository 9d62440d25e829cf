"""The ledger of batch files: names that are never used twice, files that are known by their content."""

import hashlib
import json

import pytest

from promptmill.errors import RunError
from promptmill.workflows.batching import ledger as books

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def out(tmp_path):
    (tmp_path / "batch").mkdir()
    return tmp_path


def file_of(out, *custom_ids, name="requests-00000.jsonl", **more):
    content = b"".join(json.dumps({"custom_id": each, "body": {}}).encode() + b"\n" for each in custom_ids)
    (out / "batch" / name).write_bytes(content)
    checksum = hashlib.blake2b(content, digest_size=16).hexdigest()
    return books.RequestFile(
        name=name,
        lines=len(custom_ids),
        bytes=len(content),
        checksum=checksum,
        url="/v1/completions",
        endpoint=0,
        server="http://server.test",
        **more,
    )


def test_a_custom_id_tells_the_run_and_the_key():
    ledger = books.Ledger(run="00ff00ff", asks="x")
    assert ledger.custom_id(KEY) == f"pm-00ff00ff-{KEY}"
    assert books.parse_custom_id(ledger.custom_id(KEY)) == ("00ff00ff", KEY)


@pytest.mark.parametrize(
    "text", ["", "request-1", f"pm-00ff00ff-{KEY}0", f"pm-00ff00f-{KEY}", f"pm-00FF00FF-{KEY}", "pm--"]
)
def test_a_name_that_promptmill_did_not_give_is_none(text):
    assert books.parse_custom_id(text) is None


def test_two_runs_have_different_names():
    assert len({books.new_ledger("x").run for _ in range(20)}) == 20


def test_a_ledger_comes_back_as_it_was_saved(out):
    ledger = books.Ledger(run="00ff00ff", asks="x")
    ledger.files.append(file_of(out, f"pm-00ff00ff-{KEY}", state="submitted", batch_id="b1", counts={"answers": 1}))
    books.save_ledger(out, ledger)
    assert books.load_ledger(out) == ledger
    assert ledger.next_name == "requests-00001.jsonl"
    assert books.load_ledger(out / "nowhere") is None


def test_files_wait_until_they_have_ended(out):
    ledger = books.Ledger(run="00ff00ff", asks="x")
    states = (
        "written",
        "uploading",
        "uploaded",
        "submitting",
        "submitted",
        "collected",
        "expired",
        "cancelled",
        "failed",
    )
    ledger.files = [file_of(out, state=state, name=f"requests-0000{i}.jsonl") for i, state in enumerate(states)]
    assert [file.state for file in ledger.waiting] == list(states[:5])


def test_a_damaged_ledger_is_one_line_that_names_it(out):
    (out / "batch" / "ledger.json").write_text('{"run": 7')
    with pytest.raises(RunError, match=r"ledger.json: cannot be read: .* Bring back a copy"):
        books.load_ledger(out)


def test_the_keys_of_a_file_come_in_its_order(out):
    other = KEY[::-1]
    file = file_of(out, f"pm-00ff00ff-{KEY}", f"pm-00ff00ff-{other}")
    assert list(books.iter_keys(out, file)) == [bytes.fromhex(KEY), bytes.fromhex(other)]


def test_a_file_that_changed_is_gone_or_is_none_of_ours_is_named(out):
    file = file_of(out, f"pm-00ff00ff-{KEY}")
    path = out / "batch" / file.name
    path.write_bytes(path.read_bytes() + b'{"custom_id": "x"}\n')
    with pytest.raises(RunError, match="is not as it was written"):
        books.check_file(out, file)
    path.write_bytes(b"no json\n")
    with pytest.raises(RunError, match="cannot be read"):
        books.check_file(out, file)
    path.unlink()
    with pytest.raises(RunError, match=r"requests-00000\.jsonl --give-up"):
        books.check_file(out, file)


def test_a_batch_is_looked_for_from_a_day_before_it_was_first_asked_for(out):
    assert books.since(file_of(out, submitting_at=1_000_000.0)) == 913_600.0
