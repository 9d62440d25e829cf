"""The store under what will befall it: several processes, a kill, other people's files, disks without room."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from promptmill.errors import RunError
from promptmill.generate import store as store_module
from promptmill.generate.store import Store
from promptmill.records import Completion, Failure, Usage

WRITER = """
import sys
from pathlib import Path
from promptmill.generate.store import Store
from promptmill.records import Completion

store, first, last = Store(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
print("open", flush=True)
for start in range(first, last, 10):
    store.put(
        Completion(key=f"{n:032x}", prompt_id=str(n), model="m", text="x" * 2000, finish="stop")
        for n in range(start, start + 10)
    )
    print(start + 10, flush=True)
store.close()
"""


def key(number):
    return f"{number:032x}"


def completion(number, text="four", **more):
    return Completion(key=key(number), prompt_id=f"p{number}", model="m", text=text, finish="stop", **more)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def start_writer(tmp_path):
    started = []

    def start(first, last):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "store"), str(first), str(last)],
            stdout=subprocess.PIPE,
            text=True,
            pipesize=4096,  # who is not listened to waits, and does not fill the disk
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=120)


def test_what_is_put_is_found_whole_by_others_and_later(tmp_path, store):
    rich = completion(7, "vier\u2028", usage=Usage(prompt_tokens=3, completion_tokens=1), cost=0.25, token_ids=(1, 2))
    assert store.put([completion(1), rich]) == 2
    other = Store(tmp_path / "store")
    assert other.find([key(7), key(9), key(1), key(7)]) == {key(1): completion(1), key(7): rich}
    other.close()
    store.close()
    store.close()
    again = Store(tmp_path / "store")
    assert again.find([key(7)]) == {key(7): rich}
    assert again.find([]) == {}
    again.close()
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["answers.sqlite"]


def test_the_first_answer_to_a_key_stays(store):
    assert store.put([completion(1, "first"), completion(1, "second")]) == 1
    assert store.put([completion(1, "third"), completion(2)]) == 1
    assert store.find([key(1)])[key(1)].text == "first"


def test_a_failure_is_not_kept_nor_what_came_with_it(store):
    failure = Failure(key=key(2), prompt_id="p", model="m", kind="rate", detail="d")
    with pytest.raises(TypeError, match="only completions are kept, not Failure"):
        store.put([completion(1), failure])
    assert store.find([key(1), key(2)]) == {}


def test_ten_thousand_keys_are_found_in_one_call(store):
    numbers = list(range(20_000))
    assert store.put(completion(n, str(n)) for n in numbers) == 20_000
    wanted = random.Random(3).sample(range(30_000), 10_000)
    found = store.find(map(key, wanted))
    assert {int(k, 16): c.text for k, c in found.items()} == {n: str(n) for n in wanted if n < 20_000}


def test_two_processes_write_while_another_reads(store, start_writer):
    writers = [start_writer(0, 400), start_writer(200, 600)]  # half of it the same
    seen, deadline = 0, time.monotonic() + 120
    while time.monotonic() < deadline and any(writer.poll() is None for writer in writers):
        found = store.find(map(key, range(600)))
        assert len(found) >= seen
        assert all(answer.text == "x" * 2000 for answer in found.values())
        seen = len(found)
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert len(store.find(map(key, range(600)))) == 600


def test_eight_processes_may_make_the_store_at_once(start_writer, tmp_path):
    writers = [start_writer(n * 10, n * 10 + 10) for n in range(8)]
    assert [writer.wait(120) for writer in writers] == [0] * 8
    opened = Store(tmp_path / "store")
    assert len(opened.find(map(key, range(80)))) == 80
    opened.close()


def test_a_kill_in_the_middle_loses_nothing_that_was_put_and_leaves_nothing_half(start_writer, tmp_path):
    for round_ in range(3):
        first = round_ * 100_000
        writer = start_writer(first, first + 100_000)
        put = first
        for line in writer.stdout:
            put = put if line == "open\n" else int(line)
            if put >= first + 50 * (round_ + 1):
                break
        writer.send_signal(signal.SIGKILL)
        writer.wait(120)
        opened = Store(tmp_path / "store")
        found = opened.find(map(key, range(first, put + 5000)))
        assert set(map(key, range(first, put))) <= set(found)
        assert len(found) % 10 == 0
        assert opened.put([completion(10**9 + round_)]) == 1
        opened.close()


def test_a_store_whose_maker_was_killed_before_the_first_table_is_made_by_the_next(tmp_path):
    (tmp_path / "store").mkdir()
    left = sqlite3.connect(tmp_path / "store" / "answers.sqlite")
    left.execute("PRAGMA journal_mode = WAL")
    left.close()
    opened = Store(tmp_path / "store")
    assert opened.put([completion(1)]) == 1
    opened.close()


def test_other_peoples_files_are_refused_in_one_line_and_left_alone(tmp_path):
    path = tmp_path / "answers.sqlite"
    path.write_text("a thesis, " * 1000)
    with pytest.raises(RunError, match=r"answers.sqlite: file is not a database. Move the file away or name another"):
        Store(tmp_path)
    assert path.read_text() == "a thesis, " * 1000
    path.unlink()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE cookies (a)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(RunError, match=r"is a database, but no store of answers. Name another folder"):
        Store(tmp_path)
    assert path.read_bytes() == before


def test_a_store_of_a_later_version_is_refused(tmp_path, store):
    db = sqlite3.connect(tmp_path / "store" / "answers.sqlite")
    db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(RunError, match=r"is a store of version 9, this promptmill knows 1. Update it"):
        Store(tmp_path / "store")


def test_a_damaged_file_and_a_damaged_row_are_one_line_each(tmp_path, store):
    path = tmp_path / "store" / "answers.sqlite"
    store.put(completion(n, "x" * 2000) for n in range(200))
    db = sqlite3.connect(path)
    db.execute("UPDATE answers SET line = '{' WHERE key = ?", (bytes.fromhex(key(3)),))
    db.commit()
    db.close()
    with pytest.raises(RunError, match=f"the answer {key(3)} is damaged: .* Move the store away"):
        store.find([key(3)])
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + random.Random(5).randbytes(len(whole) - 4096))
    opened = Store(tmp_path / "store")
    with pytest.raises(RunError, match=r"malformed. Move the file away"):
        opened.find(map(key, range(200)))
    opened.close()


def test_a_file_in_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "store").write_text("x")
    with pytest.raises(RunError, match=r"answers.sqlite: File exists. Mend the folder or name another store"):
        Store(tmp_path / "store")


FULL = """
import resource, signal, sys
from pathlib import Path
from promptmill.errors import RunError
from promptmill.generate import store as store_module
from promptmill.generate.store import Store
from promptmill.records import Completion

store = Store(Path(sys.argv[1]))
store.put([Completion(key="a" * 32, prompt_id="p", model="m", text="kept", finish="stop")])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
many = [Completion(key=f"{n:032x}", prompt_id="p", model="m", text="x" * 2000, finish="stop") for n in range(3000)]
for _ in range(2):
    try:
        store.put(many)
    except RunError as error:
        print(error)
print(store.find(["a" * 32])["a" * 32].text, len(store.find(c.key for c in many)))
"""


def test_a_full_disk_is_told_each_time_and_what_was_kept_is_kept(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    first, second, last = done.stdout.splitlines()
    assert first == second
    assert first.startswith(f"{tmp_path / 'store' / 'answers.sqlite'}: ")
    assert first.endswith(". Make room or mend the disk; what was kept before is kept.")
    assert last == "kept 0"


@pytest.fixture
def closed(tmp_path):
    """A store in a folder that may not be written: by its rights, or, for root, by its disk."""
    folder = tmp_path / "closed"
    folder.mkdir()
    root = os.geteuid() == 0
    if root and subprocess.run(["mount", "-t", "tmpfs", "none", folder], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    made = Store(folder)
    made.put([completion(1)])
    made.close()
    if root:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    else:
        folder.chmod(0o555)
    yield folder
    if root:
        subprocess.run(["umount", folder], check=True)
    else:
        folder.chmod(0o755)


def test_a_folder_that_may_not_be_written_can_be_read_and_says_so(closed):
    opened = Store(closed)
    assert opened.find([key(1), key(2)]) == {key(1): completion(1)}
    with pytest.raises(RunError, match=r"may not be written, only read. Change its rights, or name another store"):
        opened.put([completion(2)])
    opened.close()
    with pytest.raises(RunError, match=r"Read-only file system|Permission denied"):
        Store(closed / "deeper")


def test_while_another_process_writes_putting_waits_and_finding_does_not(tmp_path, store):
    store.put([completion(1)])
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        putting = pool.submit(store.put, [completion(2)])
        for _ in range(20):
            assert set(store.find([key(1), key(2)])) == {key(1)}
        assert not putting.done()
        other.execute("COMMIT")
        assert putting.result(timeout=120) == 1
    other.close()
    assert set(store.find([key(1), key(2)])) == {key(1), key(2)}


def test_a_store_that_stays_locked_is_one_line(monkeypatch, tmp_path, store):
    monkeypatch.setattr(store_module, "PATIENCE_S", 0.2)
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(RunError, match=r"answers\.sqlite: database is locked\. Another process holds it; end that, or"):
        store.put([completion(1)])
    other.close()
    assert store.put([completion(1)]) == 1


def test_who_may_not_wait_gives_up_while_another_process_writes(tmp_path):
    with contextlib.closing(Store(tmp_path)) as store, contextlib.closing(sqlite3.connect(store.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.put([completion(0)], give_up=lambda: True) == 0
        other.execute("ROLLBACK")
        assert store.put([completion(0)], give_up=lambda: True) == 1
