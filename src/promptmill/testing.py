"""For tests of code that uses promptmill: a fake server for the length of a `with` block.

The server is the real one of `promptmill fake-server`, over real HTTP on loopback; nothing is patched.
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from promptmill.endpoints.fake import FakeOptions, FakeServer, Respond, serve

__all__ = ["FakeOptions", "fake_server", "fake_stats"]

HANG_S = 120.0  # nothing here takes long: a machine that stands still for a while is no failure


@contextmanager
def fake_server(
    options: FakeOptions | None = None, *, around: Callable[[Respond], Respond] | None = None
) -> Iterator[str]:
    """Run a fake server in a thread of its own; yield its address.

    Args:
        options: how it behaves.
        around: see `endpoints.fake.serve`; with it a test can hold answers back until it has seen what it waits for.

    Raises:
        ConfigError: an option is not readable, or the port is in use.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake server", daemon=True)
    thread.start()
    server: FakeServer | None = None
    try:
        starting = asyncio.run_coroutine_threadsafe(serve(options or FakeOptions(), around=around), loop)
        server = starting.result(timeout=HANG_S)
        yield server.url
    finally:
        if server:
            asyncio.run_coroutine_threadsafe(server.close(), loop).result(timeout=HANG_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=HANG_S)
        loop.close()


def fake_stats(base_url: str, *, reset: bool = False) -> dict[str, Any]:
    """What a fake server was asked so far; see `endpoints.fake`."""
    with urllib.request.urlopen(f"{base_url}/stats" + ("?reset=1" if reset else ""), timeout=HANG_S) as reply:  # noqa: S310 - the address of our own server
        found: dict[str, Any] = json.load(reply)
    return found
