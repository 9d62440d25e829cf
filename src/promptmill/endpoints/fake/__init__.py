"""The fake server: OpenAI-compatible over real HTTP, with scripted lengths, latencies and faults, that counts.

It is the test server of this project and lets people try a recipe without a model. It answers `/v1/models`,
`/v1/chat/completions`, `/v1/completions`, `/tokenize`, `/version`, `/health` like vLLM, `/completion`,
`/apply-template` and `/props` like llama.cpp, `/generate`, `/generate_stream` and `/info` like
text-generation-inference, `/v1/files` and `/v1/batches` like OpenAI (see `batches`), and says at `/stats` what it was
asked.

Which fault strikes a request depends on the fault seed, the request's content and how often that content came
before: runs are repeatable, and a retry can succeed. Text and tokens: see `answers`, with the list of faults.

`/stats` returns JSON: `received`, `answered` (right answers whose every byte was handed to the socket), `in_flight`,
`peak_in_flight`, `distinct` (different contents), `faults` by kind, `keys` by hash of the key and `contents` by hash of
path and body without `user`, `metadata` and `request_id` (both with received and answered). `?contents=0` leaves the
last out; POST, or GET with `?reset=1`, starts the counts anew.

Rooms: `options` what can be asked of it, `answers` texts and odds, `said` answers in the words of each protocol,
`faults` what goes wrong on the wire, `pages` what it tells about itself, `app` routes and counts, `slots` turns, `http`
the sockets.

Not covered: streaming at the OpenAI pages, logprobs, embeddings.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from promptmill.endpoints.fake.app import App
from promptmill.endpoints.fake.http import Asked, Connection, Plan
from promptmill.endpoints.fake.options import FakeOptions
from promptmill.errors import ConfigError

__all__ = ["FakeOptions", "FakeServer", "run_fake", "serve"]

Respond = Callable[[Asked], Plan]


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
        """Stop listening and drop every connection, also those that were on their way in."""
        loop = asyncio.get_running_loop()
        for listening in self._server.sockets:
            loop.remove_reader(listening.fileno())
        await asyncio.sleep(0)  # who is half in gets in: asyncio's own server breaks over it when it is closed
        self._server.close()
        closing = asyncio.ensure_future(self._server.wait_closed())
        while not closing.done():
            for connection in list(self._connections):
                connection.abort()
            await asyncio.wait([closing], timeout=0.01)


async def serve(options: FakeOptions, *, around: Callable[[Respond], Respond] | None = None) -> FakeServer:
    """Start a fake server in the running event loop.

    Args:
        options: how it behaves.
        around: makes of what answers a request something that may hold the answer back or change it.

    Raises:
        ConfigError: an option is not readable, or the port is in use.
    """
    respond: Respond = App(options).respond
    if around is not None:
        respond = around(respond)
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: Connection(respond, connections), options.host, options.port, backlog=4096
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
