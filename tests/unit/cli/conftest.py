"""Run folders that a process of its own works in, as a run does: lock, heartbeat, an ear for `control.json`."""

import json
import subprocess
import sys
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
    deadline = time.monotonic() + 120
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
def say(capsys):
    """Run a command line in this process."""

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
