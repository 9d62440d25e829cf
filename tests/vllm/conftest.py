"""A real vLLM server on the CPU, started once by `endpoints.serve`, ended at the end; ready in one to two minutes."""

import json
import os
import urllib.request
from pathlib import Path

import pytest

from promptmill.endpoints import serve

SETTINGS = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "TOKENIZERS_PARALLELISM": "false"}


@pytest.fixture(scope="session")
def vllm_model():
    folder = os.environ.get("PROMPTMILL_VLLM_MODEL")
    if not folder:
        pytest.skip("PROMPTMILL_VLLM_MODEL names no folder: run make test-vllm")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def vllm_server(vllm_model):
    python = os.environ.get("PROMPTMILL_VLLM_PYTHON")
    if not python:
        pytest.skip("PROMPTMILL_VLLM_PYTHON names no interpreter: run make test-vllm")
    server = {
        "kind": "vllm",
        "model": str(vllm_model),
        "python": str(Path(python).absolute()),
        "max_model_len": 2048,
        # a prompt that does not fit a step ends vLLM 0.32 on the CPU where requests have a seed (no generator offset)
        "extra_args": [
            "--dtype",
            "bfloat16",
            "--max-num-seqs",
            "32",
            "--max-num-batched-tokens",
            "16384",
            "--enforce-eager",
        ],
        "env": SETTINGS,
    }
    with serve.running(server, wait_s=420) as running:
        yield running


@pytest.fixture(scope="session")
def vllm_url(vllm_server):
    return vllm_server.url


@pytest.fixture(scope="session")
def post():
    def send(url, body):
        request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=280) as answer:
            return json.load(answer)

    return send
