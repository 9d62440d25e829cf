"""What becomes of requests at several lanes: choices, deadlines, hedges, bills that are not known."""

import asyncio
from contextlib import suppress

import pytest

from promptmill.endpoints.deadlines import arrival
from promptmill.errors import (
    AuthFailed,
    BudgetReached,
    ConfigError,
    EndpointError,
    RateLimited,
    Refused,
    Unreachable,
)
from promptmill.generate.budget import Budget, Caps
from promptmill.generate.hedge import Hedge
from promptmill.generate.lane import Lane, LaneOptions
from promptmill.generate.lanes import Lanes, Wait
from promptmill.records import Completion, Failure, Request, Sampling, Usage

TEN = Usage(prompt_tokens=5, completion_tokens=5)


class Server:
    """An endpoint whose every answer is the text and usage it is told, after `pause_s`, or the error."""

    def __init__(self, *, error=None, pause_s=0.0, usage=TEN, away=None):
        self.error, self.pause_s, self.usage, self.away = error, pause_s, usage, away
        self.asked = []
        self.cancelled = 0

    async def complete(self, request):
        self.asked.append(1)
        try:
            await asyncio.sleep(self.pause_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.answer(request)

    def answer(self, request, text="ok"):
        return Completion(key=request.key, prompt_id=request.prompt_id, model=request.model, sample=request.sample,
                          text=text, finish="stop", usage=self.usage, latency_s=self.pause_s)  # fmt: skip

    async def check(self, model):  # noqa: ARG002 - the seam's signature
        if self.away is not None:
            raise self.away

    async def close(self):
        pass


class ChoosyServer(Server):
    """A server that refuses every request for several answers."""

    def __init__(self, **options):
        super().__init__(**options)
        self.many = 0

    async def complete_many(self, requests):  # noqa: ARG002 - the seam's signature
        self.many += 1
        await asyncio.sleep(self.pause_s * self.many)  # so that some are refused after others were asked alone
        raise Refused("400: unknown field n")


class LateServer(Server):
    """A server whose every refusal comes in the moment in which the request is given up."""

    async def complete(self, request):
        self.asked.append(request)
        loop = asyncio.get_running_loop()
        coming = loop.create_future()
        loop.call_soon(coming.set_result, None)
        loop.call_soon(asyncio.current_task().cancel)
        await arrival(coming)
        raise RateLimited("429")


class TellingServer(Server):
    """A server that tells the size of its context."""

    async def context_tokens(self, model):  # noqa: ARG002 - the seam's signature
        return 1000


def request(n=0, sample=0, max_tokens=10):
    return Request(
        prompt_id=str(n),
        model="m",
        sample=sample,
        protocol="chat",
        text=f"{n}",
        sampling=Sampling(max_tokens=max_tokens),
    )


def lanes_of(*servers, caps=None, lane=None, **options):
    lane = lane or LaneOptions()
    lanes = [Lane(server, f"lane {i}", lane, width=4) for i, server in enumerate(servers)]
    prices = (max(x.price_in for x in lanes), max(x.price_out for x in lanes))
    budget = Budget(caps or Caps(), prices=prices)
    return Lanes(lanes, **{"attempts": 3, "deadline_s": 5.0, "pause_s": 0.001, "budget": budget, **options})


@pytest.fixture
def run(at_once):
    """Run a coroutine in a time of its own: at most 1,000 seconds of it, none of ours."""

    async def bounded(work):
        async with asyncio.timeout(1000):
            return await work

    return lambda work, **options: at_once(bounded(work), **options)


def test_a_server_that_refuses_n_gets_every_sample_alone_however_late_it_refuses(run):
    server = ChoosyServer(pause_s=0.01)
    lanes = lanes_of(server)

    async def prompt(n):
        left = [request(n, sample) for sample in range(3)]
        outcomes = []
        while left:
            got = await lanes.ask(left, Wait())
            outcomes += got
            left = left[len(got) :]
        return outcomes

    async def all_prompts():
        return await asyncio.gather(*map(prompt, range(8)))

    outcomes = [outcome for group in run(all_prompts()) for outcome in group]
    assert [type(outcome) for outcome in outcomes] == [Completion] * 24
    assert lanes.choices.together is False
    assert server.many <= 8  # once for each that did not know yet


def test_who_waits_for_room_in_the_budget_keeps_no_place_under_the_limits_per_minute(run):
    server = Server(pause_s=0.02)
    # one at a time fits: 267 in the worst case; and six may be sent in this minute, no more
    lanes = lanes_of(server, caps=Caps(max_tokens=400), lane=LaneOptions(rpm=6, tpm=100_000))

    async def six():
        loop = asyncio.get_running_loop()
        began = loop.time()
        return await asyncio.gather(*(lanes.ask([request(n)], Wait()) for n in range(6))), loop.time() - began

    found, took_s = run(six())
    assert [type(outcome) for (outcome,) in found] == [Completion] * 6
    assert took_s < 1  # of a time of its own: nobody waited for the next minute
    assert (len(server.asked), lanes.budget.spent.tokens) == (6, 60)


class GivingServer(Server):
    """A server that gives so many of the answers that it is asked for at once, at most."""

    def __init__(self, most, **options):
        super().__init__(**options)
        self.most = most
        self.sizes = []

    async def complete_many(self, requests):
        self.sizes.append(len(requests))
        await asyncio.sleep(self.pause_s)
        return [self.answer(each, f"sample {each.sample}") for each in requests[: self.most]]


def test_of_two_servers_each_is_known_for_what_it_makes_of_n(run):
    gives, one, refuses = GivingServer(9, pause_s=0.01), GivingServer(1, pause_s=0.01), ChoosyServer()
    lanes = lanes_of(gives, one, refuses)

    async def prompt(n):
        left, outcomes = [request(n, sample) for sample in range(3)], []
        while left:
            got = await lanes.ask(left, Wait())
            outcomes += got
            left = left[len(got) :]
        return outcomes

    async def all_prompts():
        return [await asyncio.gather(*(prompt(n) for n in range(start, start + 8))) for start in range(0, 80, 8)]

    outcomes = [outcome for groups in run(all_prompts()) for group in groups for outcome in group]
    assert [(type(outcome), outcome.sample) for outcome in outcomes] == [
        (Completion, s) for _ in range(80) for s in range(3)
    ]
    assert [lanes.choices.of(lane) for lane in lanes.lanes] == [True, False, False]
    assert set(gives.sizes) == {3} or set(gives.sizes) == {2, 3}
    assert len(gives.sizes) > 10  # to the end
    assert (len(one.sizes) <= 8, refuses.many <= 8) == (True, True)  # only until it was known
    assert (
        lanes.budget.spent.requests
        == sum(len(server.asked) for server in (gives, one, refuses)) + len(gives.sizes) + len(one.sizes) + refuses.many
    )


def test_an_answer_without_a_bill_counts_with_its_worst_case(run):
    server = Server(usage=None)
    lanes = lanes_of(server, caps=Caps(max_tokens=800))

    async def until_it_is_spent():
        for n in range(10):
            await lanes.ask([request(n)], Wait())

    with pytest.raises(BudgetReached, match=r"budget\.max_tokens: 800 is reached"):
        run(until_it_is_spent())
    spent = lanes.budget.spent
    assert (spent.requests, spent.tokens) == (2, 0)  # a prompt of one byte may have 273 tokens with its template
    assert spent.uncertain_tokens == 2 * (256 + 1 + 10)


def test_the_worst_case_of_a_limit_that_is_the_context_is_the_context(run):
    lanes = lanes_of(TellingServer(), caps=Caps(max_tokens=1300))

    async def ask():
        await lanes.check("m")
        await lanes.ask([request(max_tokens="context")], Wait())
        lanes.budget.change(Caps(max_tokens=1260))
        await lanes.ask([request(max_tokens="context")], Wait())

    with pytest.raises(BudgetReached, match="10 used, and the next request may use 1257"):
        run(ask())
    assert lanes.budget.spent.requests == 1


def test_a_cap_on_tokens_with_an_unknown_context_is_refused_before_anything_is_sent(run):
    server = Server()
    lanes = lanes_of(server, caps=Caps(max_tokens=1300))

    async def ask():
        await lanes.check("m")
        await lanes.ask([request(max_tokens="context")], Wait())

    with pytest.raises(ConfigError, match=r"the server does not tell it\. Give sampling\.max_tokens a number\."):
        run(ask())
    assert server.asked == []


def test_one_server_that_is_away_at_the_start_is_set_aside_and_the_other_answers(run):
    said = []
    lanes = lanes_of(Server(away=Unreachable("nothing answers")), Server(), say=said.append)

    async def ask():
        await lanes.check("m")
        return await lanes.ask([request()], Wait())

    (outcome,) = run(ask())
    assert isinstance(outcome, Completion)
    assert said == ["lane lane 0: out: nothing answers"]
    with pytest.raises(EndpointError, match="no lane answers: lane 0: gone; lane 1: gone"):
        run(lanes_of(Server(away=Unreachable("gone")), Server(away=Unreachable("gone"))).check("m"))
    with pytest.raises(ConfigError, match="no model"):
        run(lanes_of(Server(), Server(away=ConfigError("no model"))).check("m"))


def test_a_refused_key_passes_its_requests_on_and_all_refused_keys_end_everything(run):
    lanes = lanes_of(Server(error=AuthFailed("401 a")), Server(), say=lambda _text: None)

    async def many():
        return await asyncio.gather(*(lanes.ask([request(n)], Wait()) for n in range(10)))

    outcomes = [outcome for (outcome,) in run(many())]
    assert [(type(o), o.attempts) for o in outcomes] == [(Completion, 1)] * 10
    assert [lane.state for lane in lanes.lanes] == ["refused", "ok"]
    lanes = lanes_of(Server(error=AuthFailed("401 a")), Server(error=AuthFailed("401 b")), say=lambda _text: None)
    with pytest.raises(AuthFailed, match=r"no key is left that is accepted: lane 0: 401 a; lane 1: 401 b\. Mend it"):
        run(lanes.ask([request()], Wait()))


def test_a_slow_answer_is_asked_of_a_second_lane_the_first_answer_wins_and_both_are_accounted_for(run):
    slow, fast = Server(pause_s=5.0), Server(pause_s=0.001)
    caps = Caps(max_tokens=100_000)
    lanes = lanes_of(slow, fast, hedge=True, caps=caps)
    lanes.hedge.latencies.extend([0.01] * 20)
    lanes.lanes[1].in_flight = 1  # so that the slow one has less to do
    (outcome,) = run(lanes.ask([request()], Wait()))
    assert isinstance(outcome, Completion)
    assert (outcome.attempts, lanes.hedged, slow.cancelled) == (2, 1, 1)
    spent = lanes.budget.spent
    assert (spent.requests, spent.tokens, spent.uncertain_tokens) == (2, 10, 256 + 1 + 10)
    assert [lane.in_flight for lane in lanes.lanes] == [0, 1]


def test_a_hedge_that_does_not_fit_the_budget_is_not_sent(run):
    slow, fast = Server(pause_s=0.1), Server()
    lanes = lanes_of(slow, fast, hedge=True, caps=Caps(max_requests=1))
    lanes.hedge.latencies.extend([0.01] * 20)
    lanes.lanes[1].in_flight = 1
    (outcome,) = run(lanes.ask([request()], Wait()))
    assert isinstance(outcome, Completion)
    assert (lanes.hedged, fast.asked, [lane.in_flight for lane in lanes.lanes]) == (0, [], [0, 1])


def test_no_second_request_is_sent_while_the_run_is_paused(run):
    slow, fast = Server(pause_s=0.1), Server()
    lanes = lanes_of(slow, fast, hedge=True)
    lanes.hedge.latencies.extend([0.01] * 20)
    lanes.lanes[1].in_flight = 1

    async def ask():
        asking = asyncio.ensure_future(lanes.ask([request()], Wait()))
        await asyncio.sleep(0.005)
        lanes.steer(paused=True, fixed=4, most=4, caps=Caps())
        return await asking

    run(ask())
    assert (lanes.hedged, fast.asked) == (0, [])


def test_the_deadline_begins_with_the_first_send_and_not_with_the_waiting_for_a_lane(run):
    server = Server(pause_s=0.15)
    lanes = lanes_of(server, deadline_s=0.25)
    lanes.lanes[0].width.set(fixed=1, most=1)

    async def one_after_the_other():
        return await asyncio.gather(*(lanes.ask([request(n)], Wait()) for n in range(4)))

    assert [type(outcome) for (outcome,) in run(one_after_the_other())] == [Completion] * 4


def test_a_request_whose_deadline_ends_its_first_attempt_says_so(run):
    lanes = lanes_of(Server(pause_s=5.0), deadline_s=0.02)
    (outcome,) = run(lanes.ask([request()], Wait()))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.attempts) == ("timeout", 1)
    assert outcome.detail == "the first attempt has not ended (no answer within 0.02 s, all attempts together)"
    assert lanes.lanes[0].in_flight == 0


