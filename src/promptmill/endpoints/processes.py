"""Server processes that promptmill started: remembered in a folder, ended exactly, never confused with another.

Each server has a file `<port>.json` in `$XDG_STATE_HOME/promptmill/servers` (or `~/.local/state/...`) and its log
beside it. A process is known by its number AND its time of birth, because numbers are used again. A server is started
as the leader of a session of its own, so its helpers (vLLM has several) end with it.

Not covered: Windows, and servers on other machines.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import msgspec

from promptmill.errors import ConfigError
from promptmill.io.jsonl import atomic
from promptmill.records import Record

log = logging.getLogger(__name__)
_ERROR = re.compile(r"(?i:\berror)[:\]] ?\S|\w(Error|Exception): \S")

END_S = 10.0  # how long a server may take to end by itself
KILLED_S = 60.0  # a process that was killed ends as soon as a busy system comes to it
LOG_TAIL_LINES = 3
LOG_READ_BYTES = 65_536
LOG_KEPT_S = 7 * 24 * 3600


class Server(Record, frozen=True, kw_only=True):
    """A server that was started.

    Attributes:
        kind: `llama.cpp`, `vllm` or `transformers`.
        model: the name that the server knows the model by.
        url: its address, without `/v1`.
        endpoint: the entry of the table `endpoints` that speaks to it.
        port: its port.
        pid: number of its process and of its process group.
        born: when the process was started, as the system tells it.
        log: path of its log.
        note: one line of what whoever asks it should know.
    """

    kind: str
    model: str
    url: str
    endpoint: str = "openai"
    port: int
    pid: int
    born: str
    log: str
    note: str = ""

    def stop(self) -> None:
        """End this server and its helpers, and nothing else; no error if it has ended already."""
        end(self)


def folder() -> Path:
    """Where servers are remembered."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "promptmill" / "servers"


def remember(server: Server) -> None:
    """Write the server's file."""
    with atomic(folder() / f"{server.port}.json") as file:
        file.write(msgspec.json.encode(server))


def forget(server: Server) -> None:
    """Remove the server's file, if it is still that server's."""
    path = folder() / f"{server.port}.json"
    if _read(path) == server:
        path.unlink(missing_ok=True)


def started() -> list[Server]:
    """The servers that still run, by port; files of servers that ended are removed."""
    found = []
    for path in sorted(folder().glob("*.json")):
        server = _read(path)
        if server is None:
            continue
        if alive(server):
            found.append(server)
        else:
            forget(server)
    return sorted(found, key=lambda server: server.port)


def named(which: str) -> list[Server]:
    """The running servers that `which` means: `all`, `only` (there must be one), a port or a process number.

    Raises:
        ConfigError: there is none, or for `only` more than one.
    """
    servers = started()
    if which == "all":
        return servers
    there = ", ".join(f"port {s.port} (PID {s.pid}, {s.model})" for s in servers) or "none"
    if which == "only":
        if not servers:
            raise ConfigError("no server that promptmill started is running. There is nothing to stop.")
        if len(servers) > 1:
            raise ConfigError(f"{len(servers)} servers run: {there}. Name the one to stop by its port, or say all.")
        return servers
    found = [server for server in servers if which in {str(server.port), str(server.pid)}]
    if not found:
        raise ConfigError(f"no server '{which}' was started by promptmill. Running: {there}.")
    return found


def alive(server: Server) -> bool:
    """Whether exactly this process still runs."""
    _reap(server.pid)
    return birth(server.pid) == server.born


def end(server: Server, *, patience_s: float = END_S) -> None:
    """End the server and its helpers: asked first, killed after `patience_s` seconds; forget it."""
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, KILLED_S)):
        # birth is checked just before each signal: a number that now means another process is left alone
        if not alive(server):
            break
        _signal_group(server.pid, number)
        deadline = time.monotonic() + wait_s
        while alive(server) and time.monotonic() < deadline:
            time.sleep(0.02)
        if not alive(server):
            # helpers that ignored the leader's end are still in its group, so the group's number is not used again
            _signal_group(server.pid, signal.SIGKILL)
    if alive(server):
        log.warning("server %s (PID %d) does not end", server.url, server.pid)
        return
    forget(server)


def birth(pid: int) -> str | None:
    """When the process was started, as an opaque text; None when there is no such process or only its remains."""
    try:
        # the program's name is in brackets and may hold anything, so count from the last bracket
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    else:
        return None if fields[0] in "ZX" else fields[19]
    ps = subprocess.run(  # noqa: S603 - fixed program, our own number
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    state, _, when = ps.stdout.strip().partition(" ")
    return None if not when or state.startswith("Z") else when.strip()


def free_port(host: str) -> int:
    """A port that is free now.

    Raises:
        ConfigError: the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((host, 0))
        except OSError as error:
            raise ConfigError(f"{host}: cannot listen there ({error.strerror}).") from error
        port: int = probe.getsockname()[1]
        return port


def check_port(host: str, port: int) -> None:
    """See that a server could listen there.

    Raises:
        ConfigError: the port is in use or no port, or the address is not ours.
    """
    if not 0 < port < 65536:
        raise ConfigError(f"port: {port} is no port. Give a number from 1 to 65535, or 0 for a free one.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ConfigError(f"{host}:{port}: cannot listen there ({error.strerror}).") from error
            ours = next((server for server in started() if server.port == port), None)
            todo = f"End that server first (promptmill serve --stop {port}), or choose" if ours else "Choose"
            raise ConfigError(f"{host}:{port}: the port is in use. {todo} another port; 0 takes a free one.") from error


def log_tail(path: Path) -> str:
    """The last lines of a log as one printable line, and before them the last error, where they do not hold one.

    A server may print a page of help after its one line of error, or end with "see root cause above".
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_READ_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-LOG_TAIL_LINES:]
    errors = [
        line for line in lines[:-LOG_TAIL_LINES] if _ERROR.search(line) and "WARN" not in line and line not in last
    ]
    shown = [*errors[-1:], *last]
    return " | ".join("".join(c if c.isprintable() else " " for c in line).strip()[:200] for line in shown)


def drop_old_logs() -> None:
    """Remove logs that are a week old and belong to no running server."""
    running = {server.log for server in started()}
    for path in folder().glob("*.log"):
        if str(path) not in running and time.time() - path.stat().st_mtime > LOG_KEPT_S:
            path.unlink(missing_ok=True)


def _read(path: Path) -> Server | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Server)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        log.warning("%s: not a server's file; left alone", path)
        return None


def _reap(pid: int) -> None:
    """Take note of our own child's end; a child that nobody takes note of looks alive."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return
