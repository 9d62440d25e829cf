"""An interrupt may come in any pass of the event loop: what had arrived is kept, and every account is settled."""

import asyncio
import os
import random
import signal

import pytest

from promptmill.endpoints.deadlines import arrival
from promptmill.errors import RateLimited, Unavailable
from promptmill.generate.budget import Budget, Caps
from promptmill.generate.journal import Journal
from promptmill.generate.lane import Lane, LaneOptions
from promptmill.generate.lanes import Lanes
from promptmill.generate.parts import Part
from promptmill.generate.status import Progress
from promptmill.generate.window import Pace, Window
from promptmill.io.jsonl import write_jsonl
from promptmill.prompts.requests import requests
from promptmill.records import Completion, Prompt, Sampling, Usage

ERRORS = [None] * 6 + [RateLimited("later", retry_after_s=0.0005), Unavailable("no"), Unavailable("no", sent=True)]


class Server:
    """Answers after some passes of the loop, or fails; notes what arrived."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.sent = 0
        self.arrived = []

    async def complete(self, request):
        (completion,) = await self.complete_many([request])
        return completion

    async def complete_many(self, requests):
        self.sent += 1
        coming, error = asyncio.get_running_loop().create_future(), self.chance.choice(ERRORS)
        self.step(coming, self.chance.randrange(12), [] if error else [request.key for request in requests])
        await arrival(coming)
        if error is not None:
            raise type(error)(str(error), retry_after_s=error.retry_after_s, sent=error.sent)
        return [
            Completion(key=each.key, prompt_id=each.prompt_id, model=each.model, sample=each.sample, text=each.key,
                       finish="stop", usage=Usage(prompt_tokens=1, completion_tokens=1), choices=len(requests))
            for each in requests
        ]  # fmt: skip

    def step(self, coming, passes, keys):
        if passes:
            asyncio.get_running_loop().call_soon(self.step, coming, passes - 1, keys)
        elif not coming.done():
            self.arrived += keys
            coming.set_result(None)

    async def check(self, model):
        pass

    async def close(self):
        pass


class Interrupting(Server):
    """Beside that sends SIGINT, so many passes of the loop after the start."""

    def __init__(self, seed, passes):
        super().__init__(seed)
        self.passes = passes

    async def check(self, model):  # noqa: ARG002 - the seam's signature
        self.ticking = asyncio.get_running_loop().call_soon(self.tick)

    def tick(self):
        self.passes -= 1
        if self.passes:
            self.ticking = asyncio.get_running_loop().call_soon(self.tick)
        else:
            os.kill(os.getpid(), signal.SIGINT)

    async def close(self):
        self.ticking.cancel()


def interrupted(folder, *, seed, passes, hedge, k):
    """Ask for everything, with an interrupt after so many passes; whether it came before the end."""
    folder.mkdir()
    prompts = [Prompt(id=f"p{n}", source="t", text=f"text {n}") for n in range(6)]
    write_jsonl(folder / "prompts.jsonl", prompts)
    part = Part(folder / "prompts.jsonl", folder / "part.jsonl", plan="plan")
    servers = [Interrupting(seed, passes), Server(seed + 1)]
    lanes = Lanes(
        [Lane(server, f"lane {n}", LaneOptions(), width=2) for n, server in enumerate(servers)],
        attempts=9,
        deadline_s=60.0,
        pause_s=0.0005,
        hedge=hedge,
        budget=Budget(Caps(max_requests=1000, max_tokens=1_000_000)),
        say=lambda _: None,
    )
    if hedge:
        lanes.hedge.latencies.extend([0.0] * 20)
    came = False
    try:
        Window(lanes, Progress(0), pace=Pace(3)).run(
            [part],
            lambda prompt: requests(
                prompt, model="m", k=k, protocol="chat", sampling=Sampling(max_tokens=5), template=None, system=None
            ),
            model="m",
        )
    except KeyboardInterrupt:
        came = True
    kept = {outcome.key for outcome in Journal(part.outcomes) if isinstance(outcome, Completion)}
    assert {key for server in servers for key in server.arrived} <= kept
    assert [lane.in_flight for lane in lanes.lanes] == [0, 0]
    assert lanes.budget.noted() == lanes.budget.spent
    assert lanes.budget.spent.requests == sum(server.sent for server in servers)
    return came


@pytest.mark.parametrize("hedge", [False, True])
@pytest.mark.parametrize("k", [1, 3])
def test_an_interrupt_in_any_pass_of_the_loop_loses_no_answer_that_came(tmp_path, hedge, k):
    passes = 1
    while passes < 200 and interrupted(tmp_path / f"{passes}", seed=k, passes=passes, hedge=hedge, k=k):
        passes += 1 if passes < 12 else 4
    assert passes > 20
