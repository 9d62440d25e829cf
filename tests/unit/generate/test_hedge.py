"""Two answers of which the first counts, and what a cancellation may not take."""

import asyncio
import gc

import pytest

from promptmill.errors import Unreachable
from promptmill.generate.hedge import Hedge


@pytest.fixture
def within_a_minute(at_once):
    return lambda work: at_once(asyncio.wait_for(work, 60))


def late():
    """A hedge to which everything is late."""
    hedge = Hedge()
    hedge.latencies.extend([0.0] * 20)
    return hedge


class Asker:
    """Waits for an answer, keeps it, and then waits for ever."""

    def __init__(self):
        self.kept = []

    async def ask(self, first, second):
        self.kept.append(await late().first_answer(first, second))
        await asyncio.Event().wait()

    def begin(self, first, second=lambda: None):
        self.task = asyncio.create_task(self.ask(first, second))
        return self.task


def test_a_cancellation_while_the_loser_is_ended_does_not_take_the_answer_of_the_winner(within_a_minute):
    async def work():
        ending, may_end, asker = asyncio.Event(), asyncio.Event(), Asker()

        async def slow():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ending.set()
                while not may_end.is_set():
                    try:
                        await may_end.wait()
                    except asyncio.CancelledError:
                        continue
                raise

        async def fast():
            return "paid"

        task = asker.begin(slow(), fast)
        await ending.wait()
        task.cancel()
        await asyncio.sleep(0.01)
        early = list(asker.kept)
        may_end.set()
        await asyncio.wait([task])
        return early, asker.kept, task.cancelled()

    assert within_a_minute(work()) == ([], ["paid"], True)


def test_asyncio_has_nothing_to_complain_of_when_the_loser_breaks(within_a_minute):
    complaints = []

    async def work():
        asyncio.get_running_loop().set_exception_handler(lambda _, said: complaints.append(said["message"]))
        may = asyncio.Event()

        async def answers():
            await may.wait()
            return "paid"

        async def breaks():
            may.set()
            try:
                await asyncio.Event().wait()
            finally:
                raise Unreachable("it broke as it was ended")

        got = await late().first_answer(answers(), breaks)
        gc.collect()
        return got

    assert within_a_minute(work()) == "paid"
    assert complaints == []


def test_a_cancellation_in_the_moment_of_the_answer_does_not_take_it(within_a_minute):
    async def work():
        asker = Asker()

        async def answers():
            asker.task.cancel()
            return "paid"

        task = asker.begin(answers())
        await asyncio.wait([task])
        return asker.kept, task.cancelled()

    assert within_a_minute(work()) == (["paid"], True)


def test_a_cancellation_before_any_answer_ends_both(within_a_minute):
    async def work():
        ended, both, asker = [], asyncio.Event(), Asker()

        async def waits(name):
            if name == "second":
                both.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        task = asker.begin(waits("first"), lambda: waits("second"))
        await both.wait()
        task.cancel()
        await asyncio.wait([task])
        return sorted(ended), asker.kept, task.cancelled()

    assert within_a_minute(work()) == (["first", "second"], [], True)


def test_of_two_errors_the_first_one_s_is_raised_and_an_answer_beats_an_error(within_a_minute):
    async def work():
        async def fails(text):
            await asyncio.sleep(0)
            raise Unreachable(text)

        async def answers():
            await asyncio.sleep(0.01)
            return "paid"

        with pytest.raises(Unreachable, match="one"):
            await Hedge().first_answer(fails("one"), lambda: None)
        may = asyncio.Event()

        async def first():
            await may.wait()
            raise Unreachable("one")

        async def second():
            may.set()
            raise Unreachable("two")

        with pytest.raises(Unreachable, match="one"):
            await late().first_answer(first(), second)
        may.clear()

        async def better():
            may.set()
            return await answers()

        return await late().first_answer(first(), better)

    assert within_a_minute(work()) == "paid"
