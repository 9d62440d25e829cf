"""Start a real server in the background, wait until it answers, and end exactly that one.

`serve` is what a notebook and `promptmill serve` call; `start` runs what a recipe's `serve:` says, `stop` ends it,
`running` does both around a block. A server that dies while it starts is reported at once with the end of its log.
Nothing here needs a terminal or an event loop: the server's output goes to its log file. What can be started: see
`programs`; how processes are remembered and ended: see `processes`.

Not covered: servers on other machines.
"""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptmill import config, registry
from promptmill.endpoints import processes
from promptmill.endpoints.models import NAMED
from promptmill.endpoints.processes import Server
from promptmill.endpoints.programs import Launch
from promptmill.errors import ConfigError
from promptmill.registry import did_you_mean

log = logging.getLogger(__name__)

__all__ = ["Launch", "launch", "running", "serve", "servers", "start", "stop"]


def serve(model: str, *, kind: str | None = None, wait_s: float = 600.0, **options: Any) -> Server:
    """Start a server in the background and wait until it answers; it outlives this process.

    Args:
        model: smollm2, qwen2.5-coder-1.5b, a .gguf file, a folder in Hugging Face form or a Hub id.
        kind: an entry of the table `servers`: llama.cpp, vllm or transformers; unless given, llama.cpp for packaged
            models and .gguf files, else vllm.
        wait_s: how long it may take.
        options: those of the server, as in `serve:` of a recipe (`threads=1`, `max_model_len=4096`).

    Returns:
        The server, with `url`, `pid`, `log` and `stop()`.

    Raises:
        ConfigError: wrong model or options, the port is in use, or the server did not come up (with the end of its
            log).
        MissingExtra: the server's package is not installed.
    """
    document = config.Document({"serve": {"kind": kind_for(model, kind), "model": model, **options}}, {}, "serve")
    return start(config.check_use(document, "serve", "servers"), wait_s=wait_s)


def kind_for(model: str, kind: str | None) -> str:
    """The entry of the table `servers` that serves a model, unless `kind` says so.

    Raises:
        ConfigError: the model looks like a packaged one, and is none.
    """
    if kind is not None:
        return kind
    if model in NAMED or model.endswith(".gguf"):
        return "llama.cpp"
    if not Path(model).exists() and (hint := did_you_mean(model, NAMED)):
        raise ConfigError(f"serve: no model '{model}'.{hint} For a Hub id of that name: --kind vllm.")
    return "vllm"


def servers() -> list[Server]:
    """The servers that promptmill started and that still run, by port."""
    return processes.started()


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
        note=plan.note,
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
