"""What a request costs in each transport: CPU seconds of the client process, 2 KB answers, 64 and 512 in flight.

The claim: the transport that `open_transport("auto")` takes in the loop that `loop_factory()` makes needs at most 0.7
times the CPU of aiohttp in asyncio's own loop, measured at 512 in flight. The peers do the same work through the same
seam; `own protocol` is a lean client of this file (no TLS, no chunks, no packing, no redirects), measured to know what
a client of our own could win at most. The server is another process that answers at once; rounds are interleaved.

Run: python benchmarks/transports.py [--requests 12000] [--rounds 5]
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
from urllib.parse import urlsplit

from promptmill.endpoints.fake.http import Connection, Plan, reply
from promptmill.endpoints.fast import PyreqwestTransport
from promptmill.endpoints.replies import Reply
from promptmill.endpoints.transport import AiohttpTransport, loop_factory, open_transport

IN_FLIGHT, GOAL = (64, 512), 0.7
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": "Bearer " + "k" * 48}
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 1000}], "max_tokens": 500}).encode()
ANSWER = json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "y" * 1900}}]}).encode()


class OwnProtocol(asyncio.Protocol):
    """One connection of the lean client; an answer must have a Content-Length."""

    def connection_made(self, transport):  # noqa: D102 - asyncio's names
        self.transport, self.buffer, self.waiting = transport, b"", None

    def data_received(self, data):  # noqa: D102
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        whole = end + 4 + int(headers["content-length"])
        if len(self.buffer) >= whole:
            content, self.buffer = self.buffer[end + 4 : whole], self.buffer[whole:]
            self.waiting.set_result(Reply(int(lines[0].split(" ")[1]), headers, content))

    def connection_lost(self, error):  # noqa: ARG002, D102
        if self.waiting and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("closed"))


class OwnTransport:
    """The lean client: a list of idle connections."""

    def __init__(self):
        self.idle = []

    async def send(self, method, url, *, body, headers, timeout_s):  # noqa: D102 - as Transport has it
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(timeout_s):
            if self.idle:
                connection = self.idle.pop()
            else:
                _, connection = await loop.create_connection(OwnProtocol, parts.hostname, parts.port)
            connection.waiting = loop.create_future()
            fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            head = (
                f"{method} {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
            )
            connection.transport.write(head.encode() + body)
            got = await connection.waiting
        self.idle.append(connection)
        return got

    async def close(self):  # noqa: D102
        for connection in self.idle:
            connection.transport.close()


CLIENTS = {
    "aiohttp": (AiohttpTransport, False),
    "aiohttp + uvloop": (AiohttpTransport, True),
    "pyreqwest": (PyreqwestTransport, False),
    "pyreqwest + uvloop": (PyreqwestTransport, True),
    "own protocol": (OwnTransport, False),
    "own protocol + uvloop": (OwnTransport, True),
    "auto": (open_transport, True),
}


def serve():
    """Answer every request at once with the same bytes; print the port."""

    async def run():
        plan = Plan(reply(200, ANSWER))
        connections = set()
        made = asyncio.get_running_loop().create_server
        server = await made(lambda: Connection(lambda _: plan, connections), "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(run())


def client(name, url, requests, in_flight):
    """Print the CPU seconds of one request, after two warm-up requests on each connection."""
    make, in_uvloop = CLIENTS[name]

    async def run():
        transport = make()

        async def ask(times):
            for _ in range(times):
                got = await transport.send("POST", url, body=BODY, headers=HEADERS, timeout_s=60)
                assert (got.status, got.body) == (200, ANSWER)

        await asyncio.gather(*[ask(2) for _ in range(in_flight)])
        began = cpu_s()
        each = requests // in_flight
        await asyncio.gather(*[ask(each) for _ in range(in_flight)])
        print((cpu_s() - began) / (each * in_flight))
        await transport.close()

    with asyncio.Runner(loop_factory=loop_factory() if in_uvloop else None) as runner:
        runner.run(run())


def cpu_s():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=12000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    costs = {(name, n): [] for n in IN_FLIGHT for name in CLIENTS}
    server = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1/chat/completions"
        for _ in range(given.rounds):
            for (name, n), found in costs.items():
                argv = [sys.executable, __file__, "client", name, url, str(given.requests), str(n)]
                said = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
                found.append(float(said))
    finally:
        server.terminate()
        server.wait(10)
    medians = {place: statistics.median(found) for place, found in costs.items()}
    print(f"{'CPU of a request, aiohttp = 1':32}" + "".join(f"{n:>8} in flight" for n in IN_FLIGHT))
    for name in CLIENTS:
        print(f"{name:32}" + "".join(f"{medians[name, n] / medians['aiohttp', n]:18.2f}" for n in IN_FLIGHT))
    ours = medians["auto", 512]
    peers = {name: round(medians[name, 512] * 1e6, 1) for name in CLIENTS if name != "auto"}
    ratio = round(ours / medians["aiohttp", 512], 3)
    result = {
        "name": "transports",
        "unit": "CPU microseconds of a request, 512 in flight",
        "ours": round(ours * 1e6, 1),
    }
    at_64 = {name: round(medians[name, 64] * 1e6, 1) for name in CLIENTS}
    result |= {"peers": peers, "at_64": at_64, "ratio": ratio, "goal": GOAL, "reached": ratio <= GOAL}
    print(json.dumps(result))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["client"]:
        client(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
