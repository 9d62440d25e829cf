"""One server: its address, its key, and what its status codes mean.

Both endpoint kinds ask through a `Link`. It builds the addresses, adds the key, keeps the key out of everything that
comes back, and maps each HTTP status to the tree in `errors`. It never retries.
"""

from __future__ import annotations

import asyncio
import email.utils
import math
import re
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import IO, Any, Generic, NoReturn, TypeVar
from urllib.parse import unquote, unquote_plus, urlsplit

import msgspec

from promptmill.endpoints import proxies
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.keys import Mask, label, read_key
from promptmill.endpoints.proxies import THROUGH
from promptmill.endpoints.statuses import class_of, message_of, status_in
from promptmill.endpoints.transport import Reply, Streams, Transport
from promptmill.errors import AuthFailed, ConfigError, QuotaSpent, Timeout, Unavailable
from promptmill.io.jsonl import UNREADABLE
from promptmill.registry import did_you_mean

T = TypeVar("T")

ASK_S = 30.0  # questions about the server itself (models, context) are short; none may take longer
EXCERPT_CHARS = 200
LISTED = 20
_VERSION = re.compile(r"/v\d+\w*(/|$)")


KNOWN = {"local": "http://localhost:8000/v1", "remote": "https://api.openai.com/v1"}


class Address:
    """The parts of a `base_url`.

    Attributes:
        root: server root, without `/v1`.
        api: where `/chat/completions` is appended; `/v1` is added where the path names no version.
        query: kept and sent (`?api-version=...`), never shown.
        secrets: what in the query may be a key.
    """

    def __init__(self, base_url: str) -> None:
        """Take it apart.

        Raises:
            ConfigError: not an http address, or a password in it.
        """
        try:
            parts = urlsplit(KNOWN.get(base_url, base_url.strip()))
            port = parts.port
        except ValueError:
            raise ConfigError("base_url: not a valid address. Write it like http://127.0.0.1:8000.") from None
        if parts.username or parts.password:
            raise ConfigError(
                "base_url: holds a user name or password. Put the key into an environment variable and name that "
                "variable in api_key_env."
            )
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            shown = base_url.partition("?")[0]  # a query may hold a key
            raise ConfigError(f"base_url: '{shown}' is no address. Write it like http://127.0.0.1:8000.")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        origin = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        path = parts.path.rstrip("/")
        self.api = origin + path + ("" if _VERSION.search(path) else "/v1")
        self.root = self.api.removesuffix("/v1")
        self.query = f"?{parts.query}" if parts.query else ""
        fields = [field.partition("=") for field in parts.query.split("&")]
        values = [value for name, _, value in fields if not name.lower().endswith("version")]
        # a + is a blank to some servers and itself to others; %XX are seen through by the mask
        self.secrets = [read(value) for value in values for read in (unquote, unquote_plus)]


