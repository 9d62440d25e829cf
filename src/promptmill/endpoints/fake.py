"""The fake server: OpenAI-compatible over real HTTP, with scripted lengths, latencies and faults, that counts.

It is the test server of this project and lets people try a recipe without a model. It answers `/v1/models`,
`/v1/chat/completions`, `/v1/completions`, `/tokenize`, `/version`, `/health` like vLLM, `/completion`,
`/apply-template` and `/props` like llama.cpp, and says at `/stats` what it was asked.

Which fault strikes a request depends on the fault seed, the request's content and how often that content came
before: runs are repeatable, and a retry can succeed. Text and tokens: see `fake_answers`.

`/stats` returns JSON: `received`, `answered` (right answers whose every byte was handed to the socket), `in_flight`,
`peak_in_flight`, `distinct` (different contents), `faults` by kind, `keys` by hash of the key and `contents` by hash of
path and body without `user`, `metadata` and `request_id` (both with received and answered). `?contents=0` leaves the
last out; POST, or GET with `?reset=1`, starts the counts anew.

Not covered: streaming, logprobs, embeddings.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Literal

import msgspec

from promptmill.endpoints.fake_app import App
from promptmill.endpoints.fake_http import Connection
from promptmill.errors import ConfigError


class FakeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the fake server behaves.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 picks a free one.
        model: name of the model it serves.
        claims: which server it says it is; token ids are asked of vLLM only.
        words: words per answer, a number, a range or shares of these, such as 0.8:20-100,0.2:300.
        latency_s: seconds before an answer or a fault, a number, a range or shares of these, such as 0.9:0.1,0.1:2.
        token_latency_s: further seconds for each generated token.
        context: tokens (bytes) that prompt and answer may have together.
        faults: shares of requests that go wrong, such as 429:0.05,drop:0.01; see FAULTS.
        script: what happens to the first, second, ... request of each content, such as 500,429,ok.
        fault_attempts: how often one content can be struck by a fault; 0 is no limit.
        seed: another seed, other faults and latencies.
        retry_after_s: seconds named in Retry-After.
        slow_s: seconds over which a slow answer is spread.
        max_in_flight: more requests than this at a time are refused with 429; 0 is no limit.
        keys: keys that are accepted; none means that no key is needed.
        key_quota: requests that one key may make in a window; 0 is no limit.
        quota_window_s: length of that window in seconds.
        key_lifetime: answers after which a key is refused for ever; 0 is no limit.
    """

    host: str = "127.0.0.1"
    port: int = 0
    model: str = "fake"
    claims: Literal["vllm", "llama.cpp", "other"] = "vllm"
    words: str = "20-200"
    latency_s: str = "0"
    token_latency_s: float = 0.0
    context: int = 32768
    faults: str = ""
    script: str = ""
    fault_attempts: int = 0
    seed: int = 0
    retry_after_s: float = 1.0
    slow_s: float = 1.0
    max_in_flight: int = 0
    keys: tuple[str, ...] = ()
    key_quota: int = 0
    quota_window_s: float = 60.0
    key_lifetime: int = 0


class FakeServer:
    """A running fake server.

    Attributes:
        url: its address, without `/v1`.
    """

    def __init__(self, server: asyncio.Server, connections: set[Connection], host: str) -> None:
        self._server = server
        self._connections = connections
        self.url = f"http://{host}:{server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        async with asyncio.timeout(5):
            await self._server.wait_closed()


async def serve(options: FakeOptions) -> FakeServer:
    """Start a fake server in the running event loop.

    Raises:
        ConfigError: an option is not readable, or the port is in use.
    """
    app = App(options)
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: Connection(app.respond, connections), options.host, options.port, backlog=4096
        )
    except OSError as error:
        where = f"{options.host}:{options.port}"
        raise ConfigError(f"{where}: cannot listen there ({error.strerror}). Choose another port.") from error
    return FakeServer(server, connections, options.host)


def run_fake(options: FakeOptions, on_ready: Callable[[str], None]) -> None:
    """Run a fake server until SIGINT or SIGTERM; `on_ready` gets its address.

    Raises:
        ConfigError: an option is not readable, or the port is in use.
    """

    async def run() -> None:
        server = await serve(options)
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        on_ready(server.url)
        await ended.wait()
        await server.close()

    asyncio.run(run())
