"""What a request costs in each HTTP client: CPU seconds of its process, 2 KB answers, 64 and 512 in flight.

The claim: `http1` needs at most 0.5 times the CPU of aiohttp, both in asyncio's own loop, measured at 512 in flight.
Peers are bare: a session, a post, the body; pyreqwest where it is installed. The server is another process that answers
at once; rounds are interleaved.

Run: python benchmarks/transports.py [--requests 12000] [--rounds 5]
"""

import argparse
import asyncio
import importlib.util
import json
import resource
import statistics
import subprocess
import sys

from promptmill.endpoints.fake.http import Connection, Plan, reply
from promptmill.endpoints.http1 import Http1Transport
from promptmill.endpoints.transport import Reply, loop_factory

IN_FLIGHT, GOAL = (64, 512), 0.5
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Authorization": "Bearer " + "k" * 48}
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 1000}], "max_tokens": 500}).encode()
ANSWER = json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": "y" * 1900}}]}).encode()


class Aiohttp:
    """A bare session of aiohttp."""

    session = None

    async def send(self, method, url, *, body, headers, timeout_s):  # noqa: D102 - as Transport has it
        import aiohttp

        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=timeout_s)
            )
        async with self.session.request(method, url, data=body, headers=headers) as response:
            return Reply(response.status, response.headers, await response.read())

    async def close(self):  # noqa: D102
        await self.session.close()


class Pyreqwest:
    """A bare client of pyreqwest."""

    client = None

    async def send(self, method, url, *, body, headers, timeout_s):  # noqa: ARG002, D102 - as Transport has it
        from pyreqwest.client import ClientBuilder

        if self.client is None:
            self.client = ClientBuilder().build()
        response = await self.client.request(method, url).headers(headers).body_bytes(body).build().send()
        return Reply(response.status, response.headers, (await response.bytes()).to_bytes())

    async def close(self):  # noqa: D102
        await self.client.close()


CLIENTS = {
    "http1": (Http1Transport, False),
    "http1 + uvloop": (Http1Transport, True),
    "aiohttp": (Aiohttp, False),
    "aiohttp + uvloop": (Aiohttp, True),
}
if importlib.util.find_spec("pyreqwest"):
    CLIENTS |= {"pyreqwest": (Pyreqwest, False), "pyreqwest + uvloop": (Pyreqwest, True)}


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
    ours = medians["http1", 512]
    peers = {name: round(medians[name, 512] * 1e6, 1) for name in CLIENTS if name != "http1"}
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
