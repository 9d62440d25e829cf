"""Servers for the tests of endpoints: all of them real HTTP on loopback."""

import asyncio
import contextlib
import json
import socket
import threading

import pytest

from promptmill.endpoints.fake.http import Connection, Plan, reply
from promptmill.records import Message, Request, Sampling


class Canned:
    """A server that gives one prepared answer to every POST and remembers what it was sent."""

    def __init__(self, payload, models):
        self.payload = payload
        self.models = models
        self.bodies = []
        self.headers = []

    def respond(self, asked):
        self.headers.append(asked.headers)
        if asked.path == "/v1/models":
            return Plan(reply(*self.models))
        self.bodies.append((asked.path, json.loads(asked.body)))
        return Plan(self.payload)


@contextlib.contextmanager
def canned_server(status, body, headers=None, models=(404, b"{}")):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    canned = Canned(reply(status, content, headers), models)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    connections = set()

    async def begin():
        return await loop.create_server(lambda: Connection(canned.respond, connections), "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(120)
    canned.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield canned
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(lambda: [connection.abort() for connection in list(connections)])
        loop.call_soon_threadsafe(loop.stop)
        thread.join(120)
        loop.close()


@pytest.fixture
def canned():
    return canned_server


@pytest.fixture
def nobody():
    """An address at which nobody listens, nor will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def nameless(monkeypatch):
    """No name server is asked: the only name is that of this machine."""
    real = socket.getaddrinfo

    def find(host, *given, **options):
        if host in {"localhost", "127.0.0.1", "::1"}:
            return real(host, *given, **options)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", find)


@pytest.fixture
def chat():
    def make(content="Say hi.", *, model="fake", sample=0, **sampling):
        return Request(
            prompt_id="p1",
            model=model,
            sample=sample,
            protocol="chat",
            messages=(Message(role="user", content=content),),
            sampling=Sampling(**{"max_tokens": 2000, **sampling}),
        )

    return make


@pytest.fixture
def raw():
    def make(text="Once upon", *, model="fake", sample=0, **sampling):
        return Request(
            prompt_id="p1",
            model=model,
            sample=sample,
            protocol="completion",
            text=text,
            sampling=Sampling(**{"max_tokens": 2000, **sampling}),
        )

    return make


@pytest.fixture
def ask():
    """Ask an endpoint once and close it."""

    def run(endpoint, request):
        async def go():
            try:
                return await endpoint.complete(request)
            finally:
                await endpoint.close()

        return asyncio.run(go())

    return run


class Hurried(asyncio.SelectorEventLoop):
    """A loop whose clock can be put forward."""

    ahead_s = 0.0

    def time(self):
        return super().time() + self.ahead_s


@pytest.fixture
def give_up():
    """Ask an endpoint whose deadline is an hour, and let the hour pass as soon as something is so; close it."""

    def run(endpoint, request, is_so):
        async def go():
            asking = asyncio.create_task(endpoint.complete(request))
            try:
                for _ in range(24_000):  # two minutes at least
                    if asking.done() or is_so():
                        break
                    await asyncio.sleep(0.005)
                asyncio.get_running_loop().ahead_s += 3600
                return await asking
            finally:
                await endpoint.close()

        with asyncio.Runner(loop_factory=Hurried) as runner:
            return runner.run(go())

    return run


@pytest.fixture
def check():
    """Check an endpoint and close it."""

    def run(endpoint, model):
        async def go():
            try:
                await endpoint.check(model)
            finally:
                await endpoint.close()

        asyncio.run(go())

    return run
