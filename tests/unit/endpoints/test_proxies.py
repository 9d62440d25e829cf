"""Proxies of the environment: tunnels, plain addresses, logins, exceptions, and what is said of failures."""

import asyncio
import contextlib
import socket
import ssl

import pytest
import trustme

from promptmill.endpoints import http1
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.link import Link
from promptmill.endpoints.proxies import proxy_of, settings
from promptmill.endpoints.transport import loop_factory
from promptmill.errors import ConfigError, Timeout, Unreachable

LOOPS = [None, pytest.param("uvloop", marks=pytest.mark.skipif(loop_factory() is None, reason="no extra 'fast'"))]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextlib.asynccontextmanager
async def listening(serve, **options):
    """A server on loopback; its port."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def api(reader, writer):
    """Answers every request with hello."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(HELLO)
    writer.close()


def proxy(heard, target=None, reply=b"HTTP/1.1 200 Connection established\r\n\r\n"):
    """A proxy that passes everything on to `target`, whatever name it is asked for; it notes the heads it hears."""

    async def copy(reader, writer):
        with contextlib.suppress(OSError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
        writer.close()

    async def serve(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # who asked gave up
            writer.close()
            return
        heard.append(head)
        if not head.startswith(b"CONNECT"):
            await reader.readexactly(2)
            writer.write(HELLO)
            await copy(reader, writer)
            return
        for byte in reply:
            writer.write(bytes([byte]))
        if reply.startswith(b"HTTP/1.1 200") and target is not None:
            there, back = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(copy(reader, back), copy(there, writer))
        elif target is None:
            writer.close()
        else:  # says nothing more
            await copy(reader, writer)

    return serve


@pytest.fixture(params=LOOPS)
def using(request, monkeypatch):
    monkeypatch.setattr(http1, "KEEP_ALIVE_S", 3600.0)  # a machine may stand still between two requests

    def run(act):
        async def go():
            async with asyncio.timeout(240):
                return await act()

        with asyncio.Runner(loop_factory=loop_factory() if request.param else None) as runner:
            return runner.run(go())

    return run


@contextlib.asynccontextmanager
async def transport():
    made = Http1Transport()
    try:
        yield made
    finally:
        await made.close()


def post(client, url, timeout_s=120.0):
    return client.send("POST", url, body=b"{}", headers={"Authorization": "Bearer canary-key"}, timeout_s=timeout_s)


@pytest.fixture
def certified(monkeypatch):
    """What a server named api.test shows, and is believed."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("api.test").configure_cert(context)
    with authority.cert_pem.tempfile() as file:
        monkeypatch.setenv("SSL_CERT_FILE", file)
        http1._certificates.cache_clear()
        yield context
    http1._certificates.cache_clear()


def test_a_secure_server_is_reached_through_a_tunnel_that_is_kept_and_sees_no_key(using, certified, monkeypatch):
    async def act():
        heard = []
        async with listening(api, ssl=certified) as there, listening(proxy(heard, there)) as port:
            monkeypatch.setenv("https_proxy", f"http://me:pass%20word@127.0.0.1:{port}")
            async with transport() as client:
                bodies = [(await post(client, "https://api.test/v1/x")).body for _ in range(3)]
                many = await asyncio.gather(*(post(client, "https://api.test/v1/x") for _ in range(20)))
        return bodies, len(many), heard

    bodies, many, heard = using(act)
    assert (bodies, many) == ([b"hello"] * 3, 20)
    assert len(heard) <= 20  # the first three share a tunnel, which one of the twenty takes again
    assert set(heard) == {
        b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nProxy-Authorization: Basic bWU6cGFzcyB3b3Jk\r\n\r\n"
    }


def test_a_tunnel_is_asked_for_by_the_name_that_machines_read(using, monkeypatch):
    async def act():
        heard = []
        async with listening(proxy(heard, reply=b"HTTP/1.1 403 Forbidden\r\n\r\n")) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            async with transport() as client:
                with pytest.raises(Unreachable):
                    await post(client, "https://bücher.test/v1/x")
        return heard

    [head] = using(act)
    assert head.startswith(b"CONNECT xn--bcher-kva.test:443 HTTP/1.1\r\nHost: xn--bcher-kva.test:443\r\n")


def test_what_a_proxy_says_of_its_login_is_masked(using, monkeypatch):
    async def tells(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        login = head.partition(b"Proxy-Authorization: ")[2].split(b"\r\n")[0]
        said = b"no such login: " + login
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))

    async def act():
        async with listening(tells) as port:
            monkeypatch.setenv("HTTP_PROXY", f"http://me:pass%20word@127.0.0.1:{port}")
            link = Link("http://api.test", api_key_env=None, timeout_s=120.0, transport=None)
            try:
                return (await link.ask(f"{link.address.api}/x")).body
            finally:
                await link.close()

    assert using(act) == b"no such login: Basic [key]"


def test_a_plain_server_is_asked_of_the_proxy_by_its_whole_address(using, monkeypatch):
    async def act():
        heard = []
        async with listening(proxy(heard)) as port:
            monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{port}")
            async with transport() as client:
                return (await post(client, "http://api.test:8000/v1/x?a=b")).body, heard

    body, [head] = using(act)
    assert body == b"hello"
    assert head.startswith(b"POST http://api.test:8000/v1/x?a=b HTTP/1.1\r\nHost: api.test:8000\r\n")
    assert b"Authorization: Bearer canary-key" in head
    assert b"Proxy-Authorization" not in head


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
            "the proxy wants a login (407): http://user:password@host:port in HTTPS_PROXY",
        ),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy opens no way there (403)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy opens no way there (no HTTP)"),
        (b"x" * 20_000, "the proxy opens no way there (no HTTP)"),
        (b"HTTP/1.1 200 OK\r\n\r\nearly", "the proxy opens no way there (200)"),
        (b"", "the proxy closed the connection"),
    ],
)
def test_a_proxy_that_opens_no_way_is_named_with_what_it_said_and_without_its_login(using, monkeypatch, reply, said):
    async def act():
        async with listening(proxy([], reply=reply)) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret-word@127.0.0.1:{port}")
            async with transport() as client:
                with pytest.raises(Unreachable) as caught:
                    await post(client, "https://api.test/v1/x")
        return caught.value, port

    error, port = using(act)
    assert str(error) == f"https://api.test (through the proxy 127.0.0.1:{port}): {said}."
    assert error.sent is False


def test_a_proxy_that_is_away_or_silent_is_an_error_like_that_of_a_server(using, monkeypatch, nobody):
    async def act():
        monkeypatch.setenv("ALL_PROXY", f"http://{nobody}")
        async with transport() as client:
            with pytest.raises(Unreachable, match=rf"^https://api\.test \(through the proxy {nobody}\): nothing"):
                await post(client, "https://api.test/v1/x")
        async with listening(proxy([], target=1, reply=b"HTTP/1.1 ")) as port:
            monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{port}")
            async with transport() as client:
                with pytest.raises(Timeout, match=r"no answer within 0\.5 s"):
                    await post(client, "https://api.test/v1/x", timeout_s=0.5)

    using(act)


async def ends(reader, writer):
    writer.close()


async def speaks(reader, writer):
    writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    await ends(reader, writer)


@pytest.mark.parametrize("serve", [ends, speaks])
def test_a_secure_server_that_speaks_or_ends_at_once_is_no_bug_of_ours_in_a_tunnel(
    using, certified, monkeypatch, serve
):
    certified.maximum_version = ssl.TLSVersion.TLSv1_2  # there the server has the last word of the handshake

    async def act():
        complaints, found = [], []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context))
        async with listening(serve, ssl=certified) as there, listening(proxy([], there)) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            async with transport() as client:
                for _ in range(5):
                    try:
                        found.append((await post(client, "https://api.test/v1/x")).status)
                    except Unreachable:
                        found.append(None)
            return found, list(complaints)

    found, complaints = using(act)
    assert set(found) <= ({None} if serve is ends else {None, 408})
    assert (len(found), complaints) == (5, [])


def test_a_certificate_of_another_name_is_refused_through_a_tunnel_too(using, certified, monkeypatch):
    async def act():
        heard = []
        async with listening(api, ssl=certified) as there, listening(proxy(heard, there)) as port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            async with transport() as client:
                with pytest.raises(Unreachable, match="the secure connection failed"):
                    await post(client, "https://other.test/v1/x")

    using(act)


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({"HTTPS_PROXY": "http://p:3128"}, ("https", "api.test", 443), "p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, ("http", "api.test", 80), None),
        ({"https_proxy": "p:3128"}, ("https", "api.test", 443), "p:3128"),
        ({"ALL_PROXY": "http://p"}, ("https", "api.test", 443), "p:80"),
        ({"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "http://q:2"}, ("https", "api.test", 443), "p:1"),
        ({"HTTPS_PROXY": ""}, ("https", "api.test", 443), None),
        ({"ALL_PROXY": "http://p:1"}, ("http", "localhost", 8000), None),
        ({"ALL_PROXY": "http://p:1"}, ("http", "127.0.0.5", 8000), None),
        ({"ALL_PROXY": "http://p:1"}, ("http", "::1", 8000), None),
        ({"ALL_PROXY": "http://p:1"}, ("http", "0.0.0.0", 8000), None),
        ({"ALL_PROXY": "http://p:1"}, ("http", "10.0.0.7", 8000), "p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "10.0.0.7,other"}, ("http", "10.0.0.7", 8000), None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": ".example.com"}, ("https", "api.example.com", 443), None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "example.com"}, ("https", "api.example.com", 443), None),
        ({"ALL_PROXY": "http://p:1", "no_proxy": "api.test:443"}, ("https", "api.test", 443), None),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "api.test:8443"}, ("https", "api.test", 443), "p:1"),
        ({"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, ("https", "api.test", 443), None),
        ({"ALL_PROXY": "http://[::2]:1"}, ("https", "2001:db8::1", 443), "::2:1"),
    ],
)
def test_which_proxy_a_server_is_asked_through(monkeypatch, environment, url, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_of(settings(), *url)
    assert (found and str(found)) == expected


@pytest.mark.parametrize(
    "address",
    [
        "socks5://me:secret-word@p:1080",
        "https://p:3128",
        "http://p:port",
        "http://",
        "http://me:secret-word@[::1",
        "http://[p]:3128",
    ],
)
def test_a_proxy_that_cannot_be_spoken_to_is_one_clear_line_without_its_login(monkeypatch, address):
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigError) as caught:
        proxy_of(settings(), "https", "api.test", 443)
    assert str(caught.value) == (
        "HTTPS_PROXY in the environment: is no http://host:port. Mend it, or name api.test in NO_PROXY."
    )


def test_the_login_of_a_proxy_is_not_shown():
    found = proxy_of((("https", "http://me:secret-word@p:3128"),), "https", "api.test", 443)
    assert (str(found), repr(found)) == ("p:3128", "Proxy(p:3128)")


def test_a_proxy_that_does_not_answer_is_named_with_the_way_around_it(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")

        async def check():
            link = Link("http://model.example:8000", api_key_env=None, timeout_s=120.0, transport=None)
            try:
                await link.check("m")
            finally:
                await link.close()

        with pytest.raises(Unreachable) as caught:
            asyncio.run(check())
    assert str(caught.value) == (
        f"http://model.example:8000 (through the proxy 127.0.0.1:{port}): nothing answers (connection refused). Start "
        "the server, or check base_url, and the proxy (NO_PROXY names hosts that are reached without it)."
    )
