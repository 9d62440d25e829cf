"""Recipe in, rows out: real files, a real HTTP server on loopback, the real command line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from promptmill import cli
from promptmill.testing import FakeOptions, fake_server, fake_stats

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
    """Start a command line in a process of its own; whatever still runs at the end is killed."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, "-m", "promptmill", *map(str, arguments)],
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
        process.communicate(timeout=120)


@pytest.fixture
def mill_process(start_mill):
    """Run a command line in a process of its own."""

    def run(*arguments, **options):
        process = start_mill(*arguments, **options)
        out, err = process.communicate(timeout=120)
        return Said(process.returncode, out, err)

    return run


@pytest.fixture(scope="session")
def fake():
    """A fake server with the options given, for the length of a `with` block."""
    return lambda **options: fake_server(FakeOptions(**{"words": "2-30", "retry_after_s": 0.01, **options}))


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
                "endpoints": [{"kind": "openai", "base_url": url, "timeout_s": 60}],
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
        path.write_text(yaml.safe_dump(tree, allow_unicode=True, sort_keys=False))
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
    source = str(Path(__file__).parents[2] / "src")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")])))