def test_a_cancelled_request_gives_its_lane_back_and_counts_with_its_worst_case(run):
    lanes = lanes_of(Server(pause_s=5.0), caps=Caps(max_tokens=100_000))

    async def give_up():
        asking = asyncio.ensure_future(lanes.ask([request()], Wait()))
        await asyncio.sleep(0.01)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking

    run(give_up())
    assert lanes.lanes[0].in_flight == 0
    assert lanes.budget.spent.uncertain_tokens == 267


def test_what_is_given_up_in_the_moment_of_a_refusal_is_not_asked_elsewhere(run):
    servers = LateServer(), LateServer()
    lanes = lanes_of(*servers)
    with pytest.raises(asyncio.CancelledError):
        run(lanes.ask([request()], Wait()))
    assert [len(server.asked) for server in servers] == [1, 0]
    assert [lane.in_flight for lane in lanes.lanes] == [0, 0]
    assert lanes.budget.noted() == lanes.budget.spent


def test_a_fixed_number_in_flight_is_not_cut_by_the_bound_of_the_automatic_one():
    lane = Lane(Server(), "only", LaneOptions(), width=512)
    lane.widen(fixed=512, most=256)
    assert lane.width.value == 512
    own = Lane(Server(), "only", LaneOptions(max_in_flight=3), width=512)
    assert own.width.value == 3
    own.widen(fixed=None, most=256)
    assert own.width.most == 3


