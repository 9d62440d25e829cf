"""Starting and ending servers; the servers here are small real processes, llama.cpp is in tests/real."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from promptmill.endpoints import processes
from promptmill.endpoints.serve import Launch, launch, llama_cpp, start, stop, vllm
from promptmill.errors import ConfigError
from promptmill.registry import options
from promptmill.testing import fake_stats

FAKE = """
import os, signal, subprocess, sys
from promptmill.endpoints.fake import FakeOptions, run_fake
port, how = int(sys.argv[1]), sys.argv[2]
if how == "helper":
    print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid, flush=True)
if how == "dies":
    sys.exit("cannot find my model")
if how == "sleeps":
    signal.pause()
def ready(url):
    if how == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(1)
run_fake(FakeOptions(port=port), ready)
"""


def plan(how="plain", port=0):
    port = port or processes.free_port("127.0.0.1")
    argv = (sys.executable, "-c", FAKE, str(port), how)
    return Launch(kind="vllm", argv=argv, model="fake", host="127.0.0.1", port=port)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    yield tmp_path / "promptmill" / "servers"
    for server in processes.started():
        processes.end(server, patience_s=0.1)


def test_a_started_server_answers_is_remembered_and_is_ended_alone(state):
    first, second = launch(plan()), launch(plan())
    assert fake_stats(first.url)["received"] == 0
    assert {server.pid for server in processes.started()} == {first.pid, second.pid}
    assert stop(str(first.port)) == [first]
    assert processes.birth(first.pid) is None
    assert processes.started() == [second]
    assert stop(str(second.pid)) == [second]
    assert [path.name for path in state.glob("*.json")] == []


def test_stop_all_ends_all_and_nothing_is_no_error():
    servers = {launch(plan()).pid, launch(plan()).pid}
    assert {server.pid for server in stop("all")} == servers
    assert stop("all") == []


def test_stop_of_an_unknown_port_names_what_runs():
    server = launch(plan())
    with pytest.raises(ConfigError, match=rf"no server '77'.*port {server.port} \(PID {server.pid}, fake\)"):
        stop("77")


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(state):
    with pytest.raises(ConfigError, match=r"it ended while starting: cannot find my model\. The whole log: .*\.log"):
        launch(plan("dies"))
    assert list(state.glob("*.json")) == []


def test_a_server_that_never_answers_is_given_up_and_ended(state):
    with pytest.raises(ConfigError, match=r"not ready after 0\.3 s: it said nothing"):
        launch(plan("sleeps"), wait_s=0.3)
    assert processes.started() == []


def test_a_server_that_ignores_the_polite_signal_is_killed():
    server = launch(plan("stubborn"))
    time.sleep(0.1)
    processes.end(server, patience_s=0.3)
    assert processes.birth(server.pid) is None


def test_the_helpers_of_a_server_end_with_it():
    server = launch(plan("helper"))
    helper = int(Path(server.log).read_text())
    assert processes.birth(helper) is not None
    processes.end(server)
    deadline = time.monotonic() + 10
    while processes.birth(helper) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.birth(helper) is None


def test_a_number_that_now_means_another_process_is_left_alone(state):
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    try:
        state.mkdir(parents=True)
        past = processes.Server(
            kind="vllm", model="m", url="http://127.0.0.1:5", port=5, pid=other.pid, born="1", log="none"
        )
        (state / "5.json").write_bytes(msgspec.json.encode(past))
        processes.end(past)
        with pytest.raises(ConfigError, match="Running: none"):
            stop(str(other.pid))
        assert stop("all") == []
        assert other.poll() is None
        assert list(state.glob("*.json")) == []
    finally:
        other.kill()
        other.wait()


def test_a_file_that_is_no_servers_is_left_alone(state):
    state.mkdir(parents=True)
    (state / "5.json").write_text("{")
    assert processes.started() == []
    assert (state / "5.json").exists()


def test_a_port_in_use_is_one_clear_line_that_knows_our_own_servers():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: the port is in use\. Choose another port"):
            launch(plan(port=port))
    server = launch(plan())
    with pytest.raises(ConfigError, match=rf"promptmill serve --stop {server.port}\), or choose another port"):
        launch(plan(port=server.port))
    assert processes.started() == [server]


def test_an_address_that_is_not_ours_is_an_error():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:8000: cannot listen there"):
        processes.check_port("192.0.2.1", 8000)


def test_a_process_that_ended_and_was_not_waited_for_does_not_run():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.birth(process.pid) is None
    process.wait()
    assert processes.birth(os.getpid()) is not None


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"kind": "llama.cpp", "model": "smolm2"}, r"no model of that name\. Did you mean 'smollm2'\?"),
        ({"kind": "llama.cpp", "model": "/nowhere/x.gguf"}, r"'/nowhere/x\.gguf': no such file"),
        ({"kind": "llama.cpp", "model": "/tmp"}, r"'/tmp': is a folder"),
        ({"kind": "llama.cpp", "model": __file__}, r"is no GGUF file"),
        ({"kind": "llama.cpp", "slots": 0}, r"slots: 0 is too small"),
        ({"kind": "vllm", "model": "./nowhere"}, r"'\./nowhere': no such folder"),
        ({"kind": "vllm", "model": "a/b", "python": "/nowhere/python"}, r"python: '/nowhere/python' cannot be run"),
        ({"kind": "vllm", "model": "a/b"}, r"has no vLLM\. Install it there"),
        ({"kind": "tgi"}, r"servers: no 'tgi'"),
    ],
)
def test_wrong_options_are_one_clear_line(server, message):
    with pytest.raises(ConfigError, match=message):
        start(server)


def test_a_missing_xllamacpp_names_the_extra(tmp_path):
    program = (
        "import sys; from promptmill.endpoints.serve import llama_cpp\n"
        f"sys.path[:] = [{str(tmp_path)!r}]\n"
        "try: llama_cpp()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == (
        "MissingExtra The server llama.cpp needs the extra 'local'. Install it: pip install 'promptmill[local]'"
    )


def environment(folder, *, distribution, program):
    """An interpreter that sees a module `vllm`, with or without its metadata and its program."""
    (folder / "site" / "vllm").mkdir(parents=True)
    (folder / "site" / "vllm" / "__init__.py").touch()
    if distribution:
        (folder / "site" / "vllm-1.0.dist-info").mkdir()
        (folder / "site" / "vllm-1.0.dist-info" / "METADATA").write_text("Name: vllm\nVersion: 1.0\n")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder}/site exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    if program:
        (folder / "vllm").touch()
    return str(python)


def test_vllm_is_run_by_its_program_where_that_works(tmp_path):
    python = environment(tmp_path, distribution=True, program=True)
    got = vllm(model="a/b", python=python, port=8123, max_model_len=512, extra_args=("--enforce-eager",))
    assert got.argv == (
        *(str(tmp_path / "vllm"), "serve", "a/b", "--served-model-name", "a/b", "--host", "127.0.0.1"),
        *("--port", "8123", "--max-model-len", "512", "--enforce-eager"),
    )
    assert (got.url, got.model, got.env["VLLM_NO_USAGE_STATS"]) == ("http://127.0.0.1:8123", "a/b", "1")


@pytest.mark.parametrize(("distribution", "program"), [(False, True), (True, False)])
def test_vllm_is_run_as_a_module_where_its_program_cannot_work(tmp_path, distribution, program):
    python = environment(tmp_path, distribution=distribution, program=program)
    model = tmp_path / "my-model"
    model.mkdir()
    got = vllm(model=str(model), python=python, env={"VLLM_CPU_KVCACHE_SPACE": "1"})
    assert got.argv[:5] == (python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model))
    assert got.model == "my-model"
    assert got.env["VLLM_CPU_KVCACHE_SPACE"] == "1"


@pytest.mark.parametrize("function", [llama_cpp, vllm])
def test_every_option_has_a_line_of_help(function):
    assert [option.name for option in options(function) if not option.help] == []


def test_ctrl_c_while_a_server_starts_leaves_none_behind(state, tmp_path):
    program = (
        "import sys; from promptmill.endpoints.serve import *\n"
        "port = processes.free_port('127.0.0.1')\n"
        "print(port, flush=True)\n"
        "launch(Launch(kind='vllm', argv=(sys.executable, '-c', 'import signal; signal.pause()'), model='m', "
        "host='127.0.0.1', port=port))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        port = process.stdout.readline().strip()
        deadline = time.monotonic() + 30
        while not (state / f"{port}.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        server = msgspec.json.decode((state / f"{port}.json").read_bytes(), type=processes.Server)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert processes.birth(server.pid) is None
        assert list(state.glob("*.json")) == []
    finally:
        process.kill()
        process.wait()
