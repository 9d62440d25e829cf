"""The process with the model's code, as the tests see it: functions that ask it, and what comes of that.

Nothing that it says is believed but that it answered with some value: what is no proper answer ends the asking.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from typing import Any

from promptmill.evaluate.sandbox.frames import Broken, Channel
from promptmill.evaluate.sandbox.handles import Handle, Handles
from promptmill.evaluate.sandbox.raising import ENDINGS, exception, raised
from promptmill.evaluate.sandbox.values import Graph, TooDeep, Unplain

NOT_PLAIN = (Unplain, ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError)


class Stopped(BaseException):
    """The tests cannot go on: the program is gone, or they must be run together with it."""


class Program:
    """The process with the model's code.

    Attributes:
        calls: how often it was asked.
        stopped: why it cannot be asked any more; tests may swallow exceptions, not this.
        together: an argument was no plain value.
        own: a function that returned an object of the program's own.
        seeded: the tests set the seed of `random`, which holds for the program too.
        stops: the tests expect a StopIteration; else it is told as a RuntimeError, for raised in a `map` of theirs it
            would end that as if all had been gone through, and with it what they look at.
    """

    def __init__(self, channel: Channel, pid: int) -> None:
        self._channel = channel
        self._pid = pid
        self._lock = threading.Lock()
        self._stdout = sys.stdout
        self._random: Any = None
        self._handles = Handles(self._ask_held)
        self.calls = 0
        self.stopped = ""
        self.together = ""
        self.own = ""
        self.seeded = self.stops = False

    def stand_in(self, name: str) -> Any:
        """A function that calls the program's function of this name."""

        def ask(*arguments: Any, **options: Any) -> Any:
            return self.call(name, arguments, options)

        ask.__name__ = ask.__qualname__ = name
        return ask

    def call(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Ask for one call; arguments that it changed in place are changed here too.

        Raises:
            Stopped: there is no answer, or no proper one.
            Exception: one of a known type that the program raised.
        """
        found = self._value({"call": name}, f"'{name}'", arguments, options)
        if isinstance(found, Handle):
            self.own = name
        return found

    def _ask_held(self, what: str | int, *arguments: Any, **options: Any) -> Any:
        """Ask for something that the program keeps; see `handles`."""
        return self._value({"held": what}, "what the program returned", arguments, options)

    def _value(self, message: dict[str, Any], where: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if self.stopped:
            raise Stopped
        graph = Graph(self._handles)
        try:
            message["arguments"] = [graph.dump(each) for each in arguments]
            if options:
                message["options"] = {name: graph.dump(each) for name, each in options.items()}
        except TooDeep as error:  # the program could have made it so deep: no reason to run anything together
            self.stop(f"an argument of {where}: {error}")
        except Unplain as error:
            self.together = self.stopped = f"an argument of {where}: {error}"
            raise Stopped from None
        self.calls += 1
        answer = self.ask(self._with_surroundings(message))
        try:
            found = _taken(graph, answer)
            if "printing" in message:
                sys.stdout.write(answer.get("printed") or "")
        except NOT_PLAIN as error:
            self.stop(f"{where} returned what is no plain value: {error}")
        except MemoryError:
            self.stop(f"{where} returned too much")
        if "value" not in answer:
            raise self._exception(answer, where)
        return found

    def _exception(self, answer: dict[str, Any], where: str) -> BaseException:
        """What the program raised.

        Raises:
            Stopped: nothing that a function may raise.
        """
        if "unplain" in answer:
            self.stop(f"{where} returned what is no plain value: {str(answer['unplain'])[:200]}")
        found = exception(answer)
        if found is None:
            name = raised(answer)[0]
            self.stop(f"the program ended itself: {name}" if name in ENDINGS else "the program's answer is no answer")
        if isinstance(found, StopIteration) and not self.stops:
            found = RuntimeError("the program raised StopIteration")
        return found or Stopped()

    def _with_surroundings(self, message: dict[str, Any]) -> dict[str, Any]:
        """What else of the tests' process holds for a call: where it prints to, and the seed that was set."""
        if sys.stdout is not self._stdout:
            message["printing"] = True
        if self.seeded:
            state = random.getstate()
            if state != self._random:  # seeded or drawn from since: else the program's own goes on
                self._random = state
                message["random"] = state[1]
        return message

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send one message and wait for the answer.

        Raises:
            Stopped: there is none.
        """
        try:
            with self._lock:
                self._channel.send(message)
                answer = self._channel.receive()
        except Broken as error:
            self.stop(f"the program does not answer: {error}{self._end()}")
        except MemoryError:
            self.stop("the program's answer is too large")
        if type(answer) is not dict:
            self.stop("the program's answer is no answer")
        return dict(answer)

    def stop(self, why: str) -> None:
        """Ask nothing more.

        Raises:
            Stopped: always.
        """
        self.stopped = self.stopped or why
        raise Stopped

    def _end(self) -> str:
        """How the process ended, if it did."""
        for _ in range(20):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return f" (killed by signal {os.WTERMSIG(status)})" if os.WIFSIGNALED(status) else " (it ended)"
            time.sleep(0.005)
        return ""


def _taken(graph: Graph, answer: dict[str, Any]) -> Any:
    """Change the arguments as the program did, and return what it returned, if anything.

    Raises:
        Exception: one of NOT_PLAIN; it is no proper answer.
    """
    if "changed" in answer:
        for number, content in dict(answer["changed"]).items():
            graph.fill(int(number), content)
    return graph.load(answer["value"]) if "value" in answer else None
