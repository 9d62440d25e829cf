"""The program's side of what does not cross: its functions, generators, coroutines and objects, kept by number.

The tests get a stand-in for each (`handles`) and ask for what they need of it: a call, the next items, a turn of the
event loop. Everything here is in the program's hands; nobody believes more of it than that an answer is some value.
"""

from __future__ import annotations

import itertools
import operator
import time
from collections.abc import Iterator
from types import GeneratorType
from typing import Any

CALL, GENERATOR, ITERATOR, AWAIT, ASYNC, ITERABLE, OTHER = "fgicaeo"
PULL_S = 0.002  # that items are gathered for, once more than one is asked for
TURN_S = 0.005  # that the event loop runs before the tests have their turn


class Source:
    """An iterator whose items the tests fetch.

    Attributes:
        items: what is still to come.
    """

    def __init__(self, items: Iterator[Any]) -> None:
        self.items = items
        self._last: list[Any] = []
        self._error: BaseException | None = None

    def pull(self, most: int) -> tuple[list[Any], bool]:
        """Some next items, at least one where there is one, and whether that was all.

        Raises:
            BaseException: what the iterator raises where the next item should be.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self._last, until = [], time.monotonic() + PULL_S
        while len(self._last) < most:
            try:
                self._last.append(next(self.items))
            except StopIteration:
                return self._last, True
            except BaseException as error:
                if not self._last:
                    raise
                self._error = error  # the tests have not come so far yet
                break
            if time.monotonic() > until:
                break
        return self._last, False

    def whole(self, unread: int) -> Iterator[Any]:
        """What is still to come for the tests; they did not look at the last items that they fetched."""
        if unread:
            self.items = itertools.chain(self._last[-unread:], self.items)
            self._last = []
        return self.items


class Held:
    """What the tests know by number."""

    def __init__(self) -> None:
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._sources: dict[int, Source] = {}
        self._tasks: list[Any] = []
        self._loop: Any = None

    def give(self, value: Any) -> list[Any]:
        """Keep an object; its number, what can be done with it, and whether it is true."""
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)
        sort = _sort(value)
        return [number, sort, _true(value) if sort in {ITERABLE, OTHER} else True]

    def take(self, *sent: Any) -> Any:
        """The object of a number; an iterator that was fetched from begins with what the tests have not seen."""
        number, unread = sent
        source = self._sources.get(number)
        return self._objects[number] if source is None else source.whole(unread)

    def pull(self, number: int, most: int) -> Any:
        """See `Source.pull`."""
        if number not in self._sources:
            self._sources[number] = Source(self._objects[number])
        return self._sources[number].pull(most)

    def text(self, number: int, how: str) -> str:
        """How an object shows itself, by `str` or `repr`."""
        return (str if how == "str" else repr)(self._objects[number])

    def compare(self, one: int, how: str, other: int) -> Any:
        """Compare two of the program's own objects, as `operator` names it."""
        return getattr(operator, how)(self._objects[one], self._objects[other])

    def hash(self, number: int) -> int:
        """The hash of an object."""
        return hash(self._objects[number])

    def iterate(self, number: int) -> Any:
        """A fresh iterator over an object."""
        return iter(self._objects[number])

    def start(self, number: int) -> int:
        """Begin to await an object, or the next item of an asynchronous iterator; the number of the task."""
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        value = self._objects[number]
        awaited = value if hasattr(type(value), "__await__") else _next_of(value)
        self._tasks.append(asyncio.ensure_future(_result_of(awaited), loop=self._loop))
        return len(self._tasks) - 1

    def turn(self, task: int) -> tuple[bool, Any]:
        """Run the event loop until a task is done, or for a moment; whether it is, and its result.

        Raises:
            BaseException: what the task raised.
        """
        import asyncio

        waited = self._tasks[task]
        if not waited.done():
            self._loop.run_until_complete(asyncio.wait({waited}, timeout=TURN_S))
        return (True, waited.result()) if waited.done() else (False, None)

    def cancel(self, task: int) -> None:
        """Cancel a task and let it clear up."""
        import asyncio

        waited = self._tasks[task]
        waited.cancel()
        if not waited.done():
            self._loop.run_until_complete(asyncio.wait({waited}, timeout=TURN_S))


async def _next_of(value: Any) -> Any:
    return await value.__anext__()


async def _result_of(awaited: Any) -> Any:
    return await awaited


def _true(value: Any) -> bool:
    try:
        return bool(value)
    except BaseException:  # noqa: BLE001 - its __bool__ is the program's
        return True


def _sort(value: Any) -> str:
    kind = type(value)
    if kind is GeneratorType:
        return GENERATOR
    for method, sort in (("__next__", ITERATOR), ("__await__", AWAIT), ("__anext__", ASYNC)):
        if hasattr(kind, method):
            return sort
    if callable(value):
        return CALL
    return ITERABLE if hasattr(kind, "__iter__") else OTHER