def test_the_last_requests_do_not_wait_for_a_lane_that_was_slow_from_its_first_answer_on(run):
    servers = [Server(pause_s=20.0), *(Server(pause_s=0.01) for _ in range(3))]
    lanes = lanes_of(*servers, hedge=True, deadline_s=60.0)

    async def many():
        return await asyncio.gather(*(lanes.ask([request(n)], Wait()) for n in range(60)))

    outcomes = [outcome for (outcome,) in run(many())]  # and the slow lane has not answered yet
    assert [type(outcome) for outcome in outcomes] == [Completion] * 60
    assert (lanes.lanes[0].done, len(servers[0].asked) >= 4) == (0, True)
    assert servers[0].cancelled == len(servers[0].asked) <= lanes.hedged
    assert [lane.in_flight for lane in lanes.lanes] == [0] * 4


def test_a_late_answer_is_asked_for_again_as_soon_as_another_lane_is_free(run):
    slow, fast = Server(pause_s=20.0), Server(pause_s=0.01)
    lanes = lanes_of(slow, fast, hedge=True, deadline_s=60.0)
    lanes.hedge.latencies.extend([0.01] * 20)
    lanes.lanes[1].in_flight = 4  # as many as it may have

    async def ask():
        asking = asyncio.ensure_future(lanes.ask([request()], Wait()))
        await asyncio.sleep(0.1)
        assert fast.asked == []
        lanes.lanes[1].in_flight = 0
        return await asking

    (outcome,) = run(ask())
    assert (type(outcome), lanes.hedged, slow.cancelled, len(fast.asked)) == (Completion, 1, 1, 1)


