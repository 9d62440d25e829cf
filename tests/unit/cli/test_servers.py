"""`promptmill serve` from the command line, with the fake server in the place of a real one."""

import contextlib
import socket
import sys
import types

import pytest

from promptmill import cli, registry
from promptmill.cli import servers
from promptmill.endpoints import processes
from promptmill.endpoints.programs import Launch


def port_of_ours(stack):
    """A port that nobody else is given before a server listens there."""
    held = stack.enter_context(socket.socket())
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, so one of them can listen there too
    held.bind(("127.0.0.1", 0))
    return held.getsockname()[1]


STACK = contextlib.ExitStack()


def fake(
    *, model: str, port: int = 0, python: str | None = None, enforce_eager: bool = False,
    extra_args: tuple[str, ...] = (),
) -> Launch:  # fmt: skip
    """A server.

    Args:
        model: its model.
        port: its port.
        python: not used.
        enforce_eager: not used.
        extra_args: further arguments.
    """
    port = port or port_of_ours(STACK)
    argv = (sys.executable, "-m", "promptmill", "fake-server", "--port", str(port), "--model", model, *extra_args)
    return Launch(kind=f"eager {enforce_eager}", argv=argv, model=model, host="127.0.0.1", port=port, note="mind it")


@pytest.fixture
def mill(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "mine", types.ModuleType("mine"))
    sys.modules["mine"].fake = fake
    monkeypatch.setitem(registry.TABLES["servers"], "vllm", "mine:fake")

    def run(*arguments):
        capsys.readouterr()
        code = cli.run([str(argument) for argument in ("serve", *arguments)])
        return code, *capsys.readouterr()

    yield run
    for server in processes.started():
        processes.end(server, patience_s=0.1)
    STACK.close()


def test_a_server_is_started_listed_and_stopped_without_naming_it(mill):
    code, out, err = mill("a/b", "--wait", "120")
    (server,) = processes.started()
    assert (code, err) == (0, "")
    assert out == (
        f"eager False serves a/b at {server.url} (PID {server.pid})\nlog: {server.log}\nnote: mind it\n"
        f"stop it with: promptmill serve --stop {server.port}\n"
    )
    assert mill("--list")[1] == f"eager False  a/b  {server.url}  PID {server.pid}  log {server.log}\n"
    assert mill("--stop") == (0, f"stopped eager False a/b (PID {server.pid}, {server.url})\n", "")
    assert processes.birth(server.pid) is None
    assert mill("--stop") == (2, "", "error: no server that promptmill started is running. There is nothing to stop.\n")


def test_of_several_servers_the_one_to_stop_must_be_named(mill):
    mill("a/b", "--wait", "120")
    mill("c/d", "--wait", "120", "--", "--words", "3")
    first, second = processes.started()
    code, out, err = mill("--stop")
    assert (code, out) == (2, "")
    assert err.startswith("error: 2 servers run: port ")
    assert f"port {second.port} (PID {second.pid}, {second.model})" in err
    assert processes.started() == [first, second]
    assert mill("--stop", first.port)[0] == 0
    assert processes.started() == [second]
    assert mill("--stop", "all")[0] == 0


def test_flags_and_what_stands_behind_two_dashes_reach_the_server(mill):
    port = port_of_ours(STACK)
    code, out, err = mill("a/b", "--port", port, "--enforce-eager", "--wait", "120", "--", "--words", "none")
    assert (code, out) == (2, "")
    assert "it ended while starting: error: words: 'none' is not" in err
    assert err.startswith("error: server eager True: ")
    assert err.count("\n") == 1
    code, out, _ = mill("a/b", "--port", port, "--enforce-eager", "--wait", "120", "--", "--words", "3")
    assert (code, out.split(" (")[0]) == (0, f"eager True serves a/b at http://127.0.0.1:{port}")
    assert mill("a/b", "--port", port)[2] == (
        f"error: 127.0.0.1:{port}: the port is in use. End that server first (promptmill serve --stop {port}), or "
        "choose another port; 0 takes a free one.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a/b", "c/d"], "error: serve: 'c/d' is one argument too many. One server serves one model."),
        (["smollm2", "--", "--dtype", "half"], "error: serve: llama.cpp takes no further arguments (--dtype half)."),
        (["smollm2", "--max-model-len", "5"], "error: --max-model-len: serve.max_model_len: unknown option."),
        (["a/b", "--port", "x"], "error: --port: serve.port: 'x': Expected `int`, got `str`."),
        (["a/b", "--port", "70000"], "error: port: 70000 is no port."),
        (["a/b", "--kind", "tgi"], "error: serve: serve.kind: no 'tgi'. There are: llama.cpp, transformers, vllm."),
    ],
)
def test_a_wrong_command_is_one_clear_line(mill, arguments, line):
    code, out, err = mill(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_every_option_of_a_built_in_server_is_a_flag():
    # made when the module is imported, above, from the servers that promptmill comes with
    flags = {parameter.name for parameter in servers.serve.params}
    assert {"host", "threads", "max_model_len", "gpu_memory_utilization", "enforce_eager", "device"} <= flags
