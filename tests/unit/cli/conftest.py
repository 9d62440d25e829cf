"""Run folders that a process of its own works in, as a run does: lock, heartbeat, an ear for `control.json`."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from promptmill import cli

WORKER = """
import json, sys, time
from contextlib import ExitStack
from pathlib import Path
from promptmill.generate.control import Watcher
from promptmill.run import open_run

path, facts, listens = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3] == "True"
with open_run(path, workflow="lengths", seeds={}) as run, ExitStack() as stack:
    if sys.argv[4] == "True":
        stack.enter_context(open_run(path / "judge", workflow="judge", seeds={}))
    run.identify("generate", {})
    run.begin("generate")
    if facts is not None:
        run.heartbeat(**facts)
    watcher = Watcher(path / "judge" if sys.argv[4] == "True" else path)
    print("works", flush=True)
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        said = watcher.changed() if listens else None
        if (said is not None and said.stop) or (path / "end").exists():
            break
        time.sleep(0.01)
"""


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


@pytest.fixture
def say(capsys, monkeypatch):
    """Run a command line in this process; nobody is called late only because the machine stood still."""
    monkeypatch.setattr("promptmill.cli.steer.LATE_S", 1000.0)
    monkeypatch.setattr("promptmill.cli.detach.PATIENCE_S", 120.0)

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def work(tmp_path):
    """Let a process work in `tmp_path/run`; whatever still runs at the end is killed."""
    started = []

    def start(facts=None, *, listens=True, judges=False):
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path / "run"), json.dumps(facts), str(listens), str(judges)],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "works\n"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=120)


class Held(ThreadingHTTPServer):
    """A server that keeps every request waiting until `go` is set."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.go = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    """Two pages of an OpenAI server."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "fake", "object": "model"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.go.wait(600)
        choice = {"index": 0, "message": {"role": "assistant", "content": "one two three"}, "finish_reason": "stop"}
        self.reply({"id": "1", "choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 3}})

    def reply(self, page):
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def held():
    """A server whose answers come when the test sets `held.go`."""
    with Held() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.go.set()
        server.shutdown()
        thread.join(120)
