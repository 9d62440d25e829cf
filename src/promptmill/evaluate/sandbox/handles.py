"""The tests' side of what does not cross: stand-ins for a program's functions, generators, coroutines and objects.

A stand-in can be called, iterated, awaited and shown as text, which asks the program and gives values; handed back to
the program it is the object itself. It has no attributes, and it is compared with other stand-ins alone: a program that
says its two objects are equal could have returned equal values. With a value of the tests' it never is, so the program
does not decide whether it gave what the tests expect, nor learn what that is.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from promptmill.evaluate.sandbox.held import ASYNC, AWAIT, CALL, GENERATOR, ITERABLE, ITERATOR, OTHER

MAX_ITEMS = 1_000_000  # that an iterator may give
ONE_BY_ONE = 64  # items that are fetched one at a time: the next may never come, or change something
MOST = 512  # items that are fetched at a time after that
Ask = Callable[..., Any]  # (name of a method of `held.Held`, its arguments) -> a value


class Handle:
    """An object of the program's."""

    def __init__(self, ask: Ask, number: int, *, true: bool) -> None:
        self._ask, self._number, self._true = ask, number, true

    def __bool__(self) -> bool:
        return self._true

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Handle):
            return self is other
        return self._ask("compare", self._number, "eq", other._number) is True

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Handle):
            return NotImplemented
        return self._ask("compare", self._number, "lt", other._number) is True

    def __hash__(self) -> int:
        return hash(self._ask("hash", self._number))

    def __str__(self) -> str:
        return str(self._ask("text", self._number, "str"))

    def __repr__(self) -> str:
        return str(self._ask("text", self._number, "repr"))


class Function(Handle):
    """A function of the program's."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Ask the program to call it."""
        return self._ask(self._number, *arguments, **options)


class Series(Handle):
    """Something of the program's that can be gone through."""

    def __iter__(self) -> Iterator[Any]:
        found: Iterator[Any] = iter(self._ask("iterate", self._number))
        return found


class Stream:
    """An iterator of the program's.

    Attributes:
        unread: fetched items that nobody has looked at.
    """

    def __init__(self, ask: Ask, number: int) -> None:
        self._ask, self._number = ask, number
        self._fetched = 0
        self._over = False
        self.unread: deque[Any] = deque()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        if not self.unread:
            self._fetch()
        if not self.unread:
            raise StopIteration
        return self.unread.popleft()

    def _fetch(self) -> None:
        if self._over:
            return
        if self._fetched >= MAX_ITEMS:
            raise MemoryError(f"an iterator gives more than {MAX_ITEMS:,} items")
        most = 1 if self._fetched < ONE_BY_ONE else min(self._fetched, MOST)
        items, self._over = self._ask("pull", self._number, most)
        if type(items) is not list or len(items) > most:
            raise TypeError("the items of an iterator are no list")
        self._fetched += len(items)
        self.unread.extend(items)


def _generator(stream: Stream) -> Iterator[Any]:
    yield from stream


async def _awaited(ask: Ask, number: int) -> Any:
    import asyncio

    task, done, value = ask("start", number), False, None
    try:
        while not done:
            done, value = ask("turn", task)
            if not done:
                await asyncio.sleep(0)
    finally:
        if not done:
            ask("cancel", task)
    return value


async def _async_items(ask: Ask, number: int) -> AsyncIterator[Any]:
    for _ in itertools.count():
        try:
            item = await _awaited(ask, number)
        except StopAsyncIteration:
            return
        yield item


class Handles:
    """The stand-ins of one program, by their numbers.

    Args:
        ask: asks the program for something.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._made: dict[tuple[int, str], Any] = {}
        self._numbers: dict[int, int] = {}
        self._streams: dict[int, Stream] = {}

    def give(self, value: Any) -> list[Any] | None:
        """A stand-in's number, and how many items were fetched in vain; None for what is no stand-in."""
        number = self._numbers.get(id(value))
        if number is None:
            return None
        stream = self._streams.get(number)
        unread = len(stream.unread) if stream else 0
        if stream:
            stream.unread.clear()  # they go back
        return [number, unread]

    def take(self, *sent: Any) -> Any:
        """The stand-in for a number; the same for the same.

        Raises:
            TypeError: it is no number, or of no known sort.
        """
        number, sort, true = sent
        if type(number) is not int or type(true) is not bool or type(sort) is not str or number < 0:
            raise TypeError("a stand-in")
        known = self._made.get((number, sort))
        if known is None:
            known = self._make(number, sort, true=true)
            self._made[number, sort] = known  # holds it, so its id stays its own
            self._numbers[id(known)] = number
        return known

    def _make(self, number: int, sort: str, *, true: bool) -> Any:
        if sort in {GENERATOR, ITERATOR}:
            stream = self._streams[number] = Stream(self._ask, number)
            return stream if sort == ITERATOR else _generator(stream)
        if sort == AWAIT:
            return _awaited(self._ask, number)
        if sort == ASYNC:
            return _async_items(self._ask, number)
        kind: Any = {CALL: Function, ITERABLE: Series, OTHER: Handle}[sort]
        return kind(self._ask, number, true=true)
