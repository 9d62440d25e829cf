"""Deadlines: exact, one timer for many, and never taking somebody else's cancellation for their own."""

import asyncio
import time

import pytest

from promptmill.endpoints.deadlines import Deadlines, arrival


@pytest.fixture
def within_a_minute(at_once):
    return lambda work: at_once(asyncio.wait_for(work, 60))


def test_a_block_that_takes_too_long_ends_with_a_timeout(within_a_minute):
    async def work():
        with pytest.raises(TimeoutError), Deadlines().within(0.02):
            await asyncio.sleep(50)
        await asyncio.sleep(0)  # the task itself is not cancelled
        return "on"

    assert within_a_minute(work()) == "on"


def test_a_block_that_ends_in_time_is_left_alone_and_so_are_those_after_it(within_a_minute):
    async def work():
        deadlines = Deadlines()
        for _ in range(5):
            with deadlines.within(0.02):
                await asyncio.sleep(0)
        await asyncio.sleep(0.1)  # past the deadlines of all of them
        return "on"

    assert within_a_minute(work()) == "on"


def test_each_of_many_waits_has_its_own_deadline(within_a_minute):
    async def one(deadlines, start_s):
        await asyncio.sleep(start_s)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(TimeoutError), deadlines.within(0.05):
            await asyncio.sleep(50)
        return loop.time() - began

    async def work():
        deadlines = Deadlines()
        return await asyncio.gather(*[one(deadlines, n / 100) for n in range(5)])

    assert all(took >= 0.05 for took in within_a_minute(work()))


def test_a_wait_that_was_given_up_does_not_keep_the_others_from_their_deadline(within_a_minute):
    async def short(deadlines):
        with deadlines.within(0.05):
            await asyncio.sleep(0.01)
        return "done"

    async def late(deadlines):
        await asyncio.sleep(0.02)
        with deadlines.within(0.05):
            await asyncio.sleep(50)

    async def work():
        deadlines = Deadlines()
        return await asyncio.gather(short(deadlines), late(deadlines), return_exceptions=True)

    first, second = within_a_minute(work())
    assert first == "done"
    assert isinstance(second, TimeoutError)


def test_a_cancellation_from_outside_stays_one(within_a_minute):
    async def wait(deadlines):
        with deadlines.within(50):
            await asyncio.sleep(50)

    async def work():
        task = asyncio.create_task(wait(Deadlines()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    within_a_minute(work())


def test_a_deadline_and_a_cancellation_at_once_are_a_cancellation(within_a_minute):
    async def wait(deadlines):
        try:
            with deadlines.within(0.01):
                await asyncio.sleep(50)
        except TimeoutError:
            return "timeout"

    async def work():
        task = asyncio.create_task(wait(Deadlines()))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    within_a_minute(work())


def test_the_inner_of_two_deadlines_is_the_one_that_is_named(within_a_minute):
    async def work():
        deadlines = Deadlines()
        with deadlines.within(50):
            with pytest.raises(TimeoutError), deadlines.within(0.01):
                await asyncio.sleep(50)
            return "outer goes on"

    assert within_a_minute(work()) == "outer goes on"


def test_an_error_of_the_block_passes(within_a_minute):
    async def work():
        with Deadlines().within(50):
            raise KeyError("x")

    with pytest.raises(KeyError):
        within_a_minute(work())


def test_an_answer_of_the_moment_in_which_its_deadline_ends_is_kept_and_nothing_comes_after(within_a_minute):
    async def work():
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_later(0.01, answer.set_result, "paid")
        with Deadlines().within(0.02):
            loop.call_soon(time.sleep, 0.1)  # then both are due, the answer first
            got = await arrival(answer)
        await asyncio.sleep(0.01)
        return got, asyncio.current_task().cancelling()

    assert within_a_minute(work()) == ("paid", 0)


def test_an_answer_of_the_moment_of_a_cancellation_is_kept_and_what_waits_next_is_cancelled(within_a_minute):
    async def work():
        answer, got = asyncio.get_running_loop().create_future(), []

        async def ask():
            got.append(await arrival(answer))
            await asyncio.sleep(50)
            got.append("waited")

        asking = asyncio.create_task(ask())
        await asyncio.sleep(0)
        answer.set_result("paid")
        asking.cancel()
        await asyncio.wait([asking])
        return got, asking.cancelled(), asking.cancelling()

    assert within_a_minute(work()) == (["paid"], True, 1)


def test_who_is_cancelled_before_an_answer_comes_gets_none(within_a_minute):
    async def work():
        answer = asyncio.get_running_loop().create_future()
        asking = asyncio.create_task(arrival(answer))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        return asking.cancelled(), answer.cancelled()

    assert within_a_minute(work()) == (True, True)
