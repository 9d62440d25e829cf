"""`verify` and `recover` on run folders that were damaged in every way we could think of."""

import json
import os
import random
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from promptmill import cli
from promptmill.generate.journal import Journal
from promptmill.run import open_run
from promptmill.testing import FakeOptions, fake_server, fake_stats

QUESTIONS = [f"Question number {n}: what is {n} and {n}?" for n in range(6)]
K = 2


class Good(NamedTuple):
    """A whole run: 6 prompts in two parts, two samples each."""

    out: Path
    recipe: Path
    url: str


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    (folder / "prompts.json").write_text(json.dumps({"prompts": QUESTIONS}))
    with fake_server(FakeOptions(words="2-30")) as url:
        tree = {
            "workflow": "lengths",
            "source": {"kind": "prompts", "path": str(folder / "prompts.json")},
            "generate": {
                "model": "fake",
                "endpoints": [{"base_url": url}],
                "sampling": {"max_tokens": 4000},
                "k": K,
                "choices": "separate",
                "concurrency": 4,
            },
            "slices": {"step": 20, "tokenizer": "bytes"},
            "rows_per_part": 3,
        }
        recipe = folder / "recipe.yaml"
        recipe.write_text(yaml.safe_dump(tree))
        assert cli.run(["lengths", "run", str(recipe), "--out", str(folder / "run")]) == 0
        yield Good(folder / "run", recipe, url)


@pytest.fixture
def out(good, tmp_path):
    return Path(shutil.copytree(good.out, tmp_path / "run"))


@pytest.fixture
def go_on(good, mill, out):
    """Run the recipe again on the folder; return how many requests the server got."""

    def run():
        fake_stats(good.url, reset=True)
        said = mill("lengths", "run", good.recipe, "--out", out)
        assert said.code == 0, said.err
        return fake_stats(good.url)["received"]

    return run


def exports(out):
    return {path.name: path.read_bytes() for path in (out / "exports").iterdir()}


def content(out):
    """Every file of a folder but logs, clocks and locks."""
    skipped = {".lock", "run.log", "status.json", "spent.json"}
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name not in skipped}


def part(out, number=0, suffix="jsonl"):
    return out / "generate" / f"part-0000{number}.{suffix}"


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def rewrite(path, change):
    path.write_bytes(b"".join(change(lines(path))))


def replace(path, old, new):
    before = path.read_bytes()
    assert old in before
    path.write_bytes(before.replace(old, new, 1))


def as_folder(path):
    path.unlink(missing_ok=True)
    path.mkdir()
    (path / "inside").write_text("x")


def swap(one, other):
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def open_again(out, number=0):
    """Make a committed part one that is under way: all of its lines in the journal."""
    part(out, number).rename(part(out, number, "journal"))
    part(out, number, "done").unlink()


def to_journal(out, change):
    open_again(out)
    rewrite(part(out, suffix="journal"), change)


def double_in_journal(out):
    to_journal(out, lambda found: [*found, found[0].replace(b'"text":"', b'"text":"other '), found[1]])


def failure(line):
    row = json.loads(line)
    kept = {name: row[name] for name in ("key", "prompt_id", "model")} | {"sample": row.get("sample", 0)}
    return json.dumps({"type": "failure", **kept, "kind": "timeout", "detail": "late"}).encode() + b"\n"


def flip(path, at):
    found = bytearray(path.read_bytes())
    found[at] ^= 0x01
    path.write_bytes(found)


def flip_in_text(out):
    found = part(out).read_bytes()
    flip(part(out), found.index(b'"text":"') + 9)


def other_crc(out):
    path = part(out, suffix="done")
    found = bytearray(path.read_bytes())
    at = found.index(b'"crcs":"') + 10
    found[at] = ord("B" if found[at] == ord("A") else "A")
    path.write_bytes(found)


class Case(NamedTuple):
    """A damage: what is done, the exit code, what is said, how many requests are asked again."""

    damage: object
    code: int
    said: str
    lost: int


