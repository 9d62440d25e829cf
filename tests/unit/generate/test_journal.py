import subprocess
import sys

import pytest

from promptmill.errors import RunError
from promptmill.generate.index import is_lasting, read_outcomes, read_summary
from promptmill.generate.journal import Journal
from promptmill.records import Completion, Failure, Usage


def completion(key: str, text: str = "a") -> Completion:
    return Completion(
        key=key, prompt_id="p", model="m", text=text, finish="stop", usage=Usage(prompt_tokens=1, completion_tokens=2)
    )


def failure(key: str, kind: str = "timeout") -> Failure:
    return Failure(key=key, prompt_id="p", model="m", kind=kind, detail="d")


def test_outcomes_are_read_back_as_they_were_written(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    journal.append(completion("1", "line\nbreak \u2028 \U0001f600"))
    journal.append(failure("2"))
    journal.close()
    assert list(journal.read().values()) == [completion("1", "line\nbreak \u2028 \U0001f600"), failure("2")]


def test_a_commit_sorts_by_the_keys_of_the_plan_keeps_strangers_and_removes_the_journal(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    for key in ("3", "1", "stranger", "2"):
        journal.append(completion(key))
    journal.commit([["1", "2"], ["3", "1"]], plan="p")
    assert [outcome.key for outcome in read_outcomes(journal.path)] == ["1", "2", "3", "stranger"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-00000.done", "part-00000.jsonl"]
    summary = read_summary(journal.path)
    assert (summary.plan, summary.requests, summary.asked, summary.lines, summary.repeated) == ("p", 4, 3, 4, 2)


def test_a_later_completion_beats_a_failure_and_the_first_completion_stays(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    for outcome in (failure("1"), completion("1", "first"), completion("1", "second"), failure("1")):
        journal.append(outcome)
    journal.close()
    assert journal.read() == {"1": completion("1", "first")}


def test_a_journal_torn_at_any_byte_of_its_last_line_loses_that_line_alone(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    for key in ("1", "2", "3"):
        journal.append(completion(key, "\u00e9\u4e2d"))
    journal.close()
    whole = journal.journal.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for end in range(start, len(whole)):
        journal.journal.write_bytes(whole[:end])
        assert list(journal.read()) == ["1", "2"]
        torn = Journal(journal.path)
        torn.append(completion("4"))
        torn.close()
        assert list(torn.read()) == ["1", "2", "4"]


def test_any_other_bad_line_is_named_with_file_and_line(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    journal.append(completion("1"))
    journal.close()
    journal.journal.write_bytes(b'{"type":"completion"}\n' + journal.journal.read_bytes())
    with pytest.raises(RunError, match=r"part-00000.journal:1: is not an outcome"):
        journal.read()
    for bad in (b"\x00\x00", b'{"type":"completion","more":' + b"[" * 100_000):
        journal.journal.write_bytes(bad + b"\n")
        with pytest.raises(RunError, match=r"part-00000.journal:1: is not an outcome"):
            journal.read()


def test_a_torn_line_in_a_committed_part_is_an_error(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    journal.append(completion("1"))
    journal.commit([["1"]], plan="p")
    journal.path.write_bytes(journal.path.read_bytes()[:-5])
    with pytest.raises(RunError, match=r"part-00000.jsonl:1: is not an outcome"):
        journal.read()


def test_a_refused_request_is_settled_and_other_failures_are_asked_again():
    assert is_lasting(completion("1"))
    assert is_lasting(failure("1", "refused"))
    assert not is_lasting(failure("1", "timeout"))


def test_a_full_disk_is_one_line_and_leaves_whole_lines_only(tmp_path):
    script = """
import resource, signal, sys
from pathlib import Path
from promptmill.errors import RunError
from promptmill.generate.journal import Journal
from promptmill.records import Completion
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = Journal(Path(sys.argv[1]))
written = 0
try:
    for n in range(100):
        journal.append(Completion(key=str(n), prompt_id="p", model="m", text="x" * 50, finish="stop"))
        written += 1
except RunError as error:
    print(written, error)
"""
    path = tmp_path / "part-00000.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    written, _, message = done.stdout.partition(" ")
    assert "cannot be written: File too large. Make room" in message
    assert 0 < int(written) < 100
    journal = Journal(path)
    assert list(journal.read()) == [str(n) for n in range(int(written))]
    assert journal.journal.read_bytes().endswith(b"\n")


PLAN = [["1", "2"], ["3", "4"]]


def committed(folder):
    """A part of four outcomes, the third a failure that may pass."""
    journal = Journal(folder / "part-00000.jsonl")
    for outcome in (completion("2"), completion("1", "é中"), failure("3"), completion("4")):
        journal.append(outcome)
    journal.commit(PLAN, plan="p")
    return journal


def loaded(path):
    journal = Journal(path)
    journal.load()
    return journal


def test_a_journal_torn_at_every_byte_of_its_last_three_lines_keeps_the_whole_lines_and_takes_new_ones(tmp_path):
    first = Journal(tmp_path / "part-00000.jsonl")
    for key in ("1", "2", "3", "4", "5"):
        first.append(completion(key, "é中"))
    first.close()
    whole = first.journal.read_bytes()
    start = sum(len(line) + 1 for line in whole.split(b"\n")[:2])
    for end in range(start, len(whole)):
        first.journal.write_bytes(whole[:end])
        torn = loaded(first.path)
        n_whole = whole[:end].count(b"\n")
        assert torn.settled() == {str(n) for n in range(1, n_whole + 1)}
        torn.append(completion("new"))
        torn.close()
        assert list(loaded(first.path).read()) == [*(str(n) for n in range(1, n_whole + 1)), "new"]


def test_a_summary_torn_at_every_byte_or_garbled_is_no_summary_and_the_rows_tell(tmp_path):
    journal = committed(tmp_path)
    whole = journal.done.read_bytes()
    for content in [*(whole[:end] for end in range(len(whole))), b"\x00" * len(whole), b"[]", b'{"plan":"p"}', b"\xff"]:
        journal.done.write_bytes(content)
        assert read_summary(journal.path) is None
        assert loaded(journal.path).settled() == {"1", "2", "4"}
    again = loaded(journal.path)
    again.commit(PLAN, plan="p")
    assert journal.done.read_bytes() == whole


def test_a_summary_beside_rows_that_were_changed_is_no_summary(tmp_path):
    journal = committed(tmp_path)
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join(lines[1:]))
    assert read_summary(journal.path) is None
    assert loaded(journal.path).settled() == {"2", "4"}


def test_a_crash_between_the_rows_and_their_summary_and_one_before_the_journal_goes_double_nothing(tmp_path):
    journal = committed(tmp_path)
    rows, summary = journal.path.read_bytes(), journal.done.read_bytes()
    for with_summary in (False, True):
        journal.journal.write_bytes(rows)  # the journal that the rows were made of
        if not with_summary:
            journal.done.unlink()
        assert read_summary(journal.path) is None  # whatever it says: somebody was about to do something
        again = loaded(journal.path)
        assert again.settled() == {"1", "2", "4"}
        again.commit(PLAN, plan="p")
        assert (journal.path.read_bytes(), journal.done.read_bytes()) == (rows, summary)
        assert not journal.journal.exists()


def test_an_older_summary_beside_newer_rows_is_not_believed(tmp_path):
    journal = committed(tmp_path)
    old = journal.done.read_bytes()
    again = loaded(journal.path)
    again.append(completion("3", "now"))
    again.commit(PLAN, plan="p")
    journal.done.write_bytes(old)
    assert read_summary(journal.path) is None
    assert loaded(journal.path).settled() == {"1", "2", "3", "4"}


def test_rows_that_vanish_before_the_commit_are_one_line_and_no_half_of_a_part(tmp_path):
    journal = Journal(tmp_path / "part-00000.jsonl")
    journal.append(completion("1"))
    journal.journal.unlink()
    with pytest.raises(RunError, match=r"part-00000\.journal: lost what stood in it: the disk is gone"):
        journal.commit([["1"]], plan="p")
    assert list(tmp_path.iterdir()) == []