class Link:
    """Sends JSON to one server and returns checked JSON.

    Attributes:
        address: where it is.
        shown: the address as messages show it.
        served_by: the address as rows show it, with the label of the key: `http://host:8000 (API_KEYS[2] #3fa2c1)`.
        timeout_s: deadline of one request.
    """

    def __init__(
        self, base_url: str, *, api_key_env: str | None, timeout_s: float, transport: Transport | None
    ) -> None:
        """Read the key from the environment.

        Raises:
            ConfigError: the address is wrong, the variable is missing or empty, or the deadline is not positive.
        """
        if not timeout_s > 0 or math.isinf(timeout_s):
            raise ConfigError(f"timeout_s: {timeout_s} is no deadline. Give a number of seconds above 0.")
        self.address = Address(base_url)
        self.shown = self.address.root
        self.timeout_s = timeout_s
        self.served_by = self.shown if api_key_env is None else f"{self.shown} ({label(api_key_env)})"
        self._transport = transport or Http1Transport()
        self._key_env = api_key_env
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        secrets = self.address.secrets
        if api_key_env is not None:
            key = read_key(api_key_env)
            self._headers["Authorization"] = f"Bearer {key}"
            secrets = [key, *secrets]
        self._mask = Mask([*secrets, *proxies.logins(proxies.settings())])

    def __repr__(self) -> str:
        return f"Link({self.shown})"

    async def ask(self, url: str, body: Any = None, *, timeout_s: float | None = None) -> Reply:
        """POST `body` as JSON, or GET without one; return the reply whatever its status."""
        content = None if body is None else msgspec.json.encode(body)
        method = "GET" if body is None else "POST"
        return await self.send(method, url, content, timeout_s=timeout_s)

    async def send(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        *,
        content_type: str | None = None,
        timeout_s: float | None = None,
    ) -> Reply:
        """Send bytes of any kind, JSON unless told; return the reply whatever its status."""
        headers = self._headers if content_type is None else {**self._headers, "Content-Type": content_type}
        reply = await self._transport.send(
            method,
            self._with_query(url),
            body=body,
            headers=headers,
            timeout_s=timeout_s or self.timeout_s,
        )
        masked = self._mask.body(reply.body)
        return reply if masked is reply.body else reply._replace(body=masked)

    async def save(self, url: str, file: IO[bytes], *, timeout_s: float) -> None:
        """GET lines of text into a file, whatever their number: only one line is held at a time.

        Raises:
            EndpointError: what the status says, or the answer broke off (the file then holds a part of it).
        """
        rest = b""

        def take(piece: bytes) -> None:
            nonlocal rest
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            file.write(self._mask.body(whole + newline))

        if not isinstance(self._transport, Streams):
            reply = await self.send("GET", url, timeout_s=timeout_s)
            take(reply.body)
        else:
            headers = {**self._headers, "Accept": "*/*"}
            reply = await self._transport.stream(self._with_query(url), take, headers=headers, timeout_s=timeout_s)
        if reply.status != 200:
            self.fail(reply)
        file.write(self._mask.body(rest))

    def _with_query(self, url: str) -> str:
        """The address with the query of `base_url`, behind its own if it has one."""
        query = self.address.query
        return f"{url}&{query[1:]}" if query and "?" in url else url + query

    async def get(self, path: str) -> Reply:
        """Ask a short question of the server root."""
        return await self.ask(self.address.root + path, timeout_s=min(ASK_S, self.timeout_s))

    async def post(self, path: str, body: Any) -> Any:
        """Ask a short question with a body; return the JSON object.

        Raises:
            EndpointError: no answer, an error status or not a JSON object.
        """
        reply = await self.ask(self.address.root + path, body, timeout_s=min(ASK_S, self.timeout_s))
        return self.read(reply, dict[str, Any])

    def read(self, reply: Reply, type_: type[T]) -> T:
        """Decode an answer.

        Raises:
            EndpointError: what its status says; `Unavailable` when the body is not the JSON that was asked for.
        """
        if reply.status != 200:
            self.fail(reply)
        try:
            return msgspec.json.decode(reply.body, type=type_)
        except UNREADABLE as error:
            # some proxies answer 200 and put the error into the body
            status = status_in(reply.body)
            said = self._mask.text(f"{self.shown}: wrong answer ({error}): {self.excerpt(reply.body)}")
        if status:
            self.fail(reply._replace(status=status))
        raise Unavailable(said, sent=True)

    def fail(self, reply: Reply) -> NoReturn:
        """Raise what a status means.

        Raises:
            EndpointError: always.
        """
        status, kind = reply.status, class_of(reply.status, reply.body)
        said = f"{self.shown}: {status}: {self.excerpt(reply.body)}"
        if kind is QuotaSpent:
            said += " This key has no quota or money left. Refill it, or name another in api_key_env."
        elif issubclass(kind, AuthFailed):
            todo = f"Check the key in {self._key_env}." if self._key_env else "Name the key's variable in api_key_env."
            said += f" {todo}"
        elif 300 <= status < 400:
            said = f"{self.shown}: {status}: the server sends us elsewhere. Give its final address as base_url."
        elif status < 400:
            said = f"{self.shown}: unexpected status {status}: {self.excerpt(reply.body)}"
        # a gateway gave up waiting (504): the server behind it may go on and finish
        raise kind(said, retry_after_s=retry_after_s(reply.headers), sent=status == 504)

    def excerpt(self, body: bytes) -> str:
        """What the server said, fit for one line: its own message where there is one, no control characters."""
        text = message_of(body) or body[:8000].decode("utf-8", "replace")
        text = self._mask.text(text[:8000])[:4000]  # cut after the key is out, or half of it would stay
        return _plain(text).strip()[:EXCERPT_CHARS].strip() or "(empty answer)"

    async def models(self) -> list[dict[str, Any]] | None:
        """The entries of `/v1/models`; None where the server has no usable list.

        Raises:
            EndpointError: nothing answers, the key is refused, or the server asks to wait.
        """
        reply = await self.ask(self.address.api + "/models", timeout_s=min(ASK_S, self.timeout_s))
        if reply.status in {401, 402, 403, 429, 502, 503, 504, 529}:
            self.fail(reply)
        try:
            entries = msgspec.json.decode(reply.body, type=_Models).data if reply.status == 200 else None
        except UNREADABLE:
            return None
        return entries

    async def check(self, model: str) -> None:
        """See that the server answers and serves `model`; a server that lists no models is believed.

        Raises:
            EndpointError: nothing answers, or the key is refused.
            ConfigError: the model is not served.
        """
        try:
            entries = await self.models()
        except (Unavailable, Timeout) as error:
            raise type(error)(no_server(error)) from None
        if not entries:  # transformers serves a folder and lists the models of its download cache
            return
        served = [name for entry in entries for name in names_of(entry)]
        if model not in served:
            near = did_you_mean(model, served)
            raise ConfigError(f"{self.shown}: no model '{model}'.{_plain(near)} It serves: {_listed(served)}.")

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()


