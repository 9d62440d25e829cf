"""Recipe in, rows out: real files, a real HTTP server on loopback, the real command line."""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from promptmill import cli
from promptmill.run import read_status
from promptmill.testing import FakeOptions, fake_server, fake_stats

PATIENCE_S = 240  # only guards against hanging

QUESTIONS = [
    "Name three rivers.",
    "Why is the sky blue?",
    "Écris un mot en français.",
    'Say "hello" and nothing else.',
    "Count\nto\tten.",
    "日本語で一つの文を書いてください。",
]


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The one line that says what is wrong; fails if there is not exactly one, at the end, without a traceback."""
        assert "Traceback" not in self.err
        lines = self.err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], self.err
        return lines[-1]


@pytest.fixture
def mill(capsys):
    """Run a command line in this process."""

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def start_mill():
    """Start a command line in a process of its own; whatever still runs at the end is killed.

    `first` is Python that runs there before the command line is loaded.
    """
    started = []

    def start(*arguments, first="", **options):
        script = f"import sys\n{first}\nfrom promptmill.cli import main\nmain()\n"
        process = subprocess.Popen(
            [sys.executable, *(["-c", script] if first else ["-m", "promptmill"]), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def mill_process(start_mill):
    """Run a command line in a process of its own."""

    def run(*arguments, **options):
        process = start_mill(*arguments, **options)
        out, err = process.communicate(timeout=PATIENCE_S)
        return Said(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def fake():
    """A fake server with the options given, for the length of a `with` block."""
    return lambda **options: fake_server(FakeOptions(**{"words": "2-30", "retry_after_s": 0.01, **options}))


class Gate:
    """Holds the answers of a fake server back until it is told to let so many go, or all."""

    def __init__(self):
        self._lock = threading.Lock()
        self._may = 0
        self._numbers = itertools.count()
        self._held = {}
        self._loop = None

    def let(self, count=float("inf")):
        """Let so many go, of those that wait and of those that come."""
        with self._lock:
            self._may += count
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._go)

    def hold(self):
        """Let none go from now on."""
        with self._lock:
            self._may = 0

    def around(self, respond):
        """What the fake server's own answers go through."""

        def held(asked):
            plan = respond(asked)
            if asked.method != "POST" or not asked.path.endswith("/completions"):
                return plan
            number = next(self._numbers)
            return plan._replace(enter=partial(self._enter, number), done=partial(self._done, number, plan.done))

        return held

    def _enter(self, number, begin):
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._held[number] = begin
        self._go()

    def _done(self, number, done, handed):
        self._held.pop(number, None)  # its client has gone
        done(handed)

    def _go(self):
        while True:
            with self._lock:
                if not (self._held and self._may):
                    return
                self._may -= 1
                begin = self._held.pop(next(iter(self._held)))
            begin()


@pytest.fixture(scope="session")
def gated():
    """A fake server that holds its answers back, for the length of a `with` block: its address and its gate."""

    @contextmanager
    def serve(**options):
        gate = Gate()
        with fake_server(FakeOptions(**{"words": "2-30", "retry_after_s": 0.01, **options}), around=gate.around) as url:
            yield url, gate

    return serve


@pytest.fixture(scope="session")
def nobody():
    """An address where nothing listens, and nothing else can begin to."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}"


@pytest.fixture(scope="session")
def until():
    """Wait until something is so, and return it."""

    def wait(what, why="it did not come"):
        deadline = time.monotonic() + PATIENCE_S
        while not (found := what()):
            assert time.monotonic() < deadline, why() if callable(why) else why
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture(scope="session")
def beat(until):
    """Wait until the heartbeat of a process says so; fails if the process ends before."""

    def wait(process, out, what, stage="generate"):
        def look():
            status = read_status(out)
            if status is not None and status["pid"] == process.pid and status["stage"] == stage and what(status):
                return status
            if process.poll() is not None:
                pytest.fail(f"the run ended too early: {process.communicate()}, {read_status(out)}")
            return None

        return until(look, lambda: f"never so: {read_status(out)}")

    return wait


@pytest.fixture(scope="session")
def settled(until):
    """What a fake server was asked, once every client of it has ended.

    What a client sent just before its end still lies in the sockets. A server that has answered a question which was
    asked after that end has taken the connections before it, and by the next one it has read them.
    """

    def count(url):
        looks = []

        def still():
            looks.append(fake_stats(url))
            known = [look["received"] for look in looks[-3:]]
            return looks[-1] if len(known) == 3 and len(set(known)) == 1 and not looks[-1]["in_flight"] else None

        return until(still, "a client still waits for its answer")

    return count


@pytest.fixture(scope="session")
def asked():
    """How many requests for completions a fake server got."""
    return lambda url: fake_stats(url)["received"]


@pytest.fixture
def recipe(tmp_path):
    """Write a recipe over six prompts for a server; keyword arguments are laid over it."""

    def write(url, *, prompts=QUESTIONS, name="recipe.yaml", slices=None, **generate):
        (tmp_path / "prompts.json").write_text(json.dumps({"prompts": prompts, "count": len(prompts)}))
        tree = {
            "workflow": "lengths",
            "source": {"kind": "prompts", "path": str(tmp_path / "prompts.json")},
            "generate": {
                "model": "fake",
                "endpoints": [{"kind": "openai", "base_url": url, "timeout_s": 1200}],  # no right answer is late
                "sampling": {"max_tokens": 4000},
                "concurrency": 4,
                **generate,
            },
            "slices": {
                "step": 20,
                "tokenizer": "bytes",  # the fake server's own
                **(slices or {}),
            },
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def rows():
    """The rows of a JSON Lines file."""
    return lambda path: [json.loads(line) for line in Path(path).read_bytes().split(b"\n")[:-1]]


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch, tmp_path_factory):
    """No server of this machine's user is met, and nothing is asked of a hub."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "API_KEYS", "COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])))
