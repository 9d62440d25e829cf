"""Exit codes and the one line of an error; commands are found without importing what they need."""

import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

import promptmill
from promptmill import cli
from promptmill.testing import FakeOptions, fake_server


@pytest.fixture
def said(capsys):
    def run(*arguments):
        capsys.readouterr()
        code = cli.run(list(arguments))
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_the_version_is_that_of_the_package(said):
    assert said("--version") == (0, f"promptmill, version {promptmill.__version__}\n", "")


def test_the_help_lists_every_command_with_a_line(said):
    code, out, _ = said("--help")
    assert code == 0
    for name in (
        "check",
        "doctor",
        "fake-server",
        "lengths",
        "list",
        "pause",
        "resume",
        "serve",
        "set",
        "show",
        "status",
        "stop",
    ):
        assert f"\n  {name} " in out


@pytest.mark.parametrize("arguments", [[], ["lengths"]])
def test_no_command_shows_the_help_and_is_exit_code_2(said, arguments):
    code, _, err = said(*arguments)
    assert code == 2
    assert "Usage: promptmill" in err
    assert "Commands:" in err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chekc"], "error: No such command 'chekc'. Did you mean 'check'? See promptmill --help."),
        (["show", "a", "b"], "error: Got unexpected extra argument (b). See promptmill show --help."),
        (["lengths", "run", "--modle", "x"], "error: No such option '--modle'"),
        (["show"], "error: Missing argument 'RUN'. See promptmill show --help."),
        (["serve"], "error: serve: no model is named. For example: promptmill serve smollm2"),
        (["serve", "--stop", "1"], "error: no server '1' was started by promptmill. Running: none."),
        (["serve", "smollm"], "error: serve: no model 'smollm'. Did you mean 'smollm2'? For a Hub id of that name"),
        (["serve", "smollm2", "--set", "threads"], "error: --set threads: is not of the form key=value."),
        (["serve", "smollm2", "--set", "treads=1"], "error: --set treads: serve.treads: unknown option. Did you mean"),
        (["fake-server", "--faults", "430:1"], "error: faults: no '430'. There are: 429, "),
        (["fake-server", "--words", "many"], "error: words: 'many' is not readable."),
        (["fake-server", "--faults", "429:0.9,500:0.9"], "error: faults: the shares add up to 1.8."),
        (["fake-server", "--faults", "429:2"], "error: faults: the shares add up to 2."),
        (["fake-server", "--words", "99999"], "error: words: an answer has 16384 words at most."),
        (["fake-server", "--port", "x"], "error: --port: port: 'x': Expected `int`, got `str`."),
        (["fake-server", "--port", "65536"], "error: --port: port: 65536: Expected `int` <= 65535."),
        (["doctor", "--urls"], "error: No such option '--urls'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(said, arguments, line, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    code, out, err = said(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(line), err


def test_a_terminal_sees_a_live_line_and_ends_clean(tmp_path):
    (tmp_path / "p.json").write_text('{"prompts": ["a", "b", "c"], "count": 3}')
    with fake_server(FakeOptions(words="3", latency_s="1.5")) as url:
        command = [sys.executable, "-m", "promptmill", "lengths", "generate", "--input", "p.json", "--server-url", url]
        command += ["--model", "fake", "--max-tokens", "500", "--tokenizer-path", "smollm2", "--batch-size", "1"]
        ours, theirs = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(command, stderr=theirs, stdout=subprocess.DEVNULL, cwd=tmp_path, env=environment)
        os.close(theirs)
        shown = b""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], 1.0)
            try:
                shown += os.read(ours, 65536) if ready else b""
            except OSError:  # the other end is closed
                break
            if not ready and process.poll() is not None:
                break
        os.close(ours)
        assert process.wait(30) == 0
    text = shown.decode()
    assert "generate: 3 of 3 requests to send" in text
    assert "1 in flight" in text
    assert "\x1b[?25l" in text  # the cursor is hidden while the line lives
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # and is there again at the end


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_while_python_takes_itself_down_does_not_change_the_exit_code(name):
    program = f"""
import os, signal, sys

class Late:
    def __del__(self, write=os.write, kill=os.kill, number=os.getpid(), sign=signal.{name}):
        write(2, b"late")
        kill(number, sign)

late = Late()
sys.argv = ["promptmill", "list"]
from promptmill.cli import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "late")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupt_that_comes_where_python_drops_it_comes_again(name):
    program = f"""
import os, signal, time
import click
from promptmill import cli

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.{name})
        for _ in range(1000):
            pass  # it is heard here, where nothing that is raised gets out

@click.command()
def work():
    Deaf()
    time.sleep(30)

cli._COMMANDS["list"] = ("__main__:work", "")
cli.main(["list"])
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr.strip()) == (130, "interrupted: the same command goes on from here.")


EARLY = """
import os, signal, sys
class Now:
    def find_spec(self, name, path=None, target=None):
        if name == "promptmill.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Now())
from promptmill.__main__ import main
main()
"""


def test_an_interrupt_before_anything_has_begun_just_ends_the_process():
    done = subprocess.run(
        [sys.executable, "-c", EARLY, "--help"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