class Once(Generic[T]):
    """A value that is asked for once, however many want it at the same time.

    A failed question fails for all who wait for it and is asked again by the next who comes.
    """

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._ask = ask
        self._values: list[T] = []
        self._question: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return the value; whatever the question raises goes to whoever waits for it."""
        if self._values:
            return self._values[0]
        question = self._question
        if question is None or question.done() or question.get_loop() is not asyncio.get_running_loop():
            question = self._question = asyncio.create_task(self._ask())
            question.add_done_callback(self._keep)
        return await asyncio.shield(question)  # one who gives up must not end the question of the others

    def _keep(self, question: asyncio.Task[T]) -> None:
        if not question.cancelled() and question.exception() is None:
            self._values.append(question.result())


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


def names_of(entry: dict[str, Any]) -> list[str]:
    """The names one entry of `/v1/models` answers to (llama.cpp gives `aliases`)."""
    aliases = entry.get("aliases")
    found = [entry.get("id"), *(aliases if isinstance(aliases, list) else [])]
    return [name for name in found if isinstance(name, str)]


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait from `Retry-After` (seconds or HTTP date, RFC 9110) or `retry-after-ms`; garbage is None.

    A date is compared with the server's own (`Date`) where it tells it: this machine's clock may be wrong.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text, re.ASCII):
            return float(text) * scale
    until = _seconds_of(headers.get("retry-after", ""))
    if until is None:
        return None
    now = _seconds_of(headers.get("date", ""))
    return max(0.0, until - (time.time() if now is None else now))


def _seconds_of(date: str) -> float | None:
    """An HTTP date as seconds since 1970; None if it is none."""
    try:
        return email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _plain(text: str) -> str:
    """A server's words without control characters, each run of blanks as one."""
    return re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in text))


def _listed(names: list[str]) -> str:
    """Names for one line; hosted services have hundreds."""
    distinct = sorted(dict.fromkeys(names))
    more = f" and {len(distinct) - LISTED} more" if len(distinct) > LISTED else ""
    return _plain(", ".join(name[:EXCERPT_CHARS] for name in distinct[:LISTED])) + more if distinct else "none"


def no_server(error: Exception) -> str:
    """What to say where a server that is asked for the first time does not answer."""
    text = str(error).rstrip(".")
    proxy = ", and the proxy (NO_PROXY names hosts that are reached without it)" if THROUGH in text else ""
    return f"{text}. Start the server, or check base_url{proxy}."
