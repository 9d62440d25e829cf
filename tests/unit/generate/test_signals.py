import asyncio
import os
import signal

import pytest

from promptmill.endpoints.transport import loop_factory
from promptmill.generate.signals import Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("factory", [None, loop_factory()])
def test_a_signal_in_the_last_pass_of_the_loop_is_heard(number, factory):
    signals, before = Signals(), signal.getsignal(number)

    async def work():
        task = asyncio.current_task()
        with signals.cancelling(task):
            os.kill(os.getpid(), number)  # nothing is awaited any more

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work())
    assert signals.came
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("factory", [None, loop_factory()])
def test_the_first_signal_cancels_what_waits_and_later_ones_do_not(factory):
    signals = Signals()

    async def work():
        closed = False
        with signals.cancelling(asyncio.current_task()):
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 120)
            except asyncio.CancelledError:
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(0.01)
                closed = True
        return closed

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(work())