def test_nothing_is_late_before_ten_answers_are_known():
    hedge = Hedge()
    hedge.latencies.extend([1.0] * 9)
    assert hedge.late_s() is None
    hedge.latencies.append(9.0)
    assert hedge.late_s() == 9.0
    hedge.latencies.extend([2.0] * 100)
    assert hedge.late_s() == 2.0


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts what is called soon."""

    soon = 0

    def call_soon(self, *arguments, **options):
        self.soon += 1
        return super().call_soon(*arguments, **options)


def test_a_hedge_whose_first_request_broke_is_waited_for_without_spinning(run):
    slow, quick = Server(error=Unreachable("broke"), pause_s=0.05), Server(pause_s=0.2)
    lanes = lanes_of(slow, quick, hedge=True)
    lanes.hedge.latencies.extend([0.001] * 10)
    lanes.lanes[1].in_flight = 2  # busier: the first request goes to the other

    async def ask():
        return await lanes.ask([request()], Wait()), asyncio.get_running_loop().soon

    (outcome,), soon = run(ask(), loop=CountingLoop)
    assert isinstance(outcome, Completion)
    assert (len(slow.asked), len(quick.asked)) == (1, 1)
    assert soon < 100


@pytest.mark.parametrize("n", range(8))
def test_what_failed_at_one_lane_is_asked_again_at_another_although_the_prompt_belongs_to_the_first(run, n):
    bad, good = Server(error=Unreachable("500")), Server()
    lanes = lanes_of(bad, good, attempts=2)
    (outcome,) = run(lanes.ask([request(n)], Wait()))
    assert isinstance(outcome, Completion)
    assert len(bad.asked) <= 1


def test_a_server_that_says_to_come_back_at_once_is_not_hammered(run):
    class Noted(Wait):
        said = ()

        def set(self, what):
            self.said = (*self.said, what)

    wait = Noted()
    lanes = lanes_of(Server(error=RateLimited("429", retry_after_s=0.0)))
    (outcome,) = run(lanes.ask([request()], wait))
    assert outcome.kind == "rate"
    assert [what for what in wait.said if "pause" in what] == [
        "a pause before attempt 2 (rate)",
        "a pause before attempt 3 (rate)",
    ]


def test_the_time_of_a_pause_is_no_silence_of_the_servers(run):
    server = Server(error=Unreachable("away"))
    lanes = lanes_of(server, attempts=1, patience_s=0.1)

    async def fail_pause_and_fail():
        await lanes.ask([request(0)], Wait())
        lanes.steer(paused=True, fixed=4, most=4, caps=Caps())
        await asyncio.sleep(0.2)
        lanes.steer(paused=False, fixed=4, most=4, caps=Caps())
        for n in range(1, 5):
            await lanes.ask([request(n)], Wait())
        server.error = None
        return await lanes.ask([request(5)], Wait())

    (outcome,) = run(fail_pause_and_fail())
    assert isinstance(outcome, Completion)


def test_what_is_in_flight_is_noted_with_its_worst_case_for_the_session_after_a_kill(run):
    lanes = lanes_of(Server(pause_s=0.05), caps=Caps(max_tokens=10_000))

    async def look_while_it_is_asked():
        asked = asyncio.ensure_future(lanes.ask([request()], Wait()))
        await asyncio.sleep(0.01)
        during = lanes.budget.noted()
        await asked
        return during, lanes.budget.noted()

    during, after = run(look_while_it_is_asked())
    worst = lanes.budget.worst([request()]).tokens
    assert (during.requests, during.tokens, during.reserved_tokens) == (1, 0, worst)
    assert (after.requests, after.tokens, after.reserved_tokens) == (1, 10, 0)


class StaleServer(Server):
    """A server whose kept connections end under so many requests of each prompt."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    async def complete(self, request):
        self.asked.append(request.key)
        if self.asked.count(request.key) <= self.times:
            error = Unreachable("the server closed the connection without an answer")
            error.stale = True
            raise error
        return self.answer(request)


