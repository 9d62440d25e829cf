"""Proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, in capitals or not.

Many clusters reach the world only through one. A secure address is reached through a tunnel (CONNECT, RFC 9110, 9.3.6):
the proxy sees the name of the host and neither key nor prompt. A plain one is asked of the proxy by its whole address
(RFC 9112, 3.2.2), and the proxy sees everything. What runs on this machine is never asked through a proxy.

Not covered: proxies that are spoken to over TLS, SOCKS, configuration scripts (PAC), networks in `NO_PROXY`
(`10.0.0.0/8`): the system's libraries read names and endings of names only.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment
from urllib.request import proxy_bypass_environment as is_left_out  # type: ignore[attr-defined]  # missing in typeshed

from promptmill.errors import ConfigError

HEAD_BYTES = 1 << 14
THROUGH = "through the proxy"  # how messages name one
Settings = tuple[tuple[str, str], ...]


class Proxy(NamedTuple):
    """Who is asked instead.

    Attributes:
        host: its name or address.
        port: where it listens.
        login: the value of `Proxy-Authorization`, a secret; empty without one.
    """

    host: str
    port: int
    login: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self})"


class NoTunnelError(OSError):
    """The proxy opens no way to the server."""


def settings() -> Settings:
    """What the environment says of proxies: `(scheme, address)`, and `("no", names)`."""
    return tuple(sorted(getproxies_environment().items()))


def proxy_of(said: Settings, scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy by which a server is reached; None: by none.

    Raises:
        ConfigError: what the environment names is no proxy that is spoken to here.
    """
    known = dict(said)
    name = scheme if scheme in known else "all"
    if name not in known or _is_here(host) or is_left_out(host if ":" in host else f"{host}:{port}", known):
        return None
    address = known[name]
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        proxy_port = parts.port or 80
    except ValueError:
        parts, proxy_port = urlsplit(""), 0
    if parts.scheme != "http" or not parts.hostname or not proxy_port:
        raise ConfigError(
            f"{name.upper()}_PROXY in the environment: is no http://host:port. Mend it, or name {host} in NO_PROXY."
        )
    login = _login(parts.netloc)
    return Proxy(parts.hostname, proxy_port, f"Basic {login}" if login else "")


def logins(said: Settings) -> list[str]:
    """What proxies are told in `Proxy-Authorization`: whoever hears it may say it again."""
    return [login for name, address in said if name != "no" and (login := _login(address))]


def _login(address: str) -> str:
    """User and password of `http://user:password@host` as they travel; empty if it has none."""
    plain, at, _ = address.partition("://")[2].rpartition("@") if "://" in address else address.rpartition("@")
    user, _, password = plain.partition(":")
    return base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode() if at else ""


def _is_here(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified  # 0.0.0.0: as servers say where they listen


class Tunnel(asyncio.Protocol):
    """Asks a proxy for a way to a server; `opened` ends when there is one."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        name = host if host.isascii() else host.encode("idna").decode()
        where = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        lines += [f"Proxy-Authorization: {proxy.login}"] if proxy.login else []
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._question = "\r\n".join([*lines, "", ""]).encode()
        self._said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        cast("asyncio.Transport", transport).write(self._question)

    def data_received(self, data: bytes) -> None:
        """Read the head of the reply; a tunnel has no body."""
        self._said += data
        head, end, rest = self._said.partition(b"\r\n\r\n")
        if self.opened.done() or not (end or len(self._said) > HEAD_BYTES):
            return
        status = head.split(b" ", 2)[1:2]
        if end and head.startswith(b"HTTP/1.") and status and status[0][:1] == b"2" and not rest:
            self.opened.set_result(None)
        elif status == [b"407"]:
            self._fail("the proxy wants a login (407): http://user:password@host:port in HTTPS_PROXY")
        else:
            said = status[0][:3].decode("ascii", "replace") if head.startswith(b"HTTP/") and status else "no HTTP"
            self._fail(f"the proxy opens no way there ({said})")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Without a word."""
        self._fail("the proxy closed the connection")

    def _fail(self, what: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(NoTunnelError(what))
            self.opened.exception()  # seen: who waited may have given up
