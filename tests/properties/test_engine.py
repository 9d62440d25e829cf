"""Laws of the engine's parts: widths, rates, budgets, turns, reuse and order, whatever happens in whatever order."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from promptmill.errors import AuthFailed, BudgetReached
from promptmill.generate.budget import Budget, Caps
from promptmill.generate.journal import Journal
from promptmill.generate.lane import Lane, LaneOptions
from promptmill.generate.limits import FASTEST_STEP, Rate, Width
from promptmill.generate.parts import in_order
from promptmill.generate.reuse import Earlier, Reuse
from promptmill.generate.store import Store
from promptmill.generate.turns import Turns
from promptmill.records import Completion, Request, Sampling, Usage

events = st.lists(st.tuples(st.sampled_from(["answer", "burst", "late"]), st.floats(0.001, 5)), max_size=200)


@given(most=st.integers(1, 300), fixed=st.none() | st.integers(1, 300), events=events)
def test_a_width_is_between_one_and_its_bound_and_falls_once_a_burst(most, fixed, events):
    width = Width(fixed=fixed, most=most)
    now, began = 0.0, 0.0
    for what, seconds in events:
        now += seconds
        before = width.value
        if what == "answer":
            width.answered(now, in_flight=width.value, latency_s=seconds)
            assert before <= width.value <= before + FASTEST_STEP
        else:  # a burst: all were sent before the first of them was refused
            sent_at = now - seconds / 2 if what == "burst" else began
            width.overloaded(now, sent_at=sent_at)
            after = width.value
            assert after <= before
            for _ in range(5):
                now += 1e-6
                width.overloaded(now, sent_at=sent_at)
            assert width.value == after
            began = sent_at
        assert width.value == fixed if fixed is not None else 1 <= width.value <= most


@given(
    most=st.integers(1, 20),
    asked=st.lists(st.tuples(st.floats(0, 30), st.integers(1, 12), st.integers(0, 25), st.floats(0, 100)), max_size=60),
)
def test_a_rate_never_gives_more_than_its_most_in_any_minute(most, asked):
    """Each request takes `amount`, and is found later to have used `used`."""
    rate = Rate(most)
    now = 0.0
    taken = []  # [when, units]: brute force
    pending = []
    for wait, amount, used, latency in asked:
        now += wait
        for due in sorted(each for each in pending if each[0] <= now):
            pending.remove(due)
            at, taken_at, first, later = due
            rate.correct(at, later - first, taken_at=taken_at)
            if later > first:
                taken.append([at, later - first])
            else:
                next(each for each in taken if each == [taken_at, first])[1] = later
        free = rate.free_at(now, amount)
        assert free >= now
        if free > now:
            continue
        rate.take(now, amount)
        in_this_minute = sum(units for at, units in taken if at + 60 > now)
        assert in_this_minute + min(amount, most) <= most or in_this_minute <= 0
        taken.append([now, amount])
        pending.append((now + latency, now, amount, used))


@given(most=st.integers(1, 8), waits=st.lists(st.floats(0, 40), max_size=60))
def test_a_rate_of_requests_lets_through_all_that_it_may(most, waits):
    rate, now, taken = Rate(most), 0.0, []
    for wait in waits:
        now += wait
        recent = [at for at in taken if at + 60 > now]
        assert (rate.free_at(now) <= now) == (len(recent) < most)
        if len(recent) < most:
            rate.take(now)
            taken.append(now)
        else:
            assert rate.free_at(now) == pytest.approx(sorted(recent)[len(recent) - most] + 60)


def request(n=0, *, sample=0, max_tokens=10, seed=None):
    return Request(
        prompt_id=str(n), model="m", sample=sample, protocol="completion", text=f"text {n}",
        sampling=Sampling(max_tokens=max_tokens, seed=seed),
    )  # fmt: skip


steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "answer", "unsent", "broke", "raise"]),
        st.integers(1, 4),
        st.integers(1, 500),
        st.floats(0, 1),
    ),
    max_size=80,
)


def settle(budget, reserved, requests, *, what, share):
    """An attempt ends: it broke, was never sent, or used a share of its worst case."""
    if what == "broke":
        budget.settle_uncertain(reserved, requests)
    elif what == "unsent":
        budget.settle(reserved)
    else:
        most_new = len(requests) * requests[0].sampling.max_tokens
        n_new, n_prompt = int(share * most_new), int(share * (budget.worst(requests).tokens - most_new))
        usage = Usage(prompt_tokens=n_prompt, completion_tokens=n_new)
        budget.settle(reserved, billed=usage, cost=n_prompt * 1e-6 + n_new * 4e-6)


def assert_within(caps, budget, held):
    """What is spent, and the worst case of what is in flight, are under every cap."""
    spent = budget.spent
    tokens = spent.tokens + spent.uncertain_tokens + sum(worst.tokens for worst in held)
    cost = spent.cost + spent.uncertain_cost + sum(worst.cost for worst in held)
    assert caps.max_requests is None or spent.requests + len(held) <= caps.max_requests
    assert caps.max_tokens is None or tokens <= caps.max_tokens
    assert caps.max_cost is None or cost <= caps.max_cost + 1e-9


@given(
    steps=steps,
    max_tokens=st.none() | st.integers(1, 20_000),
    max_cost=st.none() | st.floats(0.0001, 0.1),
    max_requests=st.none() | st.integers(1, 30),
)
def test_a_budget_is_never_passed_in_any_order_of_sends_and_answers(steps, max_tokens, max_cost, max_requests):
    caps = Caps(max_tokens=max_tokens, max_cost=max_cost, max_requests=max_requests)
    budget = Budget(caps, prices=(1e-6, 4e-6))
    in_flight = []
    for what, k, limit, share in steps:
        if what == "send":
            requests = [request(sample=j, max_tokens=limit) for j in range(k)]
            reserved = budget.reserve(requests)
            if reserved is not None:
                in_flight.append((reserved, requests))
        elif what == "raise":
            caps = replace(
                caps, **{name: value * 2 for name in Caps.__struct_fields__ if (value := getattr(caps, name))}
            )
            budget.change(caps)
        elif in_flight:
            settle(budget, *in_flight.pop(0), what=what, share=share)
        assert_within(caps, budget, [budget.worst(requests) for _, requests in in_flight])


class Nobody:
    """An endpoint that is never asked."""

    async def complete(self, request):
        raise NotImplementedError

    async def check(self, model):
        """Nothing to ask."""

    async def close(self):
        """Nothing to close."""


def lanes_of(widths):
    return [Lane(Nobody(), f"lane {n}", LaneOptions(), width=width) for n, width in enumerate(widths)]


@settings(max_examples=60)
@given(
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    n_requests=st.integers(1, 25),
    gives_up=st.sets(st.integers(0, 24), max_size=8),
    again=st.sets(st.integers(0, 24), max_size=3),
)
def test_turns_are_given_first_come_first_served_and_none_is_lost_by_whoever_gives_up(
    widths, n_requests, gives_up, again
):
    lanes = lanes_of(widths)
    served = []

    async def one(turns, number):
        lane = await turns.take([request(number)], again=number in again)
        served.append(number)
        try:
            await asyncio.sleep(0)
        finally:
            turns.give_back(lane)

    async def everything():
        turns = Turns(lanes)
        held = [turns.take_now([request(99)]) for _ in range(sum(widths))]
        assert turns.take_now([request(99)]) is None
        tasks = []
        for number in range(n_requests):
            tasks.append(asyncio.ensure_future(one(turns, number)))
            await asyncio.sleep(0)
        for number in gives_up:
            if number < n_requests:
                tasks[number].cancel()
        for lane in held:
            turns.give_back(lane)
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(everything())
    stayed = [number for number in range(n_requests) if number not in gives_up]
    first = [number for number in stayed if number in again]
    assert served == first + [number for number in stayed if number not in again]
    assert [lane.in_flight for lane in lanes] == [0] * len(lanes)


@settings(max_examples=40)
@given(n_waiting=st.integers(1, 20), give_up=st.integers(0, 19))
def test_a_lane_that_comes_in_the_moment_of_a_cancellation_is_given_on(n_waiting, give_up):
    (lane,) = lanes_of([1])
    got = []

    async def one(turns, number):
        taken = await turns.take([request(number)], again=False)
        got.append(number)
        turns.give_back(taken)

    async def everything():
        turns = Turns([lane])
        held = turns.take_now([request(99)])
        tasks = [asyncio.ensure_future(one(turns, number)) for number in range(n_waiting)]
        await asyncio.sleep(0)
        turns.give_back(held)  # the first has it now, and has not run yet
        tasks[0].cancel()
        tasks[min(give_up, n_waiting - 1)].cancel()
        async with asyncio.timeout(120):
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(everything())
    assert got == [n for n in range(1, n_waiting) if n != min(give_up, n_waiting - 1)]
    assert lane.in_flight == 0


@pytest.mark.parametrize("error", [AuthFailed("no key is left"), BudgetReached("spent")])
def test_when_there_are_no_turns_any_more_all_who_wait_and_all_who_come_are_told(error):
    lanes = lanes_of([1])

    async def everything():
        turns = Turns(lanes)
        turns.take_now([request(99)])
        tasks = [asyncio.ensure_future(turns.take([request(n)], again=False)) for n in range(10)]
        await asyncio.sleep(0)
        turns.stop(error)
        async with asyncio.timeout(120):
            told = await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(type(error)):
            await turns.take([request()], again=True)
        return told

    assert asyncio.run(everything()) == [error] * 10


texts = st.text(alphabet="ab", min_size=0, max_size=300)


@given(st.lists(texts, max_size=30))
def test_the_order_by_prefix_is_a_permutation_and_keeps_what_is_not_worth_it(found):
    groups = [[replace(request(n), text=text)] for n, text in enumerate(found)]
    ordered = in_order(groups)
    assert Counter(group[0].prompt_id for group in ordered) == Counter(group[0].prompt_id for group in groups)
    if ordered != groups:
        assert [group[0].text for group in ordered] == sorted(found)


# -- reuse ----------------------------------------------------------------------------------------------------------


def answered(asked, *, text, finish="stop", n_new=5):
    return Completion(
        key=asked.key, prompt_id=asked.prompt_id, model=asked.model, sample=asked.sample, text=text, finish=finish,
        usage=Usage(prompt_tokens=2, completion_tokens=n_new), max_tokens=asked.sampling.max_tokens,
    )  # fmt: skip


recipes = st.tuples(st.sampled_from([5, 10, 20]), st.sampled_from([1, 2, 3]), st.integers(1, 4))  # limit, seed, k


@settings(max_examples=150)
@given(
    policy=st.sampled_from(["strict", "complete", "top-up"]),
    history=st.lists(recipes, min_size=2, max_size=5),
    lengths=st.lists(st.integers(1, 25), min_size=60, max_size=60),
    torn=st.integers(0, 3),
)
def test_what_is_taken_over_is_what_the_policy_allows_and_no_answer_serves_twice(
    tmp_path_factory, policy, history, lengths, torn
):
    """One prompt is asked by one recipe after the other, each over what the earlier ones left in the journal.

    The server's answer to a request would have `lengths[...]` tokens; the limit cuts it.
    """
    folder = tmp_path_factory.mktemp("reuse")
    n_asked = 0
    earlier = []
    for limit, seed, k in history:
        sampling = Sampling(max_tokens=limit, seed=seed)
        today = [request(sample=j, max_tokens=limit, seed=seed) for j in range(k)]
        reuse = Reuse(policy, earlier)
        for attempt in range(2):  # the first is killed after `torn` rows
            journal = Journal(folder / "part-00000.jsonl")
            journal.load()
            settled = journal.settled()
            missing = [r for r in today if r.key not in settled]
            beside = [r.key for r in today if r.key in settled]
            taken = reuse.take_over([missing], journal, [beside])
            fresh = [r for r in missing if r.key not in {c.key for c in taken}]
            rows = list(taken)
            for asked in fresh:
                n_new = min(limit, lengths[n_asked])
                finish = "length" if lengths[n_asked] > limit else "stop"
                rows.append(answered(asked, text=f"answer {n_asked}", finish=finish, n_new=n_new))
                n_asked += 1
            for row in rows[:torn] if attempt == 0 else rows:
                journal.append(row)
            journal.close()
        if Earlier(sampling=sampling, k=k) not in earlier:
            earlier.append(Earlier(sampling=sampling, k=k))
        found = Journal(folder / "part-00000.jsonl").read()
        mine = [found[r.key] for r in today]
        assert len({row.text for row in mine}) == k, "one answer serves two samples"
        for asked, row in zip(today, mine, strict=True):
            assert row.usage.completion_tokens <= limit
            assert row.finish == "stop" or row.usage.completion_tokens == limit
            if row.reused_from is None:
                continue
            assert policy != "strict"
            source = found[row.reused_from]
            assert (row.text, row.cost, row.billed, source.reused_from) == (source.text, None, None, None)
            if policy == "complete":
                assert row.sample == source.sample
                assert row.finish == "stop"
            assert row.prompt_id == asked.prompt_id


def test_a_store_gives_strict_answers_to_another_run_and_policies_look_there_too(tmp_path):
    store = Store(tmp_path / "store")
    before = [request(sample=j, max_tokens=10) for j in range(3)]
    store.put(
        [
            answered(before[0], text="whole"),
            answered(before[1], text="cut", finish="length", n_new=10),
            answered(before[2], text="long", n_new=9),
        ]
    )
    journal = Journal(tmp_path / "part-00000.jsonl")
    earlier = [Earlier(sampling=Sampling(max_tokens=10), k=3)]
    assert [c.text for c in Reuse("strict", (), store).take_over([before], journal)] == ["whole", "cut", "long"]
    larger = [request(sample=j, max_tokens=20) for j in range(3)]
    assert Reuse("strict", earlier, store).take_over([larger], journal) == []
    taken = Reuse("complete", earlier, store).take_over([larger], journal)
    assert [(c.sample, c.text) for c in taken] == [(0, "whole"), (2, "long")]
    smaller = [request(sample=j, max_tokens=6) for j in range(3)]
    taken = Reuse("complete", earlier, store).take_over([smaller], journal)
    assert [(c.sample, c.text) for c in taken] == [(0, "whole")]
    store.close()