def test_a_request_into_a_connection_that_had_ended_is_sent_once_more_at_no_attempt(run):
    server = StaleServer(1)
    lanes = lanes_of(server, attempts=1, caps=Caps(max_requests=10))

    async def five():
        return await asyncio.gather(*(lanes.ask([request(n)], Wait()) for n in range(5)))

    outcomes = [outcome for (outcome,) in run(five())]
    assert [(type(each), each.attempts) for each in outcomes] == [(Completion, 1)] * 5
    spent = lanes.budget.spent
    assert (spent.requests, spent.uncertain_tokens, len(server.asked)) == (10, 0, 10)  # a cap on requests counts both
    assert (lanes.retries, lanes.lanes[0].failed, lanes.lanes[0].state) == (0, 0, "ok")


def test_a_second_connection_that_ends_costs_an_attempt(run):
    server = StaleServer(2)
    lanes = lanes_of(server, attempts=2)
    (outcome,) = run(lanes.ask([request()], Wait()))
    assert (type(outcome), outcome.attempts, len(server.asked)) == (Completion, 2, 3)
    lanes = lanes_of(StaleServer(9), attempts=2)
    (outcome,) = run(lanes.ask([request()], Wait()))
    assert (type(outcome), outcome.kind, outcome.attempts) == (Failure, "network", 2)
