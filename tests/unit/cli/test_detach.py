"""`--detach`: the same command in the background, told of what goes wrong at once."""

import json
import os
import time

import pytest

from promptmill.generate.control import read_control
from promptmill.io.locks import is_live
from promptmill.testing import FakeOptions, fake_server


@pytest.fixture
def ended():
    """Wait until nobody works in a folder; processes that still do at the end are killed."""
    folders = []

    def wait(folder):
        folders.append(folder)
        deadline = time.monotonic() + 120
        while is_live(folder) is not None:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    yield wait
    for folder in folders:
        if (pid := is_live(folder)) is not None:
            os.kill(pid, 9)


@pytest.fixture
def settled(monkeypatch):
    """A run that ends of itself is waited for, however slow the machine."""
    monkeypatch.setattr("promptmill.cli.detach.SETTLE_S", 120.0)


@pytest.fixture
def command(tmp_path):
    (tmp_path / "p.json").write_text('{"prompts": ["a", "b", "c", "d"], "count": 4}')

    def words(url):
        return [
            "lengths", "generate", "--input", tmp_path / "p.json", "--server-url", url, "--model", "fake",
            "--max-tokens", "500", "--tokenizer-path", "smollm2", "--batch-size", "1", "--detach",
        ]  # fmt: skip

    return words


def test_the_run_goes_on_in_the_background_and_says_where_to_look(say, command, ended, held, tmp_path):
    out = tmp_path / "run"
    said = say(*command(held.url), "--out", out)
    pid = is_live(out)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        f"PID {pid} works in the background",
        f"log: {out / 'detached.log'}",
        f"watch it with: promptmill status {out} --watch",
    ]
    assert os.getsid(pid) == pid  # a hang-up of our terminal is not its business
    again = say(*command(held.url), "--out", out)
    assert again.code == 2
    assert again.err == f"error: {out}: process {pid} works in this folder. Wait for it, or use another --out.\n"
    assert say("set", out, "concurrency=4").code == 0
    assert read_control(out).concurrency == 4
    held.go.set()
    ended(out)
    log = (out / "detached.log").read_text()
    assert log.startswith("generate: 4 of 4 requests to send.\n")
    assert "\x1b" not in log
    assert json.loads((out / "exports" / "vllm_results.json").read_bytes())["success"] == 4


def test_what_ends_at_once_is_told_with_its_own_words_and_exit_code(say, command, settled, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "detached.log").write_text("error: of yesterday\n")
    said = say(*command("http://127.0.0.1:9"), "--out", out)
    assert (said.code, said.out) == (2, "")
    assert "yesterday" not in said.err
    assert said.err.splitlines()[-1].startswith("error: http://127.0.0.1:9: nothing answers (connection refused).")
    assert (out / "detached.log").read_text() == "error: of yesterday\n" + said.err


def test_a_run_that_is_over_at_once_is_shown_as_if_it_had_run_here(say, command, settled, tmp_path):
    out = tmp_path / "run"
    with fake_server(FakeOptions(words="3")) as url:
        words = [word for word in command(url) if word != "--detach"]
        assert say(*words, "--out", out).code == 0
        said = say(*command(url), "--out", out)
    assert (said.code, said.err) == (0, "")
    assert "generate: all 4 requests are answered from the run folder, nothing is sent." in said.out.splitlines()


def test_a_wrong_recipe_a_foreign_folder_and_a_dry_run_start_nothing(say, command, tmp_path):
    words = command("http://127.0.0.1:9")
    said = say(*words, "--out", tmp_path / "run", "--generate.k", "0")
    assert (said.code, said.err.count("\n")) == (2, 1)
    said = say(*words, "--out", tmp_path / "run", "--dry-run")
    assert said.err.startswith("error: --detach: does not go with --dry-run.")
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    said = say(*words, "--out", tmp_path / "mine")
    assert said.err == (
        f"error: {tmp_path / 'mine'}: is not empty and holds no run ('thesis.tex' ...). Name a new folder with --out.\n"
    )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("x")
    said = say(*words, "--out", tmp_path / "file")
    assert said.code == 2
    assert said.err.startswith(f"error: {tmp_path / 'file'}")
    assert said.err.count("\n") == 1
