"""A lean server for load: one canned answer, given after latencies of a list, in so many slots. Prints its address.

It counts as little as it can, so that it is not what is measured: `GET /stats` says how many it answered, the CPU
seconds it used, how many requests it refused for being full, and how many were in flight on average between the first
request and the last.

    python benchmarks/load/server.py [--answer-bytes 2000] [--latency 0.9:0.1,0.1:2] [--slots N] [--most N]
"""

import argparse
import asyncio
import json
import os
import random
import signal
import time

from promptmill.endpoints.fake.http import Connection, Plan, reply
from promptmill.endpoints.fake.slots import Slots
from promptmill.endpoints.transport import loop_factory

N_LATENCIES = 40_000


def latencies(shares, *, count=N_LATENCIES, seed=1):
    """Seconds for each request in the order of arrival: exact shares (`0.9:0.1,0.1:2`), shuffled by a seed."""
    pairs = [tuple(map(float, pair.split(":"))) for pair in shares.split(",")]
    drawn = [seconds for share, seconds in pairs for _ in range(round(share * count))]
    random.Random(seed).shuffle(drawn)
    return drawn


class Server:
    """Answers every POST with the same bytes."""

    def __init__(self, *, answer_bytes, shares, slots, most):
        text = ("All work and no play makes it a dull day. " * (answer_bytes // 40 + 1))[:answer_bytes]
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 250, "completion_tokens": answer_bytes // 4}
        usage["total_tokens"] = sum(usage.values())
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "fake", "usage": usage}
        answer["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
        self.payload = reply(200, json.dumps(answer).encode())
        self.full = reply(429, b'{"error": {"message": "full"}}', {"Retry-After": "1"})
        self.latencies = latencies(shares) if shares else [0.0]
        self.slots = Slots(slots) if slots else None
        self.most = most
        self.received = self.answered = self.refused = self.in_flight = self.peak = 0
        self.began = self.counted_at = self.request_s = 0.0
        self.kept_full = None

    def respond(self, asked):
        """Plan the answer to one request."""
        if asked.method == "GET":
            return Plan(reply(200, json.dumps(self.said(asked.path)).encode()))
        if self.most and self.in_flight >= self.most:
            self.refused += 1
            return Plan(self.full)
        self.count_time()
        if self.slots is not None and self.received:  # as of the last request that came
            self.kept_full = self.request_s / (self.counted_at - self.began)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        ticket = self.received
        self.received += 1
        delay_s = self.latencies[ticket % len(self.latencies)]

        def done(handed):
            self.count_time()
            self.in_flight -= 1
            self.answered += handed
            if self.slots:
                self.slots.leave(ticket)

        if self.slots is None:
            return Plan(self.payload, delay_s=delay_s, done=done)
        return Plan(self.payload, delay_s=delay_s, done=done, enter=lambda begin: self.slots.enter(ticket, begin))

    def count_time(self):
        """Add up the seconds of all requests in flight."""
        now = time.monotonic()
        if not self.received:
            self.began = self.counted_at = now
        self.request_s += self.in_flight * (now - self.counted_at)
        self.counted_at = now

    def said(self, path):
        """What a GET tells."""
        if path != "/stats":
            return {"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "load"}]}
        peak, self.peak = self.peak, self.in_flight
        cpu = os.times()
        return {"answered": self.answered, "refused": self.refused, "peak": peak, "in_flight": self.kept_full} | {
            "cpu_s": cpu.user + cpu.system
        }


async def serve(server):
    """Serve until SIGTERM."""
    connections = set()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    made = await loop.create_server(lambda: Connection(server.respond, connections), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer-bytes", type=int, default=2000)
    parser.add_argument("--latency", default="")
    parser.add_argument("--slots", type=int, default=0)
    parser.add_argument("--most", type=int, default=0)
    given = parser.parse_args()
    server = Server(answer_bytes=given.answer_bytes, shares=given.latency, slots=given.slots, most=given.most)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(server))


if __name__ == "__main__":
    main()
