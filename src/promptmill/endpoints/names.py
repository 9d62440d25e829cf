"""What the names of hosts stand for, asked in threads that nothing waits for.

The system's `getaddrinfo` blocks, and nobody can end it. asyncio asks it in the threads of the loop, which are joined
when the loop is closed and again when the process ends, uvloop in those of libuv: a name server that is silent would
hold up the end of an interrupted run for as long as the system has patience (half a minute and more). Here each
question has a thread of its own, which dies with the process; what it finds is dropped when nobody waits any more.

There is at most one question under way for a name: all who want to know share it, also the lanes of many keys that ask
one server, and a thread that hangs has no second one beside it.

Not covered: how long the system asks, and which servers (`resolv.conf`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from contextlib import suppress
from typing import Any

KNOWN_S = 10.0
Addresses = list[Any]


_of_loops: dict[asyncio.AbstractEventLoop, Names] = {}


def names_of(loop: asyncio.AbstractEventLoop) -> Names:
    """What is known in an event loop, by whomever it was asked."""
    found = _of_loops.get(loop)
    if found is None:
        for known in list(_of_loops):  # at once: other threads, with loops of their own, come by too
            if known.is_closed():
                _of_loops.pop(known, None)
        found = _of_loops[loop] = Names(loop)
    return found


class Names:
    """What names stand for, for one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._questions: dict[tuple[str, int], _Question] = {}

    async def addresses(self, host: str, port: int) -> Addresses:
        """The addresses of a host; asked once for all who want to know within `KNOWN_S`.

        Raises:
            OSError: there are none, or the system has no thread left.
            UnicodeError: the name is none.
        """
        question = self._questions.get((host, port))
        if question is None or question.is_old():
            question = self._questions[host, port] = _Question(self._loop, host, port)
        return await asyncio.shield(question.answer)  # one who gives up must not end the question of the others


class _Question:
    """One name that is looked up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        self.answer: asyncio.Future[Addresses] = loop.create_future()
        self._loop = loop
        self._answered_at = 0.0
        try:
            threading.Thread(target=self._ask, args=(host, port), name=f"look up {host}", daemon=True).start()
        except RuntimeError:  # Python's word for it
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None

    def is_old(self) -> bool:
        """Whether it is to be asked again."""
        if not self.answer.done():
            return False
        return self.answer.exception() is not None or self._loop.time() - self._answered_at > KNOWN_S

    def _ask(self, host: str, port: int) -> None:
        found: Addresses | Exception
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:  # a UnicodeError is a ValueError
            found = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._settle, found)

    def _settle(self, found: Addresses | Exception) -> None:
        self._answered_at = self._loop.time()
        if isinstance(found, Exception):
            self.answer.set_exception(found)
            self.answer.exception()  # seen: asyncio would complain of an error that nobody waited for
        else:
            self.answer.set_result(found)