def case(name, damage, code, said, lost=0):
    return pytest.param(Case(damage, code, said, lost), id=name)


CASES = [
    case("nothing", content, 0, "is whole"),
    # rows of a committed part
    case("a byte of a text", flip_in_text, 2, r"part-00000.jsonl:1: is not what was committed", 1),
    case(
        "a byte of a key",
        lambda out: flip(part(out), part(out).read_bytes().index(b'"key":"') + 8),
        2,
        "is not what was committed",
        1,
    ),
    case("a byte of the frame", lambda out: flip(part(out), 0), 2, r"part-00000.jsonl:1: is not an outcome", 1),
    case(
        "an end of line",
        lambda out: flip(part(out), len(lines(part(out))[0]) - 1),
        2,
        r"part-00000.jsonl:1: is not an outcome",
        2,
    ),
    case(
        "the last end of line",
        lambda out: part(out).write_bytes(part(out).read_bytes()[:-1]),
        2,
        r"part-00000.jsonl:6: has no end of line",
    ),
    case("half a part", lambda out: os.truncate(part(out), part(out).stat().st_size // 2), 2, "no outcome", None),
    case("an empty part", lambda out: os.truncate(part(out), 0), 2, r"part-00000.jsonl: is not the file", 6),
    case("no part", lambda out: part(out).unlink(), 2, r"is missing; its summary says that it held 6 outcomes", 6),
    case("a folder for a part", lambda out: as_folder(part(out)), 2, r"part-00000.jsonl: cannot be read: Is a dir", 6),
    case(
        "NUL bytes",
        lambda out: rewrite(part(out), lambda found: [found[0], b"\0" * 512, *found[1:]]),
        2,
        r"part-00000.jsonl:2: is not an outcome",
        1,
    ),
    case("doubled lines", lambda out: rewrite(part(out), lambda f: [*f, f[0], f[3]]), 2, "again \\(and 1 more\\)"),
    case("lines in another order", lambda out: rewrite(part(out), lambda f: f[::-1]), 2, r"made of \(other bytes\)"),
    case("a line less", lambda out: rewrite(part(out), lambda f: f[1:]), 2, "has no outcome for a request", 1),
    case("a blank line", lambda out: rewrite(part(out), lambda f: [f[0], b"\n", *f[1:]]), 2, ":2: is not an outcome"),
    case("parts swapped", lambda out: swap(part(out), part(out, 1)), 2, "holds an outcome of part-0000[01].jsonl"),
    # summaries
    case("no summary", lambda out: part(out, suffix="done").unlink(), 1, r"part-00000.done: is missing"),
    case("an empty summary", lambda out: os.truncate(part(out, suffix="done"), 0), 1, "part-00000.done: is not a summ"),
    case("a folder for a summary", lambda out: as_folder(part(out, suffix="done")), 2, "done: cannot be read"),
    case(
        "a wrong count",
        lambda out: replace(part(out, suffix="done"), b'"completions":6', b'"completions":5'),
        2,
        "part-00000.done: says completions 5, and it is 6",
    ),
    case(
        "a wrong checksum",
        lambda out: replace(part(out, suffix="done"), b'"blake2b":"', b'"blake2b":"00'),
        2,
        "is not the file that its summary was made of",
    ),
    case(
        "a byte of the line checksums",
        other_crc,
        2,
        "part-00000.done: says crcs of lines, and it is another",
    ),
    case(
        "another plan",
        lambda out: replace(part(out, suffix="done"), b'"plan":"', b'"plan":"x'),
        1,
        "was written for other prompts",
    ),
    case(
        "summaries swapped",
        lambda out: swap(part(out, suffix="done"), part(out, 1, "done")),
        2,
        "is not the file that its summary was made of",
    ),
    # journals
    case("a part under way", open_again, 1, "is not committed yet"),
    case("both files gone", lambda out: (part(out).unlink(), part(out, suffix="done").unlink()), 1, "no outcome", 6),
    case(
        "a journal beside its part",
        lambda out: shutil.copy(part(out), part(out, suffix="journal")),
        1,
        "part-00000.journal: is not committed yet, though every request",
    ),
    case(
        "a torn journal",
        lambda out: to_journal(out, lambda f: [*f[:-1], f[-1][:40]]),
        1,
        r"part-00000.journal:6: is torn",
        1,
    ),
    case("a journal without its last end", lambda out: to_journal(out, lambda f: [*f[:-1], f[-1][:-1]]), 1, "no end"),
    case(
        "a bad line in a journal",
        lambda out: to_journal(out, lambda f: [f[0], b"\xff\xfe{}\n", *f[1:]]),
        2,
        r"part-00000.journal:2: is not an outcome",
    ),
    case("doubles in a journal", double_in_journal, 1, "answers a request again"),
    case(
        "a folder for a journal",
        lambda out: as_folder(part(out, suffix="journal")),
        2,
        "part-00000.journal: cannot be read: Is a directory",
    ),
    case(
        "another prompt's name",
        lambda out: to_journal(out, lambda f: [re.sub(rb'"prompt_id":"..', b'"prompt_id":"zz', f[0]), *f[1:]]),
        2,
        "names another prompt, model or sample than its key",
        1,
    ),
    case("an open failure", lambda out: to_journal(out, lambda f: [failure(f[0]), *f[1:]]), 1, r"failed \(timeo", 1),
    # prompts
    case(
        "a byte of a prompt",
        lambda out: replace(out / "prompts" / "part-00000.jsonl", b"Question", b"Quastion"),
        2,
        r"prompts/part-00000.jsonl: is not as it was written",
    ),
    case("a part of the prompts", lambda out: (out / "prompts" / "part-00001.jsonl").unlink(), 2, "00001.jsonl: is m"),
    case(
        "a strange part of prompts",
        lambda out: shutil.copy(out / "prompts" / "part-00001.jsonl", out / "prompts" / "part-00002.jsonl"),
        2,
        "was not there when the prompts were selected",
    ),
    case("prompts swapped", lambda out: swap(*sorted((out / "prompts").glob("part-*"))), 2, "is not as it was written"),
    case("all prompts", lambda out: shutil.rmtree(out / "prompts"), 2, "has 0 parts, and the manifest says 2"),
    case("checksums", lambda out: os.truncate(out / "prompts" / "checksums.json", 20), 2, "checksums.json: cannot be"),
    # what stands beside
    case("no manifest", lambda out: (out / "manifest.json").unlink(), 2, "manifest.json: is missing"),
    case("half a manifest", lambda out: os.truncate(out / "manifest.json", 300), 2, "manifest.json: is damaged"),
    case("a folder for a manifest", lambda out: as_folder(out / "manifest.json"), 2, "manifest.json: cannot be read"),
    case(
        "a word of the manifest",
        lambda out: replace(out / "manifest.json", b'"stages"', b'"stagex"'),
        2,
        "manifest.json: is damaged",
    ),
    case(
        "an option in the manifest",
        lambda out: replace(out / "manifest.json", b'"temperature": 0.7', b'"temperature": 0.6'),
        2,
        "its stage 'generate' is not what its fingerprint says",
    ),
    case("no recipe", lambda out: (out / "recipe.yaml").unlink(), 1, "recipe.yaml: cannot be used \\(it is missing"),
    case("half a recipe", lambda out: os.truncate(out / "recipe.yaml", 40), 1, "recipe.yaml: cannot be used"),
    case("a folder for a recipe", lambda out: as_folder(out / "recipe.yaml"), 2, "recipe.yaml: cannot be used"),
    case("a wrong model", lambda out: replace(out / "recipe.yaml", b"model: fake", b"model: fakf"), 1, "e.model"),
    case("spent", lambda out: (out / "spent.json").write_bytes(b'{"requests": \xff'), 1, "spent.json: is damaged"),
    case("a folder for spent", lambda out: as_folder(out / "spent.json"), 2, "spent.json: cannot be read"),
    case("status", lambda out: os.truncate(out / "status.json", 7), 1, "status.json: is damaged"),
    case("a folder for status", lambda out: as_folder(out / "status.json"), 2, "status.json: cannot be read"),
    case("control", lambda out: (out / "control.json").write_text("[1]"), 1, "control.json: is damaged"),
    case("an export", lambda out: (out / "exports" / "vllm_results.json").unlink(), 1, "is missing; the next run"),
    case("rows of an export", lambda out: shutil.rmtree(out / "slices"), 1, "is missing; the next run makes"),
]  # fmt: skip


@pytest.mark.parametrize("damaged", CASES)
def test_damage_is_named_recovered_and_only_what_was_lost_is_asked_again(good, mill, out, go_on, damaged):
    damaged.damage(out)
    before = mill("verify", out)
    assert before.code == damaged.code, before.out
    assert re.search(damaged.said, before.out), before.out
    as_json = mill("verify", out, "--json")
    assert as_json.code == before.code
    assert json.loads(as_json.out)["state"] == {0: "whole", 1: "open", 2: "damaged"}[damaged.code]

    untouched = content(out)
    dry = mill("recover", out, "--dry-run")
    assert (dry.code, content(out)) == (0, untouched)
    said = mill("recover", out)
    assert said.code == 0, said.err
    assert mill("verify", out).code <= 1, mill("verify", out).out
    mended = content(out)
    again = mill("recover", out)
    assert (again.code, content(out)) == (0, mended)
    assert "nothing is to be repaired" in again.out, again.out

    lost = go_on()
    assert lost == damaged.lost or (damaged.lost is None and 0 < lost < 6)
    after = mill("verify", out)
    assert (after.code, "is whole" in after.out) == (0, True), after.out
    assert exports(out) == exports(good.out)


def test_what_is_whole_is_left_alone(mill, out):
    before = content(out)
    said = mill("recover", out)
    assert (said.code, said.out) == (0, f"{out}: nothing is to be repaired.\n")
    assert content(out) == before
    assert not (out / "damaged").exists()


def test_lines_that_cannot_stay_are_kept_with_their_place_and_reason(mill, out):
    rewrite(part(out), lambda found: [found[0], b"\xff no row \0\n", *found[1:]])
    said = mill("recover", out)
    assert said.code == 0
    kept = (out / "damaged" / "part-00000.lines").read_bytes()
    assert kept == b"# part-00000.jsonl:2: is not an outcome\n\xff no row \0\n"
    assert "1 lines cannot stay, 1 of them moved to" in said.out


def test_recover_says_how_much_was_lost(mill, out):
    flip_in_text(out)
    said = mill("recover", out)
    assert "1 outcomes are lost." in said.out
    assert "1 requests have no outcome; the run's own command asks them." in said.out


def test_a_part_cut_at_many_places_loses_what_was_cut_and_no_more(good, mill, out, go_on):
    whole = part(out).read_bytes()
    rng = random.Random(5)
    for size in [1, len(whole) - 2, *(rng.randrange(len(whole)) for _ in range(6))]:
        shutil.rmtree(out)
        shutil.copytree(good.out, out)
        os.truncate(part(out), size)
        assert mill("verify", out).code == 2
        assert mill("recover", out).code == 0
        assert go_on() == 6 - whole[:size].count(b"\n"), f"cut at {size}"
        assert mill("verify", out).code == 0
        assert exports(out) == exports(good.out)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_to_the_outcomes_costs_no_more_than_the_lines_it_met(good, mill, out, go_on, seed):
    rng = random.Random(seed)
    if seed % 2:
        open_again(out, 1)
    path = rng.choice(sorted((out / "generate").iterdir()))
    before = path.read_bytes()
    at, size = rng.randrange(len(before)), rng.choice([1, 1, 3, 40])
    new = before[:at] + rng.randbytes(size) + before[at + rng.choice([size, 0]) :]
    path.write_bytes(new)
    mill("recover", out)
    touched = 0
    if path.suffix != ".done":
        touched = before[at : at + size].count(b"\n") + 1
    assert go_on() <= touched, (path.name, at, size)
    assert mill("verify", out).code == 0
    assert len(Journal(part(out)).read()) >= 6
    if path.suffix == ".jsonl":  # a changed text in a journal cannot be seen
        assert exports(out) == exports(good.out)


def test_a_part_of_another_run_is_kept_as_asked_by_nobody(good, mill, out, go_on):
    other = [
        line.replace(b'"key":"', b'"key":"0').replace(b'","prompt_id', b'","prompt_id') for line in lines(part(out))
    ]
    other = [re.sub(rb'"key":"0([0-9a-f]{31})[0-9a-f]"', rb'"key":"0\1"', line) for line in other]
    part(out).write_bytes(b"".join(other))
    part(out, suffix="done").unlink()
    said = mill("verify", out)
    assert said.code == 1
    assert "asked by nobody today, kept" in said.out
    assert mill("recover", out).code == 0
    assert go_on() == 6
    assert mill("verify", out).code == 0
    assert exports(out) == exports(good.out)


def test_answers_of_an_earlier_recipe_are_said_and_no_error(good, mill, out):
    fewer = out.parent / "fewer.yaml"
    fewer.write_text(good.recipe.read_text().replace("k: 2", "k: 1"))
    assert mill("lengths", "run", fewer, "--out", out).code == 0
    said = mill("verify", out)
    assert (said.code, "asked by nobody today, kept" in said.out) == (0, True), said.out
    assert "6 requests in 2 parts: 6 answered, 0 without an outcome; 12 rows read" in said.out


def test_a_part_without_prompts_is_a_note(mill, out):
    shutil.copy(part(out), part(out, 7))
    shutil.copy(part(out, suffix="done"), part(out, 7, "done"))
    said = mill("verify", out)
    assert "part-00007.jsonl: belongs to no part of the prompts" in said.out
    assert said.code == 0


def test_a_run_that_somebody_works_in_is_refused(mill, out):
    with open_run(out, workflow="lengths", seeds={}):
        assert f"process {os.getpid()} works here" in mill("verify", out).error
        assert "works here, and its files change" in mill("recover", out).error
        assert f"process {os.getpid()} works here" in mill("recover", out, "--dry-run").error


class Killed(BaseException):
    """The end of a process, at an instant of our choice."""


HOOKS = []
sys.addaudithook(lambda event, _: [hook(event) for hook in HOOKS])


def killed_before(at, work):
    """Work until step `at` that changes a folder would begin; return how many steps began."""
    steps = 0

    def count(event):
        nonlocal steps
        if event in {"os.rename", "os.remove", "os.truncate", "os.mkdir"} and steps < at:
            steps += 1
            if steps == at:
                raise Killed

    HOOKS.append(count)
    try:
        work()
    except Killed:
        pass
    finally:
        HOOKS.clear()
    return steps


@pytest.mark.parametrize("damaged", ["rows", "manifest", "swapped"])
def test_recover_can_be_killed_before_any_of_its_steps_and_begun_again(good, mill, out, go_on, damaged):
    def damage():
        shutil.rmtree(out)
        shutil.copytree(good.out, out)
        if damaged == "rows":
            rewrite(part(out), lambda found: [b"no row\n", found[0][:-9] + b"\n", *found[1:], found[2]])
            to_journal_of(out, 1)
        elif damaged == "manifest":
            (out / "manifest.json").write_text("{")
            flip_in_text(out)
        else:
            swap(part(out), part(out, 1))

    for at in range(1, 40):
        damage()
        if killed_before(at, lambda: cli.run(["recover", str(out)])) < at:
            break
        assert mill("recover", out).code == 0, f"killed before step {at}"
        assert mill("verify", out).code <= 1
        mended = content(out)
        assert mill("recover", out).code == 0
        assert content(out) == mended
    else:
        pytest.fail("recover has no end")
    assert at > 3
    assert go_on() == {"rows": 1, "manifest": 1, "swapped": 0}[damaged]
    assert exports(out) == exports(good.out)


def to_journal_of(out, number):
    open_again(out, number)
    rewrite(part(out, number, "journal"), lambda found: [*found, found[-1][:30]])


def test_a_folder_without_a_run_is_one_line(mill, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no run is here" in mill("verify", tmp_path / "empty").error
    assert "no run is here" in mill("recover", tmp_path / "empty").error
    assert list((tmp_path / "empty").iterdir()) == []


def test_without_manifest_and_recipe_recover_says_what_to_bring(mill, out):
    (out / "manifest.json").unlink()
    (out / "recipe.yaml").unlink()
    assert "Put the recipe there as recipe.yaml and recover again" in mill("recover", out).error


def test_a_manifest_made_anew_still_refuses_another_recipe(good, mill, out):
    (out / "manifest.json").unlink()
    assert "promptmill recover" in mill("lengths", "run", good.recipe, "--out", out).error
    assert mill("recover", out).code == 0
    other = mill("lengths", "run", good.recipe, "--out", out, "--temperature", 1.5)
    assert "holds answers of another recipe" in other.error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named_and_left_alone(mill, out):
    part(out).chmod(0)
    assert "part-00000.jsonl: cannot be read: Permission denied" in mill("verify", out).out
    assert "cannot be read. Mend the disk or its rights" in mill("recover", out).error


@pytest.fixture(scope="module")
def in_batches(good, tmp_path_factory):
    """A run whose 12 requests wait in a batch of the server."""
    out = tmp_path_factory.mktemp("batch") / "run"
    assert cli.run(["batch", "write", str(good.recipe), "--out", str(out)]) == 0
    assert cli.run(["batch", "submit", str(out)]) == 0
    return out


@pytest.fixture
def waiting(in_batches, tmp_path):
    return Path(shutil.copytree(in_batches, tmp_path / "waiting"))


@pytest.mark.parametrize("command", [["lengths", "run"], ["lengths", "generate"], ["plan", "--pilot", "2"]])
def test_nobody_is_asked_what_waits_in_a_batch(good, mill, waiting, command):
    fake_stats(good.url, reset=True)
    said = mill(*command, good.recipe, "--out", waiting)
    assert said.code == 2
    assert said.error == (
        f"error: {waiting}: 12 requests wait in batch files: requests-00000.jsonl (submitted). Collect them "
        f"(promptmill batch collect {waiting}) or cancel them (promptmill batch cancel {waiting}), then go on."
    )
    assert fake_stats(good.url)["received"] == 0


def test_once_nothing_is_open_a_waiting_file_is_in_nobodys_way(good, mill, waiting):
    ledger = (waiting / "batch" / "ledger.json").read_bytes()
    assert mill("batch", "collect", waiting).code == 0
    (waiting / "batch" / "ledger.json").write_bytes(ledger)
    assert mill("lengths", "run", good.recipe, "--out", waiting).code == 0
    assert exports(waiting) == exports(good.out)


def test_after_giving_a_batch_up_its_requests_are_asked_live(good, mill, waiting):
    assert mill("batch", "cancel", waiting, "--give-up").code == 0
    assert mill("lengths", "run", good.recipe, "--out", waiting).code == 0
    assert exports(waiting) == exports(good.out)


def test_verify_tells_what_waits_and_names_a_damaged_ledger(mill, waiting):
    said = mill("verify", waiting)
    assert said.code == 1
    assert "requests-00000.jsonl: 12 requests wait in a batch (submitted)" in said.out
    (waiting / "batch" / "ledger.json").write_text("{")
    assert mill("verify", waiting).code == 2
    said = mill("recover", waiting)
    assert said.code == 2
    assert "cannot be repaired:" in said.out
    assert "Bring back a copy of it" in said.out
