"""A real vLLM server on the CPU, started once and ended at the end; it takes one to two minutes to be ready."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

READY_S = 420
SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
FLAGS = ["--dtype", "bfloat16", "--max-model-len", "2048", "--max-num-seqs", "32", "--enforce-eager"]


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=280) as answer:
        return json.load(answer)


def answers(url):
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="session")
def vllm_model():
    folder = os.environ.get("PROMPTMILL_VLLM_MODEL")
    if not folder:
        pytest.skip("PROMPTMILL_VLLM_MODEL names no folder: run make test-vllm")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def vllm_url(vllm_model, tmp_path_factory):
    python = os.environ.get("PROMPTMILL_VLLM_PYTHON")
    if not python:
        pytest.skip("PROMPTMILL_VLLM_PYTHON names no interpreter: run make test-vllm")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    command = [Path(python).absolute(), "-m", "vllm.entrypoints.openai.api_server", "--model", vllm_model]
    command += ["--served-model-name", "smollm2", "--host", "127.0.0.1", "--port", str(port), *FLAGS]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | SETTINGS, stdout=output, stderr=output, start_new_session=True, cwd=log.parent
        )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + READY_S
        while not answers(url):
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"vLLM did not start (exit {process.poll()}):\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(1)
        yield url
    finally:
        # It runs in three processes; the session it was started in holds them and nothing else.
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, kind)
                process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@pytest.fixture(name="post", scope="session")
def post_fixture():
    return post
